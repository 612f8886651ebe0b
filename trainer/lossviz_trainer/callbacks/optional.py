"""Packages that only some users have, loaded when a callback for one of them is imported."""

import importlib
from typing import Any, TypeAlias

Foreign: TypeAlias = Any
"""An object of such a package; without it nobody can check its type."""


def load(module: str, package: str) -> Foreign:
    """A module of a package that may be absent.

    Args:
        module: Its dotted name.
        package: What to install for it.

    Returns:
        The module.

    Raises:
        ImportError: It is absent.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"this callback needs another package: `pip install {package}`"
        ) from error
