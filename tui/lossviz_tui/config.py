"""The user's own settings: keys and defaults, from one TOML file; any mistake is one sentence.

```toml
[keys]
scan = "f2"              # the names are those that `lossviz-tui keys` prints
quit = "q,ctrl+x"        # several with commas; "" takes the key away
[app]
color = "256"            # as --color, --charset, --light, --slow, --mouse
light = true
```
"""

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

from lossviz_analysis.errors import LossvizError
from lossviz_tui.keys import KEYS, PUNCTUATION, VIEW_NAMES, VIEW_TITLES, Key, shown_key

Color: TypeAlias = Literal["auto", "truecolor", "256", "16", "none"]
CharsetChoice: TypeAlias = Literal["auto", "braille", "blocks", "ascii"]

VARIABLE = "LOSSVIZ_TUI_CONFIG"
_MAX_BYTES = 2**18
_NAMED = {
    *("space", "enter", "escape", "tab", "backspace", "delete", "insert"),
    *("home", "end", "pageup", "pagedown", "up", "down", "left", "right"),
    *(f"f{number}" for number in range(1, 25)),
}
_RESERVED = {
    "ctrl+c": "interrupts",
    "ctrl+p": "opens the palette",
    "ctrl+q": "leaves",
    "tab": "goes through the fields of a form",
    "shift+tab": "goes back through the fields of a form",
}
_CHARACTERS = {character: name for name, character in PUNCTUATION.items()} | {" ": "space"}


class ConfigError(LossvizError):
    """The configuration file says something that cannot be."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the file says; None where it says nothing."""

    color: Color | None = None
    charset: CharsetChoice | None = None
    light: bool | None = None
    slow: bool | None = None
    mouse: bool | None = None
    keys: tuple[Key, ...] = KEYS


def config_path() -> Path:
    """Where the file is looked for when nobody names one; see the XDG base directories.

    Raises RuntimeError where nobody knows whose home that would be in.
    """
    named = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(named) if named.startswith("/") else Path.home() / ".config"
    return base / "lossviz-tui" / "config.toml"


def read_config(named: Path | None = None) -> Config:
    """The user's settings: of the file named, of $LOSSVIZ_TUI_CONFIG, or of the usual one.

    Raises ConfigError when the file that was named is not there, or what is in it cannot be.
    """
    named = named or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    try:
        path = named or config_path()
    except RuntimeError:  # a container's user without HOME and without a name
        return Config()
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        if named is None:
            return Config()
        raise ConfigError(f"there is no configuration file {path}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path} is longer than any configuration file")
    try:
        # Most people have no such file, and the parser takes a while to import.
        found: Any = importlib.import_module("tomllib").loads(content.decode())
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    try:
        return parse_config(found)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse_config(found: Mapping[str, Any]) -> Config:
    """The settings in a TOML document.

    Raises ConfigError for a section, name, value or key that is not known, and for keys that
    would mean two things in one view.
    """
    _refuse_unknown("section", found, ("keys", "app"))
    for name, value in found.items():
        if not isinstance(value, dict):
            raise ConfigError(f"{name} is a section, written as [{name}]; got {value!r}")
    app = cast("Mapping[str, Any]", found.get("app", {}))
    _refuse_unknown("setting in [app]", app, ("color", "charset", "light", "slow", "mouse"))
    for name in ("light", "slow", "mouse"):
        if not isinstance(app.get(name, False), bool):
            raise ConfigError(f"{name} is true or false; got {app[name]!r}")
    keys = cast("Mapping[str, Any]", found.get("keys", {}))
    return Config(
        color=_word(app, "color", get_args(Color)),
        charset=_word(app, "charset", get_args(CharsetChoice)),
        light=app.get("light"),
        slow=app.get("slow"),
        mouse=app.get("mouse"),
        keys=remapped(KEYS, keys),
    )


def _refuse_unknown(what: str, found: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in found:
        if name not in known:
            raise ConfigError(
                f"there is no {what} named {name!r}; there are {', '.join(known)}"
            )


def _word(app: Mapping[str, Any], name: str, known: tuple[str, ...]) -> Any:  # noqa: ANN401  # one of them
    value = app.get(name)
    if value is not None and value not in known:
        raise ConfigError(f"{name} is one of {', '.join(known)}; got {value!r}")
    return value


def remapped(keys: Sequence[Key], wanted: Mapping[str, Any]) -> tuple[Key, ...]:
    """The table of keys with other keys for the actions named.

    Raises ConfigError for a name or a key that is not known, and where a key would mean two
    things in one view.
    """
    names = {key.name for key in keys}
    for name in wanted:
        if name not in names:
            raise ConfigError(
                f"there is no action named {name!r}; lossviz-tui keys lists them all"
            )
    found = tuple(
        replace(key, keys=parse_keys(wanted[key.name])) if key.name in wanted else key
        for key in keys
    )
    _refuse_collisions(found)
    return found


def _refuse_collisions(keys: Sequence[Key]) -> None:
    for view, title in zip(VIEW_NAMES, VIEW_TITLES, strict=True):
        meanings: dict[str, str] = {}
        for key in keys:
            if view not in key.views:
                continue
            for one in filter(None, key.keys.split(",")):
                other = meanings.setdefault(one, key.name)
                if other != key.name:
                    raise ConfigError(
                        f"the key {shown_key(one)} would mean both {other} and {key.name} "
                        f"in the view {title}"
                    )


def parse_keys(value: object) -> str:
    """Keys as a person writes them, in Textual's names, with commas; empty takes them away.

    "s", "?", "f2", "ctrl+x", "shift+up", "comma", several with commas or as a list.
    """
    if isinstance(value, list):
        words = cast("list[object]", value)
    elif value in (",", " "):
        words = [value]
    elif isinstance(value, str):
        words = value.split(",") if value.strip() else []
    else:
        raise ConfigError(f"keys are a text such as 's' or 'f2,ctrl+x'; got {value!r}")
    return ",".join(dict.fromkeys(_parse_key(word) for word in words))


def _parse_key(word: object) -> str:
    if not isinstance(word, str):
        raise ConfigError(f"a key is a text such as 's'; got {word!r}")
    text = word if len(word) == 1 else word.strip()
    *modifiers, last = text.removesuffix("+").split("+") if len(text) > 1 else [text]
    last = last or "+" if text.endswith("++") else last
    last = _CHARACTERS.get(last, last)
    is_letter = len(last) == 1 and last.isascii() and last.isalnum()
    is_known = is_letter or last in _NAMED or last in PUNCTUATION
    # A terminal sends shift with a letter as the capital.
    is_possible = not (modifiers == ["shift"] and (is_letter or last in PUNCTUATION))
    if not is_known or not is_possible or not set(modifiers) <= {"ctrl", "shift", "alt"}:
        raise ConfigError(
            f"there is no key {word!r}; keys are single characters, names such as space, "
            "enter, up, f2, comma, and ctrl+x or shift+up"
        )
    key = "+".join((*modifiers, last))
    if key in _RESERVED:
        raise ConfigError(f"{key} {_RESERVED[key]} and cannot be given to anything else")
    return key
