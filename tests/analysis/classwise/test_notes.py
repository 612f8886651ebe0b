"""Dancing notes, domination counts and spells against loops, and the laws they keep."""

import math
import time
import tracemalloc
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lossviz_analysis.classwise import notes as notes_module
from lossviz_analysis.classwise.confusion import cctm
from lossviz_analysis.classwise.notes import (
    NO_NOTE,
    NOTE_THRESHOLD,
    Spell,
    dancing_notes,
    domination_counts,
    longest_spells,
    spells,
)

histories = st.tuples(st.integers(0, 10), st.integers(2, 4)).flatmap(
    lambda size: hnp.arrays(
        np.int64, (size[0], size[1], size[1]), elements=st.integers(0, 3), fill=st.nothing()
    )
)
thresholds = st.sampled_from([0.0, NOTE_THRESHOLD, 0.25, 0.5, 1.0])
few = settings(max_examples=100, deadline=None)


def slow_notes(rates, threshold):
    notes = np.full(rates.shape[:2], NO_NOTE)
    for e, i in np.ndindex(*notes.shape):
        for j in range(rates.shape[2]):
            best = threshold if notes[e, i] == NO_NOTE else rates[e, i, notes[e, i]]
            if j != i and rates[e, i, j] > best:
                notes[e, i] = j
    return notes


@pytest.mark.oracle
@few
@given(histories, thresholds)
def test_a_note_is_the_largest_rate_beside_the_diagonal(counts, threshold):
    rates = cctm(counts)
    np.testing.assert_array_equal(
        dancing_notes(rates, threshold=threshold), slow_notes(rates, threshold)
    )


@few
@given(histories)
def test_a_note_never_names_its_own_class(counts):
    notes = dancing_notes(cctm(counts), threshold=0.0)
    assert (notes != np.arange(counts.shape[1])).all()


@few
@given(histories)
def test_notes_look_at_neither_recall_nor_scale_of_the_others(counts):
    # More examples classified correctly shrink a row's mistakes alike: the order stays.
    diagonal = np.arange(counts.shape[1])
    counts[:, diagonal, diagonal] += 1
    more = counts.copy()
    more[:, diagonal, diagonal] += 5
    np.testing.assert_array_equal(
        dancing_notes(cctm(more), threshold=0.0), dancing_notes(cctm(counts), threshold=0.0)
    )


@few
@given(histories, st.integers(1, 40))
def test_notes_do_not_depend_on_how_epochs_are_blocked(counts, entries):
    rates = cctm(counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notes_module, "_BLOCK_ENTRIES", entries)
        blocked = dancing_notes(rates)
    np.testing.assert_array_equal(blocked, slow_notes(rates, NOTE_THRESHOLD))


def test_exactly_a_tenth_of_a_percent_is_no_note():
    counts = np.array([[[4995, 5], [6, 4994]]])
    np.testing.assert_array_equal(dancing_notes(cctm(counts)), [[NO_NOTE, 0]])


def test_a_tie_goes_to_the_smaller_class():
    counts = np.array([[[6, 2, 2], [2, 6, 2], [2, 2, 6]]])
    np.testing.assert_array_equal(dancing_notes(cctm(counts)), [[1, 0, 0]])


def test_a_class_without_examples_has_no_note():
    counts = np.array([[[0, 0], [1, 1]]])
    np.testing.assert_array_equal(dancing_notes(cctm(counts), threshold=0.0), [[NO_NOTE, 0]])


def test_rates_are_left_as_they_were():
    rates = cctm(np.array([[[3, 1], [1, 3]]]))
    before = rates.copy()
    dancing_notes(rates)
    np.testing.assert_array_equal(rates, before)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, math.nan])
def test_a_threshold_in_percent_is_refused(threshold):
    with pytest.raises(ValueError, match="fraction in"):
        dancing_notes(np.zeros((1, 2, 2)), threshold=threshold)


@pytest.mark.oracle
@few
@given(histories)
def test_domination_counts_count_epochs(counts):
    notes = dancing_notes(cctm(counts))
    num_classes = counts.shape[1]
    tally = [[0] * num_classes for _ in range(num_classes)]
    for e, i in np.ndindex(*notes.shape):
        if notes[e, i] != NO_NOTE:
            tally[i][notes[e, i]] += 1
    dominations = domination_counts(notes, num_classes)
    np.testing.assert_array_equal(dominations, tally)
    np.testing.assert_array_equal(dominations.sum(axis=1), (notes != NO_NOTE).sum(axis=0))


@pytest.mark.oracle
@few
@given(st.lists(st.sampled_from([NO_NOTE, 0, 1]), max_size=12))
def test_spells_are_maximal_runs(notes):
    expected: list[Spell] = []
    start = 0
    for note, run in groupby(notes):
        stop = start + len(list(run))
        if note != NO_NOTE:
            expected.append(Spell(start, stop, note))
        start = stop
    assert spells(np.array(notes, dtype=np.int64)) == tuple(expected)


@pytest.mark.oracle
@few
@given(histories)
def test_the_longest_spell_is_the_longest_of_all_spells(counts):
    notes = dancing_notes(cctm(counts))
    num_epochs, num_classes = notes.shape
    longest = np.zeros((num_classes, num_classes), dtype=int)
    for i in range(num_classes):
        for spell in spells(notes[:, i]):
            longest[i, spell.note] = max(longest[i, spell.note], spell.stop - spell.start)
    found = longest_spells(notes, num_classes)
    np.testing.assert_array_equal(found.length, longest)
    if num_epochs:
        dominations = domination_counts(notes, num_classes)
        np.testing.assert_array_equal(found.share, dominations / num_epochs)
    else:
        assert np.isnan(found.share).all()


def test_a_spell_does_not_run_from_one_class_into_the_next():
    notes = np.array([[2, 2, NO_NOTE], [2, 2, NO_NOTE]])
    assert longest_spells(notes, 3).length.tolist() == [[0, 0, 2], [0, 0, 2], [0, 0, 0]]


def test_one_epoch_is_a_spell_of_one():
    notes = np.array([[1, NO_NOTE]])
    found = longest_spells(notes, 2)
    assert found.length.tolist() == [[0, 1], [0, 0]]
    assert found.share.tolist() == [[0.0, 1.0], [0.0, 0.0]]


def test_no_epochs_have_no_notes_and_no_spells():
    notes = dancing_notes(np.zeros((0, 3, 3)))
    assert notes.shape == (0, 3)
    assert not domination_counts(notes, 3).any()
    assert spells(notes[:, 0]) == ()


def test_notes_of_another_number_of_classes_are_refused():
    with pytest.raises(ValueError, match="expected notes of 3 classes; got 2"):
        domination_counts(np.array([[1, 0]]), 3)
    with pytest.raises(ValueError, match=r"notes are classes in 0\.\.1"):
        domination_counts(np.array([[1, 5]]), 2)


def test_a_thousand_classes_are_read_without_a_copy_of_their_history():
    rates = np.random.default_rng(0).random((10, 1000, 1000), dtype=np.float32)
    tracemalloc.start()
    started = time.monotonic()
    notes = dancing_notes(rates)
    found = longest_spells(notes, 1000)
    seconds = time.monotonic() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < rates.nbytes
    assert seconds < 10
    row = rates[7, 42].copy()
    row[42] = -1
    assert notes[7, 42] == row.argmax()
    assert found.length[42].max() >= 1
