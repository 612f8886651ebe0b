"""The command line as scripts know it: keys, shapes, exit codes, one sentence for errors."""

import csv
import json
import os
import shutil
import signal
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossviz_analysis.store.lock import WriterLock, is_held
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.scans import ScanReader, cancel, submit
from lossviz_tui.asking import complete_one
from lossviz_tui.wish import ScanWish

DIGITS = [str(k) for k in range(10)]
SCAN = ("scan", "--device", "cpu")


@pytest.fixture
def copy(digits_run, tmp_path):
    """A copy of the trained run, without scans, to be treated as one likes."""
    path = tmp_path / "copy.zarr"
    shutil.copytree(digits_run, path, ignore=shutil.ignore_patterns("2*-*-*", "worker.log"))
    return path


@pytest.fixture
def refused(cli):
    """Calls what must be refused; the sentence."""

    def call(*words):
        found = cli(*words)
        assert found.code not in (0, None)
        assert "Traceback" not in found.out + found.err
        lines = found.err.strip().splitlines()
        assert len(lines) == 1, found.err
        assert lines[0].startswith("lossviz-tui: ")
        return lines[0]

    return call


@pytest.fixture
def summary(cli):
    """What `show --json` says."""

    def read(run) -> dict[str, Any]:
        found = cli("show", run, "--json")
        assert found.code == 0, found.err

        def no_constant(name):
            raise AssertionError(f"{name} is not JSON")

        return json.loads(found.out, parse_constant=no_constant)

    return read


@pytest.fixture
def scanned(cli):
    """Scans a run; the scan's id."""

    def call(run, *words):
        found = cli("scan", run, "--device", "cpu", *words)
        assert found.code == 0, found.err
        return found.out.splitlines()[-1]

    return call


def ids_of(run):
    """The scans that were asked for; one that starts with a dot is still being written."""
    names = {path.parent.name for path in (run / "scans").glob("*/zarr.json")}
    return {name for name in names if not name.startswith(".")}


# train, in processes of their own


@pytest.mark.slow
def test_a_run_is_trained_in_the_foreground(digits_run, summary):
    # The fixture has seen exit code 0.
    found = summary(digits_run)
    assert found["state"] == "finished"
    assert [row["epoch"] for row in found["epochs"]] == [1, 2, 3]
    assert found["recipe"]["epochs"] == 3
    assert not is_held(digits_run)
    assert "finished" in (digits_run / "train.log").read_text()


@pytest.mark.slow
def test_a_run_remembers_its_arithmetic(digits_run):
    settings = RunReader(digits_run).description.settings
    found = {name: settings[name] for name in ("channels_last", "amp", "compile")}
    assert found == {"channels_last": True, "amp": "none", "compile": False}


@pytest.mark.slow
def test_a_detached_run_goes_on_can_be_stopped_and_resumed(
    tmp_path, program, cli, wait_for, end_processes, summary, refused
):
    words = ("train", "--data", "digits", "--model", "mlp", "--train-examples", 20)
    words += ("--epochs", 40, "--checkpoint-every", 50, "--lr", 0.01, "--device", "cpu")
    run = tmp_path / "detached.zarr"
    try:
        started = program(*words, "--run", tmp_path / "detached", "--detach")
        assert started.returncode == 0, started.stderr
        assert started.stdout.splitlines() == [str(run)]
        reader = RunReader(run)
        wait_for(lambda: reader.head().num_records >= 1, "the daemon goes on")
        assert is_held(run)
        stopped = cli("stop", run)
        assert stopped.code == 0, stopped.err
        assert not is_held(run)
        found = summary(run)
        assert found["state"] == "stopped"
        done = found["epochs"][-1]["epoch"]
        assert 1 <= done < 40
        # It was checkpointed where it stood, though none was due.
        last = found["checkpoints"][-1]
        assert last["epoch"] == done
        assert "nothing to stop" in refused("stop", run)

        resumed = cli("train", "--resume", "--run", run, "--device", "cpu")
        assert resumed.code == 0, resumed.err
    finally:
        end_processes(run)
    found = summary(run)
    assert found["state"] == "finished"
    assert [row["epoch"] for row in found["epochs"]] == list(range(1, 41))
    assert {row["attempt"] for row in found["epochs"]} == {1, 2}
    assert found["checkpoints"][-1]["epoch"] == 40


