"""Read a Dockerfile: its stages, what they stand on, and the labels of the image.

Finding the instructions is dockerfile-parse's work; what it leaves open (stage graph, flags that
reach outside the pinned parents) is decided here, and `variables` evaluates.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from dockerfile_parse import DockerfileParser

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.labels import LONGEST_LINE, Written
from koji_containerbuild.source import flags, variables, words
from koji_containerbuild.source.from_line import read_from
from koji_containerbuild.source.variables import Setting

SCRATCH = "scratch"
HEREDOC = re.compile(r"\d*<<-?[\"']?[A-Za-z_]")  # at the beginning of a word
ARITHMETIC = re.compile(r"\$\(\([^()\"']*\)\)")  # in it, << is something else
INSTRUCTIONS = tuple(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL "
    "STOPSIGNAL USER VOLUME WORKDIR".split()
)
MOST_LINES = 10_000  # the reading of more takes long, and nobody writes them
SHOWN = 100  # characters of an instruction


@dataclass(frozen=True)
class Instruction:
    """One instruction, to be shown."""

    line: int  # its first one, from 1
    text: str  # as one line, cut short


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it."""

    number: int
    name: str  # after AS, lower case; empty: none
    image: str  # what it stands on, variables resolved; "scratch", an image, or a stage's name
    on_stage: Optional[int]  # the stage it stands on, if it is one
    first_line: int  # of the FROM instruction, from 0
    last_line: int
    platform: str  # of --platform; empty: none; "linux/*" is the one that is built
    as_written: str  # the name with AS, as written
    runs: Optional[Instruction]  # its first RUN
    runs_later: Optional[Instruction]  # its first ONBUILD RUN: of a stage that stands on it
    takes_from: tuple[int, ...]  # the stages that it copies from
    settings: tuple[Setting, ...]  # its LABEL, ENV and ARG
    triggers: tuple[Setting, ...]  # those after ONBUILD

    @property
    def parent(self) -> Optional[str]:
        """The image it stands on, or None for a stage or scratch."""
        return None if self.on_stage is not None or self.image == SCRATCH else self.image


@dataclass(frozen=True)
class Dockerfile:
    """What we need to know of a Dockerfile."""

    text: str
    heading: tuple[Setting, ...]  # ARG before the first FROM
    stages: tuple[Stage, ...]

    @property
    def parents(self) -> tuple[str, ...]:
        """Every image after FROM, in order, each once; not scratch, not stages."""
        return tuple(dict.fromkeys(s.parent for s in self.stages if s.parent))

    @property
    def final_parent(self) -> Optional[str]:
        """The image that the last stage stands on in the end; None: scratch."""
        stage = self.stages[-1]
        while stage.on_stage is not None:
            stage = self.stages[stage.on_stage]
        return stage.parent

    def labels(self, parent_env: Mapping[str, str]) -> Written:
        """The labels that it gives the image, variables filled in.

        `parent_env` is the ENV of the final parent. The parent's labels are not among them. Raises
        BadRequest, naming the line.
        """
        chain, stage = [], self.stages[-1]
        while stage.on_stage is not None:
            below = self.stages[stage.on_stage]
            chain.append((*below.triggers, *stage.settings))
            stage = below
        chain.append(stage.settings)
        return variables.labels(variables.heading(self.heading), chain[::-1], parent_env)


def parse(text: str) -> Dockerfile:
    """Raises BadRequest, naming the line."""
    text = text.removeprefix("\ufeff")
    _check_text(text)
    readable = io.BytesIO(_readable(text).encode())
    structure = DockerfileParser(fileobj=readable).structure
    _check_heredocs(structure)
    _check_lines(text, structure)
    structure = [item for item in structure if item["instruction"] != "COMMENT"]
    if not any(item["instruction"] == "FROM" for item in structure):
        raise BadRequest("The Dockerfile has no FROM.", do="Begin it with FROM and an image.")
    _check_instructions(structure)
    heading, stages = _divided(structure)
    _check_reaching_out(structure, stages)
    return Dockerfile(text, heading, stages)


