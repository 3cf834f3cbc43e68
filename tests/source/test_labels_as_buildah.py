"""Our reading of LABEL, ENV and ARG, held against buildah's: both read the same Dockerfiles.

The plain run has the table with what buildah 1.28 gave; the `stack` run asks buildah again, and for
many more that nobody has thought of.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.source.dockerfile import parse

PARENT = "FROM scratch AS parent\nENV P=parent Q=q NONE=\n"  # stands in for an image
REFUSED = None
# Below a FROM with the ENV of PARENT: what stands there, and the labels.
LINES: dict[str, tuple[str, Optional[dict[str, str]]]] = {
    "of the parent": ("LABEL a=$P b=${Q}x c=$PQ d=$P-$Q", {"a": "parent", "b": "qx", "c": "", "d": "parent-q"}),
    "ENV wins over ARG": ("ENV A=env\nARG A=arg\nLABEL a=$A", {"a": "env"}),
    "ENV wins over ARG before it": ("ARG A=arg\nENV A=env\nLABEL a=$A", {"a": "env"}),
    "the parent's ENV wins over ARG": ("ARG P=arg\nARG Q\nLABEL a=$P b=$Q", {"a": "parent", "b": "q"}),
    "a line sees what was before it": ("ENV A=1 B=$A\nLABEL a=$A b=[$B]\nLABEL c=$A\nENV A=2", {"a": "1", "b": "[]", "c": "1"}),
    "ARG of ARG and ENV": ("ARG A='x y'\nARG B=$A-$P\nLABEL a=$A b=$B", {"a": "x y", "b": "x y-parent"}),
    "ARG again": ("ARG A\nARG A=2\nARG A\nLABEL a=[$A]", {"a": "[2]"}),
    "ARG, several": ("ARG a b c=5 \"d=e f\"\nLABEL x=$c$d", {"x": "5e f"}),
    "ARG emptied": ("ARG A=1\nARG A=\nLABEL a=[$A]", {"a": "[]"}),
    "defaults": ("LABEL a=${X:-y} b=${P:+z} c=${P:-y} d=${X:+q} e=${NONE:-n}", {"a": "y", "b": "z", "c": "parent", "d": "", "e": "n"}),
    "defaults of defaults": ('LABEL a=${X:-${Y:-${Z:+w}v}} b="${X:-$P}" c=${X:-}', {"a": "v", "b": "parent", "c": ""}),
    "quotes in defaults": ("LABEL a=${X:-'} '} b=\"${X:-'q r'}\" c=${X:-q\\}r} d=\"${X:-a b}\"", {"a": "} ", "b": "q r", "c": "q}r", "d": "a b"}),
    "blank in a default": ("LABEL a=${X:-b c}", REFUSED),
    "single quotes": ("LABEL a='$P' b='\\' c='\"' d=\"'$P'\"", {"a": "$P", "b": "\\", "c": '"', "d": "'parent'"}),
    "escapes": (r'LABEL a=\$P b="\$P" c="x\y" d=x\y e="\\" f="\"" g=a\ b h=\\x i=\"x\"', {"a": "$P", "b": "$P", "c": "x\\y", "d": "xy", "e": "\\", "f": '"', "g": "a b", "h": "\\x", "i": '"x"'}),
    "escape and variable": (r'LABEL a="\\$P" b="a\\\""', {"a": "\\parent", "b": 'a\\"'}),
    "lone dollars": ('LABEL a=$ b="$" c=$$P d=$-x e=$1x f=[${1}${}]', {"a": "$", "b": "$", "c": "$parent", "d": "$-x", "e": "x", "f": "[]"}),
    "pieces": ("LABEL a=\"x\"'y'z b=''  c=\"\" \"d e\"=f \"g$Q\"=h 'i$P'=j", {"a": "xyz", "b": "", "c": "", "d e": "f", "gq": "h", "i$P": "j"}),
    "equal signs": ("LABEL a=b=c d==", {"a": "b=c", "d": "="}),
    "shell that is none": ("LABEL a=$(x) b=`x` c=~ d=[*]? e=#x f=;&", {"a": "$(x)", "b": "`x`", "c": "~", "d": "[*]?", "e": "#x", "f": ";&"}),
    "a value is not read again": ("ENV N='a \"b\" $P'\nLABEL x=$N y=\"$N\" z=$N$N", {"x": 'a "b" $P', "y": 'a "b" $P', "z": 'a "b" $Pa "b" $P'}),
    "old form": ("LABEL a  b  c\nLABEL \"k\" v=1\nENV A 1 2  3\nLABEL x $A 'q' \\e", {"a": "b  c", "k": "v=1", "x": "1 2  3 q e"}),
    "old form, quoted blank in the name": ('LABEL "a b" c', REFUSED),
    "continued": ('LABEL a="x \\\n   y" b=u\\\nv c=1 \\ \n# comment \\\n  d=2 \\\n\n  e=3', {"a": "x    y", "b": "uv", "c": "1", "d": "2", "e": "3"}),
    "line ends of DOS": ('LABEL a=b\r\nLABEL c="d \\\r\n e"\r', {"a": "b", "c": "d  e"}),
    "tabs": ("LABEL\ta=b\tc=d\nLABEL e\t\tf\tg", {"a": "b", "c": "d", "e": "f\tg"}),
    "control characters": ("LABEL a=\"ring \x07\x1b[31m\" b=x\x01\x7f", {"a": "ring \x07\x1b[31m", "b": "x\x01\x7f"}),
    "wide blanks": ("LABEL a=b\u2003c=d\u00a0", {"a": "b", "c": "d"}),
    "letters": ("ENV é=1 _b2=3\nLABEL a=$é b=${_b2} c=ü", {"a": "1", "b": "3", "c": "ü"}),
    "any case": ("label A=1\nLabel a=2\nLABEL a=3", {"A": "1", "a": "3"}),
    "path": ("ENV PATH=/x:$PATH\nLABEL a=$PATH", {"a": "/x:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}),
    "platform of the system": ("ARG TARGETOS\nARG TARGETARCH=x\nLABEL a=$TARGETOS b=$TARGETARCH c=$TARGETPLATFORM", {"a": "linux", "b": "x", "c": ""}),
    "no quote": ('LABEL a="b', REFUSED),
    "no quote in the old form": ("LABEL a it's", REFUSED),
    "no quote in ENV": ("ENV A it's\nLABEL a=1", REFUSED),
    "quote that an escape does not end": (r"LABEL a='x\'y'", REFUSED),
    "equal sign within quotes": ('LABEL "d=e"', REFUSED),
    "no brace": ("LABEL a=${P", REFUSED),
    "no brace of a default": ("LABEL a=${P:-", REFUSED),
    "default without colon": ("LABEL a=${P-y}", REFUSED),
    "pattern": ("LABEL a=${P#y}", REFUSED),
    "other modifier": ("LABEL a=${P:?y}", REFUSED),
    "one word": ("LABEL a", REFUSED),
    "word without equal sign": ("LABEL a=b c", REFUSED),
    "comment at the end": ("LABEL a=b # c", REFUSED),
    "nothing": ("LABEL  ", REFUSED),
}  # fmt: skip
# Whole Dockerfiles.
FILES: dict[str, tuple[str, dict[str, str]]] = {
    "ENV and labels of an earlier stage": (
        PARENT + "LABEL a=1 b=1\nENV V=5\nARG R=6\nFROM parent\nLABEL b=2 v=1$V r=[$R]",
        {"a": "1", "b": "2", "v": "15", "r": "[]"},
    ),
    "nothing of a stage that it does not stand on": (
        PARENT + "FROM scratch AS other\nENV P=other\nLABEL lost=1\nFROM parent\nLABEL a=$P",
        {"a": "parent"},
    ),
    "ARG before FROM is not seen": ("ARG V=1\nFROM scratch\nLABEL a=[$V]", {"a": "[]"}),
    "ARG before FROM, declared again": ("ARG V=1\nARG W=$V-2\nFROM scratch\nARG W\nARG V\nLABEL a=$V b=$W", {"a": "1", "b": "1-2"}),
    "ARG before FROM, with another value": ("ARG V=1\nFROM scratch\nARG V=2\nLABEL a=$V\nARG V\nLABEL b=$V", {"a": "2", "b": "1"}),
    "ARG before FROM, in each stage": ("ARG V=1\nFROM scratch AS one\nARG V\nENV A=$V\nFROM one\nLABEL a=$A b=[$V]", {"a": "1", "b": "[]"}),
    "ONBUILD of a stage": (
        PARENT + "ONBUILD LABEL ob=$P\nONBUILD ENV Y=2\nLABEL own=1\nFROM parent\nLABEL y=$Y",
        {"ob": "parent", "own": "1", "y": "2"},
    ),
    "three stages": (
        PARENT + "LABEL a=1\nFROM parent AS two\nENV P=$P-2\nFROM two AS three\nLABEL b=$P\nFROM three\nLABEL c=${P}3",
        {"a": "1", "b": "parent-2", "c": "parent-23"},
    ),
}  # fmt: skip


def below_parent(lines: str) -> str:
    return f"{PARENT}FROM parent\n{lines}\n"


TABLE = [
    *(pytest.param(below_parent(lines), labels, id=name) for name, (lines, labels) in LINES.items()),
    *(pytest.param(text, labels, id=name) for name, (text, labels) in FILES.items()),
]  # fmt: skip


def ours(text: str) -> Optional[dict[str, str]]:
    try:
        return dict(parse(text).labels({}))
    except BadRequest as error:
        assert error.do
        return REFUSED


@pytest.mark.parametrize("text, labels", TABLE)
def test_labels_are_read_as_buildah_reads_them(text: str, labels: Optional[dict[str, str]]):
    assert ours(text) == labels


class Buildah:
    def __init__(self, folder: Path) -> None:
        self._context = folder / "context"
        self._context.mkdir()
        self._base = ["buildah", "--root", f"{folder}/root", "--runroot", f"{folder}/run",
                      "--storage-driver", "vfs"]  # fmt: skip

    def labels(self, text: str) -> Optional[dict[str, str]]:
        (self._context / "Dockerfile").write_text(text)
        build = ["bud", "--network", "none", "--pull-never", "--layers=false", "--format", "docker",
                 "--identity-label=false", "--quiet", str(self._context)]  # fmt: skip
        done = subprocess.run([*self._base, *build], capture_output=True, text=True)
        if done.returncode:
            return REFUSED
        image = done.stdout.split()[-1]
        about = [*self._base, "inspect", "--type", "image", image]
        told = subprocess.run(about, check=True, capture_output=True, text=True)
        labels = json.loads(told.stdout)["Docker"]["config"].get("Labels") or {}
        subprocess.run([*self._base, "rmi", "--force", image], check=True, capture_output=True)
        labels.pop("io.buildah.version", None)  # where a stage stands on a stage
        return labels


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    yield Buildah(tmp_path_factory.mktemp("buildah"))


@pytest.mark.stack
@pytest.mark.parametrize("text, labels", TABLE)
def test_the_table_is_what_buildah_says(buildah: Buildah, text: str, labels):
    assert buildah.labels(text) == labels


PIECES = st.sampled_from(
    ["a", "b=", "=", "$A", "${A}", "${A:-", "${B:+", "${", "}", ":", '"', "'", "\\", " ", "  ", "x", "é",
     "$", "\\\n", "1", "-", "$1", "\t", "#", "{", "A", "_"]
)  # fmt: skip
VALUES = st.lists(PIECES, max_size=9).map("".join)
NAMES = st.sampled_from(["A", "B", "C"])
INSTRUCTIONS = st.one_of(
    st.builds("{} {}={}".format, st.sampled_from(["ENV", "ARG", "LABEL"]), NAMES, VALUES),
    st.builds("LABEL l{}={} m={}".format, NAMES, VALUES, VALUES),
    st.builds("{} {}".format, st.sampled_from(["ENV", "LABEL"]), VALUES),
)


@pytest.mark.stack
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.lists(INSTRUCTIONS, min_size=1, max_size=4), st.lists(INSTRUCTIONS, max_size=2))
def test_no_dockerfile_is_read_otherwise_than_buildah_reads_it(
    buildah: Buildah, below: list[str], above: list[str]
):
    """What we accept is what buildah makes of it; we may refuse more."""
    text = "\n".join(["FROM scratch AS one", *above, "FROM one", *below, ""])
    mine = ours(text)
    if mine is not REFUSED:
        assert buildah.labels(text) == mine
