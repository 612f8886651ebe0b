"""Dancing notes: what each class is most often taken for, by epoch (Diao 2022, Fig. 7)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Int

from lossviz_analysis.arrays import Notes, PairCounts, PairValues, RatesByEpoch

NO_NOTE: Final = -2
"""No class interferes more than the threshold; Diao (2022, sec. 4.2) plots it at y = -2."""

NOTE_THRESHOLD: Final = 0.001
"""Interference up to this fraction makes no note: Diao's 0.1 % (2022, sec. 4.2)."""

_BLOCK_ENTRIES = 1 << 21
"""Entries copied at a time: 16 MiB of float64, two epochs of 1,000 classes."""


@dataclass(frozen=True, slots=True)
class Spell:
    """A maximal run of equal notes of one class."""

    start: int
    """Index of its first epoch."""

    stop: int
    """Index after its last epoch."""

    note: int
    """The interfering class."""


@dataclass(frozen=True, slots=True, eq=False)
class LongestSpells:
    """How long and how often each class (column) is the note of each other (row)."""

    length: PairCounts
    """Epochs in the longest spell; 0 if there is none."""

    share: PairValues
    """Domination count over the number of epochs; NaN without epochs."""


def dancing_notes(rates: RatesByEpoch, *, threshold: float = NOTE_THRESHOLD) -> Notes:
    """Name for each epoch and class the class it is most confused with (Diao 2022, sec. 4.2).

    Args:
        rates: CCTM of each epoch.
        threshold: A fraction in [0, 1]; interference must exceed it strictly to be a note.

    Returns:
        The j != i with the largest CCTM(i, j), the smaller j of equals; NO_NOTE where that
        entry does not exceed the threshold or class i has no examples.

    Raises:
        ValueError: The threshold is not a fraction.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is a fraction in [0, 1]; got {threshold!r} (percent?)")
    num_epochs, num_classes, _ = rates.shape
    notes = np.full((num_epochs, num_classes), NO_NOTE)
    diagonal = np.arange(num_classes)
    step = max(1, _BLOCK_ENTRIES // max(1, num_classes**2))
    for start in range(0, num_epochs, step):
        block = rates[start : start + step].copy()
        block[:, diagonal, diagonal] = -np.inf
        loudest = block.argmax(axis=2)  # the first of equals; of a NaN row its first entry
        rate = np.take_along_axis(block, loudest[..., None], axis=2)[..., 0]
        np.copyto(notes[start : start + step], loudest, where=rate > threshold)
    return notes


def domination_counts(notes: Notes, num_classes: int) -> PairCounts:
    """Count for each pair (i, j) the epochs at which j is the note of i.

    Args:
        notes: Dancing notes.
        num_classes: C.

    Returns:
        A C x C matrix; row i sums to the number of epochs at which class i has a note.
    """
    _check_notes(notes, num_classes)
    epoch, true_class = np.nonzero(notes != NO_NOTE)
    cells = true_class * num_classes + notes[epoch, true_class]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def longest_spells(notes: Notes, num_classes: int) -> LongestSpells:
    """Measure for each pair (i, j) the longest run of epochs at which j is the note of i.

    Args:
        notes: Dancing notes.
        num_classes: C.

    Returns:
        Longest spells and shares of epochs, C x C each.
    """
    counts = domination_counts(notes, num_classes)
    num_epochs = len(notes)
    length = np.zeros_like(counts)
    if num_epochs == 0:
        return LongestSpells(length=length, share=np.full(counts.shape, np.nan))
    # Run lengths of all classes at once, one class after the other; a new class begins a new
    # run.
    in_a_row = notes.T.ravel()
    is_start = np.empty(in_a_row.shape, dtype=bool)
    is_start[1:] = in_a_row[1:] != in_a_row[:-1]
    is_start[::num_epochs] = True
    starts = np.flatnonzero(is_start)
    run_lengths = np.diff(starts, append=in_a_row.size)
    run_notes = in_a_row[starts]
    sounds = run_notes != NO_NOTE
    pairs = (starts[sounds] // num_epochs, run_notes[sounds])
    np.maximum.at(length, pairs, run_lengths[sounds])
    return LongestSpells(length=length, share=counts / num_epochs)


def spells(notes_of_one_class: Int[np.ndarray, " epochs"]) -> tuple[Spell, ...]:
    """List the interference spells of one class: its maximal runs of equal notes.

    Args:
        notes_of_one_class: One column of the dancing notes.

    Returns:
        Spells in order of time; runs of NO_NOTE are not spells.
    """
    if not len(notes_of_one_class):
        return ()
    changes = np.flatnonzero(np.diff(notes_of_one_class)) + 1
    starts = np.append(0, changes)
    stops = np.append(changes, len(notes_of_one_class))
    notes = notes_of_one_class[starts]
    sounds = notes != NO_NOTE
    # As lists: tens of thousands of NumPy's own scalars take most of the time.
    found = (values[sounds].tolist() for values in (starts, stops, notes))
    return tuple(map(Spell, *found))


def _check_notes(notes: Notes, num_classes: int) -> None:
    if notes.shape[1] != num_classes:
        raise ValueError(
            f"expected notes of {num_classes} classes; got {notes.shape[1]} columns"
        )
    is_class = (notes >= 0) & (notes < num_classes)
    if not (is_class | (notes == NO_NOTE)).all():
        raise ValueError(f"notes are classes in 0..{num_classes - 1} or NO_NOTE ({NO_NOTE})")