@pytest.mark.slow
def test_ctrl_c_in_the_foreground_checkpoints_and_leaves(
    tmp_path, start_program, wait_for, end_processes, summary
):
    run = tmp_path / "interrupted.zarr"
    words = ("--data", "digits", "--model", "mlp", "--epochs", 5_000, "--train-examples", 20)
    words += ("--checkpoint-every", 5_000, "--device", "cpu", "--run", run)
    process = start_program("train", *words)
    try:
        wait_for(lambda: (run / "records/head/c.0").exists(), "the run exists")
        reader = RunReader(run)
        wait_for(lambda: reader.head().num_records >= 1, "an epoch is done")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert not is_held(run)
    finally:
        end_processes(run)
    found = summary(run)
    assert found["state"] == "stopped"
    assert found["checkpoints"][-1]["epoch"] == found["epochs"][-1]["epoch"]


@pytest.mark.slow
def test_what_the_daemon_refuses_is_the_command_s_own_sentence(refused, tmp_path):
    run = tmp_path / "x.zarr"
    sentence = refused("train", "--model", "resnet21", "--run", run, "--device", "cpu")
    assert "'resnet21'" in sentence
    assert "did you mean" in sentence
    assert not run.exists()


@pytest.mark.slow
def test_a_run_that_exists_is_not_trained_again(refused, copy):
    assert "exists already" in refused("train", "--run", copy, "--device", "cpu")


@pytest.mark.slow
def test_a_run_that_is_being_written_is_not_resumed(refused, copy):
    lock = WriterLock(copy)
    lock.acquire()
    try:
        assert f"process {os.getpid()}" in refused("train", "--resume", "--run", copy)
    finally:
        lock.release()


# show


def test_the_summary_has_the_fixed_keys(digits_run, summary):
    found = summary(digits_run)
    assert set(found) >= {
        "run_id",
        "state",
        "class_names",
        "epochs",
        "cctm",
        "recall",
        "pairs",
        "symmetry",
        "notes",
        "checkpoints",
        "scans",
    }
    reader = RunReader(digits_run)
    counts = reader.counts(0, 3)
    scalars = reader.scalars(0, 3)
    assert found["run_id"] == reader.description.run_id
    assert found["class_names"] == DIGITS
    columns = reader.description.scalar_columns
    assert [list(row) for row in found["epochs"]] == [list(columns)] * 3
    assert [list(row.values()) for row in found["epochs"]] == scalars.tolist()
    assert all(type(row[n]) is int for row in found["epochs"] for n in ("epoch", "attempt"))
    of_split = counts[-1] / counts[-1].sum(axis=-1, keepdims=True)
    for rates, split in zip(of_split, ("train", "test"), strict=True):
        assert found["cctm"][split] == rates.tolist()
        assert found["recall"][split] == np.diagonal(rates).tolist()
        pair = np.triu_indices(10, 1)
        expected = np.corrcoef(rates[pair], rates.T[pair])[0, 1]
        assert found["symmetry"][split] == pytest.approx(expected)
        assert np.array(found["notes"][split]).shape == (3, 10)
    assert set(found["cctm"]) == set(found["notes"]) == {"train", "test"}
    rates = of_split[1]
    off_diagonal = [
        (rates[i, j], DIGITS[i], DIGITS[j]) for i in range(10) for j in range(10) if i != j
    ]
    top = max(off_diagonal, key=lambda item: item[0])
    assert all(set(pair) == {"true", "predicted", "rate"} for pair in found["pairs"])
    assert found["pairs"][0]["rate"] == top[0]
    listed = [pair["rate"] for pair in found["pairs"]]
    assert listed == sorted((rate for rate, _, _ in off_diagonal), reverse=True)[: len(listed)]
    for pair in found["pairs"]:
        assert rates[int(pair["true"]), int(pair["predicted"])] == pair["rate"]
    assert [c["epoch"] for c in found["checkpoints"]] == [0, 1, 2, 3]
    assert sum(c["is_best"] for c in found["checkpoints"]) == 1


def test_a_class_without_examples_has_nulls(copy, summary):
    counts = RunReader(copy).counts(2, 3)[0]
    counts[1, 4] = 0
    rewrite_last_counts(copy, counts)
    found = summary(copy)
    assert found["cctm"]["test"][4] == [None] * 10
    assert found["recall"]["test"][4] is None
    assert found["recall"]["train"][4] is not None
    assert all(pair["true"] != "4" for pair in found["pairs"])


def rewrite_last_counts(run, counts):
    import zarr  # noqa: PLC0415  # only here is a store damaged on purpose

    group: Any = zarr.open_group(run / "records", mode="r+")
    group["confusion"][2] = counts


