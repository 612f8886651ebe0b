"""The search for a span on curves whose answer is known."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lossviz_analysis.surfaces.span import find_span, pleasant

CENTRE, CHANCE = 0.1, 0.9
HALF_WAY = 0.5
PLEASANT = {1.0, 1.5, 2.0, 3.0, 5.0, 7.0}
few = settings(deadline=None, max_examples=150)


def rising(half_ways, power=2.0):
    """Mistakes that are half-way at a known coordinate of each arm: axis by axis, + then -."""

    def probe(axis, t):
        x = abs(t) / half_ways[2 * axis + (t < 0)]
        return CENTRE + (CHANCE - CENTRE) * (1 - 2.0 ** -(x**power))

    return probe


def constant(rate):
    def probe(_axis, _t):
        return rate

    return probe


def search(probe, *, dims=2, start=0.1, centre=CENTRE, **options):
    return find_span(probe, centre=centre, chance=CHANCE, dims=dims, start=start, **options)


arms = st.floats(-4, 1).map(lambda e: 10.0**e)


@few
@given(st.lists(arms, min_size=4, max_size=4), st.sampled_from([0.5, 1.0, 2.0, 4.0]))
def test_the_span_is_where_the_steepest_arm_is_half_way(half_ways, power):
    found = search(rising(half_ways, power))
    steepest = min(half_ways)
    assert found.outcome == "found"
    assert found.bracket is not None
    low, high = found.bracket
    assert low <= steepest * (1 + 1e-9)
    assert steepest <= high * (1 + 1e-9)
    assert high / low < 1.34
    # A third for the bracket's middle and for rounding to a pleasant number.
    assert found.span == pytest.approx(steepest, rel=0.5)


@few
@given(st.lists(arms, min_size=2, max_size=2), st.integers(-3, 2))
def test_a_line_has_two_arms(half_ways, decade):
    found = search(rising(half_ways), dims=1, start=10.0**decade)
    assert found.span == pytest.approx(min(half_ways), rel=0.5)
    assert {probe.axis for probe in found.probes} == {0}


@pytest.mark.parametrize("arm", range(4))
def test_each_of_the_four_arms_can_be_the_one(arm):
    half_ways = [1.0] * 4
    half_ways[arm] = 0.03
    found = search(rising(half_ways))
    assert found.span == 0.03
    assert found.describe().startswith("span 0.03 after")


@pytest.mark.parametrize("steepest", [0.012, 0.05, 0.1, 0.3, 0.9])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 1, 2), (2, 3, 0, 1), (1, 2, 3, 0)])
def test_about_a_dozen_probes_are_enough_where_the_start_is_within_a_decade(steepest, order):
    half_ways = [steepest * factor for factor in (1, 2, 1.3, 5)]
    found = search(rising([half_ways[k] for k in order]))
    assert found.outcome == "found"
    assert len(found.probes) <= 16


def test_the_probes_are_those_that_were_asked_for():
    asked = []

    def probe(axis, t):
        asked.append((axis, t, rising([0.2] * 4)(axis, t)))
        return asked[-1][2]

    found = search(probe)
    assert [(p.axis, p.coordinate, p.mistake_rate) for p in found.probes] == asked
    assert all(t != 0 for _, t, _ in asked)


@few
@given(
    st.dictionaries(st.integers(0, 400), st.floats(0, 1) | st.just(math.nan)),
    st.integers(4, 30),
    st.integers(1, 2),
)
def test_whatever_the_curve_the_answer_is_positive_and_the_probes_are_counted(
    table, max_probes, dims
):
    """Neither monotone nor continuous, and not always a number."""

    def probe(axis, t):
        return table.get(hash((axis, t)) % 401, 0.3)

    found = search(probe, dims=dims, max_probes=max_probes)
    assert len(found.probes) <= max_probes
    assert 1e-8 < found.span < 1e8
    if found.bracket is not None:
        low, high = found.bracket
        rates = {abs(p.coordinate): [] for p in found.probes}
        for p in found.probes:
            rates[abs(p.coordinate)].append(p.mistake_rate)
        assert any(not rate < HALF_WAY for rate in rates[high])
        assert any(rate < HALF_WAY for rate in rates[low])


def test_a_flat_model_gets_the_widest_span_tried_and_says_so():
    found = search(constant(CENTRE))
    assert found.outcome == "flat"
    assert found.span == max(abs(p.coordinate) for p in found.probes)
    assert found.span >= 1e3
    assert "widest tried" in found.describe()


@pytest.mark.parametrize("rate", [1.0, math.nan, math.inf])
def test_where_every_probe_is_bad_the_span_is_the_narrowest_tried(rate):
    found = search(constant(rate))
    assert found.outcome == "steep"
    assert found.span == pytest.approx(min(abs(p.coordinate) for p in found.probes))
    assert len(found.probes) < 10
    assert "narrowest tried" in found.describe()


def test_what_is_not_finite_lies_beyond_half_way():
    def probe(_axis, t):
        return math.nan if abs(t) > 0.02 else CENTRE

    assert search(probe).span == 0.02


@pytest.mark.parametrize("centre", [0.89, 0.9, 0.95, 1.0, math.nan])
def test_a_model_at_chance_keeps_the_span_it_was_given(centre):
    found = search(rising([0.5] * 4), start=0.123, centre=centre)
    assert (found.span, found.outcome, found.probes) == (0.123, "at chance", ())
    assert "as given" in found.describe()


def test_out_of_probes_the_bracket_is_what_is_known():
    found = search(rising([0.02, 5, 5, 5]), start=1.0, max_probes=4)
    assert [p.coordinate for p in found.probes] == pytest.approx([1, 0.1, 0.01, 0.1**1.5])
    assert found.bracket == pytest.approx((0.01, 0.1**1.5))
    assert found.span == 0.02


@pytest.mark.parametrize("options", [{"start": 0.0}, {"start": math.inf}, {"max_probes": 3}])
def test_a_search_that_cannot_begin_is_refused(options):
    with pytest.raises(ValueError, match="start is positive"):
        search(rising([1.0] * 4), **options)


@few
@given(st.floats(1e-9, 1e9))
def test_a_pleasant_number_has_few_digits_and_is_near(value):
    found = pleasant(value)
    digits = f"{found:e}"
    mantissa, _ = digits.split("e")
    assert float(mantissa) in PLEASANT
    assert abs(math.log(found / value)) <= math.log(5 / 3) / 2 + 1e-9
    assert pleasant(found) == found


def test_pleasant_numbers_are_the_literals():
    assert [pleasant(v) for v in (0.029, 0.14, 0.95, 9.9, 640.0)] == [0.03, 0.15, 1, 10, 700]


@few
@given(st.floats(0.011, 0.09), st.floats(0.2, 5))
def test_the_rule_scales_with_the_direction(half_way, factor):
    """A direction of another length has its span at the same point of weight space."""
    one = search(rising([half_way] * 4))
    other = search(rising([half_way * factor] * 4))
    assume(one.outcome == other.outcome == "found")
    assert other.span / one.span == pytest.approx(factor, rel=0.9)
