"""How the app was asked to behave."""

from dataclasses import dataclass
from typing import Literal

from lossviz_tui.keys import KEYS, Key


@dataclass(frozen=True, kw_only=True)
class AppOptions:
    """How the app was asked to behave."""

    color: Literal["auto", "truecolor", "256", "16", "none"] = "auto"
    charset: Literal["auto", "braille", "blocks", "ascii"] = "auto"
    light: bool = False
    mouse: bool = True
    slow: bool = False
    readonly: bool = False
    keys: tuple[Key, ...] = KEYS
    """The table of keys, with what the user has remapped."""
    trust: bool = False
    """Whether scans may call the model factory of a run that somebody else recorded."""
