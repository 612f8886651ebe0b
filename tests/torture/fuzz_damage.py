"""Ways to damage a run on disk, each the work of a bad disk, a bad copy, or a stranger."""

import json
import math
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np

Damage = Callable[[random.Random, Path, Path], str]
"""Damages a run with the dice given, may leave links to a folder outside; says what it did."""

NASTY_TEXTS = (
    "",
    "\x1b[31mred\x1b[0m\x07",
    "\x1b]0;title\x07\x1b[2J",
    "\x9b31m\x85\x90",
    "line\nline\r\tend",
    "\u202egnp.exe\u2066",
    "\x00\x7f",
    "猫🐈\u200d⬛",
    "[bold red]x[/]",
    "a" * 300,
    "x" * 5_000,
    "../../../etc/passwd",
    "\ud800",
    "%s{0}{x}",
)
HUGE = (10**9, 2**31, 2**53, 2**62, 2**63, 2**64, 10**18, 10**300, 10**400)
NUMBERS: tuple[Any, ...] = (
    0,
    -1,
    1,
    2,
    3,
    7,
    65_536,
    *HUGE,
    -(2**63),
    0.5,
    -0.0,
    1e-320,
    1e308,
    math.nan,
    math.inf,
    -math.inf,
)
ODD: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"a": {"b": []}}, [math.nan])
SPLICES = (
    "[" * 50 + "]" * 50,
    "[" * 90 + "]" * 90,
    "[" * 700 + "]" * 700,
    "[" * 990 + "]" * 990,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 5_000 + "1" + "}" * 5_000,
    "1" * 4_000,
    "1" * 6_000,
    "-1e999",
    '"' + "y" * 2_000_000 + '"',
    "[" + "0," * 300_000 + "0]",
    "nul",
    '"\\ud800"',
    "01",
    "",
)


def damage(dice: random.Random, run: Path, outside: Path) -> list[str]:
    """Damage a run once to three times; what was done."""
    done: list[str] = []
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        kind = dice.choice(KINDS)
        try:
            done.append(f"{kind.__name__}: {kind(dice, run, outside)}")
        except (
            OSError,
            KeyError,
            IndexError,
            TypeError,
            ValueError,
            RecursionError,
            MemoryError,
        ) as error:
            # An earlier damage left nothing for this one to work on.
            done.append(f"{kind.__name__} did not apply: {type(error).__name__}")
    return done


def _files(run: Path) -> list[Path]:
    return sorted(
        path
        for path in run.rglob("*")
        if not path.is_symlink() and path.is_file() and path.stat().st_size < 2**24
    )


def _one_file(dice: random.Random, run: Path, suffix: str = "") -> Path:
    """A file, each kind of file as likely as the others."""
    groups: dict[str, list[Path]] = {}
    for path in _files(run):
        if path.name.endswith(suffix):
            kind = re.sub(
                r"c\.[\d.]+|\d[^/]*-[a-z]+-\w+|c\d{8}", "*", str(path.relative_to(run))
            )
            groups.setdefault(kind, []).append(path)
    return dice.choice(groups[dice.choice(sorted(groups))])


def _one_chunk(dice: random.Random, run: Path) -> Path:
    chunks = [path for path in _files(run) if path.name.startswith("c.")]
    groups: dict[str, list[Path]] = {}
    for path in chunks:
        groups.setdefault(path.parent.name, []).append(path)
    return dice.choice(groups[dice.choice(sorted(groups))])


def _load(path: Path) -> Any:
    """A JSON file, unless an earlier damage blew it up."""
    if not path.is_file() or path.stat().st_size >= 2**24:
        raise ValueError(f"{path} is no file of metadata")
    return json.loads(path.read_bytes())


def _said(run: Path, path: Path, what: str) -> str:
    return f"{path.relative_to(run)} {what}"


def bytes_flipped(dice: random.Random, run: Path, _outside: Path) -> str:
    path = _one_file(dice, run)
    content = bytearray(path.read_bytes())
    for _ in range(dice.choice((1, 1, 3, 20))):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)
    return _said(run, path, "has flipped bits")


