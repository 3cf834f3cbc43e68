"""`python -m koji_containerbuild`, as far as it gets without git and a registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from koji_containerbuild.__main__ import _parser, _request, main

SOURCE = f"file:///web#{'a' * 40}"


def test_a_build_without_koji_is_for_the_target_local_or_the_one_that_is_named():
    words = ["--git-branch", "f43", SOURCE]
    assert _request(_parser().parse_args(words)).target == "local"
    assert _request(_parser().parse_args(["--target", "f43", *words])).target == "f43"


def test_a_target_that_the_site_does_not_build_for_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = tmp_path / "builder.conf"
    config.write_text("[registry]\nurl = r.invalid\n[builder]\nallowed_targets = f43-*\n")
    words = ["--config", str(config), "--git-branch", "f43", "--target", "eln", SOURCE]
    assert main(words) == 2
    assert "The target 'eln' may not be used" in capsys.readouterr().err
