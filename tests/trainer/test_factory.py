"""Factories: what they are called, who may call them, and scans of what they make."""

import os
import shutil
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import DirectionSpec, ScanRequest
from lossviz_analysis.store.results import read_result
from lossviz_analysis.store.scans import ScanReader, submit
from lossviz_analysis.store.schema import ScanState
from lossviz_trainer import RunRecorder, factory
from lossviz_trainer.factory import FactoryReference, UntrustedFactoryError, check_trust, seal
from lossviz_trainer.recorded import build_recorded, labelled_inputs
from lossviz_trainer.scanning import Workbench

# A model of tokens and of floats, in bfloat16 and frozen in part; class 2 has no test example.
USER_FILE = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self, tokens=True):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Embedding(11, 6) if tokens else nn.Linear(5, 6)
        self.norm = nn.LayerNorm(6)
        self.norm.weight.requires_grad_(False)
        self.last = nn.Linear(6, 3, dtype=torch.bfloat16)

    def forward(self, inputs):
        found = self.norm(self.first(inputs).reshape(len(inputs), -1, 6).mean(1))
        return self.last(found.to(self.last.weight.dtype)).to(found.dtype)

def data(tokens):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(30, 5, generator=generator)
    if tokens:
        inputs = torch.randint(0, 11, (30, 4), generator=generator)
    labels = torch.arange(30) % 3
    return (inputs, labels), (inputs[:20], labels[:20] % 2)

def tokens():
    return Model(), *data(True)

def floats():
    return Model(False), *data(False)

def not_frozen():
    model = Model(False)
    model.norm.weight.requires_grad_(True)
    return model, *data(False)

def wide():
    model = Model(False)
    model.last = nn.Linear(6, 4)
    return model, *data(False)

def broken():
    raise ValueError("no data\\nhere")

def leaves():
    raise SystemExit(3)

def nothing():
    return 3
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """A folder of this test's own for the secret key."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "lossviz-tui"


@pytest.fixture
def user(tmp_path):
    """The module of a user, found by nobody unless its folder is given."""
    name = f"user_{tmp_path.name}"
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / f"{name}.py").write_text(USER_FILE)
    yield folder, name
    sys.modules.pop(name, None)


@pytest.fixture
def record(user, tmp_path):
    """Records a run of one of the user's factories, one epoch trained."""
    folder, name = user

    def make(which):
        reference = FactoryReference(f"{name}:{which}", str(folder))
        known = {"tokens": "tokens", "not_frozen": "floats"}.get(which, "floats")
        model, (inputs, labels), _ = factory.build(
            FactoryReference(f"{name}:{known}", str(folder))
        )
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        functional.cross_entropy(model(inputs), labels).backward()
        path = tmp_path / f"{which}.zarr"
        sys.path.insert(0, str(folder))
        try:
            run = RunRecorder.create(
                path, class_names=3, model=model, factory=reference.name, strict=True
            )
        finally:
            sys.path.remove(str(folder))
        with run:
            run.save_checkpoint(model, epoch=0)
            run.flush()
            optimizer.step()
            run.save_checkpoint(model, epoch=1)
        sys.modules.pop(name)
        return path, model.eval(), inputs, labels

    return make


# What a factory is called


def test_a_function_is_named_so_that_another_process_finds_it(user, monkeypatch):
    folder, name = user
    monkeypatch.syspath_prepend(str(folder))
    module = __import__(name)
    expected = FactoryReference(f"{name}:tokens", str(folder))
    assert FactoryReference.of(module.tokens) == expected
    assert FactoryReference.of(f"{name}:tokens") == expected


def test_a_name_is_not_imported_to_be_recorded(user, monkeypatch):
    folder, name = user
    monkeypatch.syspath_prepend(str(folder))
    assert FactoryReference.of(f"{name}:absent").folder == str(folder)
    assert name not in sys.modules


