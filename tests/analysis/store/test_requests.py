"""Requests: what is written is what was asked, and what cannot be asked is refused."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.requests import DirectionSpec, ScanRequest, default_points

numbers = st.integers(0, 2**62)
# Fields, not objects: type checks of objects draw from `random`, which no strategy may do.
directions = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.just("ego"),
            "normalise": st.sampled_from(["none", "model", "layer", "filter"]),
            "class_index": numbers,
            "scale_bias_and_bn": st.booleans(),
        }
    ),
    st.fixed_dictionaries(
        {"kind": st.just("gaussian"), "normalise": st.just("filter"), "seed": numbers}
    ),
    st.just({"kind": "gradient", "normalise": "none"}),
    st.fixed_dictionaries(
        {
            "kind": st.just("toward"),
            "normalise": st.just("none"),
            "toward_run": st.none() | st.text(max_size=30),
            "toward_checkpoint": numbers,
        }
    ),
)
ranges = st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)).filter(lambda r: r[0] < r[1])
axes = st.lists(st.tuples(directions, st.integers(2, 2_001), ranges), min_size=1, max_size=2)
rest = st.fixed_dictionaries(
    {
        "checkpoint": st.integers(1, 2**62),
        "epoch": numbers,
        "batch_norm": st.sampled_from(["frozen", "recompute"]),
        "split": st.sampled_from(["train", "test", "both"]),
        "examples": st.none() | st.integers(1, 2**40),
        "precision": st.sampled_from(["exact", "float64"]),
        "device": st.sampled_from(["auto", "cpu", "cuda:1"]),
    }
)


@given(axes, rest)
@settings(deadline=None)
def test_a_request_survives_json(axes, rest):
    request = ScanRequest(
        directions=tuple(DirectionSpec(**fields) for fields, _, _ in axes),
        points=tuple(points for _, points, _ in axes),
        ranges=tuple(pair for _, _, pair in axes),
        **rest,
    )
    assert ScanRequest.from_json(json.loads(json.dumps(request.to_json()))) == request


def test_what_people_call_a_request(ask):
    plane = ask()
    assert (plane.kind, plane.dims, plane.num_points) == ("ego", 2, 20)
    assert plane.classes == (2, 0)
    assert plane.splits == ("train", "test")
    assert ask(split="test").splits == ("test",)
    assert plane.to_json()["classes"] == [2, 0]


def test_default_points_are_those_of_the_papers():
    assert default_points("ego", 1) == default_points("toward", 1) == 41
    assert default_points("ego", 2) == 19
    assert default_points("gaussian", 2) == 51


EGO = DirectionSpec(kind="ego", normalise="none", class_index=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"directions": ()},
        {"directions": (EGO,)},
        {"directions": (EGO, EGO, EGO), "points": (2, 2, 2), "ranges": ((0.0, 1.0),) * 3},
        {"points": (5,)},
        {"points": (1, 4)},
        {"points": (5, 2_002)},
        {"points": (5, -3)},
        {"ranges": ((0.0, 1.0),)},
        {"ranges": ((0.0, 1.0), (1.0, 1.0))},
        {"ranges": ((0.0, 1.0), (1.0, 0.0))},
        {"ranges": ((0.0, 1.0), (0.0, math.inf))},
        {"ranges": ((-math.inf, 1.0), (0.0, 1.0))},
        {"ranges": ((math.nan, 1.0), (0.0, 1.0))},
        {"ranges": ((0.0, 2e9), (0.0, 1.0))},
        {"examples": 0},
        {"examples": -5},
    ],
)
def test_what_no_scan_can_be_is_refused_when_it_is_made(ask, changes):
    with pytest.raises(StoreError):
        ask(**changes)


@pytest.mark.parametrize("kind", ["ego", "gaussian", "toward"])
def test_a_direction_without_what_it_is_made_from_is_refused(kind):
    with pytest.raises(StoreError, match=kind):
        DirectionSpec(kind=kind, normalise="none")


def change(found, path, value):
    *parents, last = path
    for key in parents:
        found = found[key]
    if value is ...:
        del found[last]
    else:
        found[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("directions",), ...),
        (("directions",), []),
        (("directions",), ["ego", "ego"]),
        (("directions",), {"0": {}}),
        (("directions", 0, "kind"), "hessian"),
        (("directions", 0, "kind"), ["ego"]),
        (("directions", 0, "kind"), ...),
        (("directions", 0, "normalise"), "FILTER"),
        (("directions", 0, "normalise"), None),
        (("directions", 0, "class_index"), None),
        (("directions", 0, "class_index"), -1),
        (("directions", 0, "class_index"), 1.0),
        (("directions", 0, "class_index"), True),
        (("directions", 0, "seed"), "7"),
        (("directions", 0, "toward_run"), 7),
        (("directions", 0, "toward_run"), "x" * 5_000),
        (("points",), ...),
        (("points",), [5, "4"]),
        (("points",), [5, 4.0]),
        (("points",), [5, None]),
        (("points",), [5, 10**9]),
        (("points",), [5, 4, 3]),
        (("ranges",), ...),
        (("ranges",), [[0, 1]]),
        (("ranges",), [[0, 1], [0, 1, 2]]),
        (("ranges",), [[0, 1], "01"]),
        (("ranges",), [[0, 1], [0, "1"]]),
        (("ranges",), [[0, 1], [0, math.nan]]),
        (("ranges",), [[0, 1], [0, math.inf]]),
        (("ranges",), [[0, 1], [0, 10**400]]),
        (("checkpoint",), ...),
        (("checkpoint",), 0),
        (("checkpoint",), "1"),
        (("epoch",), -1),
        (("epoch",), None),
        (("batch_norm",), "FROZEN"),
        (("batch_norm",), ...),
        (("split",), "train,test"),
        (("split",), 0),
        (("examples",), 0),
        (("examples",), "all"),
        (("precision",), "float16"),
        (("precision",), ...),
        (("device",), 0),
    ],
)
def test_a_malformed_stored_request_is_a_store_error(ask, path, value):
    stored = json.loads(json.dumps(ask().to_json()))
    assert ScanRequest.from_json(stored) == ask()
    change(stored, path, value)
    with pytest.raises(StoreError):
        ScanRequest.from_json(stored)
