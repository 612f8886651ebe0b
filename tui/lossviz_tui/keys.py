"""The one table of keys: bindings, footer, help and the README follow from it."""

import re
from dataclasses import dataclass

VIEW_NAMES = ("runs", "overview", "dance", "notes", "cctm", "landscape")
VIEW_TITLES = ("Runs", "Overview", "Dance", "Notes", "CCTM", "Landscape")
RUN_VIEWS = VIEW_NAMES[1:]
MAX_HELP = 31
"""Two columns of keys fit on the help screen at 80 x 24."""
EPOCH_VIEWS = ("overview", "dance", "notes", "cctm")


@dataclass(frozen=True)
class Key:
    """One thing a person can do."""

    keys: str
    """Textual's names of the keys, separated by commas."""
    action: str
    """What it does in the app; another one for each set of views, which the app asks it by."""
    label: str
    """One or two words for the footer."""
    help: str
    """At most MAX_HELP characters more, for the help screen and the palette."""
    views: tuple[str, ...] = VIEW_NAMES
    """The views where it means something."""
    in_footer: bool = False
    starts_work: bool = False
    """Not offered with --readonly."""
    writes_files: bool = False
    """Not offered with --no-export."""

    @property
    def shown(self) -> str:
        """The keys as people know them."""
        return " ".join(shown_key(key) for key in self.keys.split(","))

    @property
    def name(self) -> str:
        """What a configuration file calls it; follows from the action, which says what it does.

        "epoch-previous" of epoch(-1), "log-toggled" of set('log_toggled'), "view-dance".
        """
        found: list[str] = _WORD.findall(self.action)
        words = [word for word in found if word != "set"]
        return "-".join(_STEPS.get(word, word) for word in words).replace("_", "-")


_WORD = re.compile(r"\w+|-\d+")
_STEPS: dict[str, str] = {
    "-1": "previous",
    "1": "next",
    "-10": "ten-previous",
    "10": "ten-next",
}

PUNCTUATION: dict[str, str] = {
    "exclamation_mark": "!",
    "quotation_mark": '"',
    "number_sign": "#",
    "dollar_sign": "$",
    "percent_sign": "%",
    "ampersand": "&",
    "apostrophe": "'",
    "left_parenthesis": "(",
    "right_parenthesis": ")",
    "asterisk": "*",
    "plus": "+",
    "comma": ",",
    "minus": "-",
    "full_stop": ".",
    "slash": "/",
    "colon": ":",
    "semicolon": ";",
    "less_than_sign": "<",
    "equals_sign": "=",
    "greater_than_sign": ">",
    "question_mark": "?",
    "at": "@",
    "left_square_bracket": "[",
    "backslash": "\\",
    "right_square_bracket": "]",
    "circumflex_accent": "^",
    "underscore": "_",
    "grave_accent": "`",
    "left_curly_bracket": "{",
    "vertical_line": "|",
    "right_curly_bracket": "}",
    "tilde": "~",
}
"""Textual's names of the keys that have no letter."""


ASCII_ARROWS = str.maketrans({"↑": "up", "↓": "dn", "←": "<-", "→": "->"})


def shown_key(key: str) -> str:
    """One of Textual's names of keys as people know it."""
    return _SHOWN.get(key) or PUNCTUATION.get(key, key)


_SHOWN: dict[str, str] = {
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "question_mark": "?",
    "comma": ",",
    "full_stop": ".",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "slash": "/",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "plus": "+",
    "minus": "-",
}

