"""Targets: what a click means stays where it was painted, however lines are put together."""

from lossviz_tui.paint.cells import beside, blank_lines
from lossviz_tui.paint.targets import Lines, Target, targets_of
from lossviz_tui.panels.texts import stacked


def block(width: int, height: int) -> Lines:
    whole = Target(left=0, top=0, width=width, height=height)
    return Lines(blank_lines((width, height)), [whole])


def test_a_target_holds_its_cells_and_no_others():
    target = Target(left=2, top=1, width=3, height=2)
    held = {(x, y) for x in range(8) for y in range(5) if target.holds(x, y)}
    assert held == {(x, y) for x in (2, 3, 4) for y in (1, 2)}


def test_blocks_side_by_side_keep_their_targets():
    lines = beside(blank_lines((3, 2)), block(4, 2), block(5, 1), gap=2)
    assert [target.left for target in lines.targets] == [5, 11]
    assert [target.top for target in lines.targets] == [0, 0]


def test_blocks_on_one_another_keep_their_targets():
    lines = stacked((6, 9), blank_lines((6, 2)), block(6, 3), block(6, 1))
    assert [(target.left, target.top) for target in lines.targets] == [(0, 2), (0, 5)]
    both = stacked((20, 9), blank_lines((20, 4)), beside(block(4, 2), block(4, 2), gap=1))
    assert [(target.left, target.top) for target in both.targets] == [(0, 4), (5, 4)]


def test_plain_lines_have_no_targets():
    assert targets_of(blank_lines((3, 3))) == ()
