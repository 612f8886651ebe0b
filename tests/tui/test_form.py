"""Forms: values are stepped through or typed, and every field is reached on a small screen."""

import pytest
from textual.app import App
from textual.events import Key, Paste

from lossviz_tui.screens.form import Field, Form, end_of

LABELS = tuple(f"field {number}" for number in range(14))


class Order(Form[dict[str, object]]):
    """Fourteen fields; the first takes text, the second numbers."""

    def __init__(self, *, ascii_only: bool = False) -> None:
        super().__init__(ascii_only=ascii_only)
        kinds = {0: "text", 1: "number"}
        self.fields = [
            Field(label, label, (None, 10, 20), takes=kinds.get(number, ""))  # type: ignore[arg-type]
            for number, label in enumerate(LABELS)
        ]
        self.changes: list[str] = []

    def title_text(self) -> str:
        return "An order"

    def fields_here(self):
        return self.fields

    def shown_value(self, field):
        return "nothing" if field.value is None else str(field.value)

    def notes(self):
        return ["a note that says …"]

    def keys_text(self) -> str:
        return "↑↓ field ←→ value enter start esc leave"

    def changed(self, field) -> None:
        self.changes.append(field.name)

    def take_defaults(self) -> None:
        for field in self.fields:
            field.choose(None)

    def action_start(self) -> None:
        if self.fields[2].value is None:
            self.complain("field 2 must be chosen")
            return
        self.dismiss({field.name: field.value for field in self.fields[:3]})


class Shop(App[None]):
    def __init__(self, form: Order) -> None:
        super().__init__()
        self.form = form
        self.answer: object = "not yet"

    def on_mount(self) -> None:
        self.push_screen(self.form, self.take)

    def take(self, answer: object) -> None:
        self.answer = answer

    @property
    def text(self) -> str:
        return "\n".join(strip.text for strip in self.screen._compositor.render_strips())


def test_a_field_steps_around_its_values():
    field = Field("n", "n", (1, 2, 3))
    field.step(-1)
    assert field.value == 3
    field.choose(1.8)
    assert field.value == 2
    field.type("7")
    assert (field.value, field.typed) == (2, None)


@pytest.mark.parametrize(
    ("takes", "keys", "value"),
    [
        ("text", "a b", "a b"),
        ("number", "1x2", 12),
        ("number", "x", 10),
        ("number", "\N{SUPERSCRIPT TWO}\N{ARABIC-INDIC DIGIT TWO}", 10),
        ("number", "1234567890123", 123456789),
        ("decimal", "0.5", 0.5),
        ("decimal", "1.2.3", 1.23),
        ("decimal", "-e7", 7.0),
        ("decimal", ".", 10),
    ],
)
def test_what_is_typed_takes_the_place_of_what_was_chosen(takes, keys, value):
    field = Field("n", "n", (10, 20), takes=takes)
    for key in keys:
        field.type(key)
    assert field.value == value
    field.step(1)
    assert (field.value, field.typed) == (20, None)


def test_a_chosen_value_can_be_edited():
    field = Field("n", "n", (None, 120), 1, takes="number")
    field.erase()
    assert field.value == 12
    field.erase()
    field.erase()
    assert (field.value, field.typed) == (None, "")  # as if nobody had said anything
    field.erase()
    assert (field.value, field.typed) == (None, "")
    field.step(1)
    assert field.value == 120
    text = Field("n", "n", ("cuda:0",), takes="text")
    text.erase()
    text.type("1,cpu")
    assert text.value == "cuda:1,cpu"


@pytest.mark.parametrize(
    ("field", "possible", "impossible"),
    [
        (
            Field("n", "n", (None, 1, 5), takes="number"),
            (None, 1, 0, 10**9 - 1),
            (-5, True, 1.0, 10**9, "5", [5], {}),
        ),
        (
            Field("t", "t", ("auto",), takes="text"),
            ("auto", "", "cuda:1", "x" * 400),
            (None, 3, "a\x1b[2J", "\ud800", "x" * 401, ["auto"]),
        ),
        (
            Field("v", "v", (None, "auto", False, 0.1, (0.0, 1.0))),
            (None, "auto", False, 0.1, (0.0, 1.0)),
            (0, "yes", 0.2, True, {}, (0.0, [1.0]), float("nan")),
        ),
    ],
    ids=["number", "text", "choice"],
)
def test_what_a_field_could_not_have_given_is_not_taken_back(field, possible, impossible):
    assert all(map(field.could_give, possible))
    assert not any(map(field.could_give, impossible))


