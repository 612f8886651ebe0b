"""What is in an HDF5 file on standard input, as JSON on standard output.

The library that reads HDF5 was written to be fast on honest files: a changed byte can make it
loop for ever or end the process. So it looks at files of strangers in a process of its own,
within limits, and says only where the numbers are.
"""

import importlib
import json
import os
import resource
import sys
from collections.abc import Iterator
from typing import Any, TypeAlias

MAX_MEMBERS = 200_000
MAX_TEXT = 4_096
MAX_SECONDS = 10
MAX_BYTES = 8 * 2**30
"""Of addresses; libraries reserve more of them than they use."""

Node: TypeAlias = Any
"""A group of h5py, which a file is too, or a dataset, or the library itself."""


def main() -> None:
    """Describe the file; whatever goes wrong ends the process."""
    for limit, wanted in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, MAX_SECONDS),
        (resource.RLIMIT_AS, MAX_BYTES),
    ):
        most = resource.getrlimit(limit)[1]
        value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(limit, (value, value))
    with os.fdopen(0, "rb") as raw:
        json.dump(describe(importlib.import_module("h5py"), raw), sys.stdout)


def describe(h5: Node, raw: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401  # any binary file
    """The members of a file and of its groups, two levels deep.

    Args:
        h5: The library h5py.
        raw: The file, open for reading.

    Returns:
        For each name, such as `xdirection/0`: the `count` of a group's members; or the `shape`
        of an array, with `dtype` and `offset` where it is floats that lie in the file as they
        are; or a `text`; and the `problem` with everything else.
    """
    found: dict[str, dict[str, Any]] = {}
    with h5.File(raw, "r") as file:
        for name, entry, node in _members(h5, file):
            found[name] = entry
            if "count" in entry:
                found |= {f"{name}/{inner}": e for inner, e, _ in _members(h5, node)}
    return found


def _members(h5: Node, group: Node) -> Iterator[tuple[str, dict[str, Any], Node]]:
    """What is in a group.

    Yields:
        Name, entry and node of each member; nothing of a group that has too many.
    """
    if len(group) > MAX_MEMBERS:
        return
    for name in group:
        # Only this way to ask does not follow the link.
        if group.id.links.get_info(name.encode()).type == h5.h5l.TYPE_HARD:
            node = group[name]
            yield name, _entry(h5, node), node
        else:
            yield name, {"problem": "is a link; only what is in the file itself is read"}, None


def _entry(h5: Node, node: Node) -> dict[str, Any]:
    if isinstance(node, h5.Group):
        return {"count": len(node)}
    if not isinstance(node, h5.Dataset) or node.shape is None:
        return {"problem": "is not an array"}
    if node.is_virtual or node.external:
        return {"problem": "lies in another file, which is not read"}
    text = h5.check_string_dtype(node.dtype)
    if text is not None and node.shape == () and (text.length or 0) <= MAX_TEXT:
        content: bytes = node[()]
        return {"text": content.decode("utf-8", "replace")[:MAX_TEXT]}
    # A type of the file that NumPy has not would be converted, and is not read as it lies.
    if node.dtype.kind != "f" or node.id.get_type() != h5.h5t.py_create(node.dtype):
        return {"shape": node.shape, "problem": "does not hold floating-point numbers"}
    num_bytes, offset = node.size * node.dtype.itemsize, node.id.get_offset()
    if node.chunks is not None or (offset is None and node.id.get_storage_size() > 0):
        return {"problem": "is chunked or compressed; h5repack -l CONTI -f NONE undoes that"}
    if offset is None and num_bytes > 0:
        return {"problem": "is declared and not written"}
    return {"shape": node.shape, "dtype": node.dtype.str, "offset": offset or 0}


if __name__ == "__main__":
    main()
