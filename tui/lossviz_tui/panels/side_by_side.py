"""Two scans in one look: planes beside one another on one scale, lines in one chart."""

from textual.strip import Strip

from lossviz_tui.paint.cells import Size, beside, blank_lines, clean_text, text_line
from lossviz_tui.panels.curve_view import curve_view
from lossviz_tui.panels.plane_view import cut_view, one_plane, point_in
from lossviz_tui.panels.scan_list import scan_name
from lossviz_tui.panels.scan_point import point_facts
from lossviz_tui.panels.scan_values import common_ends, drawn, fact_text
from lossviz_tui.panels.texts import centred, muted, stacked, strong, title_line
from lossviz_tui.scene import ScanPicture, Scene

_MIN_WIDTH = 52
_BAR_WIDTH = 11
_PROFILE_ROWS = 10
_EDGES = 8
"""Columns of a plane that its coordinates take."""
_BAR_FROM = 78
"""Cells; where there are fewer both planes are larger and without a colour bar."""


def side_by_side(
    scene: Scene, picture: ScanPicture, other: ScanPicture, size: Size
) -> list[Strip]:
    """The scan that was kept at the left, the one in focus at the right."""
    dims = {len(one.result.coordinates) for one in (picture, other)}
    alone = scene.hint("shows this one alone", "set('back')")
    if len(dims) > 1:
        sentences = ["a line and a plane have no scale in common", alone]
        return centred(size, sentences, scene.look)
    if dims == {1}:
        return curve_view(scene, picture, (other, picture), size)
    if scene.selection.mode == "cut":
        return cut_view(scene, picture, size, other=other)
    if size[0] < _MIN_WIDTH:
        sentences = [f"two planes need {_MIN_WIDTH} columns", alone]
        return centred(size, sentences, scene.look)
    return _planes(scene, picture, other, size)


def _planes(scene: Scene, picture: ScanPicture, other: ScanPicture, size: Size) -> list[Strip]:
    width, height = size
    low, high = common_ends(scene, (picture, other))
    has_bar = width >= _BAR_FROM
    half = (width - (_BAR_WIDTH if has_bar else 0) - 2) // 2
    below = 1 if scene.point is None else 3
    # Planes are square: below wide ones there is room for their profiles.
    rows = min(max(1, height - below - 1), (half - _EDGES) // 2 + 3)
    profiles = height - below - 1 - rows
    if profiles < _PROFILE_ROWS:
        rows, profiles = max(1, height - below - 1), 0
    blocks: list[list[Strip]] = []
    for one, columns in ((other, half), (picture, width - half - 2)):
        name, split = next(iter(one.result.splits.items()))
        found = drawn(split, scene.selection.quantity, one.request.clip)
        plane = one_plane(
            scene,
            one,
            found,
            (columns, rows),
            title=name,
            ends=(low, high),
            has_bar=has_bar and one is picture,
        )
        blocks.append(stacked((columns, rows + 1), [_title(scene, one, columns)], plane))
    lower = cut_view(scene, picture, (width, profiles), other=other) if profiles else []
    foot = _foot(scene, picture, other, (width, below))
    return stacked(size, beside(*blocks, gap=2), lower, foot)


def _title(scene: Scene, picture: ScanPicture, width: int) -> Strip:
    row = next((row for row in scene.scans if row.scan_id == picture.scan_id), None)
    name = picture.scan_id if row is None else scan_name(scene, row)
    text = clean_text(name, width, ascii_only=scene.look.is_ascii)
    if picture is scene.shown_picture:
        return title_line(text, width, scene.look)
    return text_line(text, width, muted(scene.look))


def _foot(scene: Scene, picture: ScanPicture, other: ScanPicture, size: Size) -> list[Strip]:
    """The values of both at the cursor, or what they have in common."""
    width, height = size
    ascii_only = scene.look.is_ascii
    if scene.point is None:
        values = scene.hint("shows values", "set('inspection_toggled')")
        alone = scene.hint("this one alone", "set('beside_toggled')", "set('back')")
        hints = ", ".join(filter(None, (values, alone)))
        words = "; ".join(filter(None, ("both on one colour scale", hints)))
        return [
            text_line(fact_text(words, width, ascii_only=ascii_only), width, muted(scene.look))
        ]
    facts = point_facts(scene, picture, scene.point)
    lines = [facts[0]]
    for side, one in (("left", other), ("right", picture)):
        point = point_in(scene, one)
        if point is not None:
            lines.append(f"{side}: {'; '.join(point_facts(scene, one, point)[1:])}")
    return [
        *(
            text_line(fact_text(line, width, ascii_only=ascii_only), width, strong(scene.look))
            for line in lines[:height]
        ),
        *blank_lines((width, height - len(lines))),
    ]
