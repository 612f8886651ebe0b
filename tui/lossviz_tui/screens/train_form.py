"""The form for a new training run: data, model, recipe, and what else is often changed."""

import contextlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import Popen
from typing import Any

from textual.events import Key
from textual.message import Message

from lossviz_analysis.errors import LossvizError
from lossviz_tui.devices import device_choices
from lossviz_tui.launch import Created, Preparing, events, start_training
from lossviz_tui.messages import DeedDone
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.remembering import recall, remember
from lossviz_tui.screens.form import ARROWS, Field, Form, end_of
from lossviz_tui.training import (
    MODELS,
    RECIPES,
    TrainingWish,
    data_choices,
    run_path,
    training_spec,
)

FORM = "training"
"""The name under which choices are remembered."""
_HINTS = {
    "data": "digits is small and at hand; or cifar10, a folder train/CLASS, an .npz file",
    "model": "mlp is the quickest, then resnet20 and vgg9; the others want a GPU",
    "recipe": "the learning rate over the epochs, as published",
    "epochs": "how often all images are gone through",
    "train_examples": "the same number of each class; fewer make epochs quicker",
    "seed": "of the first weights, the order of the images and their augmentation",
    "device": "auto takes a GPU where there is one",
    "name": "of the folder of the run",
}
_EPOCHS = (None, 1, 5, 10, 20, 50, 100, 200, 300)
_EXAMPLES = (None, 500, 1_000, 2_000, 5_000, 10_000, 20_000)


class TrainForm(Form[Path]):
    """Asks for a training run; gives its path once it exists, or None when left."""

    class Prepared(Message):
        """The trainer is busy before its run exists."""

        def __init__(self, sentence: str) -> None:
            self.sentence = sentence
            super().__init__()

    class Ended(Message):
        """The run exists, or the trainer refused to make it, with a sentence."""

        def __init__(self, run: Path | None, sentence: str = "") -> None:
            self.run = run
            self.sentence = sentence
            super().__init__()

    def __init__(self, folder: Path, *, ascii_only: bool) -> None:
        super().__init__(ascii_only=ascii_only)
        self._folder = folder
        self._preparing = ""
        self._fields = _fields(folder)
        self._is_remembered = self._restore(recall(FORM))

    def _value(self, name: str) -> Any:  # noqa: ANN401  # as the field has it
        return next(field.value for field in self._fields if field.name == name)

    def _restore(self, choices: Mapping[str, Any]) -> bool:
        """Choose what was chosen once, except for the name; whether anything was."""
        for field in self._fields:
            value = choices.get(field.name, field.value)
            if field.name != "name" and field.could_give(value):
                field.choose(value)
        return bool(choices)

    def take_defaults(self) -> None:
        """Everything as if no run had been asked for before."""
        self._fields = _fields(self._folder)
        self._is_remembered = False

    def title_text(self) -> str:
        """What the form is for."""
        return "Start a training run"

    def fields_here(self) -> Sequence[Field]:
        """All fields."""
        return self._fields

    def shown_value(self, field: Field) -> str:
        """A value in words."""
        value = field.value
        match field.name:
            case "recipe":
                return f"{value} (rate {RECIPES[value].learning_rate})"
            case "epochs" if value is None:
                return f"{RECIPES[self._value('recipe')].epochs} as the recipe says"
            case "train_examples" if value is None:
                return "all"
            case "train_examples":
                return f"{value:,}, as many of each class"
            case "name" if not value:
                return self._path_text()
            case _:
                return end_of(str(value))

    def _path_text(self) -> str:
        try:
            return run_path(self._folder, self._wish()).stem
        except LossvizError:
            return ""

    def notes(self) -> Sequence[str]:
        """Where it goes, and what becomes of it."""
        if self._preparing:
            return [self._preparing, "it goes on by itself when you leave this page"]
        found = [f"in {end_of(str(self._folder), 44)}; it goes on when you leave the app"]
        if self._value("data") in ("cifar10", "cifar100"):
            found.append("the data is downloaded first where it is not there yet")
        if self._is_remembered:
            found.append("as the last time; ctrl+r goes back to the defaults")
        return found

    def hint(self, field: Field) -> str:
        """What the field in focus is about."""
        return "" if self._preparing else _HINTS[field.name]

    def takes_key(self, event: Key) -> bool:
        """Nothing is typed while the run is being made."""
        return not self._preparing and super().takes_key(event)

    def keys_text(self) -> str:
        """The keys, in one line of a small terminal."""
        if self._preparing:
            return "esc leave"
        return f"{ARROWS}{' or type' * bool(self.field.takes)} enter start esc leave"

    def _wish(self) -> TrainingWish:
        return TrainingWish(**{field.name: field.value for field in self._fields})

    def action_change(self, step: int) -> None:
        """Another value of the field, unless the run is being made."""
        if not self._preparing:
            super().action_change(step)

    def action_start(self) -> None:
        """Start the trainer, which says whether the run can be."""
        if self._preparing:
            return
        if self._value("epochs") == 0:
            self.complain("a training has one epoch at least")
            return
        try:
            process = start_training(training_spec(self._folder, self._wish()))
        except (LossvizError, OSError) as error:
            self.complain(str(error))
            return
        self._complaint, self._preparing = "", "starting the trainer, some seconds ..."
        self.show()
        # A thread that nobody waits for: who leaves meanwhile leaves at once.
        threading.Thread(target=self._follow, args=(process, self.app), daemon=True).start()

    def _follow(self, process: Popen[bytes], app: Any) -> None:  # noqa: ANN401  # any app
        """Tell what the trainer says until its run exists; on a thread."""
        ended = self.Ended(None, "the training process ended before its run existed")
        try:
            for event in events(process):
                match event:
                    case Preparing():
                        share = f" {100 * event.done // max(1, event.total)} %"
                        self.post_message(self.Prepared(f"{event.what}{share}"))
                    case Created():
                        ended = self.Ended(event.run)
        except LossvizError as error:
            ended = self.Ended(None, str(error))
        finally:
            if process.stdout is not None:
                process.stdout.close()
        with contextlib.suppress(RuntimeError):  # the app has left
            if self.is_attached:
                self.post_message(ended)
            else:
                sentence = ended.sentence or f"{ended.run} is being trained"
                app.post_message(DeedDone(sentence, is_warning=ended.run is None))

    def on_train_form_prepared(self, message: Prepared) -> None:
        """Show how far it is."""
        message.stop()
        self._preparing = clean_text(message.sentence, 100)
        self.show()

    def on_train_form_ended(self, message: Ended) -> None:
        """Open the run, or say why there is none."""
        message.stop()
        self._preparing = ""
        if message.run is None:
            self.complain(message.sentence)
            return
        remember(FORM, {field.name: field.value for field in self._fields})
        self.dismiss(message.run)


def _fields(folder: Path) -> tuple[Field, ...]:
    here = Path()
    data = data_choices(here, here / "data", *({folder, folder.parent} - {here.absolute()}))
    return (
        Field("data", "data", data, takes="text"),
        Field("model", "model", MODELS),
        Field("recipe", "recipe", tuple(RECIPES)),
        Field("epochs", "epochs", _EPOCHS, takes="number"),
        Field("train_examples", "examples", _EXAMPLES, takes="number"),
        Field("seed", "seed", tuple(range(10)), takes="number"),
        Field("device", "device", device_choices(several=False), takes="text"),
        Field("name", "name", ("",), takes="text"),
    )