def test_text_for_people_shows_the_same(digits_run, cli, summary):
    found = cli("show", digits_run)
    assert found.code == 0
    said = summary(digits_run)
    assert "mlp on digits, 10 classes" in found.out
    assert "finished, epoch 3 of 3" in found.out
    best = said["pairs"][0]
    row = f"{best['true']} -> {best['predicted']}"
    line = next(line for line in found.out.splitlines() if row in line)
    assert f"{100 * best['rate']:.2f} %" in line
    for rate in said["recall"]["test"]:
        assert f"{100 * rate:.2f}" in found.out


def test_a_run_is_found_without_its_ending_and_as_the_only_one_of_a_folder(copy, cli):
    for name in (copy, copy.with_suffix(""), copy.parent):
        assert cli("show", name).out.splitlines()[0] == str(copy)


# scan


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "points", "expected"),
    [
        ("--kind ego --classes 8,3 --points 3", (3, 3), {"classes": [8, 3]}),
        ("--kind ego --classes 8 --points 4", (4,), {"classes": [8], "dims": 1}),
        ("--kind ego --classes 1,2 --points 2 --span 0.5", (2, 2), {}),
        ("--kind gaussian --dims 1 --points 3 --normalise model --seed 7", (3,), {}),
        ("--kind gaussian --points 2 --normalise layer --split both", (2, 2), {}),
        ("--kind gradient --points 3 --normalise none --split test", (3,), {}),
        ("--kind gradient --points 2 --dims 2 --bn recompute", (2, 2), {}),
        ("--kind toward --toward 0 --points 3", (3,), {}),
        ("--kind toward --toward {run}:1 --points 2 --dims 2", (2, 2), {}),
        ("--kind toward --toward {run} --checkpoint 1 --points 2", (2,), {"epoch": 1}),
        ("--kind ego --classes 1,2 --points 2 --checkpoint best", (2, 2), {}),
        ("--kind gradient --points 2 --precision float64", (2,), {"precision": "float64"}),
        ("--kind gradient --points 2 --examples 50", (2,), {"examples": 50}),
    ],
)
def test_every_kind_and_option_is_scanned_and_exported(
    digits_run, scanned, summary, cli, tmp_path, words, points, expected
):
    words = words.format(run=digits_run).split()
    scan_id = scanned(digits_run, *words)
    entry = next(s for s in summary(digits_run)["scans"] if s["id"] == scan_id)
    assert set(entry) >= {"id", "kind", "state", "done", "total", "request"}
    assert entry["kind"] == words[1]
    assert entry["state"] == "done"
    assert entry["done"] == entry["total"] > 0
    request = entry["request"]
    assert {key: request[key] for key in expected} == expected
    given = dict(zip(words[::2], words[1::2], strict=True))
    specs = request["directions"]
    assert tuple(request["points"]) == points
    other = "recompute" if str(digits_run) in given.get("--toward", "") else "frozen"
    assert request["batch_norm"] == given.get("--bn", other)
    assert request["split"] == given.get("--split", "train")
    assert specs[0]["normalise"] == given.get(
        "--normalise", "filter" if words[1] == "gaussian" else "none"
    )
    if "--seed" in given:
        assert specs[0]["seed"] == int(given["--seed"])
    if "--span" in given:
        assert request["ranges"] == [[-0.5, 0.5]] * 2

    out = tmp_path / "scan.npz"
    assert cli("export", digits_run, "--scan", scan_id, "--out", out, "--directions").code == 0
    with np.load(out, allow_pickle=False) as archive:
        arrays = dict(archive)
    assert json.loads(str(arrays["request"])) == request
    assert entry["ranges"] == request["ranges"] or request["auto_span"]
    for name, (low, high), number in zip(("t1", "t2"), entry["ranges"], points, strict=False):
        np.testing.assert_allclose(arrays[name], np.linspace(low, high, number), atol=1e-12)
    assert ("t2" in arrays) == (len(points) == 2)
    splits = ["train", "test"] if request["split"] == "both" else [request["split"]]
    for split in ("train", "test"):
        assert (f"{split}_loss" in arrays) == (split in splits)
    for split in splits:
        size = request["examples"] or {"train": 1_437, "test": 360}[split]
        confusion = arrays[f"{split}_confusion"]
        assert confusion.shape == (*points, 10, 10)
        assert (confusion.sum(axis=(-2, -1)) == size).all()
        right = np.trace(confusion, axis1=-2, axis2=-1)
        np.testing.assert_allclose(arrays[f"{split}_mistake_rate"], 1 - right / size)
        assert arrays[f"{split}_loss"].shape == points
        assert (arrays[f"{split}_num_seen"] == size).all()
        rate = arrays[f"{split}_mistake_rate"]
        error = np.sqrt(rate * (1 - rate) / (size - 1))
        np.testing.assert_allclose(arrays[f"{split}_mistake_rate_error"], error, rtol=1e-12)
        assert (arrays[f"{split}_loss_error"] > 0).all()
        class_loss, seen = arrays[f"{split}_class_loss"], confusion.sum(axis=-1)
        assert class_loss.shape == (*points, 10)
        whole = (class_loss * seen).sum(axis=-1) / size
        np.testing.assert_allclose(arrays[f"{split}_loss"], whole, rtol=1e-12)
    assert arrays["directions"].shape == (len(points), 394_634)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--kind ego:8 --second gaussian:3 --points 3x2 --span 0.1x1", {"points": [3, 2]}),
        ("--kind toward:0 --second gradient --points 2 --range 0..1", {"dims": 2}),
        ("--kind pca --points 3", {"auto_span": True}),
        (
            "--kind gaussian --points 2 --span 1 --orthonormalise --trajectory --final",
            {"orthonormalise": True, "is_final": True},
        ),
        ("--kind gaussian --dims 1 --points 5 --clip 50 --refine --devices cpu", {"clip": 50}),
        ("--preset v-side --points 3", {"ranges": [[-1.0, 1.0]], "kind": "toward"}),
        ("--preset interpolate --toward {run}:0 --points 3", {"split": "both"}),
    ],
)
def test_two_kinds_grids_presets_and_ways_to_evaluate(digits_run, cli, words, expected):
    words = words.format(run=digits_run).split()
    found = cli("scan", digits_run, "--device", "cpu", *words, "--json")
    assert found.code == 0, found.err
    entry = json.loads(found.out[: found.out.rindex("}") + 1])
    assert entry["state"] == "done"
    assert {key: entry["request"][key] for key in expected} == expected
    for split in entry["splits"].values():
        assert split["num_known"] == split["num_points"]
        assert split["num_void"] == 0
    if entry["request"]["trajectory"]:
        assert [row[0] for row in entry["trajectory"]] == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_series_prints_an_id_for_each_scan(digits_run, cli, summary):
    words = ("--kind", "gaussian", "--seeds", 2, "--points", 2, "--device", "cpu", "--json")
    found = cli("scan", digits_run, *words)
    assert found.code == 0, found.err
    end = found.out.rindex("]") + 1
    entries = json.loads(found.out[:end])
    assert found.out[end:].split() == [entry["id"] for entry in entries]
    assert [entry["state"] for entry in entries] == ["done", "done"]
    assert len({entry["request"]["series"] for entry in entries}) == 1
    film = cli(
        "scan", digits_run, "--kind", "gradient", "--film", "1..3:2", "--points", 2, *SCAN[1:]
    )
    ids = film.out.split()
    frames = [s for s in summary(digits_run)["scans"] if s["id"] in ids]
    assert [frame["request"]["epoch"] for frame in frames] == [1, 3]