def test_packages_are_found_from_the_folder_above_them(tmp_path, monkeypatch):
    package = tmp_path / "some_package_of_mine" / "inner"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package / "made.py").write_text("def make():\n    return 1, 2, 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    reference = FactoryReference.of("some_package_of_mine.inner.made:make")
    assert reference.folder == str(tmp_path)
    monkeypatch.undo()
    assert factory.build(reference) == (1, 2, 3)
    assert str(tmp_path) not in sys.path
    module = sys.modules["some_package_of_mine.inner.made"]
    assert FactoryReference.of(module.make) == reference


def test_an_installed_package_needs_no_folder():
    assert FactoryReference.of("torch.nn:Linear").folder == ""


@pytest.mark.parametrize("how", ["script", "module"])
def test_a_function_of_the_running_script_is_found_under_its_file(tmp_path, how):
    code = """
    from lossviz_trainer.factory import FactoryReference
    def make(): ...
    if __name__ == "__main__":
        found = FactoryReference.of(make)
        print(found.name, found.folder)
    """
    folder = tmp_path / "pack" if how == "module" else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / "train_it.py").write_text(textwrap.dedent(code))
    words = ["-m", "pack.train_it"] if how == "module" else [str(folder / "train_it.py")]
    out = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    name = "pack.train_it:make" if how == "module" else "train_it:make"
    assert out.split() == [name, str(tmp_path)]


@pytest.mark.parametrize(
    "wrong", ["no colon", "a:b:c", "1a:b", "a:", "a:b()", "os;x:y", lambda: None, len.__call__]
)
def test_what_no_other_process_can_find_is_refused(wrong):
    with pytest.raises(LossvizError, match=r"factory"):
        FactoryReference.of(wrong)


def test_a_factory_that_cannot_be_named_costs_only_the_scans(tmp_path, caplog):
    with RunRecorder.create(tmp_path / "x", class_names=3, factory=lambda: None) as run:
        assert run.is_recording
    assert "the run cannot be scanned" in caplog.text
    with pytest.raises(LossvizError, match="recorded without a factory"):
        Workbench(run.path).data(torch.device("cpu"))


# Who may call it


def described(path):
    return RunReader(path).description


def test_ones_own_run_is_trusted_and_its_key_is_private(record, own_state):
    path, *_ = record("floats")
    check_trust(path, described(path))
    key = own_state / "factory.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32
    assert [entry.name for entry in own_state.iterdir()] == ["factory.key"]


def change(path, **changes):
    """What a stranger can do to the description of a run."""
    found = (path / "zarr.json").read_text()
    for old, new in changes.values():
        assert old in found
        found = found.replace(old, new)
    (path / "zarr.json").write_text(found)


@pytest.mark.parametrize("attack", ["name", "folder", "seal", "no seal", "run id", "other key"])
def test_a_run_of_a_stranger_imports_nothing(record, user, tmp_path, own_state, attack):
    path, *_ = record("floats")
    folder, name = user
    model = described(path).model
    match attack:
        case "name":
            change(path, name=(f"{name}:floats", f"{name}:broken"))
        case "folder":
            change(path, folder=(str(folder), str(tmp_path)))
        case "seal":
            change(path, seal=(model["seal"], "0" * 64))
        case "no seal":
            change(path, seal=('"seal"', '"leal"'))
        case "run id":
            change(path, run=(described(path).run_id, "another"))
        case _:
            shutil.rmtree(own_state)
    (folder / f"{name}.py").write_text("raise SystemError('imported')")
    bench = Workbench(path)
    with pytest.raises(UntrustedFactoryError, match=r"--trust"):
        bench.data(torch.device("cpu"))
    assert bench.lacks_trust
    assert name not in sys.modules


@pytest.mark.parametrize("key", ["readable", "short", "link", "of a folder"])
def test_a_key_that_others_could_know_vouches_for_nothing(record, own_state, tmp_path, key):
    path, *_ = record("floats")
    place = own_state / "factory.key"
    match key:
        case "readable":
            place.chmod(0o644)
        case "short":
            place.write_bytes(b"short")
        case "link":
            place.rename(tmp_path / "elsewhere")
            place.symlink_to(tmp_path / "elsewhere")
        case _:
            place.unlink()
            place.mkdir()
    with pytest.raises(UntrustedFactoryError):
        check_trust(path, described(path))
    with pytest.raises(LossvizError):
        seal("x", FactoryReference("a:b", "/"))


def test_a_run_of_another_user_is_not_trusted(record, monkeypatch):
    path, *_ = record("floats")
    check_trust(path, described(path))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UntrustedFactoryError):
        check_trust(path, described(path))


