"""Fields of JSON that may come from a stranger: each is checked before it is believed."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.files import read_regular

MAX_JSON_BYTES = 16 * 2**20
"""Of a file of metadata; parsed, a hostile one takes some thirty times that."""
MAX_DEPTH = 100
"""Of objects and lists within each other; whoever walks through them may recurse."""
MAX_TEXT = 4_096
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class StoreError(LossvizError):
    """A store, or a part of it, cannot be read or written as asked."""


def load_json(path: Path, limit: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: The file.
        limit: Bytes it may have.

    Returns:
        The object.

    Raises:
        StoreError: The file is absent, larger than the limit, nested deeper than
            `MAX_DEPTH`, or not a JSON object in UTF-8.
    """
    try:
        content = read_regular(path, limit + 1)
        if len(content) > limit:
            raise StoreError(f"{path} is larger than any metadata file of a run")
        # Of bytes, json would let half a character through that is not even escaped.
        parsed: object = json.loads(content.decode("utf-8-sig"))
        if content.count(b"[") + content.count(b"{") > MAX_DEPTH and _is_deep(parsed):
            raise StoreError(f"{path} is nested deeper than any metadata file of a run")
        if _SURROGATE.search(content):
            # Half a character can be neither printed nor written: it becomes a question mark.
            parsed = json.loads(json.dumps(parsed, ensure_ascii=False).encode(errors="replace"))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise StoreError(f"{path} is not valid JSON") from None
    if not isinstance(parsed, dict):
        raise StoreError(f"{path} holds no JSON object")
    return cast("dict[str, Any]", parsed)


def _is_deep(parsed: object) -> bool:
    """Whether objects and lists are nested deeper than `MAX_DEPTH`; does not recurse itself."""
    level = [parsed]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for one in level:
            if isinstance(one, dict):
                inner.extend(cast("dict[str, object]", one).values())
            elif isinstance(one, list):
                inner.extend(cast("list[object]", one))
        if not inner:
            return False
        level = inner
    return True


def attributes_of(path: Path, limit: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The attributes of the Zarr group in a folder.

    Args:
        path: The group's folder.
        limit: Bytes their file may have.

    Returns:
        Its attributes.

    Raises:
        StoreError: There is no Zarr v3 group with attributes.
    """
    document = load_json(path / "zarr.json", limit)
    found = document.get("attributes")
    if document.get("node_type") != "group" or not isinstance(found, dict):
        raise StoreError(f"{path} is not a Zarr v3 group with attributes")
    return cast("dict[str, Any]", found)


def text(fields: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A field that must be a short text.

    Args:
        fields: The object.
        name: The field.
        default: What an absent field means; None means it must be there.

    Returns:
        The text.

    Raises:
        StoreError: It is absent, no text, or longer than 4,096 characters.
    """
    found: object = fields.get(name, default)
    if not isinstance(found, str) or len(found) > MAX_TEXT:
        raise StoreError(f"field {name!r} should be a short text")
    return found


def integer(
    fields: Mapping[str, Any],
    name: str,
    *,
    low: int = 0,
    high: int = 2**62,
    default: int | None = None,
) -> int:
    """A field that must be an integer within bounds.

    Args:
        fields: The object.
        name: The field.
        low: Smallest value.
        high: Largest value.
        default: What an absent field means; None means it must be there.

    Returns:
        The integer.

    Raises:
        StoreError: It is absent, no integer, or out of bounds.
    """
    found: object = fields.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        raise StoreError(f"field {name!r} should be an integer from {low} to {high}")
    return found


def number(fields: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """A field that must be a number; NaN and infinities are let through.

    Args:
        fields: The object.
        name: The field.
        default: What an absent field means; None means it must be there.

    Returns:
        The number.

    Raises:
        StoreError: It is absent or no number.
    """
    found: object = fields.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise StoreError(f"field {name!r} should be a number")
    try:
        return float(found)
    except OverflowError:
        raise StoreError(f"field {name!r} is larger than any number of a run") from None


def texts(fields: Mapping[str, Any], name: str, *, limit: int) -> tuple[str, ...]:
    """A field that must be a list of texts; each is cut at 4,096 characters.

    Args:
        fields: The object.
        name: The field.
        limit: Largest number of texts.

    Returns:
        The texts.

    Raises:
        StoreError: It is absent, no list, too long, or holds something else.
    """
    found: object = fields.get(name)
    if not isinstance(found, list):
        raise StoreError(f"field {name!r} should be a list of texts")
    items = cast("list[object]", found)
    if len(items) > limit or not all(isinstance(item, str) for item in items):
        raise StoreError(f"field {name!r} should be a list of at most {limit} texts")
    return tuple(str(item)[:MAX_TEXT] for item in items)


def mapping(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A field that must be a JSON object; absent means empty.

    Args:
        fields: The object.
        name: The field.

    Returns:
        The inner object.

    Raises:
        StoreError: It is something else.
    """
    found: object = fields.get(name, {})
    if not isinstance(found, dict):
        raise StoreError(f"field {name!r} should be an object")
    return cast("dict[str, Any]", found)


def sequence(fields: Mapping[str, Any], name: str, *, limit: int) -> list[Any]:
    """A field that must be a list.

    Args:
        fields: The object.
        name: The field.
        limit: Largest number of items.

    Returns:
        The list.

    Raises:
        StoreError: It is absent, something else, or too long.
    """
    found: object = fields.get(name)
    if not isinstance(found, list):
        raise StoreError(f"field {name!r} should be a list")
    items = cast("list[Any]", found)
    if len(items) > limit:
        raise StoreError(f"field {name!r} should hold at most {limit} items")
    return items
