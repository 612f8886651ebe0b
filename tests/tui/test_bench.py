"""`lossviz-tui bench`: tables from what the measuring process says, and its failures."""

import io
import json
import subprocess
import sys

import pytest
from rich.console import Console

from lossviz_tui.__main__ import run
from lossviz_tui.cli import bench as command

ENVIRONMENT = {
    "event": "environment",
    "date": "2026-01-02T03:04:05+00:00",
    "device": "cpu",
    "cpu": "Some CPU",
    "threads": 2,
    "torch": "2.13.0",
    "matmul_flops": {"float32": 1.87e11, "bfloat16": 1.176e12},
    "copy_bytes_per_second": 1.3e10,
}


def row(name, **changes):
    return {
        "event": "row",
        "table": "scan, frozen",
        "net": "resnet20",
        "name": name,
        "is_right": True,
        "deviation": 0.01,
        "images_per_second": 12_345.6,
        "best_images_per_second": 12_999.9,
        "of_bound": 0.951,
        "of_peer": 1.62,
        "cpu_of_bound": 0.95,
        "cpu_of_peer": 1.6,
        "matmul_share": 0.401,
        "roofline_share": 0.55,
        "setup_seconds": 2.0,
        "micro_batch": 50,
        "note": "",
    } | changes


FAILED = dict.fromkeys(
    (
        *("images_per_second", "best_images_per_second", "of_bound", "of_peer"),
        *("cpu_of_bound", "cpu_of_peer", "matmul_share", "roofline_share"),
    )
)
EVENTS = [
    {"event": "progress", "what": "measuring"},
    ENVIRONMENT,
    {"event": "note", "text": "torch cannot compile here"},
    row("bare forward, compiled"),
    row("loader pass, no workers", of_bound=None),
    row("ours, exact", note="19 batch norms folded"),
    row("ours, fast", is_right=False, deviation=27.31, note="in half the bits", **FAILED),
    row("bare, plain", table="train", matmul_share=None, roofline_share=None),
    {
        "event": "summary",
        "net": "resnet20",
        "gflop_per_image": 0.08,
        "roofline_images_per_second": 20_000.0,
        "first_picture_seconds": 1.234,
        "compile_seconds": 26.0,
        "break_even_points": 260.4,
    },
    {"event": "done"},
]


@pytest.fixture
def say(monkeypatch):
    """Has the measuring process print some lines, and leave with a code."""

    def prepare(*lines, code=0, last_words=""):
        text = "".join(
            f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines
        )
        script = (
            f"import sys; sys.stdout.write({text!r}); sys.stderr.write({last_words!r}); "
            f"sys.exit({code})"
        )
        asked = []

        def start(spec, errors):
            asked.append(spec)
            return subprocess.Popen(
                [sys.executable, "-S", "-c", script], stdout=subprocess.PIPE, stderr=errors
            )

        monkeypatch.setattr(command, "start_bench", start)
        return asked

    return prepare


def drawn(events, width=80):
    printed = io.StringIO()
    console = Console(file=printed, width=width, color_system=None)
    command.draw(events, {"images": 2_000}, console)
    return printed.getvalue()


def line_of(text, name):
    return next(line.strip() for line in text.splitlines() if line.strip().startswith(name))


def test_tables_fit_80_columns():
    text = drawn(EVENTS)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "resnet20: scan, 2,000 images" in text
    assert "resnet20: training step, 2,000 images" in text
    words = line_of(text, "ours, exact").split()
    assert words[2:] == ["12,346", "13,000", "0.95", "1.62", "40", "%", "55", "%"]
    assert "–" in line_of(text, "loader pass, no workers")
    assert "peaks: float32 187 GFLOP/s, bfloat16 1.18 TFLOP/s, copy 13 GB/s" in text
    assert "torch cannot compile here" in text


def test_a_contender_that_is_wrong_shows_fail_and_no_speed():
    found = line_of(drawn(EVENTS), "ours, fast")
    assert "FAIL" in found
    assert "27.3 tol" in found
    assert "half the bits" not in drawn(EVENTS)


def test_what_is_not_a_rate_stands_below_the_table():
    text = drawn(EVENTS)
    assert "ours, exact: 19 batch norms folded, batches of 50" in text
    assert "first picture (81 points of 19 x 19, 50 images): 1.23 s" in text
    assert "compiling the bare pass: 26.0 s, has paid after 260 points" in text
    never = [EVENTS[3], EVENTS[-2] | {"break_even_points": None}]
    assert "26.0 s, never pays" in drawn(never)
    assert "compiling" not in drawn([EVENTS[3], EVENTS[-2] | {"compile_seconds": None}])


def test_options_become_the_spec(say, capsys):
    asked = say(*EVENTS)
    words = "bench scan --net mlp --net vgg9 --images 500 --points 2 --repeats 1 --device cpu"
    assert run([*words.split(), "--no-compile"]) == 0
    assert asked == [
        {
            "what": "scan",
            "nets": ["mlp", "vgg9"],
            "images": 500,
            "points": 2,
            "repeats": 1,
            "device": "cpu",
            "compile": False,
        }
    ]
    assert "ours, exact" in capsys.readouterr().out


def test_json_holds_everything_but_progress(say, capsys):
    asked = say("a library warns", *EVENTS)
    assert run(["bench", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"asked", "environment", "rows", "summaries", "notes"}
    assert found["asked"] == asked[0]
    assert found["asked"]["nets"] == ["resnet20", "mlp"]
    assert [r["name"] for r in found["rows"]] == [e["name"] for e in EVENTS if "name" in e]
    assert found["rows"][0] == {k: v for k, v in EVENTS[3].items() if k != "event"}
    assert found["notes"] == ["torch cannot compile here"]
    assert found["summaries"][0]["break_even_points"] == 260.4


def test_json_knows_no_nan(say, capsys):
    say(row("x", is_right=False, **(FAILED | {"deviation": float("nan")})), {"event": "done"})
    assert run(["bench", "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["rows"][0]["deviation"] is None


@pytest.mark.parametrize(
    ("lines", "last_words", "sentence"),
    [
        ([{"event": "error", "message": "there is no model 'x'"}], "", "no model 'x'"),
        ([ENVIRONMENT], "Traceback\nMemoryError: all gone\n", "early: MemoryError: all gone"),
        ([], "", "ended early: it said nothing"),
    ],
)
def test_a_benchmark_that_fails_says_why_in_one_sentence(
    say, capsys, lines, last_words, sentence
):
    say(*lines, code=2, last_words=last_words)
    assert run(["bench"]) == 1
    printed = capsys.readouterr()
    assert not printed.out
    last = printed.err.strip().splitlines()[-1]
    assert last.startswith("lossviz-tui: ")
    assert sentence in last


def test_another_word_is_refused(capsys):
    assert run(["bench", "hessian"]) == 2
    assert "hessian" in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_benchmark_runs_from_the_command_line(capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = "bench all --net mlp --images 100 --points 1 --repeats 1 --no-compile --device cpu"
    assert run([*words.split(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["rows"]) == 6 + 6
    assert all(r["is_right"] and r["images_per_second"] > 0 for r in found["rows"])
    assert set(found["rows"][0]) == set(row("x")) - {"event"}
    assert found["environment"]["variables"]["MALLOC_MMAP_THRESHOLD_"]
