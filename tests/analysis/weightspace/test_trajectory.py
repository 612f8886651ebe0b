"""Principal components against a dense SVD, projections against least squares."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.weightspace import trajectory
from lossviz_analysis.weightspace.trajectory import principal_components, project

few = settings(deadline=None, max_examples=60)


def walk(num_checkpoints, length=400, seed=0, dtype=torch.float64):
    """A path with a drift and noise, as training makes one."""
    rng = np.random.default_rng(seed)
    drift = rng.normal(size=length)
    rows = [rng.normal(size=length)]
    for k in range(1, num_checkpoints):
        rows.append(rows[-1] + drift / k + 0.1 * rng.normal(size=length))
    return torch.tensor(np.array(rows)).to(dtype)


def straight(num_checkpoints, dtype=torch.float64, length=400):
    rng = np.random.default_rng(5)
    start, step = rng.normal(size=length), 0.1 * rng.normal(size=length)
    times = np.sqrt(np.arange(num_checkpoints))
    return torch.tensor(start + times[:, None] * step).to(dtype)


def components_of(rows, components=(1, 2), **options):
    return principal_components(rows.__getitem__, len(rows), components=components, **options)


def slow_components(rows):
    """All right singular vectors of w_e - w_last, signs fixed, and their shares."""
    matrix = (rows - rows[-1]).double().numpy()
    _, sigma, vectors = np.linalg.svd(matrix, full_matrices=False)
    largest = np.abs(vectors).argmax(axis=1, keepdims=True)
    vectors = vectors * np.sign(np.take_along_axis(vectors, largest, axis=1))
    return vectors, sigma**2 / (sigma**2).sum()


@pytest.mark.oracle
@pytest.mark.parametrize("num_checkpoints", [3, 4, 10, 25])
@pytest.mark.parametrize("held", [1, 3, 100])
def test_components_are_those_of_the_dense_decomposition(num_checkpoints, held):
    rows = walk(num_checkpoints)
    block_bytes = (held + trajectory._PASSING) * 400 * 8
    found = components_of(rows, (1, 2), block_bytes=block_bytes)
    assert torch.equal(rows, walk(num_checkpoints))
    vectors, shares = slow_components(rows)
    np.testing.assert_allclose(found.explained, shares[:2], rtol=1e-10)
    for direction, expected in zip(found.directions, vectors, strict=False):
        np.testing.assert_allclose(direction.numpy(), expected, atol=1e-9)
        assert float(direction.norm()) == pytest.approx(1, rel=1e-14)
    assert abs(float(torch.dot(*found.directions))) < 1e-15


@pytest.mark.oracle
def test_slices_of_the_weights_do_not_matter(monkeypatch):
    rows = walk(8)
    whole = components_of(rows)
    monkeypatch.setattr(trajectory, "_SLICE", 37)
    sliced = components_of(rows)
    for a, b in zip(whole.directions, sliced.directions, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_any_components_in_any_order():
    rows = walk(9)
    vectors, shares = slow_components(rows)
    found = components_of(rows, (4, 1, 4))
    np.testing.assert_allclose(found.explained, shares[[3, 0, 3]], rtol=1e-9)
    for direction, k in zip(found.directions, (3, 0, 3), strict=True):
        np.testing.assert_allclose(direction.numpy(), vectors[k], atol=1e-7)


def test_the_plane_holds_the_last_checkpoint_and_not_the_mean():
    """Through w_last; a centred decomposition has other directions."""
    rows = walk(6)
    found = components_of(rows)
    centred = (rows - rows.mean(0)).numpy()
    theirs = np.linalg.svd(centred, full_matrices=False)[2][0]
    ours = found.directions[0].numpy()
    assert abs(float(ours @ theirs)) < 0.9999
    placed = project(rows, rows[-1], found.directions)
    np.testing.assert_allclose(placed[-1], 0, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("num_checkpoints", [2, 3, 20])
def test_a_straight_trajectory_has_one_component_that_explains_everything(
    dtype, num_checkpoints
):
    rows = straight(num_checkpoints, dtype)
    found = components_of(rows, (1,))
    assert found.explained[0] == pytest.approx(
        1, abs=1e-10 if dtype == torch.float32 else 1e-14
    )
    assert found.directions[0].dtype == dtype
    step = (rows[0] - rows[-1]).double().numpy()
    direction = found.directions[0].double().numpy()
    cosine = direction @ step / np.sqrt((direction @ direction) * (step @ step))
    assert abs(cosine) == pytest.approx(1, abs=1e-10)
    with pytest.raises(LossvizError, match="lie on one line, so there is no principal"):
        components_of(rows, (1, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_equal_checkpoints_have_no_component(dtype):
    rows = walk(1, dtype=dtype).repeat(4, 1)
    with pytest.raises(LossvizError, match="the 4 checkpoints are equal"):
        components_of(rows, (1,))


def test_more_components_than_a_trajectory_has_are_refused():
    with pytest.raises(LossvizError, match=r"extend in 3 directions, .* component 4"):
        components_of(walk(4), (1, 4))
    with pytest.raises(LossvizError, match="two checkpoints or more; this one has 1"):
        components_of(walk(1), (1,))


@pytest.mark.parametrize("where", [0, 2, 4])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_checkpoint_that_is_not_finite_is_named(where, bad):
    rows = walk(5)
    rows[where, 7] = bad
    with pytest.raises(LossvizError, match=f"checkpoint {where + 1} of the trajectory"):
        components_of(rows)
    placed = project(rows, walk(5)[-1], (walk(1, seed=3)[0],))
    assert np.isnan(placed[where]).all()
    assert np.isfinite(np.delete(placed, where, axis=0)).all()


def test_checkpoints_of_two_architectures_are_refused():
    rows = [*walk(3), torch.zeros(10, dtype=torch.float64)]
    with pytest.raises(LossvizError, match="400 parameters, the model 10"):
        principal_components(rows.__getitem__, 4)
    with pytest.raises(LossvizError, match="10 parameters, the model 400"):
        project(rows, rows[0], (rows[1],))


def test_checkpoints_are_read_one_at_a_time_and_few_are_held():
    """As many as the bytes allow, for as often as reading them again takes."""
    rows = walk(12)
    reads = []

    def read(number):
        reads.append(number)
        return rows[number].clone()

    principal_components(read, 12, block_bytes=(3 + trajectory._PASSING) * 400 * 8)
    # Blocks of 3 among 11 rows: each later row once more for every block before it.
    assert len(reads) == 1 + 11 + (8 + 5 + 2) + 11
    reads.clear()
    principal_components(read, 12)
    assert len(reads) == 1 + 11 + 11


def test_the_sign_does_not_depend_on_how_the_path_is_run_through():
    rows = walk(7)
    mirrored = 2 * rows[-1] - rows
    for a, b in zip(
        components_of(rows).directions, components_of(mirrored).directions, strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
        assert float(a[a.abs().argmax()]) > 0


@pytest.mark.oracle
@few
@given(st.integers(0, 10**6), st.floats(-0.999, 0.999), st.booleans())
def test_projections_are_those_of_least_squares(seed, cosine, is_plane):
    rows, base = walk(5, 60, seed), walk(1, 60, seed + 1)[0]
    first, other = 3 * walk(1, 60, seed + 2)[0], walk(1, 60, seed + 3)[0]
    second = cosine * first / first.norm() + (1 - cosine**2) ** 0.5 * other / other.norm()
    directions = (first, second) if is_plane else (first,)
    found = project(iter(rows), base, directions)
    matrix = torch.stack(directions, dim=1).numpy()
    for row, weights in zip(found, rows, strict=True):
        offset = (weights - base).numpy()
        expected, *_ = np.linalg.lstsq(matrix, offset, rcond=None)
        np.testing.assert_allclose(row[:-1], expected, rtol=1e-8, atol=1e-10)
        beside = offset - matrix @ expected
        assert row[-1] == pytest.approx(np.sqrt((beside**2).sum()), rel=1e-10)


def test_what_lies_on_the_plane_is_found_there():
    base, first, second = walk(3)
    found = project([base + 0.25 * first - 2 * second, base], base, (first, second))
    np.testing.assert_allclose(found, [[0.25, -2, 0], [0, 0, 0]], atol=1e-13)
    assert project([], base, (first, second)).shape == (0, 3)


def test_a_projection_is_taken_in_float64_whatever_the_weights_are():
    rows = walk(4, dtype=torch.float32)
    base, directions = rows[-1], (rows[0] - rows[-1], rows[1])
    single = project(rows, base, directions)
    double = project(rows.double(), base.double(), tuple(d.double() for d in directions))
    np.testing.assert_allclose(single, double, rtol=1e-12, atol=1e-12)


def test_parallel_directions_have_no_coordinates():
    base, first, _ = walk(3)
    with pytest.raises(LossvizError, match="parallel"):
        project([base], base, (first, -2 * first))
    with pytest.raises(ValueError, match="one or two"):
        project([base], base, (first, base, first))
