"""What a user reads of a failed instruction, out of buildah's words."""

from __future__ import annotations

import pytest

from koji_containerbuild.buildroot.buildah import _instruction_failed


@pytest.mark.parametrize("end", ["", "\n"])
def test_output_without_a_last_newline_is_told_from_the_error(end: str):
    error = _instruction_failed(
        f"STEP 2/5: RUN printf x; false\nx{end}"
        'Error: building at STEP "RUN printf x; false": while running runtime: exit status 1\n',
        1,
    )
    assert error.what == "exit status 1."
    assert error.instruction == "RUN printf x; false"
    assert error.last_lines == "x"


def test_a_file_that_is_not_there_is_named_and_our_folders_are_not():
    error = _instruction_failed(
        "STEP 2/5: COPY missing /x\n"
        'Error: building at STEP "COPY missing /x": checking on sources under "/w": copier: stat: '
        '"/missing": no such file or directory\n',
        125,
    )
    assert error.instruction == "COPY missing /x"
    assert error.what == "There is no missing to copy."
    assert ".dockerignore" in error.do


def test_endless_output_is_cut():
    error = _instruction_failed("STEP 1/2: RUN x\n" + "x" * 9000 + "\nError: other\n", 1)
    assert len(error.last_lines) == 2000
    assert error.what == "other."


def test_a_builder_that_says_nothing_is_told_by_its_status():
    assert _instruction_failed("", 137).what == "exit status 137."
