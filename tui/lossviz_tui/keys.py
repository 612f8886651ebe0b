"""The one table of keys: bindings, footer, help and the README follow from it."""

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

    @property
    def shown(self) -> str:
        """The keys as people know them."""
        return " ".join(_SHOWN.get(key, key) for key in self.keys.split(","))


_SHOWN = {
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "question_mark": "?",
    "comma": ",",
    "full_stop": ".",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "plus": "+",
    "minus": "-",
    "slash": "/",
    "pageup": "pgup",
    "pagedown": "pgdn",
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
    Key("pageup", "move(-10)", "Up", "ten above", ("runs", "dance", "notes")),
    Key("pagedown", "move(10)", "Down", "ten below", ("runs", "dance", "notes")),
    Key("enter", "open", "Open", "open it", ("runs", "overview", "cctm"), in_footer=True),
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
        "set('next_mode')",
        "Mode",
        "plane, classes, cut, similarity",
        ("landscape",),
        in_footer=True,
    ),
    Key("v", "set('other_quantity')", "Quantity", "mistakes or cross-entropy", ("landscape",)),
    Key("o", "set('contours_toggled')", "Contours", "contour lines or none", ("landscape",)),
    Key("left,h", "frame(-1)", "Back", "a frame or curve back", ("landscape",)),
    Key("right,l", "frame(1)", "On", "a frame or curve on", ("landscape",)),
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
    Key("x", "cancel_scan", "Cancel", "cancel the scan", ("landscape",), starts_work=True),
    Key("p", "pause", "Pause", "pause the training, or go on", starts_work=True),
    Key("w", "log", "Log", "what daemon and worker printed"),
    Key("e", "export", "Export", "save this view's data to a file", RUN_VIEWS),
    Key("question_mark", "help", "Help", "this page", in_footer=True),
    Key("q", "quit", "Quit", "leave; training and scans go on", in_footer=True),
)