def cut_or_grown(dice: random.Random, run: Path, _outside: Path) -> str:
    path = _one_file(dice, run)
    content = path.read_bytes()
    if dice.random() < 0.5:
        content = content[: dice.randrange(len(content) + 1)]
    else:
        content += dice.randbytes(dice.choice((1, 4, 100, 100_000)))
    path.write_bytes(content)
    return _said(run, path, f"is {len(content)} bytes long")


def two_swapped(dice: random.Random, run: Path, _outside: Path) -> str:
    one, other = _one_file(dice, run), _one_file(dice, run)
    if dice.random() < 0.5:  # two of the same name fit each other better
        other = dice.choice([path for path in _files(run) if path.name == one.name])
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    if dice.random() < 0.5:
        other.write_bytes(first)
    return _said(run, one, f"is {other.relative_to(run)}")


def deleted(dice: random.Random, run: Path, _outside: Path) -> str:
    path = _one_file(dice, run)
    if dice.random() < 0.3:
        path = path.parent if path.parent != run else path
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return _said(run, path, "is gone")


def became_something_else(dice: random.Random, run: Path, outside: Path) -> str:
    path = _one_file(dice, run)
    is_folder = dice.random() < 0.3 and path.parent != run
    if is_folder:
        path = path.parent
    moved = outside / f"moved-{path.name}"
    path.rename(moved)
    what = dice.choice(("folder", "pipe", "link", "link", "link", "loop", "nothing", "device"))
    match what:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            target = dice.choice(
                (
                    moved,
                    moved,
                    outside / "secret",
                    outside,
                    run,
                    Path("/dev/zero"),
                    Path("gone"),
                )
            )
            path.symlink_to(target)
            what = f"link to {target.name}"
        case "loop":
            path.symlink_to(path)
        case "nothing":
            path.write_bytes(b"")
        case _:
            path.symlink_to("/dev/tty" if dice.random() < 0.5 else "/proc/self/mem")
    return _said(run, path, f"became a {what}")


def became_huge(dice: random.Random, run: Path, _outside: Path) -> str:
    path = _one_file(dice, run)
    size = dice.choice((33 * 2**20, 3 * 2**30, 2**40))
    if dice.random() < 0.5:
        path.write_bytes(b"")
    with path.open("r+b") as file:
        file.truncate(size)
    return _said(run, path, f"is {size} bytes of holes")


def _holes(folder: str, names: list[str]) -> list[str]:
    """Files that `became_huge` made, which a copy would fill with real zeros."""
    paths = {name: Path(folder, name) for name in names}
    return [
        name
        for name, path in paths.items()
        if path.is_fifo()
        or (path.is_file() and not path.is_symlink() and path.stat().st_size >= 2**24)
    ]


def folder_copied(dice: random.Random, run: Path, _outside: Path) -> str:
    where = run / dice.choice(("checkpoints", "scans"))
    source = dice.choice(sorted(path for path in where.iterdir() if path.is_dir()))
    many = dice.choice((1, 1, 1, 150))
    for number in range(many):
        name = (
            dice.choice(("c00000002", f"c{90_000_000 + number}", "c1", f"c{10**20 + number}"))
            if where.name == "checkpoints"
            else dice.choice((f"2{number}{source.name}", f"{number}\x1b[31m", f"{number} \n x"))
        )
        shutil.copytree(source, where / name, dirs_exist_ok=True, symlinks=True, ignore=_holes)
    return _said(run, source, f"is there {many} times more")


