"""What the command line may ask of a daemon."""

import json
from pathlib import Path

import pytest

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.spec import TrainingSpec, cache_folder_of


def test_every_field_arrives():
    asked = {
        "run": "/somewhere/x.zarr",
        "resume": False,
        "data": "cifar10",
        "model": "vgg9",
        "recipe": "li",
        "overrides": {"epochs": 3, "flip": False},
        "train_examples": 500,
        "seed": 4,
        "device": "cpu",
        "checkpoint_every": 2,
        "checkpoint_minutes": 2.5,
        "keep_bytes": 10**9,
        "data_root": "/data",
        "download": False,
        "channels_last": True,
        "amp": "bf16",
        "compile": True,
    }
    spec = TrainingSpec.from_json(json.dumps(asked))
    assert set(asked) == set(TrainingSpec.__dataclass_fields__)
    for name, value in asked.items():
        expected = Path(str(value)) if name in ("run", "data_root") else value
        assert getattr(spec, name) == expected, name


def test_relative_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = TrainingSpec.from_json('{"run": "runs/x.zarr", "data_root": "data"}')
    assert spec.run == tmp_path / "runs/x.zarr"
    assert spec.data_root == tmp_path / "data"
    assert TrainingSpec.from_json('{"run": "x", "data_root": null}').data_root is None


def test_decoded_images_are_kept_beside_the_runs():
    spec = TrainingSpec(run=Path("/a/b/x.zarr"))
    assert spec.cache_folder == cache_folder_of(spec.run)
    assert spec.cache_folder.parent == Path("/a/b")
    assert spec.cache_folder.name.startswith(".")  # no run of that name is looked for there


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "needs `run`"),
        ("3", "needs `run`"),
        ('{"model": "mlp"}', "needs `run`"),
        ('{"run": "x", "modle": "mlp"}', "knows only"),
        ('{"run": "x", "seed": -1}', "--seed .* got -1"),
        ('{"run": "x", "seed": 4611686018427387904}', "--seed"),
        ('{"run": "x", "checkpoint_every": 0}', "--checkpoint-every .* got 0"),
        ('{"run": "x", "amp": "fp8"}', "--amp must be none or bf16; got 'fp8'"),
    ],
)
def test_anything_else_is_refused_with_a_reason(text, reason):
    with pytest.raises(LossvizError, match=reason):
        TrainingSpec.from_json(text)


def test_a_spec_survives_the_way_through_json():
    spec = TrainingSpec.from_json(
        json.dumps({"run": "/x/y.zarr", "overrides": {"epochs": 3}, "data_root": "/d"})
    )
    assert TrainingSpec.from_json(spec.to_json()) == spec


def test_a_resume_goes_by_what_the_run_remembers_unless_told_otherwise():
    first = TrainingSpec(run=Path("/x"), checkpoint_every=3, checkpoint_minutes=5, device="cpu")
    again = TrainingSpec(run=Path("/x"), resume=True, checkpoint_every=7)
    found = again.with_settings(json.loads(json.dumps(first.settings())))
    assert (found.checkpoint_every, found.checkpoint_minutes, found.device) == (7, 5, "cpu")
    assert found.keep_bytes is None


@pytest.mark.parametrize(
    "settings",
    [{}, {"checkpoint_every": "3", "device": 4, "keep_bytes": True, "checkpoint_minutes": []}],
)
def test_settings_of_another_kind_are_passed_over(settings):
    spec = TrainingSpec(run=Path("/x"), resume=True)
    assert spec.with_settings(settings) == spec


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_minutes_that_are_none_are_refused(minutes):
    with pytest.raises(LossvizError, match="--checkpoint-minutes"):
        TrainingSpec(run=Path("/x"), checkpoint_minutes=minutes)
