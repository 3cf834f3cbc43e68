"""`koji-containerbuild check` as it is called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from koji_containerbuild.__main__ import main


def words(tmp_path: Path, *more: str) -> list[str]:
    paths = ["--config", str(tmp_path / "builder.conf"), "--kojid-conf", str(tmp_path / "kojid")]
    return ["check", *paths, *more]


def test_a_configuration_that_cannot_be_read_is_wrong_and_the_rest_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "builder.conf").write_text("[registry]\nurk = r.invalid\n")
    (tmp_path / "kojid").write_text("[kojid]\nserver = http://127.0.0.1:1/\n")
    assert main(words(tmp_path)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("WRONG      the configuration can be read: ")
    assert lines[1] == "           → Did you mean 'url'?"
    assert "OK         kojid's configuration can be read" in lines[2]
    wrong = sum(line.startswith("WRONG ") for line in lines)
    assert f": {wrong} wrong, " in lines[-1]


def test_a_program_gets_a_list_of_facts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(words(tmp_path, "--json")) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts[0]["state"] == "WRONG"
    assert set(facts[0]) == {"what", "state", "said", "mend"}


def test_a_word_that_is_not_known_is_a_wrong_call(tmp_path: Path):
    with pytest.raises(SystemExit) as caught:
        main(["check", "--repair"])
    assert caught.value.code == 2
