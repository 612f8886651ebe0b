"""The example of the README, run as it stands: recorded, resumed, and scanned."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import DirectionSpec, ScanRequest
from lossviz_analysis.store.scans import ScanReader, submit
from lossviz_analysis.store.schema import RunState, ScanState

README = Path(__file__).resolve().parents[2] / "README.md"

EXAMPLE = """
import torch
from sklearn.datasets import load_digits
from torch.nn import Linear, ReLU, Sequential, functional
from lossviz_trainer import RunRecorder

def make():  # the scan worker calls this: a fresh model, and both splits as it wants them
    x, y = (torch.tensor(a) for a in load_digits(return_X_y=True))
    x, model = (x / 16).float(), Sequential(Linear(64, 32), ReLU(), Linear(32, 10))
    return model, (x[:1500], y[:1500]), (x[1500:], y[1500:])

if __name__ == "__main__":
    model, (x, y), (x_test, y_test) = make()
    optimizer = torch.optim.Adam(model.parameters())
    about = {"class_names": 10, "epochs": 20, "factory": make}
    with RunRecorder.open("runs/mine", model=model, **about) as recorder:
        start = recorder.restore(model, optimizer)
        for epoch in range(start.epoch + 1 if start else 1, 21):
            for batch in torch.randperm(1500).split(50):
                loss = functional.cross_entropy(model(x[batch]), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            recorder.count("test", y_test, model(x_test))
            recorder.log_epoch(epoch, train_loss=loss)
            recorder.save_checkpoint(model, optimizer, epoch=epoch)
            if recorder.should_stop:
                break
""".strip()


def run(folder, *words):
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "XDG_STATE_HOME": str(folder / "state")},
    )


def test_the_example_is_the_one_in_the_readme():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    if not any("RunRecorder" in block for block in blocks):
        pytest.skip("the README does not show the recorder yet")
    assert EXAMPLE in [block.strip() for block in blocks]


@pytest.mark.slow
def test_the_example_is_recorded_resumed_and_scanned(tmp_path):
    (tmp_path / "mine.py").write_text(EXAMPLE)
    assert run(tmp_path, "mine.py").stderr == ""
    path = tmp_path / "runs" / "mine.zarr"
    reader = RunReader(path)
    head = reader.head()
    assert (head.state, head.num_records) == (RunState.FINISHED, 20)
    accuracy = reader.description.scalar_columns.index("test_accuracy")
    assert reader.scalars(19, 20)[0, accuracy] > 0.8
    assert (reader.counts(0, 20)[:, 1].sum(axis=(1, 2)) == 297).all()
    # Once more with more epochs: it goes on from where it stood.
    longer = EXAMPLE.replace('"epochs": 20', '"epochs": 22').replace(", 21)", ", 23)")
    (tmp_path / "mine.py").write_text(longer)
    run(tmp_path, "mine.py")
    assert reader.head().num_records == 22
    assert reader.scalars(20, 22)[:, 0].tolist() == [21, 22]
    request = ScanRequest(
        directions=(DirectionSpec(kind="ego", normalise="none", class_index=3),),
        points=(3,),
        ranges=((-0.1, 0.1),),
        checkpoint=reader.head().latest_checkpoint,
        epoch=22,
        device="cpu",
        split="test",
    )
    scan = ScanReader(path, submit(path, request))
    code = (
        "import sys; from pathlib import Path; from lossviz_trainer.worker import work; "
        "work(Path(sys.argv[1]), idle_seconds=0.1)"
    )
    run(tmp_path / "runs", "-P", "-c", code, str(path))
    # Another state folder, so another key: nobody vouches for the factory.
    assert scan.head().state == ScanState.FAILED
    again = ScanReader(path, submit(path, request))
    run(tmp_path, "-P", "-c", code, str(path))
    assert (again.head().state, again.message()) == (ScanState.DONE, "")