def test_two_processes_that_make_the_key_at_once_get_the_same(own_state):
    reference = FactoryReference("a:b", "/x")
    first = seal("run", reference)
    # The other one looked before the key was there, and comes to make it after.
    factory._make_key(own_state / "factory.key")
    assert seal("run", reference) == first


def test_opening_and_reading_a_run_imports_nothing(record, user):
    path, *_ = record("floats")
    _, name = user
    with RunRecorder.open(path, class_names=3, factory=f"{name}:broken") as run:
        assert run.is_recording
    assert RunReader(path).checkpoint(2).parameters
    assert name not in sys.modules


# What it makes


def scan_of(path, **changes):
    request: dict[str, Any] = {
        "directions": (DirectionSpec(kind="ego", normalise="none", class_index=1),),
        "points": (3,),
        "ranges": ((-0.5, 0.5),),
        "checkpoint": 2,
        "epoch": 1,
        "device": "cpu",
        "split": "both",
        "precision": "float64",
    }
    return ScanReader(path, submit(path, ScanRequest(**request | changes)))


def worked_off(path, *words):
    """Lets a worker, in a process of its own, compute what waits."""
    code = (
        "import sys; from lossviz_trainer import __main__, worker\n"
        "worker.work.__kwdefaults__['idle_seconds'] = 0.1\n"
        "sys.exit(__main__.main(['work', *sys.argv[1:]]))"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", code, str(path), *words],
        check=True,
        timeout=100,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
@pytest.mark.parametrize("which", ["tokens", "floats"])
def test_a_recorded_run_is_scanned_by_the_worker(record, which):
    path, model, inputs, labels = record(which)
    scan = scan_of(path)
    worked_off(path)
    assert (scan.head().state, scan.message()) == (ScanState.DONE, "")
    result = read_result(scan)
    model = model.double()
    with torch.no_grad():
        logits = model(inputs if which == "tokens" else inputs.double())
    assert result.splits["train"].loss[1] == pytest.approx(
        functional.cross_entropy(logits, labels).item(), rel=1e-9
    )
    confusion = np.zeros((3, 3))
    for true, called in zip(labels[:20] % 2, logits[:20].argmax(1), strict=True):
        confusion[true, called] += 1
    found = result.splits["test"].confusion
    assert found is not None
    assert np.array_equal(found[1], confusion)
    # Only what was trained moves: not the frozen weights of the norm.
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert scan.directions().shape == (1, trained)
    assert trained == sum(p.numel() for p in model.parameters()) - 6


@pytest.mark.slow
def test_a_line_between_checkpoints_in_bfloat16_arrives(record):
    path, *_ = record("floats")
    toward = DirectionSpec(kind="toward", normalise="none", toward_checkpoint=1)
    scan = scan_of(path, directions=(toward,), ranges=((0.0, 1.0),), points=(2,))
    there = scan_of(path, checkpoint=1, epoch=0, ranges=((0.0, 1.0),), points=(2,))
    worked_off(path)
    arrived, begun = (read_result(s).splits["train"].loss for s in (scan, there))
    assert arrived[1] == pytest.approx(begun[0], rel=1e-12)
    assert arrived[0] != arrived[1]


@pytest.mark.slow
def test_without_trust_the_worker_says_what_to_do_and_makes_room(record, own_state):
    path, *_ = record("floats")
    shutil.rmtree(own_state)
    scan = scan_of(path)
    worked_off(path)
    assert scan.head().state == ScanState.FAILED
    assert "--trust" in scan.message()
    again = scan_of(path)
    worked_off(path, "--trust")
    assert again.head().state == ScanState.DONE


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("broken", r"failed: ValueError: no data$"),
        ("leaves", "failed: SystemExit: 3"),
        ("absent", "AttributeError"),
        ("nothing", "should return .model, train, test.; it returned a int"),
        ("data", "TypeError"),
    ],
)
def test_a_factory_that_fails_is_one_sentence(record, which, message):
    path, *_ = record(which)
    with pytest.raises(LossvizError, match=message) as caught:
        Workbench(path).data(torch.device("cpu"))
    assert "\n" not in str(caught.value)


def model_at(path):
    bench = Workbench(path)
    return bench.model(bench.reader.checkpoint(2), torch.device("cpu"), torch.float32)