@pytest.mark.slow
def test_the_centre_has_its_standard_errors(digits_run, scanned, summary):
    scan_id = scanned(digits_run, "--kind", "gradient", "--points", 3, "--examples", 200)
    entry = next(s for s in summary(digits_run)["scans"] if s["id"] == scan_id)
    centre = entry["splits"]["train"]["centre"]
    rate = centre["mistake_rate"]
    assert centre["num_seen"] == 200
    assert centre["mistake_rate_standard_error"] == pytest.approx(
        (rate * (1 - rate) / 199) ** 0.5
    )
    assert centre["loss_standard_error"] > 0


@pytest.fixture
def line(digits_run, scanned):
    """A short line over both splits."""
    words = ("--kind", "gradient", "--points", 3, "--split", "both")
    return scanned(digits_run, *words)


@pytest.mark.slow
def test_json_comes_before_the_id(digits_run, cli):
    found = cli("scan", digits_run, "--kind", "gradient", "--points", 2, "--json")
    *document, scan_id = found.out.splitlines()
    said = json.loads("\n".join(document))
    assert said["id"] == scan_id
    assert said["state"] == "done"


@pytest.mark.slow
def test_a_scan_that_fails_says_why_and_names_itself(digits_run, cli):
    words = ("--kind", "gradient", "--points", 2, "--device", "cuda:63")
    found = cli("scan", digits_run, *words)
    assert found.code == 1
    assert found.err.strip().splitlines()[-1].startswith("lossviz-tui: device 'cuda:63' is")
    scan = ScanReader(digits_run, found.out.splitlines()[-1])
    assert scan.state_word(scan.head()) == "failed"