def test_a_typed_value_can_be_chosen_again():
    number, text = (
        Field("n", "n", (None,), takes="number"),
        Field("t", "t", ("a",), takes="text"),
    )
    number.choose(17)
    text.choose("elsewhere")
    assert (number.value, text.value) == (17, "elsewhere")


@pytest.mark.parametrize("size", [(60, 18), (60, 10), (160, 50), (30, 5)])
async def test_every_field_can_be_reached_on_every_screen(size):
    app = Shop(Order())
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        for label in (*LABELS, LABELS[0]):
            assert f"> {label}" in app.text
            if size[1] >= 10:
                assert "enter start" in app.text
                assert "An order" in app.text
            await pilot.press("down")
        await pilot.press("up", "up")
        assert f"> {LABELS[-1]}" in app.text


async def test_keys_type_where_a_field_takes_them_and_move_where_not():
    form = Order()
    app = Shop(form)
    async with app.run_test(size=(60, 18)) as pilot:
        await pilot.press("q", "s", "backspace", "j")
        assert "< qj_ >" in app.text
        await pilot.press("down", *"1a2")
        assert "< 12_ >" in app.text
        await pilot.press("j", "l", "enter")
        await pilot.pause()
    assert app.answer == {"field 0": "qj", "field 1": 12, "field 2": 10}
    assert set(form.changes) == {"field 0", "field 1", "field 2"}


async def test_keys_that_come_at_once_are_taken_in_their_order():
    form = Order()
    app = Shop(form)
    async with app.run_test(size=(60, 18)) as pilot:
        await pilot.pause()
        for key, letter in (("a", "a"), ("down", None), ("7", "7"), ("up", None), ("b", "b")):
            app.post_message(Key(key, letter))
        await pilot.pause()
        await pilot.pause()
        assert [field.value for field in form.fields[:2]] == ["ab", 7]


async def test_a_complaint_shows_and_goes_with_the_next_change():
    app = Shop(Order())
    async with app.run_test(size=(60, 18)) as pilot:
        await pilot.press("enter")
        assert "field 2 must be chosen" in app.text
        await pilot.press("right")
        assert "field 2 must be chosen" not in app.text
        await pilot.press("escape")
        await pilot.pause()
    assert app.answer is None


async def test_pasting_types_and_backspace_elsewhere_forgets():
    form = Order()
    app = Shop(form)
    async with app.run_test(size=(60, 18)) as pilot:
        form.post_message(Paste("/data/\x1b[31mpets\nrm -rf"))
        await pilot.pause()
        assert form.fields[0].value == "/data/[31mpets"
        await pilot.press("down", "down", "right", "backspace")
        assert [field.value for field in form.fields[:3]] == [None, None, None]


async def test_control_r_forgets_in_every_field_and_an_emptied_number_says_what_it_means():
    form = Order()
    app = Shop(form)
    async with app.run_test(size=(60, 18)) as pilot:
        await pilot.press("a", "down", *"12", "backspace", "backspace", "backspace")
        assert "< _ (nothing) >" in app.text
        assert [field.value for field in form.fields[:2]] == ["a", None]
        await pilot.press("7", "ctrl+r")
        assert [field.value for field in form.fields[:2]] == [None, None]
        await pilot.press("up", "b", "ctrl+r")
        assert form.fields[0].value is None


async def test_the_mouse_goes_to_a_field_and_on_to_its_next_value():
    form = Order()
    app = Shop(form)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        top = form.query_one("#form").region
        await pilot.click(offset=(top.x + 3, top.y + 3))
        assert "> field 2" in app.text
        await pilot.click(offset=(top.x + 3, top.y + 3))
        assert form.fields[2].value == 10
        await pilot.click(offset=(top.x + 3, top.y))
        assert "> field 2" in app.text


async def test_a_form_in_ascii_is_ascii():
    app = Shop(Order(ascii_only=True))
    async with app.run_test(size=(60, 18)) as pilot:
        await pilot.pause()
        inside = [line for line in app.text.splitlines() if "field" in line or "note" in line]
        assert inside  # the frame is the app's business
        assert all(line.strip(" │").isascii() for line in inside)
        assert "arrows choose enter start esc leave" in app.text


async def test_resizing_keeps_the_field_in_focus():
    app = Shop(Order())
    async with app.run_test(size=(80, 30)) as pilot:
        await pilot.press("up")
        assert "of 14" not in app.text
        await pilot.resize_terminal(60, 12)
        await pilot.pause()
        assert "> field 13" in app.text
        assert "(14 of 14)" in app.text


def test_of_a_long_path_the_end_is_shown():
    assert end_of("/a/very/long/way/to/a/run.zarr", 12) == "…/a/run.zarr"
    assert end_of("short") == "short"