def test_what_the_factory_freezes_and_what_was_frozen_may_differ(record):
    path, trained, *_ = record("not_frozen")
    model = model_at(path)
    assert [n for n, p in model.named_parameters() if p.requires_grad] == [
        n for n, p in trained.named_parameters() if p.requires_grad
    ]
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for (_, one), (_, other) in zip(
        model.named_parameters(), trained.named_parameters(), strict=True
    ):
        assert torch.equal(one, other.float())


def test_a_model_of_another_architecture_is_refused(record):
    path, *_ = record("wide")
    with pytest.raises(LossvizError, match="another architecture"):
        model_at(path)


def test_a_file_that_trains_when_imported_is_told_what_to_do(record, user):
    path, *_ = record("floats")
    folder, name = user
    code = f"{USER_FILE}\nfrom lossviz_trainer import RunRecorder\n"
    code += f"RunRecorder.open({str(path)!r}, class_names=3)\n"
    (folder / f"{name}.py").write_text(code)
    with pytest.raises(LossvizError, match="if __name__ == '__main__'"):
        model_at(path)


def test_logits_in_an_object_are_taken_out_of_it(record, user):
    path, *_ = record("floats")
    plain = model_at(path)
    folder, name = user
    code = USER_FILE.replace("return self.last(", "return Output(self.last(").replace(
        ".to(found.dtype)\n", ".to(found.dtype))\n"
    )
    code += "\nclass Output:\n    def __init__(self, logits):\n        self.logits = logits\n"
    (folder / f"{name}.py").write_text(code)
    inputs = torch.randn(4, 5)
    assert torch.equal(model_at(path)(inputs), plain(inputs))


def test_logits_of_another_shape_are_refused(record, user):
    path, *_ = record("floats")
    folder, name = user
    code = USER_FILE.replace(".to(found.dtype)", ".to(found.dtype)[:, :2]")
    (folder / f"{name}.py").write_text(code)
    with pytest.raises(LossvizError, match=r"logits of shape \(2, 3\).*returned \(2, 2\)"):
        model_at(path)


class Pairs(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


@pytest.mark.parametrize(
    "given",
    [
        (torch.ones(4, 2), torch.tensor([0, 1, 2, 1])),
        (np.ones((4, 2), np.float32), np.array([0, 1, 2, 1], np.int32)),
        TensorDataset(torch.ones(4, 2), torch.tensor([0, 1, 2, 1])),
        Pairs([(torch.ones(2), label) for label in (0, 1, 2, 1)]),
        [(np.ones(2, np.float32), np.int64(label)) for label in (0, 1, 2, 1)],
    ],
    ids=["tensors", "arrays", "tensor dataset", "dataset", "list"],
)
def test_data_of_every_kind(given):
    found = labelled_inputs(given, "training", 3)
    assert torch.equal(found.inputs, torch.ones(4, 2))
    assert found.labels.tolist() == [0, 1, 2, 1]
    assert found.labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((torch.ones(3, 2), torch.tensor([0, 1])), "one label for each input"),
        ((torch.ones(2, 2), torch.tensor([0, 3])), "from 0 to 2"),
        ((torch.ones(2, 2), torch.tensor([0.0, 1.0])), "class numbers"),
        ((torch.ones(2, 2), torch.eye(2).long()), "class numbers"),
        ((torch.ones(0, 2), torch.empty(0, dtype=torch.int64)), "one label for each input"),
        (Pairs([]), "empty"),
        (Pairs([3]), "pairs"),
        (Pairs([(torch.ones(2), 0), (torch.ones(3), 1)]), "inputs of one shape"),
        (Pairs([("text", 0)]), "dataset of"),
        (iter([]), "with a length"),
    ],
)
def test_data_that_cannot_be_scanned_is_refused(given, message):
    with pytest.raises(LossvizError, match=message):
        labelled_inputs(given, "training", 3)


def test_a_stranger_s_names_are_checked_before_anything(tmp_path):
    for model in (
        {"factory": 3},
        {"factory": "os:system", "factory_path": "relative"},
        {"factory": "a b:c", "factory_path": "/"},
        {"factory": "os:system", "factory_path": None},
    ):
        description = RunDescription(
            run_id="x", created_at="", class_names=("a",), scalar_columns=(), model=model
        )
        with pytest.raises(LossvizError, match="does not know"):
            build_recorded(tmp_path, description, trust=True)
