"""Unit axes at right angles, against their definition in exact fractions of float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.weightspace.orthonormal import orthonormalise, unit

few = settings(deadline=None, max_examples=100)


def vector(seed, length=50, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(length, generator=generator, dtype=torch.float64).to(dtype)


@few
@given(st.integers(0, 10**6), st.floats(-150, 150), st.floats(-150, 150))
def test_the_axes_are_orthonormal_and_span_the_plane(seed, size, other_size):
    first, second = vector(seed), vector(seed + 1)
    e1, e2 = orthonormalise(first * 10.0**size, second * 10.0**other_size)
    assert float(torch.dot(e1, e1)) == pytest.approx(1, rel=1e-14)
    assert float(torch.dot(e2, e2)) == pytest.approx(1, rel=1e-14)
    assert abs(float(torch.dot(e1, e2))) < 1e-15
    # The first keeps its direction, the second its side, and the plane stays the same.
    torch.testing.assert_close(e1, first / math.sqrt(math.fsum((first**2).tolist())))
    assert float(torch.dot(e2, second)) > 0
    rest = second - torch.dot(second, e1) * e1 - torch.dot(second, e2) * e2
    assert float(rest.norm()) < 1e-13 * float(second.norm())


@pytest.mark.parametrize("angle", [1e-3, 1e-6, 1e-10])
def test_directions_at_a_small_angle_still_give_right_angles(angle):
    first = vector(1)
    second = first + angle * vector(2)
    e1, e2 = orthonormalise(first, second)
    assert abs(float(torch.dot(e1, e2))) < 1e-15
    assert float(e2.norm()) == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize(
    ("dtype", "nudge"), [(torch.float32, 1e-8), (torch.float64, 1e-17), (torch.float64, 0.0)]
)
@pytest.mark.parametrize("factor", [1.0, -3.0, 1e-20])
def test_parallel_directions_are_refused(dtype, nudge, factor):
    first = vector(1, dtype=dtype)
    with pytest.raises(LossvizError, match="parallel"):
        orthonormalise(first, factor * (first + nudge * vector(2, dtype=dtype)))


def test_the_dtype_is_that_of_the_direction_unless_another_is_asked_for():
    first, second = vector(1, dtype=torch.float32), vector(2, dtype=torch.float32)
    assert {e.dtype for e in orthonormalise(first, second)} == {torch.float32}
    exact = orthonormalise(first, second, dtype=torch.float64)
    assert {e.dtype for e in exact} == {torch.float64}
    assert abs(float(torch.dot(*exact))) < 1e-15
    assert unit(first).dtype == torch.float32
    assert torch.equal(unit(first, dtype=torch.float64), exact[0])


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_a_unit_vector_does_not_depend_on_the_size(size):
    found = unit(torch.tensor([3.0, 0.0, -4.0], dtype=torch.float64) * size)
    torch.testing.assert_close(found, torch.tensor([0.6, 0.0, -0.8], dtype=torch.float64))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_has_no_length_is_refused(bad):
    fine = vector(1)
    broken = fine.clone()
    broken[3] = bad
    for first, second in ((broken, fine), (fine, broken)):
        with pytest.raises(LossvizError, match="not finite"):
            orthonormalise(first, second)
    with pytest.raises(LossvizError, match="is zero"):
        unit(torch.zeros(5))
    with pytest.raises(LossvizError, match="is zero"):
        orthonormalise(fine, torch.zeros_like(fine))
