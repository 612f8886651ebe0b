"""A run read with plain Zarr and the page in schema.py, without any reader of ours."""

import json
import math
from typing import Any

import numpy as np
import pytest
import zarr

from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.scan_geometry import ScanGeometry
from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.scans import scan_folder, submit
from lossviz_analysis.store.schema import RunState, ScanState
from lossviz_analysis.store.writer import RunWriter

# Copied from the page, not imported: if these move, runs on people's disks become unreadable.
NUM_RECORDS, ATTEMPT, LATEST_CHECKPOINT, BEST_CHECKPOINT, STATE = 2, 3, 4, 5, 6
SCAN_STATE, SCAN_DONE, SCAN_TOTAL = 2, 3, 4


def plain(path) -> Any:
    """A group opened with Zarr alone; Any, as Zarr's own types cover every case at once."""
    return zarr.open_group(path, mode="r")


@pytest.fixture
def written(run, counts_of, scalars_of):
    """Three records, two checkpoints."""
    generator = np.random.default_rng(0)
    state = Checkpoint(
        epoch=2,
        step=1,
        parameters={
            "conv.weight": generator.normal(size=(4, 3, 3, 3)).astype("f4"),
            "conv.bias": generator.normal(size=4).astype("f4"),
        },
        buffers={
            "bn.running_mean": generator.normal(size=4).astype("f4"),
            "bn.num_batches_tracked": np.array(12, "i8"),
        },
        optimiser={"conv.weight.momentum": generator.normal(size=(4, 3, 3, 3)).astype("f4")},
        extra={"seed": 3, "note": "ü"},
    )
    with RunWriter(run) as writer:
        writer.commit_checkpoint(Checkpoint(epoch=0, parameters=state.parameters))
        for number in range(3):
            writer.commit_record(counts_of(number), scalars_of(number))
        writer.commit_checkpoint(state, is_best=True)
        writer.set_state(RunState.FINISHED)
    return run, state


def test_records_are_where_the_page_says(written, counts_of):
    root = plain(written[0])
    head = root["records/head"][:]
    assert head[NUM_RECORDS] == 3
    assert head[ATTEMPT] == 1
    assert head[STATE] == 4
    assert root.attrs["schema"] == "lossviz-run"
    assert root.attrs["schema_version"] == 1
    assert root.attrs["splits"] == ["train", "test"]
    assert root.attrs["class_names"] == ["class 0", "class 1", "class 2"]

    confusion = root["records/confusion"]
    assert confusion.shape == (2**24, 2, 3, 3)
    assert confusion.dtype == np.dtype("<i4")
    found = confusion[: head[NUM_RECORDS]]
    assert np.array_equal(found, np.stack([counts_of(n) for n in range(3)]))
    assert (confusion[3:5] == -1).all()

    columns = {name: k for k, name in enumerate(root.attrs["scalar_columns"])}
    scalars = root["records/scalars"][: head[NUM_RECORDS]]
    assert scalars[:, columns["epoch"]].tolist() == [1.0, 2.0, 3.0]
    assert scalars[:, columns["twice"]].tolist() == [0.0, 2.0, 4.0]
    assert np.isnan(root["records/scalars"][3:64]).all()


def test_every_chunk_is_one_file_without_folders_and_ends_in_crc32c(written):
    run, _ = written
    chunks = {str(p.relative_to(run)) for p in (run / "records").rglob("*") if p.is_file()}
    assert chunks == {
        f"records/{name}"
        for name in (
            "zarr.json",
            "head/zarr.json",
            "head/c.0",
            "scalars/zarr.json",
            "scalars/c.0.0",
            "confusion/zarr.json",
            *(f"confusion/c.{n}.0.0.0" for n in range(3)),
        )
    }
    arrays = [json.loads(p.read_bytes()) for p in run.rglob("zarr.json")]
    arrays = [document for document in arrays if document["node_type"] == "array"]
    assert len(arrays) >= 9
    for document in arrays:
        assert document["codecs"][-1]["name"] == "crc32c"
        assert document["chunk_key_encoding"]["configuration"]["separator"] == "."


