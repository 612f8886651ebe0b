"""HDF5 files of strangers: refused in one sentence, and nothing outside of them is touched."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from lossviz_analysis.store import hdf5, hdf5_index
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.hdf5_index import describe
from lossviz_analysis.store.reference_files import read_directions, write_directions

VALUES = np.arange(4.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stranger.h5"


@pytest.fixture
def at_hand(monkeypatch):
    """The index is made in this process, which is quicker by the time of a start."""

    def index_of(_, descriptor):
        with os.fdopen(os.dup(descriptor), "rb") as raw:
            return json.loads(json.dumps(describe(h5py, raw)))

    monkeypatch.setattr(hdf5, "_index_of", index_of)


def read(path, *, max_size=4):
    """The dataset `values` of a file."""
    with hdf5.opened(path) as file:
        return file.floats("values", max_size=max_size)


@pytest.mark.usefixtures("at_hand")
@pytest.mark.parametrize("code", ["<f2", "<f4", ">f4", "<f8", ">f8"])
def test_floats_of_any_width_and_byte_order_are_read(path, code):
    with h5py.File(path, "w") as file:
        file["values"] = VALUES.astype(code)
    found = read(path)
    assert found.dtype == (np.float64 if code[2] == "8" else np.float32)
    np.testing.assert_array_equal(found, VALUES)


def soft_link(file):
    file["elsewhere"] = VALUES
    file["values"] = h5py.SoftLink("/elsewhere")


def dangling_link(file):
    file["values"] = h5py.SoftLink("/nowhere")


def external_link(file):
    file["values"] = h5py.ExternalLink("secret.h5", "/values")


def external_storage(file):
    file.create_dataset("values", (4,), "f8", external=[("secret.bin", 0, 32)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource("secret.h5", "values", (4,))
    file.create_virtual_dataset("values", layout)


def endless_virtual(file):
    layout = h5py.VirtualLayout((4,), "f8", maxshape=(None,))
    source = h5py.VirtualSource("secret.h5", "values", (4,), maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    file.create_virtual_dataset("values", layout)


def compressed(file):
    file.create_dataset("values", (2**30,), "f8", chunks=(2**20,), compression="gzip")


def objects(file):
    file.create_dataset("values", (4,), h5py.ref_dtype)


def lists(file):
    file.create_dataset("values", (4,), h5py.vlen_dtype("f8"))


def rows(file):
    file["values"] = np.zeros(4, [("a", "f8"), ("b", "S8")])


def wide_floats(file):
    file["values"] = VALUES.astype("g")


def nothing(file):
    file["values"] = h5py.Empty("f8")


def a_group(file):
    file.create_group("values")


def a_type(file):
    file["values"] = np.dtype("f8")


def declared(file):
    file.create_dataset("values", (4,), "f8")


def gigantic(file):
    file.create_dataset("values", (2**40,), "f8")


def too_many(file):
    file["values"] = np.arange(5.0)


def absent(file):
    file["value"] = VALUES


def other_floats(file):
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_ebias(100)
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"values", kind, space).write(
        h5py.h5s.ALL, h5py.h5s.ALL, VALUES.astype("f4")
    )


def compact(file):
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"values", h5py.h5t.IEEE_F64LE, space, layout).write(
        h5py.h5s.ALL, h5py.h5s.ALL, VALUES
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (soft_link, "is a link"),
        (dangling_link, "is a link"),
        (external_link, "is a link"),
        (external_storage, "in another file"),
        (virtual, "in another file"),
        (endless_virtual, "in another file"),
        (compressed, "chunked or compressed"),
        (objects, "floating-point"),
        (lists, "floating-point"),
        (rows, "floating-point"),
        (wide_floats, "floating-point"),
        (nothing, "not an array"),
        (a_group, "not an array"),
        (a_type, "not an array"),
        (declared, "declared and not written"),
        (gigantic, "declared and not written"),
        (too_many, "has 5 values, more than 4"),
        (absent, "has no values"),
        (other_floats, "floating-point"),
        (compact, "chunked"),
    ],
)
@pytest.mark.usefixtures("at_hand")
def test_what_is_no_plain_array_is_refused(path, monkeypatch, make, reason):
    monkeypatch.chdir(path.parent)
    with h5py.File("secret.h5", "w") as file:
        file["values"] = VALUES
    (path.parent / "secret.bin").write_bytes(VALUES.tobytes())
    with h5py.File(path, "w") as file:
        make(file)
    with pytest.raises(StoreError, match=reason):
        read(path)


@pytest.mark.usefixtures("at_hand")
def test_a_group_behind_a_link_is_no_group(path):
    with h5py.File(path, "w") as file:
        file["xdirection"] = h5py.ExternalLink("other.h5", "/xdirection")
    write_directions(path.with_name("other.h5"), np.zeros((1, 4)), [("a", (4,))])
    with pytest.raises(StoreError, match="xdirection is a link"):
        read_directions(path, [("a", (4,))])


@pytest.mark.usefixtures("at_hand")
def test_a_group_that_holds_itself_has_no_tensors(path):
    with h5py.File(path, "w") as file:
        group = file.create_group("xdirection")
        group["0"] = group
    with pytest.raises(StoreError, match="xdirection/0 is not an array"):
        read_directions(path, [("a", (4,))])


@pytest.mark.parametrize(
    "content",
    [np.bytes_(b"x" * 9_999), np.float64(1.0), np.zeros(3, "S4"), h5py.Empty("S4")],
)
@pytest.mark.usefixtures("at_hand")
def test_what_is_no_short_text_is_none(path, content):
    with h5py.File(path, "w") as file:
        file["name"] = content
    with hdf5.opened(path) as file:
        assert file.text("name") == ""
        assert file.text("absent") == ""


@pytest.mark.usefixtures("at_hand")
def test_a_text_is_cut_and_made_valid(path):
    with h5py.File(path, "w") as file:
        file["long"] = "ä" * 9_999
        file["broken"] = np.bytes_(b"a\xff")
    with hdf5.opened(path) as file:
        assert file.text("long") == "ä" * 4_096
        assert file.text("broken") == "a\N{REPLACEMENT CHARACTER}"


# Files that are none, each looked at in a process of its own


def test_an_honest_file_is_read(path):
    rows = np.arange(14.0, dtype="f4").reshape(2, 7)
    shapes = [("a", (2, 3)), ("b", ())]
    write_directions(path, rows, shapes)
    np.testing.assert_array_equal(read_directions(path, shapes), rows)


def test_only_regular_files_are_opened(path):
    os.mkfifo(path)
    loop = path.with_name("loop.h5")
    loop.symlink_to(loop)
    for place in (path, path.parent, loop, path.with_name("nobody.h5")):
        with pytest.raises(StoreError, match="cannot be read"):
            read(place)


def test_a_link_that_the_user_names_is_followed(path):
    with h5py.File(path, "w") as file:
        file["values"] = VALUES
    link = path.with_name("link.h5")
    link.symlink_to(path)
    np.testing.assert_array_equal(read(link), VALUES)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04" * 9])
def test_other_files_are_no_hdf5(path, content):
    path.write_bytes(content)
    with pytest.raises(StoreError, match="not an HDF5 file, or it is damaged"):
        read(path)


def test_a_file_that_is_cut_is_damaged(path):
    shapes = [("a", (4, 9)), ("b", (4,))]
    write_directions(path, np.ones((2, 40)), shapes)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(StoreError, match="damaged"):
            read_directions(path, shapes)


def test_numbers_beyond_the_end_of_the_file_are_not_read(path, monkeypatch):
    path.write_bytes(VALUES.tobytes())
    entry = {"shape": [4], "dtype": "<f8", "offset": 0}
    monkeypatch.setattr(hdf5, "_index_of", lambda *_: {"values": entry})
    np.testing.assert_array_equal(read(path), VALUES)
    entry["offset"] = 1
    with pytest.raises(StoreError, match="is damaged: values is not whole"):
        read(path)


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.abort()",
        "while True: pass",
        "raise SystemExit(1)",
        "print('[]')",
        "print('[' * 100_000)",
        "print('{')",
    ],
)
def test_a_library_that_loops_or_falls_over_takes_nothing_with_it(path, monkeypatch, code):
    path.write_bytes(b"")
    monkeypatch.setattr(hdf5, "_INDEX_COMMAND", (sys.executable, "-I", "-S", "-c", code))
    monkeypatch.setattr(hdf5, "_INDEX_SECONDS", 0.5)
    with pytest.raises(StoreError, match="not an HDF5 file, or it is damaged"):
        read(path)


def test_the_library_is_kept_within_limits():
    code = (
        "import sys, resource, types\n"
        "from lossviz_analysis.store import hdf5_index\n"
        "hdf5_index.describe = lambda *_: {n: resource.getrlimit(getattr(resource, n))[0]"
        " for n in ('RLIMIT_CPU', 'RLIMIT_AS', 'RLIMIT_CORE')}\n"
        "hdf5_index.main()"
    )
    answer = subprocess.run(
        [sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, check=True
    )
    found = json.loads(answer.stdout)
    assert 0 < found["RLIMIT_CPU"] <= hdf5_index.MAX_SECONDS
    assert 0 < found["RLIMIT_AS"] <= hdf5_index.MAX_BYTES
    assert found["RLIMIT_CORE"] == 0


def test_without_h5py_one_sentence_says_what_to_install(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    for use in (hdf5.opened, hdf5.created):
        with pytest.raises(StoreError, match=r"pip install 'lossviz-tui\[hdf5\]'"), use(path):
            pass
    assert not path.exists()
