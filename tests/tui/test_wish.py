"""The words a scan is asked for with, and sentences about those that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossviz_analysis.errors import LossvizError
from lossviz_tui.wish import (
    DirectionWish,
    FilmWish,
    ScanWish,
    direction_wish,
    film_wish,
    normalise_wish,
    points_wish,
    ranges_wish,
    span_wish,
    with_kind,
)


def test_a_direction_is_a_kind_and_what_it_is_made_from():
    assert direction_wish("gradient") == DirectionWish(kind="gradient")
    assert direction_wish("gaussian:3") == DirectionWish(kind="gaussian", argument="3")
    toward = direction_wish("toward:runs/a.zarr:20")
    assert toward == DirectionWish(kind="toward", argument="runs/a.zarr:20")


@given(st.integers(2, 99), st.integers(2, 99))
def test_points_and_spans_are_one_or_two(one, other):
    assert points_wish(f"{one}") == (one,)
    assert points_wish(f"{one}x{other}") == (one, other)
    assert span_wish(f"{one / 8}x{other}") == (one / 8, float(other))


def test_a_span_may_be_left_to_the_scan():
    assert span_wish("auto") == "auto"


@given(st.floats(-9, 9), st.floats(-9, 9))
def test_a_range_has_two_ends(low, high):
    assert ranges_wish(f"{low!r}..{high!r}") == ((low, high),)
    assert ranges_wish(f"{low!r}..{high!r},-1..2") == ((low, high), (-1.0, 2.0))


def test_a_film_is_from_one_epoch_to_another():
    assert film_wish("5..20") == FilmWish(first=5, last=20)
    assert film_wish("..") == FilmWish()
    assert film_wish("3..:10") == FilmWish(first=3, step=10)


def test_one_normalisation_or_two():
    assert normalise_wish("model") == ("model",)
    assert normalise_wish("layer, none") == ("layer", "none")


@pytest.mark.parametrize(
    ("parse", "text", "sentence"),
    [
        (direction_wish, "hessian", "one of ego, gaussian, .*; got 'hessian'"),
        (direction_wish, "", "got ''"),
        (points_wish, "many", "points is N or NxM; got 'many'"),
        (points_wish, "3x4x5", "points is N or NxM"),
        (points_wish, "3.5", "points is N or NxM"),
        (span_wish, "wide", "span is S, SxS or auto; got 'wide'"),
        (ranges_wish, "1", "range is LOW..HIGH"),
        (ranges_wish, "a..b", "range is LOW..HIGH"),
        (ranges_wish, "0..1,", "range is LOW..HIGH"),
        (ranges_wish, "0..1,0..1,0..1", "range is LOW..HIGH"),
        (film_wish, "5", "film is FIRST..LAST"),
        (film_wish, "1..2:0", "film is FIRST..LAST"),
        (film_wish, "²..3", "film is FIRST..LAST"),
        (normalise_wish, "unit", "one of none, model, layer, filter"),
        (normalise_wish, "none,none,none", "or two with a comma"),
    ],
)
def test_what_is_no_wish_is_answered_with_a_sentence(parse, text, sentence):
    with pytest.raises(LossvizError, match=sentence):
        parse(text)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("ego:cat", "classes", ("cat",)),
        ("gaussian:4", "seed", 4),
        ("toward:a.zarr:2", "toward", "a.zarr:2"),
        ("pca:3", "component", 3),
        ("file:x.h5:2", "file", "x.h5:2"),
    ],
)
def test_a_kind_may_bring_its_argument(text, name, value):
    wish = with_kind(ScanWish(), text)
    assert wish.kind == text.partition(":")[0]
    assert getattr(wish, name) == value


@pytest.mark.parametrize(
    ("wish", "text", "sentence"),
    [
        (ScanWish(classes=("dog",)), "ego:cat", "says already what another option says"),
        (ScanWish(toward="3"), "toward:4", "says already"),
        (ScanWish(), "gradient:1", "gradient takes no argument; got '1'"),
        (ScanWish(), "pca:first", "pca takes a whole number; got 'first'"),
        (ScanWish(), "gaussian:-1", "gaussian takes a whole number"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused(wish, text, sentence):
    with pytest.raises(LossvizError, match=sentence):
        with_kind(wish, text)