def test_a_checkpoint_is_rebuilt_from_its_index(written):
    run, state = written
    root = plain(run)
    number = int(root["records/head"][BEST_CHECKPOINT])
    assert number == root["records/head"][LATEST_CHECKPOINT] == 2
    group = root[f"checkpoints/c{number:08d}"]
    assert (group.attrs["epoch"], group.attrs["step"], group.attrs["record"]) == (2, 1, 2)
    found: dict[str, dict[str, Any]] = {"parameter": {}, "buffer": {}, "optimiser": {}}
    for entry in group.attrs["index"]:
        size = math.prod(entry["shape"])
        flat = group[entry["array"]][entry["offset"] : entry["offset"] + size]
        found[entry["role"]][entry["name"]] = flat.reshape(entry["shape"])
    for role, tensors in (
        ("parameter", state.parameters),
        ("buffer", state.buffers),
        ("optimiser", state.optimiser),
    ):
        assert list(found[role]) == list(tensors)
        for name, tensor in tensors.items():
            assert np.array_equal(found[role][name], tensor)
            assert found[role][name].dtype == tensor.dtype
    # All trainable parameters are one vector, in the order of the index.
    assert np.array_equal(
        group["params_f32"][:],
        np.concatenate([tensor.ravel() for tensor in state.parameters.values()]),
    )
    assert json.loads(group["blob"][:].tobytes()) == {"seed": 3, "note": "ü"}


def test_a_scan_is_read_by_the_documented_layout(written, ask):
    run, _ = written
    c, points = 3, (5, 4)
    scan_id = submit(run, ask())
    writer = ScanWriter(scan_folder(run, scan_id))
    writer.claim()
    coordinates = (np.linspace(-0.1, 0.1, 5), np.linspace(-0.2, 0.3, 4))
    directions = np.random.default_rng(1).normal(size=(2, 112)).astype("f4")
    writer.begin(
        ScanGeometry(
            class_names=("a", "b", "c"),
            splits=("train", "test"),
            points=points,
            has_confusion=True,
            chunks={"train": 2, "test": 1},
            examples={"train": 1_200, "test": 300},
            direction_norms=(1.0, 2.0),
            weight_norm=3.0,
            cosine=0.1,
        ),
        coordinates,
        directions,
    )
    width = 1 + 5 * c + c * c
    sums = np.random.default_rng(2).normal(size=(20, 2, 2, width))
    sums[..., 0] = 1.0
    for point in range(20):
        for split in range(2):
            if (point, split) != (7, 1):  # one cell is never computed
                writer.add(point, split, sums[point, split])
    writer.finish(ScanState.DONE)

    group = plain(run / "scans" / scan_id)
    assert group["head"][SCAN_STATE] == 2
    assert group["head"][SCAN_TOTAL] == 20 * 3
    assert group["head"][SCAN_DONE] == 39 * 2
    assert group.attrs["request"]["kind"] == "ego"
    result = group["result"]
    assert np.array_equal(result["t1"][:], coordinates[0])
    assert np.array_equal(result["t2"][:], coordinates[1])
    assert np.array_equal(result["directions"][:], directions)
    assert result.attrs["splits"] == ["train", "test"]
    cells = result["cells"][:].reshape(5, 4, 2, width)
    expected = (sums[:, :, 0] + sums[:, :, 1]).reshape(5, 4, 2, width)
    assert np.isnan(cells[1, 3, 1]).all()  # point 7 of t1 slow, t2 fast
    cells[1, 3, 1] = expected[1, 3, 1]
    assert np.array_equal(cells, expected)
    assert (cells[..., 0] == 2).all()
    # Blocks of C by true class, then the confusion matrix row by row.
    seen, loss, square, mistakes, nonfinite = np.split(cells[..., 1 : 1 + 5 * c], 5, axis=-1)
    confusion = cells[..., 1 + 5 * c :].reshape(5, 4, 2, c, c)
    layout = writer_layout(c)
    for block, where in (
        (seen, layout.seen),
        (loss, layout.loss_sum),
        (square, layout.loss_square_sum),
        (mistakes, layout.mistakes),
        (nonfinite, layout.nonfinite),
        (confusion.reshape(5, 4, 2, c * c), layout.confusion),
    ):
        assert np.array_equal(block, cells[..., where])


def writer_layout(num_classes):
    geometry = ScanGeometry(
        class_names=tuple("abc"[:num_classes]),
        splits=("train",),
        points=(2,),
        has_confusion=True,
        chunks={"train": 1},
        examples={"train": 1},
        direction_norms=(1.0,),
        weight_norm=1.0,
    )
    return geometry.layout
