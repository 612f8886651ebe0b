"""How little is sent for what happens; `tests.benchmarks.budgets` prints all of it."""

import statistics

import pytest
from tests.terminal import traffic
from tests.terminal.traffic import KB, Size

pytestmark = pytest.mark.slow

TICK_BYTES, EPOCH_BYTES, ROW_BYTES, PLANE_BYTES = 200, 10 * KB, 4 * KB, 40 * KB


def test_a_quiet_run_sends_its_age_and_a_tick_is_small(tmp_path):
    idle, shares = traffic.tick_frames(tmp_path, Size(120, 30), seconds=3.0)
    assert 1 <= len(idle) <= 4
    assert traffic.largest(idle) <= TICK_BYTES
    assert len(shares) >= 3
    assert traffic.largest(shares) <= TICK_BYTES


def test_a_new_epoch_on_dance_sends_what_moved(tmp_path):
    assert traffic.epoch_bytes(tmp_path, Size(120, 30), num_epochs=2) <= EPOCH_BYTES


def test_a_row_of_a_scan_is_cheap_and_the_whole_plane_is_affordable(tmp_path):
    row, whole = traffic.plane_bytes(tmp_path, Size(120, 40), num_rows=2)
    assert row <= ROW_BYTES
    assert 5 * KB <= whole <= PLANE_BYTES


def test_keys_are_answered_on_a_slow_line_while_much_happens(tmp_path):
    """The benchmark holds it to 0.3 s; a busy machine is given more."""
    for seconds in traffic.echoes(tmp_path, Size(120, 30), num_keys=3).values():
        assert statistics.median(seconds) < 2.0
