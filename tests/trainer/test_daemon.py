"""What a daemon refuses before there is a run, and what it leaves behind: nothing."""

import json
import signal

import numpy as np
import pytest

from lossviz_analysis.store.control import Wish, ask
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.schema import FIXED_COLUMNS, LOG_NAME
from lossviz_analysis.store.writer import RunWriter
from lossviz_trainer.__main__ import main
from lossviz_trainer.daemon import StopFlag, Wishes, open_log


@pytest.fixture(autouse=True)
def signals_as_they_were():
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def refusal(tmp_path, capfd):
    """The sentence with which a daemon refuses a spec."""

    def ask(**changes):
        spec = {"run": str(tmp_path / "runs" / "x.zarr"), "model": "mlp", "device": "cpu"}
        code = main(["train", json.dumps(spec | changes)])
        lines = capfd.readouterr().out.splitlines()
        assert code == 2
        event = json.loads(lines[-1])
        assert event["event"] == "error"
        assert len(event["message"].splitlines()) == 1
        return event["message"]

    return ask


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "resnet21"}, ["'resnet21'", "did you mean"]),
        ({"recipe": "big"}, ["'big'", "big-lr", "li"]),
        ({"data": "mnist"}, ["mnist", "digits", ".npz"]),
        ({"data": "cifar10", "download": False}, ["cifar"]),
        ({"overrides": {"learning_rate": -1}}, ["--learning-rate", "-1"]),
        ({"overrides": {"epochs": 0}}, ["--epochs", "0"]),
        ({"overrides": {"schedule": "steps"}}, ["--milestones"]),
        (
            {"overrides": {"milestones": [3, 2], "schedule": "steps"}},
            ["--milestones", "[3, 2]"],
        ),
        ({"train_examples": 9}, ["9 examples", "10 classes"]),
        ({"train_examples": 100_000}, ["100000"]),
        ({"seed": -1}, ["--seed", "-1"]),
        ({"checkpoint_every": 0}, ["--checkpoint-every", "0"]),
        ({"device": "tpu"}, ["'tpu'", "cuda:N"]),
        ({"device": "cuda:63"}, ["'cuda:63' is not here"]),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_nothing(refusal, tmp_path, changes, words):
    sentence = refusal(**changes)
    for word in words:
        assert word in sentence
    assert not list(tmp_path.rglob("*.zarr*"))


def test_a_run_that_exists_is_refused_and_left_alone(refusal, tmp_path):
    run = tmp_path / "x.zarr"
    run.mkdir()
    (run / "mine").write_text("precious")
    assert "exists already" in refusal(run=str(run))
    assert [p.name for p in run.iterdir()] == ["mine"]


@pytest.mark.parametrize("below", ["file/x.zarr", "file/deep/x.zarr"])
def test_a_folder_that_cannot_be_written_is_refused(refusal, tmp_path, below):
    # A file where a folder should be: refused to every user, root included.
    (tmp_path / "file").write_text("")
    assert "cannot be created" in refusal(run=str(tmp_path / below))


def test_resuming_what_is_no_run_is_refused(refusal, tmp_path):
    assert "is not a run" in refusal(run=str(tmp_path / "none.zarr"), resume=True)


def test_a_broken_npz_is_refused_by_name(refusal, tmp_path):
    path = tmp_path / "broken.npz"
    np.savez(path, x_train=np.zeros((3, 3, 32, 32), np.uint8))
    sentence = refusal(data=str(path))
    assert str(path) in sentence
    assert "y_train" in sentence


@pytest.mark.parametrize(
    "arguments", [[], ["train"], ["train", "{}"], ["train", "nonsense"], ["fly", "away"]]
)
def test_other_words_are_refused(capfd, arguments):
    assert main(arguments) == 2
    assert json.loads(capfd.readouterr().out)["event"] == "error"


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "a.zarr"
    description = RunDescription(
        run_id="a",
        created_at="2026-01-02T03:04:05Z",
        class_names=("a", "b"),
        scalar_columns=FIXED_COLUMNS,
    )
    create_run(path, description)
    return path


def test_a_log_that_is_a_link_is_not_followed(run, tmp_path):
    (run / LOG_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot be written"):
        open_log(run)
    assert not (tmp_path / "elsewhere").exists()


def test_a_stop_outdoes_a_pause_and_not_the_other_way(run, monkeypatch):
    monkeypatch.setattr("lossviz_trainer.daemon.WISH_SECONDS", 0.0)
    with RunWriter(run) as writer:
        wishes = Wishes(StopFlag(), writer)
        assert not wishes()
        ask(run, Wish.PAUSE)
        assert wishes()
        assert wishes.wish == Wish.PAUSE
        assert not wishes.is_to_stop()
        ask(run, Wish.STOP)
        assert wishes.is_to_stop()
        ask(run, Wish.PAUSE)
        assert wishes()
        assert wishes.is_to_stop()


def test_a_signal_outdoes_a_pause(run, monkeypatch):
    monkeypatch.setattr("lossviz_trainer.daemon.WISH_SECONDS", 0.0)
    with RunWriter(run) as writer:
        stop = StopFlag()
        stop.listen()
        wishes = Wishes(stop, writer)
        ask(run, Wish.PAUSE)
        assert wishes()
        assert not wishes.is_to_stop()
        signal.raise_signal(signal.SIGTERM)
        assert wishes.is_to_stop()
