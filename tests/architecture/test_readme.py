"""What the README says of the code is so."""

import importlib
import re
from pathlib import Path

import pytest

from lossviz_tui.__main__ import COMMANDS
from lossviz_tui.keys import KEYS, VIEW_NAMES, VIEW_TITLES, Key

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
TEST_COMMAND = "uv run python -m tests"


def section(title: str) -> str:
    """The text below a heading of the second level."""
    found = re.search(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL
    )
    assert found, f"the README has no section {title!r}"
    return found[1]


def walked_names() -> list[str]:
    """The dotted names of the section that walks through the code."""
    return re.findall(r"`(lossviz_[\w.]+)`", section("Two walks"))


def resolve(name: str) -> object:
    """The module, class, function or attribute of a dotted name."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute)
        return found
    raise ModuleNotFoundError(name)


def test_the_walks_name_what_they_walk_through():
    names = walked_names()
    assert len(names) >= 15
    assert {name.split(".")[0] for name in names} == {
        "lossviz_analysis",
        "lossviz_trainer",
        "lossviz_tui",
    }


@pytest.mark.parametrize("name", sorted(set(walked_names())))
def test_a_name_in_the_walks_exists(name: str):
    assert resolve(name) is not None


@pytest.mark.parametrize(
    "name", ["lossviz_tui.nothing", "lossviz_tui.app.nothing", "lossviz_no"]
)
def test_a_name_that_does_not_exist_would_be_found(name: str):
    with pytest.raises((ModuleNotFoundError, AttributeError)):
        resolve(name)


def rendered_keys() -> str:
    """The table of keys as the README has it, rendered from the one table in the code."""
    titles: dict[str, str] = dict(zip(VIEW_NAMES, VIEW_TITLES, strict=True))

    def views_of(key: Key) -> str:
        everywhere = set(key.views) == set(VIEW_NAMES)
        return "all" if everywhere else ", ".join(titles[view] for view in key.views)

    rows = [
        f"| {key.shown} | {key.help} | {views_of(key)} |"
        for key in KEYS
        if not key.action.startswith("view(")
    ]
    head = ["| key | what it does | views |", "|---|---|---|"]
    return "\n".join([*head, f"| 1 to {len(VIEW_NAMES)} | the views | all |", *rows])


def test_the_table_of_keys_is_the_one_in_the_code():
    assert rendered_keys() in section("Keys")


def test_the_test_command_is_the_one_that_ci_runs():
    assert TEST_COMMAND in section("Tests")
    script = (ROOT / ".ci" / "run").read_text()
    assert script.rstrip().splitlines()[-1] == TEST_COMMAND


def test_every_command_is_listed():
    listed = section("Command line")
    for name in set(COMMANDS) - {"watch"}:
        assert f"lossviz-tui {name}" in listed, name
    for name in set(re.findall(r"^lossviz-tui ([a-z]+)", listed, re.MULTILINE)):
        assert name in COMMANDS


def test_paths_in_the_readme_exist():
    for path in re.findall(r"`((?:analysis|trainer|tui|tests)/[\w/.]+)`", README):
        assert (ROOT / path).exists(), path
    house = re.findall(
        r"^((?:analysis|trainer|tui|tests)/\S*) ", section("The house"), re.MULTILINE
    )
    assert len(house) == 4
    for path in house:
        assert (ROOT / path).is_dir(), path
