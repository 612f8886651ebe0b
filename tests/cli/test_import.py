"""Surfaces of Li et al.'s code become scans of the same grid and directions."""

import h5py
import numpy as np
import pytest

from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.reference_files import (
    ReferenceSurface,
    read_direction,
    shapes_of,
    write_directions,
    write_surface,
)
from lossviz_analysis.store.scans import ScanReader, find_scans, submit
from lossviz_analysis.store.schema import FIXED_COLUMNS
from lossviz_analysis.store.writer import RunWriter
from lossviz_tui.cli import import_surface

PARAMETERS = {"a.weight": np.ones((2, 3), "f4"), "a.bias": np.ones(2, "f4")}
BUFFERS = {"b.running_mean": np.zeros(2, "f4")}
ROWS = np.arange(16, dtype="f4").reshape(2, 8)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with checkpoints after epochs 1 and 2; its scans wait for ever."""
    path = tmp_path / "some.zarr"
    description = RunDescription(
        run_id="9b2e8f0e-6f4c-4a68-8f5b-3d1d6b9a0c11",
        created_at="2025-01-02T03:04:05Z",
        class_names=("cat", "dog"),
        scalar_columns=FIXED_COLUMNS,
        model={"name": "mlp"},
        recipe={"epochs": 2},
    )
    create_run(path, description)
    with RunWriter(path) as writer:
        for epoch in (1, 2):
            writer.commit_record(np.ones((2, 2, 2), np.int32), {"epoch": float(epoch)})
            content = Checkpoint(epoch=epoch, parameters=PARAMETERS, buffers=BUFFERS)
            writer.commit_checkpoint(content)
    monkeypatch.setattr(import_surface, "request_scan", submit)
    return path


def write(path, *, points=(3, 5), splits=("train",), dir_file="d.h5", rows=ROWS):
    axes = tuple(np.linspace(-1.0, 1.0 + k, n) for k, n in enumerate(points))
    values = {f"{split}_loss": np.ones(points) for split in splits}
    write_surface(path, ReferenceSurface(coordinates=axes, values=values, dir_file=dir_file))
    write_directions(path.with_name("d.h5"), rows, shapes_of(PARAMETERS))
    return path


@pytest.mark.parametrize(
    ("points", "splits", "split"),
    [
        ((3, 5), ("train",), "train"),
        ((4, 4), ("train", "test"), "both"),
        ((7,), ("test",), "test"),
        ((7,), (), "train"),
    ],
)
def test_a_surface_becomes_a_scan_of_its_grid(run, cli, tmp_path, points, splits, split):
    file = write(tmp_path / "s.h5", points=points, splits=splits, dir_file="far/away/d.h5")
    found = cli("import", file, "--into", run)
    assert (found.code, found.err) == (0, "")
    request = ScanReader(run, found.out.strip()).request
    assert (request.points, request.split, request.epoch) == (points, split, 2)
    assert request.ranges == ((-1.0, 1.0), (-1.0, 2.0))[: len(points)]
    assert {d.kind for d in request.directions} == {"file"}
    assert {d.normalise for d in request.directions} == {"none"}
    for direction, row in zip(request.directions, ROWS, strict=False):
        assert direction.file == str(tmp_path / "d.h5")
        found = read_direction(
            tmp_path / "d.h5", direction.component or 0, shapes_of(PARAMETERS)
        )
        np.testing.assert_array_equal(found, row)


def test_directions_and_checkpoint_can_be_named(run, cli, tmp_path, monkeypatch):
    file = write(tmp_path / "s.h5", dir_file="")
    monkeypatch.chdir(tmp_path)
    words = ("--into", run, "--directions", "d.h5", "--checkpoint", 1)
    found = cli("import", file, *words)
    assert found.code == 0, found.err
    request = ScanReader(run, found.out.strip()).request
    assert request.epoch == 1
    assert {d.file for d in request.directions} == {str(tmp_path / "d.h5")}


def uneven(path):
    with h5py.File(path, "a") as file:
        del file["xcoordinates"]
        file["xcoordinates"] = np.array([-1.0, 0.1, 1.0])


def descending(path):
    with h5py.File(path, "a") as file:
        del file["xcoordinates"]
        file["xcoordinates"] = np.array([1.0, 0.0, -1.0])


def without_directions(path):
    path.with_name("d.h5").unlink()


def of_a_link(path):
    write(path, dir_file="../elsewhere.h5")


def with_one_direction(path):
    write(path, rows=ROWS[:1])


def of_another_model(path):
    write_directions(path.with_name("d.h5"), ROWS, [("a", (8,))])


def damaged(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (uneven, "ascend in even steps; got 3 from -1 to 1"),
        (descending, "ascend in even steps"),
        (without_directions, "not beside it; name it with --directions"),
        (of_a_link, "not beside it"),
        (with_one_direction, "has 1 direction, the surface has 2"),
        (of_another_model, "has 1 tensors, the model has 2 parameters and 1 buffers"),
        (damaged, "not an HDF5 file, or it is damaged"),
    ],
)
def test_a_surface_that_cannot_be_scanned_is_refused(run, cli, tmp_path, change, reason):
    change(write(tmp_path / "s.h5"))
    found = cli("import", tmp_path / "s.h5", "--into", run)
    assert found.code == 1
    assert reason in found.err
    assert len(found.err.splitlines()) == 1
    assert not find_scans(run)


def test_a_point_is_no_surface(run, cli, tmp_path):
    found = cli("import", write(tmp_path / "s.h5", points=(1,)), "--into", run)
    assert "ascend in even steps; got 1" in found.err