@pytest.mark.slow
def test_a_cancelled_scan_ends_the_command_that_waits_for_it(
    digits_run, start_program, cli, wait_for
):
    before = ids_of(digits_run)
    words = ("--kind", "gaussian", "--points", 201, "--precision", "float64")
    process = start_program("scan", digits_run, *words, "--device", "cpu")
    try:
        scan_id = wait_for(lambda: ids_of(digits_run) - before, "the scan is asked for").pop()
        scan = ScanReader(digits_run, scan_id)
        wait_for(lambda: scan.head().done > 0, "the scan has begun")
        assert cli("stop", digits_run, "--scan", scan_id).code == 0
        out, err = process.communicate(timeout=60)
    finally:  # or it would keep the worker from every other test
        for name in ids_of(digits_run) - before:
            cancel(digits_run / "scans" / name)
    assert process.returncode == 1
    assert "was cancelled" in err
    assert out.splitlines()[-1] == scan_id
    assert 0 < scan.head().done < scan.head().total


def test_a_scan_nobody_has_taken_can_be_cancelled(copy, cli, summary):
    reader = RunReader(copy)
    scan_id = submit(copy, complete_one(ScanWish(kind="gradient"), reader))
    assert [s["state"] for s in summary(copy)["scans"]] == ["queued"]
    assert cli("stop", copy, "--scan", scan_id).code == 0
    assert [s["state"] for s in summary(copy)["scans"]] == ["cancelled"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--kind ego --classes 3,bird", "no class 'bird'"),
        ("--kind ego --classes 3,10", "no class '10'"),
        ("--kind ego --classes 3,²", "no class '²'"),
        ("--kind ego --classes 3,3", "two different classes"),
        ("--kind ego", "needs 2 classes; got 0"),
        ("--kind ego --classes 1,2 --dims 1", "needs 1 class; got 2"),
        ("--kind ego --classes 1,2,3", "got 3"),
        ("--kind gradient --classes 1", "classes belong to"),
        ("--kind gradient --toward 1", "toward belongs to"),
        ("--kind gradient --dims 0", "dims is 1 or 2; got 0"),
        ("--kind gradient --dims 3", "dims is 1 or 2; got 3"),
        ("--kind gradient --points 0", "from 2 to"),
        ("--kind gradient --points 1", "from 2 to"),
        ("--kind gradient --points 1000000", "from 2 to"),
        ("--kind gradient --span 0", "span is a positive number"),
        ("--kind gradient --span nan", "span is a positive number"),
        ("--kind gradient --span inf", "finite"),
        ("--kind gradient --examples 0", "examples is a positive number"),
        ("--kind gaussian --seed -1", "seed"),
        ("--kind gradient --checkpoint 77", "no checkpoint of epoch 77"),
        ("--kind gradient --checkpoint newest", "last, best, or an epoch; got 'newest'"),
        ("--kind gradient --checkpoint ²", "last, best, or an epoch"),
        ("--kind toward", "--toward EPOCH"),
        ("--kind toward --toward 3", "another checkpoint"),
        ("--kind toward --toward /nowhere/at/all", "/nowhere/at/all"),
        ("--kind toward --toward ²", "²"),
        ("--kind hessian", "'hessian'"),
        ("--kind gradient --points many", "points is N or NxM; got 'many'"),
        ("--kind gradient --points 3x3", "has one points for each"),
        ("--kind gaussian --range 0..1 --span 1", "give one of them"),
        ("--kind gradient --second gradient", "two different directions"),
        ("--kind gradient --second hessian:1", "'hessian'"),
        ("--kind toward:0 --toward 1", "says already"),
        ("--kind pca:first", "whole number"),
        ("--kind file:/nowhere", "RUN#SCAN or .h5"),
        ("--kind gradient --bn interpolate", "only on a line toward"),
        ("--kind gradient --final --clip 5", "drop clip and refine"),
        ("--kind gradient --devices cpu,,cpu", "devices are auto, or names"),
        ("--kind gaussian --film 9", "FIRST..LAST"),
        ("--kind gaussian --film 7..9", "kept are (last) 0, 1, 2, 3"),
        ("--kind gaussian --seeds 2 --dims 2", "Gaussian lines"),
        ("--preset w-basin", "toward another run"),
        ("--preset v-basin --kind ego", "drop the kind"),
        ("--kind gradient --precision half", "'half'"),
        ("--classes 1,2", "--kind"),
    ],
)
def test_a_scan_that_makes_no_sense_is_refused_before_it_is_queued(
    copy, refused, words, reason
):
    assert reason in refused("scan", copy, *words.split())
    assert not ids_of(copy)


