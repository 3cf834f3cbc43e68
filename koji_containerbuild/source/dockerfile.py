"""Read a Dockerfile: its stages, what they stand on, and the labels of the image.

Reading is dockerfile-parse's work; what it leaves open (stage graph, flags that reach outside
the pinned parents) is decided here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from dockerfile_parse import DockerfileParser
from dockerfile_parse.util import WordSplitter, extract_key_values

from koji_containerbuild.errors import BadRequest

SCRATCH = "scratch"
HEREDOC = re.compile(r"(?:^|\s)\d*<<-?[\"']?[A-Za-z_]")
LONGEST_LINE = 65535  # bytes; at a longer one buildah 1.28 stops reading, and says nothing
RESERVED = "koji-containerbuild"  # the name that files of ours are copied from


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it."""

    number: int
    name: str  # after AS, lower case; empty: none
    image: str  # what it stands on, variables resolved; "scratch", an image, or a stage's name
    on_stage: Optional[int]  # the stage it stands on, if it is one
    first_line: int  # of the FROM instruction, from 0
    last_line: int
    flags: tuple[str, ...]  # of FROM
    as_written: str  # the name with AS, as written
    runs: bool  # whether it has a RUN

    @property
    def parent(self) -> Optional[str]:
        """The image it stands on, or None for a stage or scratch."""
        return None if self.on_stage is not None or self.image == SCRATCH else self.image


@dataclass(frozen=True)
class Dockerfile:
    """What we need to know of a Dockerfile."""

    text: str
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

    def labels(self, parent_env: Mapping[str, str]) -> dict[str, str]:
        """The labels of the last stage, variables resolved. `parent_env` is its parent's ENV."""
        try:
            return dict(_parser(self.text, parent_env).labels)
        except (ValueError, IndexError) as error:
            raise BadRequest(
                f"A LABEL, ENV or ARG of the Dockerfile cannot be read: {error}.",
                do='Write KEY="VALUE", with a backslash before each quote in it.',
            ) from error


def parse(text: str) -> Dockerfile:
    """Raises BadRequest, naming the line."""
    text = text.removeprefix("\ufeff")
    _check_text(text)
    parser = _parser(text, {})
    structure = [i for i in parser.structure if i["instruction"] != "COMMENT"]
    if not any(i["instruction"] == "FROM" for i in structure):
        raise BadRequest("The Dockerfile has no FROM.", do="Begin it with FROM and an image.")
    _check_end(text, structure)
    _check_heredocs(structure)
    stages = tuple(_stages(structure))
    _check_reaching_out(structure, stages)
    return Dockerfile(text, stages)


def _parser(text: str, parent_env: Mapping[str, str]) -> DockerfileParser:
    readable = io.BytesIO(_readable(text).encode())
    return DockerfileParser(fileobj=readable, parent_env=dict(parent_env))


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
    for number, line in enumerate(text.encode().split(b"\n"), 1):
        if len(line) > LONGEST_LINE:
            raise BadRequest(
                f"Line {number} of the Dockerfile has {len(line)} bytes, and a builder reads at "
                f"most {LONGEST_LINE}.",
                do="Divide it into several lines, or put the text into a file.",
            )


def _check_heredocs(structure: Iterable[Mapping[str, Any]]) -> None:
    """What stands in one would be taken for instructions, by us and by older builders."""
    for item in structure:
        if item["instruction"] in ("RUN", "COPY", "ADD") and HEREDOC.search(item["value"] or ""):
            raise BadRequest(
                f"Line {item['startline'] + 1} of the Dockerfile begins a here-document.",
                do="Put the text into a file of the repository and COPY or RUN that.",
            )


def _stages(structure: Iterable[Mapping[str, Any]]) -> Iterable[Stage]:
    stages: list[dict[str, Any]] = []
    arguments: dict[str, str] = {}
    for item in structure:
        if item["instruction"] == "FROM":
            stages.append(_from(item, arguments, stages))
        elif item["instruction"] == "ARG" and not stages:
            arguments.update(_arguments(item, arguments))
        elif item["instruction"] == "RUN" and stages:
            stages[-1]["runs"] = True
    return [Stage(**stage) for stage in stages]