def _nodes(document: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON document: its container and its key."""
    found: list[tuple[Any, Any]] = []
    stack = [document]
    while stack:
        node = stack.pop()
        if isinstance(node, dict | list):
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            found += [(node, key) for key in keys]
            stack += [node[key] for key in keys]
    return found


def json_altered(dice: random.Random, run: Path, _outside: Path) -> str:
    path = _one_file(dice, run, "zarr.json")
    document = _load(path)
    splice, told = None, ""
    for _ in range(dice.choice((1, 1, 2, 6))):
        nodes = _nodes(document)
        names = sorted({str(key) for _, key in nodes})
        # By name first: a list of a thousand numbers is not to take all the blows.
        wanted = dice.choice(names)
        parent, key = dice.choice([node for node in nodes if str(node[1]) == wanted])
        match dice.randrange(7):
            case 0 if isinstance(parent, dict):
                del parent[key]
                value: Any = "nothing"
            case 1 if isinstance(parent[key], list):
                value = parent[key] = parent[key] * dice.choice((0, 2, 1_000))
            case 2:
                splice = dice.choice(SPLICES)
                value = parent[key] = "@splice@"
            case 3:
                value = parent[key] = dice.choice(ODD)
            case 4:
                value = parent[key] = dice.choice(NASTY_TEXTS)
            case 5 if isinstance(parent, dict):
                value = parent[dice.choice(NASTY_TEXTS)] = parent[key]
            case _:
                value = parent[key] = dice.choice(NUMBERS)
        told += f" {key}={value!r:.40}"
    text = json.dumps(document)
    if splice is not None:
        text = text.replace('"@splice@"', splice)
    path.write_text(text)
    return _said(run, path, f"says{told}{'' if splice is None else f' {splice[:20]}'}")


def array_redeclared(dice: random.Random, run: Path, _outside: Path) -> str:
    arrays = [
        path
        for path in _files(run)
        if path.name == "zarr.json" and b'"shape"' in path.read_bytes()[:4_096]
    ]
    path = dice.choice(arrays)
    document = _load(path)
    shape, grid = document["shape"], document["chunk_grid"]["configuration"]
    changes: dict[str, tuple[Any, ...]] = {
        "shape": (
            [10**9, 10**9],
            [10**9] * len(shape),
            [*shape[:-1], 10**6],
            [10**7, *shape[1:]],
            [0, *shape[1:]],
            [],
            [-1],
            [2**63] * len(shape),
        ),
        "chunk_shape": (
            [1] * len(shape),
            [10**9] * len(shape),
            [0] * len(shape),
            [*grid["chunk_shape"][:-1], 1],
            [2 * n for n in grid["chunk_shape"]],
            [],
        ),
        "data_type": ("float16", "complex128", "int8", "r16", "string", {"name": "struct"}),
        "codecs": (
            [{"name": "bytes"}],
            [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}],
            [{"name": "bytes"}, {"name": "gzip", "configuration": {}}, {"name": "crc32c"}],
            [{"name": "bytes"}, {"name": "blosc"}, {"name": "crc32c"}],
            [{"name": "bytes"}, {"name": "crc32c"}],
            [{"name": "numcodecs.pickle"}],
            [{"name": "sharding_indexed", "configuration": {"chunk_shape": [1]}}],
            [],
        ),
        "chunk_key_encoding": (
            {"name": "default", "configuration": {"separator": "/"}},
            {"name": "v2", "configuration": {"separator": "."}},
            {"name": "default", "configuration": {"separator": "/../"}},
            "default",
        ),
        "fill_value": (1, "plenty", None, [1], math.nan),
        "zarr_format": (2, 4, "3"),
        "node_type": ("group", None),
    }
    name = dice.choice(sorted(changes))
    value = dice.choice(changes[name])
    if name == "chunk_shape":
        grid[name] = value
    else:
        document[name] = value
        if name == "shape" and dice.random() < 0.3:
            grid["chunk_shape"] = value
    path.write_text(json.dumps(document))
    return _said(run, path, f"declares {name} {value!r:.60}")


def _with_checksum(body: bytes) -> bytes:
    return body + google_crc32c.value(body).to_bytes(4, "little")


def head_absurd(dice: random.Random, run: Path, _outside: Path) -> str:
    heads = [path for path in _files(run) if path.parent.name == "head" and path.name == "c.0"]
    path = run / "records" / "head" / "c.0"
    if dice.random() < 0.3 or path not in heads:
        path = dice.choice(heads)
    slots = np.frombuffer(path.read_bytes()[:128], "<i8").copy()
    told: list[str] = []
    for _ in range(dice.choice((1, 1, 2, 5))):
        slot = dice.choice((*range(1, 9), *range(1, 9), 0, dice.randrange(16)))
        slots[slot] = value = dice.choice(
            (
                *(-1, 0, 1, 2, 3, 4, 5, 6, 7, 99, 11, 65, 300, 65_536, 2**24, 2**24 + 1),
                *(2**31, 2**53, 2**62, 2**63 - 1, -(2**63)),
            )
        )
        told.append(f"{slot}={value}")
    path.write_bytes(_with_checksum(slots.tobytes()))
    return _said(run, path, f"says {', '.join(told)}")


def _is_packed(path: Path) -> tuple[dict[str, Any], bool]:
    document = _load(path.parent / "zarr.json")
    return document, len(document["codecs"]) == 3


def chunk_hostile(dice: random.Random, run: Path, _outside: Path) -> str:
    path = _one_chunk(dice, run)
    body = bytearray(path.read_bytes()[:-4])
    _, is_packed = _is_packed(path)
    what = dice.choice(("header", "header", "cut", "noise", "bomb"))
    if what == "header" and is_packed and len(body) >= 16:
        at = dice.choice((0, 1, 2, 3, 4, 8, 12))
        if at < 4:
            body[at] = dice.choice((0, 1, 2, 5, 16, 33, 127, 255))
        else:
            value = dice.choice((0, 1, len(body), 10**6, 2**31 - 1, 2**31, 2**32 - 1))
            body[at : at + 4] = value.to_bytes(4, "little")
        what = f"header byte {at}"
    elif what == "cut":
        body = body[: dice.randrange(len(body) + 1)]
    elif what == "bomb":
        zeros = bytes(dice.choice((2**20, 2**27)))
        body = bytearray(numcodecs.blosc.compress(zeros, b"zstd", 3, 1))
        if dice.random() < 0.5:  # as if it were as long as it should be
            body[4:8] = (len(body) * 10).to_bytes(4, "little")
    else:
        start = dice.choice((0, 16, 32))
        body[start:] = dice.randbytes(max(0, len(body) - start))
    path.write_bytes(_with_checksum(bytes(body)))
    return _said(run, path, f"is hostile: {what}")


def values_absurd(dice: random.Random, run: Path, _outside: Path) -> str:
    path = _one_chunk(dice, run)
    document, is_packed = _is_packed(path)
    body = path.read_bytes()[:-4]
    try:
        flat = np.frombuffer(numcodecs.blosc.decompress(body) if is_packed else body, np.uint8)
    except RuntimeError:
        return _said(run, path, "is damaged already")
    values = flat.copy().view(np.dtype(document["data_type"]))
    chunk_shape = document["chunk_grid"]["configuration"]["chunk_shape"]
    pool: tuple[float, ...] = (0, 1, 2, 3, 50, 127)
    if values.dtype.kind == "i":
        pool += (-1, int(np.iinfo(values.dtype).max), int(np.iinfo(values.dtype).min))
    elif values.dtype.kind == "f":
        pool += (-1, 0.5, 1e9, 2.0**31, 1e-30, -5e-324, math.nan, math.inf, -math.inf)
        pool += () if values.dtype.itemsize < 8 else (1e18, 1e300, -1e300)
    which = dice.choice(("all", "one", "some", "column", "reversed", "shuffled"))
    value = dice.choice(pool)
    match which:
        case "all":
            values[:] = value
        case "one":
            values[dice.randrange(values.size)] = value
        case "some":
            for _ in range(dice.choice((3, 30, 300))):
                values[dice.randrange(values.size)] = dice.choice(pool)
        case "column":
            last = values.reshape(-1, chunk_shape[-1])
            last[:, dice.randrange(last.shape[1])] = value
        case "reversed":
            values = values[::-1].copy()
        case _:
            np.random.default_rng(dice.randrange(2**30)).shuffle(values)
    body = values.tobytes()
    if is_packed:
        body = numcodecs.blosc.compress(body, b"lz4", 5, 2, 0)
    path.write_bytes(_with_checksum(body))
    return _said(run, path, f"has values changed: {which} {value!r}")


def many_classes(dice: random.Random, run: Path, _outside: Path) -> str:
    """A description that fits its arrays and says much more than there is."""
    many = dice.choice((1, 2, 11, 100, 1_000, 10_000, 10_001))
    path = run / "zarr.json"
    document = _load(path)
    document["attributes"]["class_names"] = [
        dice.choice(NASTY_TEXTS) if dice.random() < 0.3 else f"class {k}" for k in range(many)
    ]
    path.write_text(json.dumps(document))
    if dice.random() < 0.7:
        path = run / "records" / "confusion" / "zarr.json"
        document = _load(path)
        document["shape"][2:] = [many, many]
        document["chunk_grid"]["configuration"]["chunk_shape"][2:] = [many, many]
        path.write_text(json.dumps(document))
        if many <= 1_000:
            counts = np.full((2, many, many), dice.choice((0, 1, 2**31 - 1)), "<i4")
            body = _with_checksum(numcodecs.blosc.compress(counts.tobytes(), b"zstd", 3, 2, 0))
            for chunk in path.parent.glob("c.*"):
                chunk.write_bytes(body)
    return _said(run, path, f"has {many} classes")


def request_altered(dice: random.Random, run: Path, _outside: Path) -> str:
    """A scan whose request says something else that a request may say."""
    scans = sorted((run / "scans").glob("*/zarr.json"))
    path = dice.choice(scans)
    document = _load(path)
    request = document["attributes"]["request"]
    name, value = dice.choice(
        (
            ("points", [2_001] * len(request["points"])),
            ("points", [2] * len(request["points"])),
            ("ranges", [[-1e9, 1e9]] * len(request["ranges"])),
            ("ranges", [[0.0, 5e-324]] * len(request["ranges"])),
            ("split", "test"),
            ("split", "both"),
            ("checkpoint", 2**62),
            ("epoch", 2**62),
            ("examples", 2**62),
            ("class_index", 2**62),
            ("class_index", 10),
            ("kind", "toward"),
            ("device", "\x1b[31m"),
            ("toward_run", "\x1b]0;x\x07"),
        )
    )
    if name in request:
        request[name] = value
    for direction in request["directions"]:
        if name in direction:
            direction[name] = value
            direction.setdefault("toward_checkpoint", 1)
    path.write_text(json.dumps(document))
    result = path.parent / "result" / "zarr.json"
    if name == "points" and result.exists() and dice.random() < 0.7:
        _declare_points(dice, result, document["attributes"]["request"]["points"])
    return _said(run, path, f"asks for {name} {value!r:.40}")


def _declare_points(dice: random.Random, result: Path, points: list[int]) -> None:
    """Let a result be of as many points, with nothing computed for most of them."""
    document = _load(result)
    document["attributes"]["points"] = points
    document["attributes"]["has_confusion"] = dice.random() < 0.5
    width = 1 + 5 * len(document["attributes"]["class_names"])
    result.write_text(json.dumps(document))
    cells = result.parent / "cells" / "zarr.json"
    document = _load(cells)
    document["shape"] = [math.prod(points), document["shape"][1], width]
    document["chunk_grid"]["configuration"]["chunk_shape"] = [
        dice.choice((1, 3_000)),
        document["shape"][1],
        width,
    ]
    cells.write_text(json.dumps(document))
    for name, many in zip(("t1", "t2"), points, strict=False):
        axis = result.parent / name / "zarr.json"
        document = _load(axis)
        document["shape"] = document["chunk_grid"]["configuration"]["chunk_shape"] = [many]
        axis.write_text(json.dumps(document))
        body = np.linspace(-1, 1, many).tobytes()
        (result.parent / name / "c.0").write_bytes(_with_checksum(body))


def text_nasty(dice: random.Random, run: Path, _outside: Path) -> str:
    name = dice.choice(("message.txt", "train.log", ".writer.lock", "control"))
    folders = [run, *sorted((run / "scans").glob("2*"))]
    path = dice.choice(folders) / name
    text = dice.choice((*NASTY_TEXTS, '{"host": "\x1b[2J", "pid": 1e400}', '{"pid": []}', "[]"))
    path.write_bytes((text * dice.choice((1, 1, 1_000))).encode(errors="surrogatepass"))
    return _said(run, path, f"says {text!r:.40}")


KINDS: tuple[Damage, ...] = (
    bytes_flipped,
    cut_or_grown,
    two_swapped,
    deleted,
    became_something_else,
    became_something_else,
    became_huge,
    folder_copied,
    json_altered,
    json_altered,
    json_altered,
    array_redeclared,
    array_redeclared,
    head_absurd,
    head_absurd,
    chunk_hostile,
    chunk_hostile,
    values_absurd,
    values_absurd,
    many_classes,
    request_altered,
    text_nasty,
)