# export


@pytest.mark.slow
def test_a_scan_is_exported_as_csv_and_json(digits_run, line, cli, tmp_path):
    files = {suffix: tmp_path / f"scan.{suffix}" for suffix in ("npz", "csv", "json")}
    for out in files.values():
        found = cli("export", digits_run, "--scan", line, "--out", out)
        assert (found.code, found.out.strip()) == (0, str(out))
    with np.load(files["npz"]) as archive:
        arrays = dict(archive)
    assert "directions" not in arrays
    with files["csv"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    document = json.loads(files["json"].read_text())
    assert document["scan"]["id"] == line
    facts = ("loss", "mistake_rate", "num_seen", "is_complete", "is_at_least")
    columns = ["t1", *(f"{split}_{fact}" for split in ("train", "test") for fact in facts)]
    assert list(rows[0]) == columns
    for name in columns:
        assert [float(row[name]) for row in rows] == arrays[name].tolist()
        assert document[name] == arrays[name].tolist()
    assert document["test_confusion"] == arrays["test_confusion"].tolist()


def test_a_run_is_exported_whole_as_npz_and_json(digits_run, cli, tmp_path, summary):
    reader = RunReader(digits_run)
    counts = reader.counts(0, 3)
    assert cli("export", digits_run, "--out", tmp_path / "run.npz").code == 0
    with np.load(tmp_path / "run.npz", allow_pickle=False) as archive:
        assert archive["epochs"].tolist() == [1, 2, 3]
        assert archive["class_names"].tolist() == DIGITS
        assert np.array_equal(archive["train_confusion"], counts[:, 0])
        assert np.array_equal(archive["test_confusion"], counts[:, 1])
        assert np.array_equal(archive["scalars"], reader.scalars(0, 3))
    assert cli("export", digits_run, "--out", tmp_path / "run.json").code == 0
    assert json.loads((tmp_path / "run.json").read_text()) == summary(digits_run)


@pytest.mark.parametrize("view", ["scalars", "recall", "notes", "cctm", "confusion"])
def test_a_run_is_exported_as_csv_view_by_view(digits_run, cli, tmp_path, view):
    out = tmp_path / "run.csv"
    assert cli("export", digits_run, "--view", view, "--out", out).code == 0
    with out.open(newline="") as file:
        header, *rows = csv.reader(file)
    reader = RunReader(digits_run)
    counts = reader.counts(2, 3)[0]
    match view:
        case "scalars":
            assert header == list(reader.description.scalar_columns)
            assert [[float(v) for v in row] for row in rows] == reader.scalars(0, 3).tolist()
        case "recall" | "notes":
            assert header == ["epoch", "split", *DIGITS]
            assert [row[:2] for row in rows] == [
                [str(epoch), split] for split in ("train", "test") for epoch in (1, 2, 3)
            ]
            if view == "recall":
                expected = np.diagonal(counts[1]) / counts[1].sum(axis=1)
                assert [float(value) for value in rows[-1][2:]] == expected.tolist()
        case _:
            assert header == ["epoch", "split", "true", "predicted", "value"]
            assert len(rows) == 200
            values = np.array([float(row[-1]) for row in rows]).reshape(2, 10, 10)
            sizes = counts.sum(axis=2, keepdims=True) if view == "cctm" else 1
            np.testing.assert_allclose(values, counts / sizes, rtol=1e-15)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--out x.gif", "x.gif should end in .csv, .json, .npz"),
        ("--out x", "should end in"),
        ("--out /dev/null/x.npz", "cannot be written"),
        ("--out /dev/null/x.csv", "cannot be written"),
        ("--out /dev/null/x.json", "cannot be written"),
        ("--out x.npz --scan nobody", "no scan 'nobody'"),
        ("--out x.npz --scan ../records", "not the id of a scan"),
        ("--out x.csv --view weights", "'weights'"),
        ("--out x.csv --figure", "--figure writes .svg, .png or .pdf"),
        ("--out x.svg --view weights", "'weights'"),
        ("--out x.svg --size 9", "WIDTHxHEIGHT"),
        ("--out x.svg --size 9999x30", "from 20x6 to 1000x1000"),
        ("--out x.svg --epoch 99", "epoch 99"),
        ("--out x.csv --view cctm --epoch 99", "epoch 99"),
        ("--out x.svg --view dance --classes 3", "two different classes"),
        ("--out x.svg --view dance --classes 3,x", "no class 'x'"),
        ("--out x.svg --scan nobody", "no scan 'nobody'"),
        ("--out x.csv --view runs", "no numbers of its own"),
        ("--out x.png --view runs", "no figure of the view runs"),
        ("--out /dev/null/x.svg", "cannot be written"),
        ("--out /dev/null/x.png", "cannot be written"),
        ("--out x.csv --scan some --directions", "--directions needs"),
        ("--out x.npz --directions", "--directions needs"),
        ("", "--out"),
    ],
)
def test_an_export_that_makes_no_sense_is_refused(
    digits_run, refused, monkeypatch, tmp_path, words, reason
):
    monkeypatch.chdir(tmp_path)
    assert reason in refused("export", digits_run, *words.split())
    assert not list(tmp_path.iterdir())