KEYS: tuple[Key, ...] = (
    *(
        Key(str(number), f"view('{name}')", title, f"the view {title}")
        for number, (name, title) in enumerate(
            zip(VIEW_NAMES, VIEW_TITLES, strict=True), start=1
        )
    ),
    Key("left,h", "epoch(-1)", "Back", "one epoch back", ("overview", "dance", "notes")),
    Key("right,l", "epoch(1)", "On", "one epoch on", ("overview", "dance", "notes")),
    Key("comma", "step(-1)", "Back", "one epoch back", EPOCH_VIEWS),
    Key("full_stop", "step(1)", "On", "one epoch on", EPOCH_VIEWS),
    Key("left,h", "column(-1)", "Left", "the entry to the left", ("cctm",)),
    Key("right,l", "column(1)", "Right", "the entry to the right", ("cctm",)),
    Key("home", "first", "First", "the first epoch", EPOCH_VIEWS),
    Key("end", "set('following')", "Follow", "follow the newest epoch", EPOCH_VIEWS),
    Key("space", "hold", "Hold", "hold this epoch, or follow", EPOCH_VIEWS, in_footer=True),
    Key("space", "mark", "Mark", "mark: draw runs together", ("runs",), in_footer=True),
    Key(
        "slash", "filter_runs", "Filter", "narrow the list by typing", ("runs",), in_footer=True
    ),
    Key("up,k", "move(-1)", "Up", "the one above"),
    Key("down,j", "move(1)", "Down", "the one below"),
    Key("pageup", "move(-10)", "Up", "ten above", ("runs", "dance", "notes", "cctm")),
    Key("pagedown", "move(10)", "Down", "ten below", ("runs", "dance", "notes", "cctm")),
    Key(
        "enter",
        "open",
        "Open",
        "open it",
        ("runs", "overview", "cctm", "landscape"),
        in_footer=True,
    ),
    Key("escape", "set('back')", "Back", "follow again; then to the runs"),
    Key(
        "t",
        "set('other_split')",
        "Train/test",
        "the other split",
        ("overview", "dance", "notes", "cctm"),
        in_footer=True,
    ),
    Key("m", "set('next_smoothing')", "Smooth", "smooth the curves, or not", ("overview",)),
    Key("o", "set('other_ranking')", "Order", "pairs by rate or by score", ("dance",)),
    Key(
        "c", "classes", "Classes", "choose classes by name", ("dance", "notes"), in_footer=True
    ),
    Key("g", "set('log_toggled')", "Log", "log or linear scale", ("overview", "landscape")),
    Key("a", "set('all_toggled')", "All", "every class at once, or a few", ("notes",)),
    Key("d", "set('diagonal_toggled')", "Diagonal", "colour the diagonal", ("cctm",)),
    Key(
        "m",
        "set('next_comparison')",
        "Minus",
        "minus test, an epoch, a run",
        ("cctm",),
        in_footer=True,
    ),
    Key("b", "set('epoch_marked')", "Mark", "compare epochs with this one", ("cctm",)),
    Key("o", "set('next_order')", "Order", "by index, similarity, recall", ("cctm",)),
    Key("z", "set('next_zoom')", "Zoom", "all classes, points, numbers", ("cctm",)),
    Key("slash", "filter_classes", "Filter", "classes by part of the name", ("cctm",)),
    Key("f", "set('next_entry')", "Next", "the next largest entry", ("cctm",)),
    Key(
        "m",
        "set('next_mode')",
        "Mode",
        "plane/classes/cut/similarity",
        ("landscape",),
        in_footer=True,
    ),
    Key("v", "set('other_quantity')", "Quantity", "mistakes or cross-entropy", ("landscape",)),
    Key("o", "set('contours_toggled')", "Contours", "contour lines or none", ("landscape",)),
    Key("left,h", "aside(-1)", "Left", "cursor left, or a frame back", ("landscape",)),
    Key("right,l", "aside(1)", "Right", "cursor right, or a frame on", ("landscape",)),
    Key("comma", "frame(-1)", "Back", "a frame or curve back", ("landscape",)),
    Key("full_stop", "frame(1)", "On", "a frame or curve on", ("landscape",)),
    Key(
        "i",
        "set('inspection_toggled')",
        "Inspect",
        "a cursor with values, or none",
        ("landscape",),
        in_footer=True,
    ),
    Key("b", "set('beside_toggled')", "Beside", "keep it beside the next one", ("landscape",)),
    Key("space", "set('playing_toggled')", "Play", "play the film, or stop", ("landscape",)),
    Key("left_square_bracket", "turn(-1)", "Turn", "turn the cut left", ("landscape",)),
    Key("right_square_bracket", "turn(1)", "Turn", "turn the cut right", ("landscape",)),
    Key("s", "scan", "Scan", "ask for a scan", RUN_VIEWS, in_footer=True, starts_work=True),
    Key(
        "r",
        "resume_scan",
        "Resume",
        "go on with a scan that stopped",
        ("landscape",),
        starts_work=True,
    ),
    Key(
        "x",
        "cancel_scan",
        "Cancel",
        "cancel the scan",
        ("landscape",),
        in_footer=True,
        starts_work=True,
    ),
    Key(
        "K", "queue(-1)", "Sooner", "compute this scan sooner", ("landscape",), starts_work=True
    ),
    Key("J", "queue(1)", "Later", "compute this scan later", ("landscape",), starts_work=True),
    Key("n", "train", "New run", "start a new training", ("runs",), True, True),
    Key("p", "pause", "Pause", "pause the training, or go on", starts_work=True),
    Key("S", "stop", "Stop", "checkpoint and end the training", starts_work=True),
    Key("w", "log", "Log", "what daemon and worker printed"),
    Key("e", "export", "Export", "write this view to a file", writes_files=True),
    Key("ctrl+l", "redraw", "Redraw", "draw all of the screen again"),
    Key("question_mark", "help", "Help", "this page", in_footer=True),
    Key("q", "quit", "Quit", "leave; training and scans go on", in_footer=True),
)