def _readable(text: str) -> str:
    """An empty line does not end a continued instruction, as dockerfile-parse would have it."""
    lines, continued = text.split("\n"), False
    for number, line in enumerate(lines):
        if continued and not line.strip():
            lines[number] = "#"
        elif not line.lstrip().startswith("#"):
            continued = line.rstrip().endswith("\\")
    return "\n".join(lines)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest("The Dockerfile is not UTF-8.", do="Save it as UTF-8.") from error
    if "\0" in text:
        raise BadRequest("The Dockerfile holds a NUL byte.", do="Save it as plain text.")
    if re.match(r"(?:[ \t]*#[^\n]*\n)*[ \t]*#\s*escape\s*=\s*`", text, re.I):
        raise BadRequest(
            "The Dockerfile has another escape character than the backslash.",
            do="Remove the line '# escape=`', and write backslashes.",
        )
    if text.count("\n") > MOST_LINES:
        raise BadRequest(
            f"The Dockerfile has more than {MOST_LINES} lines.", do="Put the most into a script."
        )
    for number, line in enumerate(text.encode().split(b"\n"), 1):
        if len(line) > LONGEST_LINE:
            raise BadRequest(
                f"Line {number} of the Dockerfile has {len(line)} bytes, and a builder reads at "
                f"most {LONGEST_LINE}.",
                do="Divide it into several lines, or put the text into a file.",
            )


def _check_lines(text: str, structure: Iterable[Mapping[str, Any]]) -> None:
    """What we add must be instructions of its own, not the tail of the last one."""
    lines = text.split("\n")
    for item in structure:
        lines[item["startline"] : item["endline"] + 1] = [""] * (
            item["endline"] + 1 - item["startline"]
        )
    for number, line in enumerate(lines, 1):
        if line.strip():
            raise BadRequest(
                f"Line {number} of the Dockerfile is not a whole instruction: '{line.strip()}'.",
                do="Write what belongs to it; a continued line must not be the last one.",
            )


def _check_instructions(structure: Iterable[Mapping[str, Any]]) -> None:
    stages = 0
    for item in structure:
        line, kept = item["startline"] + 1, _of_onbuild(item)
        for one in (item, kept):
            _check_name(one["instruction"], line)
        if kept is not item and kept["instruction"] in ("FROM", "ONBUILD", "MAINTAINER"):
            what = f"ONBUILD {kept['instruction']}"
            raise BadRequest(f"Line {line} of the Dockerfile is an {what}.", do="Remove it.")
        if not kept["value"] and kept["instruction"] not in ("FROM", "LABEL", "ENV", "ARG"):
            raise BadRequest(
                f"Line {line} of the Dockerfile is not a whole instruction: "
                f"'{item['content'].strip()}'.",
                do="Write what belongs to it, or remove it.",
            )
        stages += item["instruction"] == "FROM"
        if not stages and item["instruction"] != "ARG":
            raise BadRequest(
                f"Line {line} of the Dockerfile, {item['instruction']}, is before the first FROM.",
                do="Begin with FROM; only ARG may stand before it.",
            )


def _check_name(instruction: str, line: int) -> None:
    if instruction not in INSTRUCTIONS:
        close = difflib.get_close_matches(instruction, INSTRUCTIONS, 1)
        raise BadRequest(
            f"Line {line} of the Dockerfile: there is no instruction '{instruction[:40]}'.",
            do=f"Did you mean {close[0]}?"
            if close
            else "Is it the rest of the line before? Then that one must end with a backslash.",
        )


def _check_heredocs(structure: Iterable[Mapping[str, Any]]) -> None:
    """What stands in one would be taken for instructions, by us and by older builders."""
    for item in map(_of_onbuild, structure):
        plain = ARITHMETIC.sub("", item["value"] or "")
        if item["instruction"] in ("RUN", "COPY", "ADD") and any(
            map(HEREDOC.match, words.split(plain))
        ):
            raise BadRequest(
                f"Line {item['startline'] + 1} of the Dockerfile begins a here-document.",
                do="Put the text into a file of the repository and COPY or RUN that.",
            )