def _arguments(item: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
    try:
        pairs = extract_key_values(True, dict(known), {}, item["value"])
    except (ValueError, IndexError) as error:
        raise BadRequest(
            f"Line {item['startline'] + 1} of the Dockerfile is '{item['content'].strip()}'.",
            do="Write ARG NAME, or ARG NAME=VALUE.",
        ) from error
    return {key: value for key, value in pairs if value or key not in known}


def _from(
    item: Mapping[str, Any], arguments: Mapping[str, str], earlier: list[dict[str, Any]]
) -> dict[str, Any]:
    words = item["value"].split()
    flags = tuple(word for word in words if word.startswith("--"))
    words = [word for word in words if not word.startswith("--")]
    named = len(words) == 3 and words[1].upper() == "AS"
    if not (len(words) == 1 or named):
        raise BadRequest(
            f"Line {item['startline'] + 1} of the Dockerfile is '{item['content'].strip()}'.",
            do="Write FROM IMAGE, or FROM IMAGE AS NAME.",
        )
    image = WordSplitter(words[0], args=dict(arguments)).dequote()
    unknown = set(re.findall(r"\$\{?(\w+)", words[0])) - set(arguments)
    if not image or "$" in image or unknown or re.search(r"\$\{\w*[^\w}]", words[0]):
        raise BadRequest(
            f"Line {item['startline'] + 1} of the Dockerfile: FROM {words[0]} names no image.",
            do="Give each variable in it a default with ARG before the first FROM.",
        )
    on = [s["number"] for s in earlier if s["name"] and s["name"] == image.lower()]
    if named and words[2].lower() == RESERVED:
        raise BadRequest(
            f"Line {item['startline'] + 1} of the Dockerfile names a stage {RESERVED}.",
            do="Give it another name: this one is ours.",
        )
    return {
        "number": len(earlier),
        "name": words[2].lower() if named else "",
        "image": image,
        "on_stage": on[-1] if on else None,
        "first_line": item["startline"],
        "last_line": item["endline"],
        "flags": flags,
        "as_written": words[2] if named else "",
        "runs": False,
    }


def _check_end(text: str, structure: list[Mapping[str, Any]]) -> None:
    """What we add must be instructions of its own, not the tail of the last one."""
    lines = text.split("\n")
    last = structure[-1]["endline"]
    loose = [n for n, line in enumerate(lines) if n > last and line.strip()[:1] not in ("", "#")]
    if loose:
        raise BadRequest(
            f"Line {loose[0] + 1} of the Dockerfile is not a whole instruction: "
            f"'{lines[loose[0]].strip()}'.",
            do="End it; a continued line must not be the last one.",
        )


def _check_reaching_out(structure: Iterable[Mapping[str, Any]], stages: tuple[Stage, ...]) -> None:
    """An image in COPY --from or RUN --mount would come in without being looked up."""
    current = -1
    for item in map(_of_onbuild, structure):
        if item["instruction"] == "FROM":
            current += 1
        for source in _sources(item):
            known = {s.name for s in stages[:current]} | {str(n) for n in range(current)}
            if not source or source.lower() not in known:
                raise BadRequest(
                    f"Line {item['startline'] + 1} of the Dockerfile takes files from the image "
                    f"'{source}', which is no stage of it.",
                    do=f"Add a stage 'FROM {source} AS NAME' and take them from NAME.",
                )
        _check_run_flags(item)


def _of_onbuild(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """The instruction that ONBUILD keeps for later: a later stage may set it off."""
    if item["instruction"] != "ONBUILD":
        return item
    instruction, _, value = (item["value"] or "").strip().partition(" ")
    return {**item, "instruction": instruction.upper(), "value": value}


def _sources(item: Mapping[str, Any]) -> list[str]:
    flags = _flags(item)
    if item["instruction"] in ("COPY", "ADD"):
        return [flag.partition("=")[2] for flag in flags if flag.startswith("--from=")]
    mounts = [flag for flag in flags if flag.startswith("--mount=")]
    return re.findall(r"\bfrom=([^,\s]*)", " ".join(mounts), re.I)


def _check_run_flags(item: Mapping[str, Any]) -> None:
    for flag in _flags(item) if item["instruction"] == "RUN" else ():
        name, _, value = flag.partition("=")
        if name == "--security" or (name == "--network" and value not in ("none", "default")):
            raise BadRequest(
                f"Line {item['startline'] + 1} of the Dockerfile has {flag}, which is not allowed.",
                do="Leave it out: the site decides on network and privileges.",
            )


def _flags(item: Mapping[str, Any]) -> list[str]:
    flags = []
    for word in (item["value"] or "").split():
        if not word.startswith("--"):
            break
        flags.append(word)
    return flags
