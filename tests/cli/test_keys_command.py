"""`lossviz-tui keys`: what can be remapped, for people and for scripts."""

import json

from lossviz_tui.keys import KEYS


def test_every_action_is_listed_with_its_keys(cli):
    found = cli("keys")
    assert found.code == 0
    lines = found.out.splitlines()
    assert len(lines) == len(KEYS) + 1
    (scan,) = [line for line in lines if line.startswith("scan ")]
    assert scan.split()[:2] == ["scan", "s"]
    assert "ask for a scan" in scan
    assert scan.endswith("Overview, Dance, Notes, CCTM, Landscape")


def test_as_json_with_the_keys_of_a_file(cli, tmp_path):
    (tmp_path / "my.toml").write_text('[keys]\nscan = "f2,?"\nhelp = ""')
    found = cli("keys", "--json", "--config", tmp_path / "my.toml")
    assert found.code == 0
    by_name = {one["action"]: one for one in json.loads(found.out)}
    assert by_name["scan"]["keys"] == ["f2", "question_mark"]
    assert by_name["scan"]["starts_work"] is True
    assert by_name["help"]["keys"] == []
    assert by_name["turn-next"]["views"] == ["landscape"]
