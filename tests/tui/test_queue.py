"""Changing the order of waiting scans: what moves past what, and how it is told."""

import pytest
from tests.tui.pilots import app_for, screen_text, tells, until

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.scan_queue import waiting
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.listing import ScanRow, moved_in_queue, with_places


@pytest.fixture
def row(ask_scan):
    def make(scan_id: str, word: str = "queued", series: str = "") -> ScanRow:
        return ScanRow(
            scan_id=scan_id,
            word=word,
            request=ask_scan(series=series),
            done=0,
            total=0,
            items_per_second=0.0,
            message="",
        )

    return make


def test_places_count_what_waits(row):
    rows = [row("a", "done"), row("b"), row("c", "running"), row("d", "interrupted"), row("e")]
    assert [r.place for r in with_places(rows, ())] == [0, 1, 0, 2, 3]
    assert [r.place for r in with_places(rows, ("e", "c", "b"))] == [0, 2, 0, 3, 1]


def test_a_scan_moves_past_one_that_waits(row):
    rows = with_places([row("a"), row("b", "running"), row("c"), row("d")], ())
    assert moved_in_queue(rows, "d", -1) == ("a", "d", "c")
    assert moved_in_queue(rows, "a", 1) == ("c", "a", "d")


def test_a_series_moves_as_a_whole_and_is_moved_past_as_a_whole(row):
    rows = with_places(
        [
            row("a"),
            row("f1", "done", "film"),
            row("f2", series="film"),
            row("f3", series="film"),
        ],
        (),
    )
    assert moved_in_queue(rows, "f1", -1) == ("f2", "f3", "a")
    assert moved_in_queue(rows, "a", 1) == ("f2", "f3", "a")


@pytest.mark.parametrize(
    ("scan_id", "step", "sentence"),
    [
        ("a", -1, "it is the next one already"),
        ("b", 1, "it is the last one already"),
        ("c", 1, "only a scan that waits"),
        ("nobody", 1, "only a scan that waits"),
    ],
)
def test_what_cannot_be_moved_is_said(row, scan_id, step, sentence):
    rows = with_places([row("a"), row("b"), row("c", "running")], ())
    with pytest.raises(StoreError, match=sentence):
        moved_in_queue(rows, scan_id, step)


@pytest.mark.parametrize("readonly", [False, True])
async def test_keys_move_the_scan_in_focus(
    make_run, make_scan, ask_scan, tmp_path, monkeypatch, readonly
):
    monkeypatch.setattr("lossviz_tui.app.POLL_SECONDS", 0.05)
    run = make_run(tmp_path / "pets.zarr")
    asked = [make_scan(run, ask_scan(points=n), state=ScanState.QUEUED) for n in (5, 7, 9)]
    app = app_for(run, readonly=readonly)

    def order() -> list[str]:
        return [scan.scan_id for scan in waiting(run)]

    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "epoch 8/12" in screen_text(app))
        await pilot.press("6")
        await until(pilot, lambda: "queued 3" in screen_text(app))
        assert ">ego cat/dog ±0.1 e2 9x9" in screen_text(app)
        await pilot.press("K")
        if readonly:
            await pilot.pause(0.1)
            assert order() == asked
            return
        await until(pilot, lambda: order() == [asked[0], asked[2], asked[1]])
        await tells(pilot, "number 2 of 3")
        await pilot.press("K", "K")
        await tells(pilot, "next one already")
        assert order() == [asked[2], asked[0], asked[1]]
        await pilot.press("J")
        await until(pilot, lambda: order() == [asked[0], asked[2], asked[1]])
        await until(pilot, lambda: "queued 2" in screen_text(app))
