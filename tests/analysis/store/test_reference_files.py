"""The layout of Li et al.'s code, held against plain h5py and the way that code fills it."""

import json
import os
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lossviz_analysis.store import hdf5
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.hdf5_index import describe
from lossviz_analysis.store.reference_files import (
    ReferenceSurface,
    directions_path,
    read_direction,
    read_directions,
    read_surface,
    shapes_of,
    write_directions,
    write_surface,
)
from lossviz_analysis.store.scan_geometry import ScanGeometry
from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.scans import scan_folder, submit

GRIDS = [(5, 5), (4, 7), (7, 4), (1, 3), (6,)]
SHAPES = [("conv.weight", (4, 3, 2, 2)), ("conv.bias", (4,)), ("scale", ()), ("fc", (2, 5))]
NUM_VALUES = 48 + 4 + 1 + 10


@pytest.fixture(scope="module", autouse=True)
def at_hand():
    """The index is made in this process, which is quicker by the time of a start."""

    def index_of(_, descriptor):
        with os.fdopen(os.dup(descriptor), "rb") as raw:
            return json.loads(json.dumps(describe(h5py, raw)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5, "_index_of", index_of)
        yield


def plain(path, mode="r") -> Any:
    """A file as h5py opens it, which knows the type of a member only once it is read."""
    return h5py.File(path, mode)


def height(x: Any, y: Any = 0.0) -> Any:
    """Steeper in y than in x, so that a transposition shows."""
    return 1.0 + x + 10.0 * y


def axes_of(points):
    return tuple(np.linspace(0.0, 1.0 + k, n) for k, n in enumerate(points))


def surface_of(points, *, dir_file=""):
    axes = axes_of(points)
    loss = height(*np.meshgrid(*axes, indexing="ij"))
    values = {"train_loss": loss, "train_acc": 100 - loss, "test_loss": loss + 0.5}
    return ReferenceSurface(coordinates=axes, values=values, dir_file=dir_file)


def coordinates_in_order(axes):
    """Where each value of a flattened dataset is, as Li et al.'s scheduler counts them."""
    if len(axes) == 1:
        return [(x,) for x in axes[0]]
    return [(x, y) for y in axes[1] for x in axes[0]]


@pytest.mark.parametrize("points", GRIDS)
def test_plain_h5py_reads_the_documented_names_shapes_and_row_order(tmp_path, points):
    path = tmp_path / "surface.h5"
    write_surface(path, surface_of(points, dir_file="some.directions.h5"))
    axes = axes_of(points)
    with plain(path) as file:
        names = {"dir_file", "xcoordinates", "train_loss", "train_acc", "test_loss"}
        assert set(file) == (names | {"ycoordinates"} if len(points) == 2 else names)
        assert file["dir_file"].asstr()[()] == "some.directions.h5"
        for name, t in zip(("xcoordinates", "ycoordinates"), axes, strict=False):
            assert file[name].dtype == np.float64
            np.testing.assert_array_equal(file[name][:], t)
        for name, lift in (("train_loss", 0.0), ("test_loss", 0.5)):
            values = file[name]
            assert (values.dtype, values.shape, values.chunks) == (np.float64, points, None)
            for number, at in enumerate(coordinates_in_order(axes)):
                assert values[:].ravel()[number] == height(*at) + lift
        assert file["train_acc"][:].ravel()[-1] == 100 - file["train_loss"][:].ravel()[-1]


def test_on_a_square_grid_rows_are_y_and_columns_are_x(tmp_path):
    path = tmp_path / "surface.h5"
    write_surface(path, surface_of((5, 5)))
    with plain(path) as file:
        x, y, loss = (file[n][:] for n in ("xcoordinates", "ycoordinates", "train_loss"))
    # As a contour plot takes them: contour(*meshgrid(x, y), loss).
    np.testing.assert_array_equal(loss, height(*np.meshgrid(x, y)))
    assert loss[0, 4] != loss[4, 0]


def test_only_what_is_not_computed_is_minus_one(tmp_path):
    surface = surface_of((4, 3))
    surface.values["train_loss"][1, 2] = np.nan
    surface.values["train_loss"][3, 0] = np.inf
    surface.values["train_loss"][0, 1] = 0.0
    write_surface(tmp_path / "surface.h5", surface)
    with plain(tmp_path / "surface.h5") as file:
        loss = file["train_loss"][:].ravel()
    assert np.flatnonzero(loss == -1).tolist() == [2 * 4 + 1]
    assert loss[3] == np.inf
    assert loss[1 * 4 + 0] == 0.0


def test_a_surface_filled_the_way_of_their_code_is_read(tmp_path):
    x, y = axes_of((3, 5))
    with plain(tmp_path / "surface.h5", "a") as file:
        file["dir_file"] = "folder/model_300.t7_weights.h5"
        file["xcoordinates"], file["ycoordinates"] = x, y
        losses, accuracies = -np.ones((3, 5)), -np.ones((3, 5))
        xs, ys = (mesh.ravel() for mesh in np.meshgrid(x, y))
        for number in range(11):
            losses.ravel()[number] = height(xs[number], ys[number])
            accuracies.ravel()[number] = 50.0
        file["train_loss"], file["train_acc"] = losses, accuracies
    found = read_surface(tmp_path / "surface.h5")
    assert found.dir_file == "folder/model_300.t7_weights.h5"
    assert found.splits == ("train",)
    assert sorted(found.values) == ["train_acc", "train_loss"]
    for i, j in np.ndindex(3, 5):
        expected = height(x[i], y[j]) if j * 3 + i < 11 else np.nan
        np.testing.assert_equal(found.values["train_loss"][i, j], expected)


@settings(deadline=None, max_examples=30)
@given(
    points=st.lists(st.integers(1, 6), min_size=1, max_size=2).map(tuple),
    seed=st.integers(0, 2**31),
    name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
)
def test_what_is_written_is_read_back(tmp_path_factory, points, seed, name):
    path = tmp_path_factory.mktemp("surface") / "surface.h5"
    random = np.random.default_rng(seed)
    loss = random.exponential(size=points)
    loss[random.random(points) < 0.3] = np.nan
    axes = tuple(np.sort(random.normal(size=n)) for n in points)
    written = ReferenceSurface(coordinates=axes, values={"test_loss": loss}, dir_file=name)
    write_surface(path, written)
    found = read_surface(path)
    assert found.dir_file == name
    assert found.splits == ("test",)
    np.testing.assert_array_equal(found.values["test_loss"], loss)
    for mine, theirs in zip(found.coordinates, axes, strict=True):
        np.testing.assert_array_equal(mine, theirs)


# Directions


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("dims", [1, 2])
def test_plain_h5py_reads_directions_tensor_by_tensor(tmp_path, dims, dtype):
    path = tmp_path / "directions.h5"
    rows = np.random.default_rng(0).normal(size=(dims, NUM_VALUES)).astype(dtype)
    write_directions(path, rows, SHAPES)
    with plain(path) as file:
        assert list(file) == ["xdirection", "ydirection"][:dims]
        for group, row in zip(file.values(), rows, strict=True):
            assert sorted(group) == ["0", "1", "2", "3"]
            assert [group[str(k)].shape for k in range(4)] == [shape for _, shape in SHAPES]
            assert {dataset.dtype for dataset in group.values()} == {np.dtype(dtype)}
            flat = np.concatenate([group[str(k)][()].ravel() for k in range(4)])
            np.testing.assert_array_equal(flat, row)
    found = read_directions(path, SHAPES)
    assert {vector.dtype for vector in found} == {np.dtype(dtype)}
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_array_equal(read_direction(path, dims, SHAPES), rows[-1])


def test_directions_of_another_length_are_not_written(tmp_path):
    with pytest.raises(StoreError, match="have 62 values, the model has 63"):
        write_directions(tmp_path / "d.h5", np.zeros((1, 62)), SHAPES)
    assert not list(tmp_path.iterdir())


class Block(nn.Module):
    """A module whose own tensors come before those of its children."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.register_buffer("seen", torch.zeros(4))
        self.conv = nn.Conv2d(4, 4, 3, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.plain = nn.BatchNorm2d(4, affine=False)
        self.shift = nn.Conv2d(4, 4, 1)


def state_dict_model():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        Block(),
        nn.BatchNorm2d(4),
        nn.Linear(4, 2),
    )
    parameters = {name: p.detach().numpy() for name, p in model.named_parameters()}
    buffers = {name: b.numpy() for name, b in model.named_buffers()}
    return model, parameters, buffers


@pytest.mark.parametrize("with_counters", [True, False])
def test_of_a_state_dict_the_parameters_are_taken(tmp_path, with_counters):
    model, parameters, buffers = state_dict_model()
    with plain(tmp_path / "d.h5", "w") as file:
        group = file.create_group("xdirection")
        # Each value says whose it is.
        tags = {name: k for k, name in enumerate(model.state_dict())}
        kept = [n for n in tags if with_counters or not n.endswith("num_batches_tracked")]
        for number, name in enumerate(kept):
            tensor = model.state_dict()[name]
            group[str(number)] = np.full(tensor.shape, tags[name], tensor.numpy().dtype)
    (found,) = read_directions(tmp_path / "d.h5", shapes_of(parameters), shapes_of(buffers))
    expected = [np.full(p.size, tags[name]) for name, p in parameters.items()]
    np.testing.assert_array_equal(found, np.concatenate(expected))


def test_a_state_dict_with_two_readings_is_refused(tmp_path):
    shapes, buffers = [("a.weight", (3,)), ("c.weight", (3,))], [("b.mean", (3,))]
    write_directions(tmp_path / "d.h5", np.zeros((1, 9), "f4"), [*shapes, *buffers])
    with pytest.raises(StoreError, match=r"tensor 0 may be a\.weight or b\.mean"):
        read_directions(tmp_path / "d.h5", shapes, buffers)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda group: group.__delitem__("3"), "has 3 tensors, the model has 4 parameters"),
        (lambda group: group.move("3", "5"), "has no xdirection/3"),
        (
            lambda group: replace(group, "1", np.zeros(5)),
            r"tensor 1 of shape \(5,\) where the ",
        ),
        (lambda group: replace(group, "1", np.zeros(4, int)), "floating-point"),
        (lambda group: replace(group, "1", np.full(4, np.nan)), "not finite"),
        (lambda group: replace(group, "1", np.zeros(4, "c8")), "floating-point"),
    ],
)
def test_directions_that_do_not_fit_are_refused(tmp_path, change, reason):
    path = tmp_path / "d.h5"
    write_directions(path, np.zeros((1, NUM_VALUES), "f4"), SHAPES)
    assert len(read_directions(path, SHAPES)) == 1
    with plain(path, "a") as file:
        change(file["xdirection"])
    with pytest.raises(StoreError, match=reason):
        read_directions(path, SHAPES)


def replace(group, name, values):
    del group[name]
    group[name] = values


def test_a_file_of_the_other_kind_is_refused(tmp_path):
    write_surface(tmp_path / "s.h5", surface_of((3,)))
    write_directions(tmp_path / "d.h5", np.zeros((1, NUM_VALUES)), SHAPES)
    with pytest.raises(StoreError, match="no xdirection"):
        read_directions(tmp_path / "s.h5", SHAPES)
    with pytest.raises(StoreError, match="no surface"):
        read_surface(tmp_path / "d.h5")


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("xcoordinates", np.zeros((2, 2)), "no list of numbers"),
        ("xcoordinates", np.array([0.0, np.inf]), "no list of numbers"),
        ("xcoordinates", np.zeros(0), "no list of numbers"),
        ("xcoordinates", np.zeros(2_002), "more than 2001"),
        ("train_loss", np.zeros((4, 3)), r"train_loss is \(4, 3\), expected \(3, 4\)"),
        ("train_loss", np.zeros((3, 4), "i4"), "floating-point"),
    ],
)
def test_a_surface_that_does_not_fit_together_is_refused(tmp_path, name, values, reason):
    path = tmp_path / "s.h5"
    write_surface(path, surface_of((3, 4)))
    assert read_surface(path).splits == ("train", "test")
    with plain(path, "a") as file:
        replace(file, name, values)
    with pytest.raises(StoreError, match=reason):
        read_surface(path)


# Directions of our own scans


@pytest.fixture
def scan(run, ask):
    """The folder of a scan with two directions of seven values."""
    writer = ScanWriter(scan_folder(run, submit(run, ask())))
    writer.claim()
    geometry = ScanGeometry(
        class_names=("a", "b", "c"),
        splits=("train", "test"),
        points=(5, 4),
        has_confusion=True,
        chunks={"train": 3, "test": 1},
        examples={"train": 30, "test": 10},
        direction_norms=(1.0, 2.0),
        weight_norm=3.0,
    )
    rows = np.arange(14, dtype="f4").reshape(2, 7)
    writer.begin(geometry, axes_of((5, 4)), rows)
    writer.release()
    return writer.folder


def test_the_directions_of_a_scan_are_read_from_its_folder(scan):
    shapes = [("a", (2, 3)), ("b", ())]
    np.testing.assert_array_equal(read_direction(scan, 1, shapes), np.arange(7.0))
    np.testing.assert_array_equal(read_direction(scan, 2, shapes), np.arange(7.0, 14.0))
    for component in (0, 3):
        with pytest.raises(StoreError, match=f"no direction {component}; it has 2"):
            read_direction(scan, component, shapes)
    with pytest.raises(StoreError, match="have 7 values, the model has 8"):
        read_direction(scan, 1, [("a", (8,))])


def test_folders_that_are_no_scans_have_no_directions(run, ask, tmp_path):
    waiting = scan_folder(run, submit(run, ask()))
    for folder in (tmp_path, run, waiting, run / "scans"):
        with pytest.raises(StoreError, match="not the folder of a scan"):
            read_direction(folder, 1, SHAPES)


def test_directions_lie_beside_their_surface(tmp_path):
    assert directions_path(tmp_path / "a.b.h5") == tmp_path / "a.b.directions.h5"