def test_a_scan_without_points_is_no_file(copy, refused, tmp_path):
    scan_id = submit(copy, complete_one(ScanWish(kind="gradient"), RunReader(copy)))
    out = tmp_path / "x.npz"
    assert "no points yet" in refused("export", copy, "--scan", scan_id, "--out", out)
    assert not out.exists()


# runs, doctor, and errors


def test_runs_are_listed_with_their_state(copy, cli):
    broken = copy.with_name("broken.zarr")
    shutil.copytree(copy, broken)
    (broken / "zarr.json").write_text("{")
    found = cli("runs", copy.parent, "--json")
    assert found.code == 0
    lines = {Path(line["path"]).name: line for line in json.loads(found.out)}
    assert set(lines) == {"copy.zarr", "broken.zarr"}
    good = lines["copy.zarr"]
    accuracies = RunReader(copy).scalars(0, 3)
    column = RunReader(copy).description.scalar_columns.index("test_accuracy")
    assert good["state"] == "finished"
    assert (good["epoch"], good["epochs"]) == (3, 3)
    assert good["best_test_accuracy"] == accuracies[:, column].max()
    assert (good["model"], good["dataset"]) == ("mlp", "digits")
    assert lines["broken.zarr"]["state"] == "damaged"
    assert "JSON" in lines["broken.zarr"]["message"]
    text = cli("runs", copy.parent)
    assert text.code == 0
    assert "copy.zarr" in text.out
    assert "damaged" in text.out


def test_an_empty_folder_has_no_runs_and_no_folder_is_an_error(tmp_path, cli, refused):
    assert cli("runs", tmp_path).code == 0
    assert json.loads(cli("runs", tmp_path, "--json").out) == []
    assert "no folder" in refused("runs", tmp_path / "none")


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "counts": lambda run: flip_a_bit(run / "records/confusion/c.1.0.0.0"),
    "missing counts": lambda run: (run / "records/confusion/c.1.0.0.0").unlink(),
    "scalars": lambda run: flip_a_bit(run / "records/scalars/c.0.0"),
    "head": lambda run: flip_a_bit(run / "records/head/c.0"),
    "attributes": lambda run: (run / "zarr.json").write_text('{"node_type": "group"}'),
    "foreign schema": lambda run: (run / "zarr.json").write_text(
        (run / "zarr.json").read_text().replace('"schema_version": 1', '"schema_version": 99')
    ),
    "a checkpoint": lambda run: flip_a_bit(run / "checkpoints/c00000002/params_f32/c.0"),
    "a checkpoint's index": lambda run: (run / "checkpoints/c00000002/zarr.json").write_text(
        "{"
    ),
}


@pytest.mark.slow
def test_doctor_finds_a_sound_run_sound(copy, cli):
    found = cli("doctor", copy)
    assert found.code == 0, found.err
    for word in ("python", "torch", "zarr", "GPU", "terminal"):
        assert word in found.out
    assert "3, 0 damaged" in found.out
    assert "4, 0 damaged" in found.out


@pytest.mark.parametrize("damage", DAMAGES)
def test_doctor_finds_every_damage_and_says_it_in_a_sentence(
    copy, refused, monkeypatch, damage
):
    monkeypatch.setattr("lossviz_tui.cli.doctor.gpus_by_torch", lambda: "not asked")
    DAMAGES[damage](copy)
    assert len(refused("doctor", copy)) > 30