def _divided(
    structure: Iterable[Mapping[str, Any]],
) -> tuple[tuple[Setting, ...], tuple[Stage, ...]]:
    """What stands before the first FROM, and the stages."""
    heading: list[Setting] = []
    stages: list[dict[str, Any]] = []
    arguments: dict[str, str] = {}
    for item in structure:
        if item["instruction"] == "FROM":
            arguments = arguments if stages else variables.heading(heading)
            stages.append(_from(item, arguments, stages))
        kept = _of_onbuild(item)
        if stages:
            _note(item, kept, stages)
        if kept["instruction"] in ("LABEL", "ENV", "ARG"):
            setting = Setting(kept["instruction"], kept["value"] or "", item["startline"] + 1)
            if not stages:
                heading.append(setting)
            else:
                stages[-1]["settings" if kept is item else "triggers"] += (setting,)
    return tuple(heading), tuple(Stage(**stage) for stage in stages)


def _note(item: Mapping[str, Any], kept: Mapping[str, Any], stages: list[dict[str, Any]]) -> None:
    """What the last stage runs, and which stages it takes from."""
    stage = stages[-1]
    if kept["instruction"] == "RUN":
        key = "runs" if kept is item else "runs_later"
        text = " ".join(f"{item['instruction']} {item['value']}".split())
        shown = text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
        stage[key] = stage[key] or Instruction(item["startline"] + 1, shown)
    sources = _sources(kept)
    stage["takes_from"] += tuple(
        s["number"] for s in stages[:-1] if {s["as_written"], str(s["number"])} & set(sources)
    )


def _from(
    item: Mapping[str, Any], arguments: Mapping[str, str], earlier: list[dict[str, Any]]
) -> dict[str, Any]:
    names = {s["name"]: s["number"] for s in earlier if s["name"]}
    said = read_from(item["value"], arguments, item["startline"] + 1, names)
    return {
        "number": len(earlier),
        "name": said.name.lower(),
        "image": said.image,
        "on_stage": names.get(said.image.lower()),
        "first_line": item["startline"],
        "last_line": item["endline"],
        "platform": said.platform,
        "as_written": said.name,
        "runs": None,
        "runs_later": None,
        "takes_from": (),
        "settings": (),
        "triggers": (),
    }


def _check_reaching_out(structure: Iterable[Mapping[str, Any]], stages: tuple[Stage, ...]) -> None:
    """An image in COPY --from or RUN --mount would come in without being looked up.

    So would one with a stage's name in other letters: buildah tells upper from lower case.
    """
    current = -1
    for item in map(_of_onbuild, structure):
        if item["instruction"] == "FROM":
            current += 1
        earlier = stages[: max(current, 0)]
        for source in _sources(item):
            known = {s.as_written for s in earlier if s.name} | {str(s.number) for s in earlier}
            if source not in known:
                raise _reaches_out(item["startline"] + 1, source, earlier)


def _reaches_out(line: int, source: str, earlier: Iterable[Stage]) -> BadRequest:
    for stage in earlier:
        if stage.name and stage.name == source.lower():
            return BadRequest(
                f"Line {line} of the Dockerfile takes files from '{source}', and the stage is "
                f"named '{stage.as_written}'.",
                do="Write it in the same letters.",
            )
    return BadRequest(
        f"Line {line} of the Dockerfile takes files from the image '{source}', which is no stage "
        "of it.",
        do=f"Add a stage 'FROM {source} AS NAME' and take them from NAME.",
    )


def _of_onbuild(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """The instruction that ONBUILD keeps for later: a later stage may set it off."""
    if item["instruction"] != "ONBUILD":
        return item
    instruction, value = [*(item["value"] or "").split(None, 1), "", ""][:2]
    return {**item, "instruction": instruction.upper(), "value": value}


def _sources(item: Mapping[str, Any]) -> list[str]:
    where = f"Line {item['startline'] + 1} of the Dockerfile"
    return flags.sources(item["instruction"], item["value"] or "", where)
