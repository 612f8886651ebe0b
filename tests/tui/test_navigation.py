"""What a key press does to the selection."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lossviz_analysis.classwise.dance import dance_score
from lossviz_analysis.errors import LossvizError
from lossviz_tui import navigation
from lossviz_tui.listing import RunRow, ScanRow
from lossviz_tui.navigation import (
    aside_moved,
    back,
    beside_toggled,
    cell_moved,
    classes_filtered,
    cut_turned,
    epoch_held,
    epoch_marked,
    epoch_moved,
    first_epoch,
    following,
    frame_moved,
    frame_played,
    inspection_toggled,
    moved,
    next_comparison,
    next_entry,
    next_mode,
    next_order,
    next_smoothing,
    next_zoom,
    other_quantity,
    other_ranking,
    other_split,
    pair_of_cell,
    playing_toggled,
    run_chosen,
    run_marked,
    runs_narrowed,
    view_chosen,
    wheeled,
)
from lossviz_tui.scene import Scene
from lossviz_tui.selection import (
    CLASS_ORDERS,
    COMPARISONS,
    LANDSCAPE_MODES,
    MAX_MARKS,
    NUM_ZOOMS,
    OPEN_SLOT,
    Selection,
)


@pytest.fixture
def at(make_scene):
    """A scene with a selection."""

    def go(**changes) -> Scene:
        return make_scene(selection=Selection(**changes))

    return go


def test_one_back_from_the_newest_holds_the_one_before(at):
    assert epoch_moved(at(), -1).epoch == 7
    assert epoch_moved(at(epoch=7), -1).epoch == 6


def test_one_past_the_newest_follows_again(at):
    assert epoch_moved(at(epoch=7), 1).epoch == 8
    assert epoch_moved(at(epoch=8), 1).epoch is None
    assert epoch_moved(at(), 1).epoch is None


def test_before_the_first_epoch_is_the_first(at):
    assert epoch_moved(at(epoch=1), -1).epoch == 1
    assert first_epoch(at()).epoch == 1


def test_holding_twice_follows(at):
    held = epoch_held(at())
    assert held.epoch == 8
    assert epoch_held(at(epoch=held.epoch)).epoch is None


def test_an_epoch_that_was_not_recorded_shows_the_one_before(make_scene, make_view):
    view = make_view(epochs=4)
    sparse = replace(view, epochs=view.epochs * 10)
    scene = make_scene(view=sparse, selection=Selection(epoch=25))
    assert (scene.position, scene.epoch) == (1, 20)
    assert replace(scene, selection=Selection(epoch=3)).epoch == 10


@pytest.mark.parametrize("step", [epoch_held, first_epoch, following, back, pair_of_cell])
def test_without_a_run_no_step_fails(make_scene, step):
    assert step(make_scene(view=None)).epoch is None


def test_without_a_run_no_move_fails(make_scene):
    for view in ("runs", "overview", "dance", "notes", "cctm", "landscape"):
        selection = Selection(view=view)
        assert moved(make_scene(view=None, selection=selection), 1) == selection
    assert epoch_moved(make_scene(view=None), 1).epoch is None


def test_an_empty_run_has_no_epoch_to_hold(make_scene, make_view):
    scene = make_scene(view=make_view(epochs=0))
    assert epoch_moved(scene, -1).epoch is None
    assert epoch_held(scene).epoch is None
    assert first_epoch(scene).epoch is None


def test_the_pair_stays_while_an_epoch_is_held(at):
    scene = at()
    later = replace(scene, selection=replace(scene.selection, split="train"))
    for look in (scene, later):
        pair = look.pair
        held = first_epoch(look)
        assert held.held_pair == pair
        for epoch in range(1, 9):
            there = replace(look, selection=replace(held, epoch=epoch))
            assert there.pair == pair
            assert epoch_moved(there, 1).held_pair in (pair, None)
            assert following(there).held_pair is None
    worst = {replace(scene, selection=replace(scene.selection, epoch=e)).pair for e in range(9)}
    assert len(worst) > 1  # another pair would have been in focus elsewhere


def test_down_goes_through_the_pairs_by_interference(at):
    scene = at(view="dance")
    assert scene.pair == (2, 3)
    second = moved(scene, 1)
    ranked = scene.ranked_pairs
    listed = [(pair.first, pair.second, pair.rate) for pair in scene.listed_pairs]
    assert listed == [(pair.first, pair.second, pytest.approx(pair.rate)) for pair in ranked]
    assert second.pair == (ranked[1].first, ranked[1].second)
    assert moved(replace(scene, selection=second), -1).pair == (2, 3)
    assert moved(scene, -1).pair == (2, 3)


def test_a_pair_in_the_other_order_keeps_its_place_in_the_list(at):
    scene = at(view="dance", pair=(3, 2), classes=(3, 2))
    step = moved(scene, 1)
    assert step.pair == (scene.ranked_pairs[1].first, scene.ranked_pairs[1].second)
    assert step.classes == ()


def test_within_a_chosen_set_down_goes_through_its_pairs(at):
    scene = at(view="dance", pair=(3, 2), classes=(3, 2, 1))
    assert {(p.first, p.second) for p in scene.listed_pairs} == {(2, 3), (1, 3), (1, 2)}
    step = moved(scene, 1)
    second = scene.listed_pairs[1]
    assert (step.pair, step.classes) == ((second.first, second.second), (3, 2, 1))
    assert back(replace(scene, selection=step)).classes == ()


def test_pairs_are_ranked_by_dance_score_on_request(at):
    by_rate = at(view="dance")
    scene = replace(by_rate, selection=other_ranking(by_rate))
    scores = [pair.score for pair in scene.listed_pairs]
    assert scores == sorted(scores, reverse=True)
    first = scene.listed_pairs[0]
    recall = scene.view.recall_of("test")
    assert first.score == pytest.approx(dance_score(recall, first.first, first.second))
    assert first.score == max(pair.score for pair in by_rate.listed_pairs)
    assert other_ranking(scene).ranking == "rate"


def test_with_all_notes_down_goes_through_the_classes(at):
    scene = at(view="notes", all_classes=True)
    assert moved(scene, 1).note_class == 1
    assert moved(scene, 10).note_class == 4
    assert moved(scene, -1).note_class == 0


def test_smoothing_goes_round(at):
    scene, seen = at(view="overview"), [0.0]
    assert next_smoothing(replace(scene, selection=next_smoothing(scene))).smoothing == 0
    long = replace(scene.view, scalars=np.zeros((200, 1)), epochs=np.arange(200))
    scene = replace(scene, view=long)  # of eight epochs both shares would be three
    for _ in range(3):
        scene = replace(scene, selection=next_smoothing(scene))
        seen.append(scene.selection.smoothing)
    assert seen[1] < seen[2]
    assert seen[3] == seen[0]


def test_the_cell_stays_within_the_matrix(at):
    assert cell_moved(at(cell=(0, 1)), -1, 0).cell == (0, 1)
    assert cell_moved(at(cell=(4, 4)), 1, 1).cell == (4, 4)
    assert moved(at(view="cctm", cell=(1, 1)), 1).cell == (2, 1)


def test_enter_in_the_cctm_dances_the_pair_of_the_cell(at):
    chosen = pair_of_cell(at(view="cctm", cell=(3, 1), classes=(0, 2)))
    assert (chosen.view, chosen.pair, chosen.classes) == ("dance", (3, 1), ())


def test_enter_on_the_diagonal_stays(at):
    assert pair_of_cell(at(view="cctm", cell=(2, 2))).view == "cctm"


def test_back_undoes_one_thing_at_a_time(at):
    selection = Selection(view="dance", epoch=3, pair=(0, 1))
    seen = []
    for _ in range(3):
        selection = back(at(**vars(selection)))
        seen.append((selection.view, selection.epoch, selection.pair))
    assert seen == [
        ("dance", None, (0, 1)),
        ("dance", None, None),
        ("runs", None, None),
    ]


def scan_row(number: int) -> ScanRow:
    return ScanRow(
        scan_id=f"s{number}",
        word="done",
        request=None,
        done=1,
        total=1,
        items_per_second=0.0,
        message="",
    )


def test_down_in_the_landscape_is_an_older_scan(make_scene):
    rows = tuple(scan_row(k) for k in range(3))
    scene = make_scene(scans=rows, selection=Selection(view="landscape"))
    assert scene.scan is rows[2]
    older = moved(scene, 1)
    assert older.scan_id == "s1"
    at_the_end = moved(replace(scene, selection=replace(older, scan_id="s0")), 1)
    assert at_the_end.scan_id == "s0"
    assert moved(scene, -1).scan_id == "s2"


def test_the_list_of_runs_ends_at_its_ends(make_scene, tmp_path):
    row = RunRow(
        path=tmp_path,
        word="live",
        epoch=1,
        epochs=2,
        best_test_accuracy=None,
        model="",
        dataset="",
        trend=make_scene().view.column("test_accuracy"),
        message="",
        changed=0.0,
    )
    scene = make_scene(runs=(row, row), selection=Selection(view="runs"))
    assert moved(scene, 1).run_row == 1
    assert moved(replace(scene, selection=Selection(view="runs", run_row=1)), 1).run_row == 1
    assert moved(scene, -1).run_row == 0


@pytest.mark.parametrize(
    ("toggle", "field"),
    [
        ("log_toggled", "log"),
        ("all_toggled", "all_classes"),
        ("diagonal_toggled", "color_diagonal"),
        ("contours_toggled", "contours"),
    ],
)
def test_a_switch_turned_twice_is_where_it_was(at, toggle, field):
    step = getattr(navigation, toggle)
    once = step(at())
    assert getattr(once, field) is not getattr(Selection(), field)
    assert step(at(**vars(once))) == Selection()


def test_the_other_of_two(at):
    assert other_split(at()).split == "train"
    assert other_split(at(split="train")).split == "test"
    assert other_quantity(at()).quantity == "loss"
    assert other_quantity(at(quantity="loss")).quantity == "mistakes"


def test_the_modes_go_round(at):
    seen, selection = [], Selection()
    for _ in LANDSCAPE_MODES:
        seen.append(selection.mode)
        selection = next_mode(at(mode=selection.mode))
    assert tuple(seen) == LANDSCAPE_MODES
    assert selection.mode == "plane"


def test_a_half_turn_of_the_cut_is_the_same_cut(at):
    scene = at()
    for _ in range(12):
        scene = at(cut_degrees=cut_turned(scene, 1).cut_degrees)
    assert scene.selection.cut_degrees == 135.0
    assert cut_turned(at(cut_degrees=0.0), -1).cut_degrees == 165.0


def series_of(ask_scan, *names: str) -> tuple[ScanRow, ...]:
    """A queue of scans, each in the series of that name."""
    return tuple(
        ScanRow(
            scan_id=f"{number}",
            word="done",
            request=ask_scan(series=name),
            done=1,
            total=1,
            items_per_second=0.0,
            message="",
        )
        for number, name in enumerate(names)
    )


def test_a_series_is_one_line_of_the_list(make_scene, ask_scan):
    scans = series_of(ask_scan, "", "film", "film", "film", "")
    scene = make_scene(scans=scans, selection=Selection(view="landscape"))
    assert moved(scene, 1).scan_id == "3"
    here = replace(scene, selection=Selection(view="landscape", scan_id="2"))
    assert moved(here, 1).scan_id == "0"
    assert moved(here, -1).scan_id == "4"
    assert [row.scan_id for row in here.series] == ["1", "2", "3"]


def test_frames_are_stepped_to_the_ends_and_played_round(make_scene, ask_scan):
    scans = series_of(ask_scan, "film", "film", "film", "")
    scene = make_scene(scans=scans, selection=Selection(view="landscape", scan_id="1"))
    assert frame_moved(scene, 1).scan_id == "2"
    last = replace(scene, selection=frame_moved(scene, 1))
    assert frame_moved(last, 1).scan_id == "2"
    assert frame_played(last).scan_id == "0"
    playing = replace(scene, selection=playing_toggled(scene))
    assert playing.selection.is_playing
    assert frame_played(playing).is_playing
    assert not frame_moved(playing, -1).is_playing
    assert not playing_toggled(playing).is_playing


def test_a_single_scan_has_no_frames(make_scene, ask_scan):
    scene = make_scene(
        scans=series_of(ask_scan, "", "film"),
        selection=Selection(view="landscape", scan_id="0"),
    )
    assert frame_moved(scene, 1) == scene.selection
    with pytest.raises(LossvizError, match="no film"):
        playing_toggled(scene)
    assert frame_moved(make_scene(), 1) == make_scene().selection


@pytest.mark.parametrize(
    ("step", "field", "values"),
    [
        (next_comparison, "comparison", COMPARISONS),
        (next_order, "order", CLASS_ORDERS),
        (next_zoom, "zoom", tuple(range(NUM_ZOOMS))),
    ],
)
def test_what_goes_round_comes_back(at, step, field, values):
    seen, selection = [], Selection()
    for _ in values:
        seen.append(getattr(selection, field))
        selection = step(at(**vars(selection)))
    assert tuple(seen) == values
    assert selection == Selection()


def test_in_another_order_the_cell_moves_as_the_eye_does(at):
    recalls = np.diagonal(at().view.rates("test", 7))
    order = [int(c) for c in np.argsort(-recalls, kind="stable")]
    first = at(view="cctm", order="recall", cell=(order[0], order[0]))
    assert cell_moved(first, 1, 0).cell == (order[1], order[0])
    assert cell_moved(first, 0, 3).cell == (order[0], order[3])
    assert cell_moved(first, -1, 99).cell == (order[0], order[-1])


def test_enter_opens_the_entry_that_is_read_out(at):
    off = at(view="cctm", class_filter="ca,dog", cell=(4, 3))  # the first class left called dog
    assert pair_of_cell(off).pair == (1, 3)
    assert pair_of_cell(at(view="cctm", class_filter="zebra", cell=(4, 3))).pair is None


def test_a_click_chooses_the_run_that_was_drawn_though_the_list_has_moved(listed):
    before = listed()
    paths = [row.path for row in before.shown_runs]
    moved_on = replace(before, runs=before.runs[::-1])
    for y, path in enumerate(paths):
        chosen = run_chosen(paths, moved_on, 5, y)
        assert replace(moved_on, selection=chosen).run_in_focus.path == path
    gone = replace(before, runs=before.runs[1:])
    assert run_chosen(paths, gone, 5, 0) == gone.selection


def test_a_filter_takes_the_cell_with_it(at):
    filtered = classes_filtered(at(view="cctm", cell=(3, 2)), "ca")
    assert (filtered.class_filter, filtered.cell) == ("ca", (1, 2))
    assert back(at(**vars(filtered))).class_filter == ""
    assert cell_moved(at(view="cctm", class_filter="zebra"), 1, 1).cell is None


def test_the_cursor_of_the_cctm_begins_on_the_larger_entry_of_the_pair(at):
    assert at(view="cctm").cell == (2, 3)
    assert at(view="cctm", split="train").cell in ((2, 3), (3, 2))
    assert at(view="cctm", pair=(4, 0)).cell in ((0, 4), (4, 0))
    scene = at(view="cctm", pair=(0, 4))
    rates = scene.view.rates("test", scene.position)
    assert rates[scene.cell] == max(rates[0, 4], rates[4, 0])
    assert at(cell=(1, 1)).cell == (1, 1)


def test_an_epoch_marked_is_compared_with_until_it_is_marked_again(at):
    marked = epoch_marked(at(view="cctm", epoch=3))
    assert (marked.marked_epoch, marked.comparison) == (3, "epochs")
    again = epoch_marked(at(**vars(marked)))
    assert (again.marked_epoch, again.comparison) == (None, "rates")
    assert back(at(**vars(marked))).comparison == "rates"


def test_the_largest_entries_come_one_after_the_other(at):
    scene = at(view="cctm", cell=(0, 0))
    rates = scene.view.rates("test", 7).copy()
    np.fill_diagonal(rates, -1.0)
    ranked = [divmod(int(k), 5) for k in np.argsort(-rates.ravel(), kind="stable")][:20]
    seen, selection = [], scene.selection
    for _ in range(21):
        selection = next_entry(at(**vars(selection)))
        seen.append(selection.cell)
    assert seen == [*ranked, ranked[0]]


def test_the_largest_change_may_be_a_loss(at):
    scene = at(view="cctm", comparison="epochs", cell=(0, 0))
    change = scene.view.rates("test", 7) - scene.view.rates("test", 0)
    np.fill_diagonal(change, 0.0)
    assert abs(change[next_entry(scene).cell]) == np.abs(change).max()


@pytest.fixture
def scanned(make_run, make_scan, ask_scan, scene_of_scans, tmp_path):
    """A scene of a plane of 9 x 9, or of a line of 9."""
    run = make_run(tmp_path / "pets.zarr", epochs=3)

    def build(dims=2, **selection) -> Scene:
        return scene_of_scans(run, make_scan(run, ask_scan(dims)), **selection)

    return build


def test_the_cursor_begins_at_the_model_and_goes(scanned):
    scene = scanned()
    assert inspection_toggled(scene).point == (4, 4)
    here = replace(scene, selection=inspection_toggled(scene))
    assert inspection_toggled(here).point is None
    assert back(here).point is None


def test_up_is_on_along_the_first_direction(scanned):
    scene = scanned(point=(4, 4))
    assert moved(scene, -1).point == (5, 4)
    assert moved(scene, 99).point == (0, 4)
    assert aside_moved(scene, 1).point == (4, 5)
    assert aside_moved(scene, -99).point == (4, 0)


def test_on_a_line_the_cursor_goes_aside_and_the_list_down(scanned):
    scene = scanned(1, point=(4, 4))
    assert aside_moved(scene, 3).point == (7, 7)
    assert moved(scene, 1).point == (4, 4)


def test_beyond_the_edge_of_a_surface_is_the_next_one(scanned):
    scene = scanned(mode="classes")
    order = scene.surface_order
    at_edge = replace(scene.selection, point=(2, 8), surface=order[0])
    crossed = aside_moved(replace(scene, selection=at_edge), 1)
    assert (crossed.point, crossed.surface) == ((2, 0), order[1])
    returned = aside_moved(replace(scene, selection=crossed), -1)
    assert (returned.point, returned.surface) == ((2, 8), order[0])
    last = replace(scene.selection, point=(2, 8), surface=order[-1])
    assert aside_moved(replace(scene, selection=last), 1) == last


def test_in_the_similarity_matrix_the_cursor_goes_through_the_classes(scanned):
    scene = scanned(mode="similarity", point=(4, 4))
    order = scene.surface_order
    start = replace(scene, selection=replace(scene.selection, cell=(order[0], order[1])))
    assert moved(start, 1).cell == (order[1], order[1])
    assert aside_moved(start, 1).cell == (order[0], order[2])
    assert moved(start, -1).cell == (order[0], order[1])


def test_a_scan_kept_beside_stays_until_it_is_let_go(scanned):
    scene = scanned()
    kept = beside_toggled(scene)
    assert kept.beside == scene.scan.scan_id
    assert scene.picture_beside is None
    held = replace(scene, selection=kept)
    assert held.picture_beside is None  # it is the one in focus
    assert beside_toggled(held).beside is None
    assert back(held).beside is None


def test_a_turned_cut_is_shown_until_it_is_let_go(at):
    turned = cut_turned(at(view="landscape"), 1)
    assert turned.has_cut
    assert not back(at(**vars(turned))).has_cut


def test_without_a_picture_no_cursor_moves(make_scene):
    scene = make_scene(selection=Selection(view="landscape", point=(1, 1)))
    assert scene.point is None
    assert moved(scene, 1) == scene.selection
    assert aside_moved(scene, 1) == scene.selection
    assert inspection_toggled(make_scene()).point is None
    assert beside_toggled(make_scene()).beside is None


def test_a_tab_opens_its_view_once_there_is_a_run(at, make_scene):
    assert view_chosen("cctm", at(view="dance"), 0, 0).view == "cctm"
    nothing = make_scene(view=None)
    assert view_chosen("cctm", nothing, 0, 0).view == "runs"
    assert view_chosen("runs", nothing, 0, 0).view == "runs"


def test_the_wheel_goes_through_what_the_view_is_about(at, make_scene, ask_scan):
    assert wheeled(at(view="overview"), -1).epoch == 7
    assert wheeled(at(view="cctm", cell=(1, 1)), -1).epoch == 7
    assert wheeled(at(view="cctm", cell=(1, 1), zoom=2), 1).cell == (2, 1)
    scans = series_of(ask_scan, "film", "film", "")
    film = make_scene(scans=scans, selection=Selection(view="landscape", scan_id="0"))
    assert wheeled(film, 1).scan_id == "1"
    alone = make_scene(scans=scans, selection=Selection(view="landscape", scan_id="2"))
    assert wheeled(alone, 1) == alone.selection


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 120.0, 165.0])
def test_on_a_cut_the_cursor_goes_along_it(scanned, degrees):
    scene = scanned(mode="cut", point=(4, 4), cut_degrees=degrees)
    t1, t2 = scene.shown_picture.result.coordinates
    angle = np.deg2rad(degrees)
    seen = []
    for _ in range(5):
        scene = replace(scene, selection=aside_moved(scene, 1))
        row, column = scene.selection.point
        seen.append(t1[row] * np.cos(angle) + t2[column] * np.sin(angle))
        away = abs(t1[row] * np.sin(angle) - t2[column] * np.cos(angle))
        assert away <= (t1[1] - t1[0]) / 2 + 1e-12
    assert seen[:4] == sorted(set(seen[:4]))
    assert seen[0] > 0
    assert seen[4] == seen[3]  # the edge


@pytest.fixture
def listed(make_scene):
    """A list of so many runs, every tenth of them live."""

    def build(count: int = 12, **selection) -> Scene:
        rows = tuple(
            RunRow(
                path=Path(f"/runs/cifar-{k:03}.zarr"),
                word="finished" if k % 10 else "live",
                epoch=3,
                epochs=12,
                best_test_accuracy=0.8,
                model="resnet20" if k % 2 else "vgg9",
                dataset="pets",
                trend=np.array([0.8]),
                message="",
                changed=0.0,
            )
            for k in range(count)
        )
        return make_scene(runs=rows, selection=Selection(view="runs", **selection))

    return build


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", range(12)),
        ("CIFAR-00", range(10)),
        ("live", (0, 10)),
        ("resnet 1", (1, 11)),
        ("vgg live", (0, 10)),
        ("  ", range(12)),
        ("\x1b[2J", ()),
        ("(", ()),
    ],
)
def test_every_word_of_a_filter_must_be_in_a_row(listed, text, found):
    scene = listed(run_filter=text)
    assert [row.path.stem for row in scene.shown_runs] == [f"cifar-{k:03}" for k in found]


def test_the_run_in_focus_stays_in_focus_while_the_list_narrows(listed):
    scene = listed(run_row=11)
    scene = replace(scene, selection=runs_narrowed(scene, "resnet"))
    assert (scene.selection.run_row, scene.run_in_focus.path.stem) == (5, "cifar-011")
    assert moved(scene, 1).run_row == 5
    scene = replace(scene, selection=back(scene))
    assert (scene.selection.run_filter, scene.run_in_focus.path.stem) == ("", "cifar-011")
    scene = replace(scene, selection=runs_narrowed(scene, "vgg"))
    assert scene.run_in_focus.path.stem == "cifar-000"
    nothing = replace(scene, selection=runs_narrowed(scene, "nothing"))
    assert nothing.run_in_focus is None
    assert run_marked(nothing).marks == ()


def test_a_mark_keeps_its_glyph_until_it_is_taken_away(listed):
    scene = listed()
    for row in (3, 1, 2):
        scene = replace(scene, selection=replace(scene.selection, run_row=row))
        scene = replace(scene, selection=run_marked(scene))
    slots = {mark.path.stem: mark.slot for mark in scene.selection.marks}
    assert slots == {"cifar-003": 0, "cifar-001": 1, "cifar-002": 2}
    scene = replace(scene, selection=replace(scene.selection, run_row=1))
    scene = replace(scene, selection=run_marked(scene))
    slots = {mark.path.stem: mark.slot for mark in scene.selection.marks}
    assert slots == {"cifar-003": 0, "cifar-002": 2}


def test_more_runs_than_glyphs_are_not_marked(listed):
    scene = listed()
    for row in range(MAX_MARKS):
        scene = replace(scene, selection=replace(scene.selection, run_row=row))
        scene = replace(scene, selection=run_marked(scene))
    assert OPEN_SLOT not in {mark.slot for mark in scene.selection.marks}
    scene = replace(scene, selection=replace(scene.selection, run_row=MAX_MARKS))
    with pytest.raises(LossvizError, match="7 runs are marked"):
        run_marked(scene)