def test_doctor_finds_a_damaged_scan(copy, refused, monkeypatch):
    monkeypatch.setattr("lossviz_tui.cli.doctor.gpus_by_torch", lambda: "not asked")
    scan_id = submit(copy, complete_one(ScanWish(kind="gradient"), RunReader(copy)))
    path = copy / "scans" / scan_id / "zarr.json"
    path.write_text(path.read_text().replace('"frozen"', '"thawed"'))
    assert "'thawed'" in refused("doctor", copy)


@pytest.mark.parametrize("damage", [name for name in DAMAGES if "checkpoint" not in name])
def test_a_damaged_run_is_shown_as_a_sentence(copy, refused, damage):
    DAMAGES[damage](copy)
    refused("show", copy)
    refused("show", copy, "--json")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("show /nowhere", "no run at /nowhere"),
        ("show /nowhere --json", "no run at /nowhere"),
        ("scan /nowhere --kind gradient", "no run at /nowhere"),
        ("export /nowhere --out x.npz", "no run at /nowhere"),
        ("stop /nowhere", "no run at /nowhere"),
        ("stop {run} --scan nobody", "no scan 'nobody'"),
        ("stop {run}", "nothing to stop"),
        ("doctor /nowhere", "no run at /nowhere"),
        ("train --resume", "--resume needs --run"),
        ("train --resume --run /nowhere", "no run at /nowhere"),
        ("train --resume --run {run} --epochs 9", "keeps its data"),
        ("train --resume --run {run} --lr 1", "keeps its data"),
        ("train --resume --run {run} --amp bf16", "arithmetic"),
        ("train --resume --run {run} --no-channels-last", "arithmetic"),
        ("train --amp fp8 --run {run}x", "--amp must be none or bf16"),
        ("train --resume --run {run} --no-flip", "keeps its data"),
        ("train --resume --run {run} --train-examples 10", "keeps its data"),
        ("train --milestones 3,x", "'3,x'"),
        ("train --milestones ²", "'²'"),
        ("train --milestones ,", "','"),
        ("train --keep-gb nan", "--keep-gb"),
        ("train --keep-gb inf", "--keep-gb"),
        ("train --keep-gb -1", "--keep-gb"),
        ("train --epochs three", "--epochs"),
        ("train --epoch 3", "--epoch"),
        ("show", "run"),
        ("--nonsense", "--nonsense"),
        ("show {long}", "too long"),
    ],
)
def test_every_mistake_is_answered_with_one_sentence(
    digits_run, refused, monkeypatch, tmp_path, words, reason
):
    monkeypatch.chdir(tmp_path)
    words = words.format(run=digits_run, long="x" * 300)
    assert reason in refused(*words.split())
    assert not list(tmp_path.iterdir())


def test_help_is_no_error(cli):
    for words in (["--help"], ["-h"], ["train", "-h"], ["scan", "--help"]):
        found = cli(*words)
        assert found.code == 0
        assert "Usage" in found.out


EVIL = "\x1b]0;owned\x07two\nlines\r\u202e\x9b2J\u200b"


@pytest.fixture
def hostile(copy):
    """A run whose every name tries to talk to the terminal."""
    path = copy.with_name(f"run{EVIL}.zarr")
    copy.rename(path)
    document = json.loads((path / "zarr.json").read_text())
    attributes = document["attributes"]
    attributes["class_names"][3] = EVIL
    attributes["model"]["name"] = EVIL
    attributes["dataset"]["name"] = EVIL
    (path / "zarr.json").write_text(json.dumps(document))
    (path / "message.txt").write_text(EVIL)
    scan_id = submit(path, complete_one(ScanWish(kind="gradient"), RunReader(path)))
    (path / "scans" / scan_id).rename(path / "scans" / f"scan{EVIL}")
    (path / "scans" / f"scan{EVIL}" / "message.txt").write_text(EVIL)
    return path


@pytest.mark.parametrize(
    "words",
    [
        "show .",
        "show . --json",
        "runs .",
        "runs . --json",
        "doctor .",
        "stop .",
        "scan . --kind ego --classes a,b",
        "scan . --kind gradient --checkpoint 9",
        "export . --out x.png",
    ],
)
def test_names_never_reach_the_terminal_raw(hostile, cli, monkeypatch, words):
    monkeypatch.setattr("lossviz_tui.cli.doctor.gpus_by_torch", lambda: "not asked")
    monkeypatch.chdir(hostile.parent)
    found = cli(*words.split())
    printed = found.out + found.err
    assert printed.strip()
    raw = {c for c in printed if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"}
    assert raw == set()
    assert "lines" not in [line[:5] for line in printed.splitlines()]
