"""What a Dockerfile could reach by its flags, and that it is refused.

The `stack` run shows with the real buildah that each refusal is needed, or that buildah refuses the
same.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.source.dockerfile import parse
from koji_containerbuild.source.flags import check_trigger

OTHER = "localhost/other:1"  # an image that lies in the store
SHELL = "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/cat\n"
# The instruction, words of our error, and whether buildah 1.28 would have built it.
REFUSED = {
    "escaped": (f"COPY --fr\\om={OTHER} /f /y", "has --fr.om=.* not allowed", True),
    "quoted": (f'COPY --"from"={OTHER} /f /y', "not allowed", True),
    "value escaped": ("COPY --from=localhost\\/other:1 /f /y", "more than one way", True),
    "variable as a name": (f"ENV X=from\nCOPY --$X={OTHER} /f /y", "not allowed", False),
    "variable as a value": (f"ENV X={OTHER}\nCOPY --from=$X /f /y", "the image '.X'", False),
    "blank within a letter": (f"COPY --chmod=0755à--from={OTHER} /f /y", "more than one", False),
    "over lines": (f"COPY --chmod=0755 \\\n# x\n --from={OTHER} /f /y", "the image", True),
    "no name": (f"COPY -- --from={OTHER} /f /y", "has --, which is not allowed", False),
    "ADD": (f"ADD --from={OTHER} /f /y", "has --from=.* ADD may have --chown, --chmod", False),
    "link": ("COPY --link f /y", "has --link, which is not allowed", False),
    "checksum": ("ADD --checksum=sha256:0 f /y", "has --checksum", False),
    "mount": (f"RUN --mount=type=bind,from={OTHER},target=/x cat /x/f", "the image", True),
    "mount, escaped": (f"RUN --mo\\unt=type=bind,fr\\om={OTHER},target=/x cat /x/f", "not allow", True),
    "mount, value escaped": (f"RUN --mount=type=bind,fr\\om={OTHER},target=/x cat /x/f", "more than one", True),
    "mount of a variable": (f"ENV X=from={OTHER}\nRUN --mount=type=bind,$X,target=/x cat /x/f", "more than one", True),
    "mount of the host by a link": ("RUN --mount=type=bind,source=link,target=/x cat /x/hostname", "'source' is not", True),
    "mount of the host, short": ("RUN --mount=type=bind,src=link,target=/x cat /x/hostname", "'src' is not", True),
    "cache of the host": (f"RUN --mount=type=cache,id={'../' * 9}etc,target=/x cat /x/hostname", "type 'cache'", True),
    "cache": ("RUN --mount=type=cache,target=/x cat /bin/sh >/dev/null", "type 'cache'", True),
    "secret": ("RUN --mount=type=secret,id=x cat /bin/sh >/dev/null", "type 'secret'", True),
    "ssh": ("RUN --mount=type=ssh cat /bin/sh >/dev/null", "type 'ssh'", True),
    "two types": ("RUN --mount=type=cache,type=tmpfs,target=/x cat /x/f", "says something twice", False),
    "network": ("RUN --network=host cat /f", "--network=host, which is not allowed", False),
    "network, escaped": ("RUN --net\\work=host cat /f", "not allowed", False),
    "security": ("RUN --secu\\rity=insecure cat /f", "not allowed", False),
}  # fmt: skip
ACCEPTED = {
    "stage": "COPY --from=one --chmod=0755 /f /y",
    "stage by number": "COPY --from=0 /f /y",
    "owner from a variable": "ENV U=1\nCOPY --chown=$U:${U} f /y",
    "mount of a stage": "RUN --mount=type=bind,from=one,target=/x cat /x/f",
    "mount of the sources": "RUN --mount=type=bind,target=/x cat /x/f",
    "tmpfs": "RUN --mount=type=tmpfs,target=/x cat /bin/sh >/dev/null",
}


def whole(lines: str) -> str:
    return f"FROM scratch AS one\nCOPY f /f\n{SHELL}{lines}\n"


CASES = [(lines, words) for lines, words, _ in REFUSED.values()]


@pytest.mark.parametrize("lines, words", CASES)
def test_a_flag_that_reaches_out_is_refused(lines: str, words: str):
    line = whole(lines).count("\n", 0, whole(lines).rindex(lines.split("\n")[-1])) + 1
    with pytest.raises(BadRequest, match=words) as caught:
        parse(whole(lines))
    assert caught.value.do
    assert f"Line {line - lines.count('# x') * 2} of the Dockerfile" in str(caught.value)


@pytest.mark.parametrize("lines, words", [case for case in CASES if "ENV" not in case[0]])
def test_it_is_refused_after_onbuild_too(lines: str, words: str):
    with pytest.raises(BadRequest, match=words):
        parse(whole(f"ONBUILD {lines}"))


@pytest.mark.parametrize("lines", ACCEPTED.values(), ids=list(ACCEPTED))
def test_what_stays_within_the_build_is_accepted(lines: str):
    parse(whole(lines))


@pytest.mark.parametrize(
    "trigger, words",
    [
        ("COPY --from=other /x /x", "takes files from 'other'"),
        ("copy --from=0 /x /x", "takes files from '0'"),
        ("RUN --mount=from=x ls", "takes files from 'x'"),
        ("COPY --fr\\om=x /x /x", "not allowed"),
        ("RUN ls\nCOPY --from=x /x /x", r"'ONBUILD RUN ls\?COPY .*', and that is not one instr"),
        ("\ufeffCOPY --from=x /x /x", "is not one instruction"),
        ("COPY\\", "is not one instruction"),
    ],
)
def test_a_trigger_of_a_parent_may_name_no_image(trigger: str, words: str):
    with pytest.raises(BadRequest, match=f"^The parent has the trigger .*{words}") as caught:
        check_trigger(trigger, "The parent")
    assert caught.value.do


@pytest.mark.parametrize("trigger", ["RUN ls --from=x", "COPY . /src", "ENV a=b", " ADD x\tü"])
def test_other_triggers_are_run(trigger: str):
    check_trigger(trigger, "The parent")


class Buildah:
    """With the arguments of buildroot/buildah.py that matter here."""

    def __init__(self, folder: Path) -> None:
        self._context, self._file = folder / "context", folder / "Dockerfile"
        self._context.mkdir()
        (self._context / "f").write_text("f")
        (self._context / "link").symlink_to("/etc")
        shutil.copy(shutil.which("busybox") or "busybox", self._context / "busybox")
        self._base = ["buildah", "--root", f"{folder}/root", "--runroot", f"{folder}/run",
                      "--storage-driver", "vfs"]  # fmt: skip

    def builds(self, text: str, name: str = "localhost/out") -> bool:
        self._file.write_text(text)
        how = ["--isolation", "chroot", "--network", "host", "--pull-never", "--no-cache",
               "--format", "docker", "--identity-label=false", "--timestamp", "0"]  # fmt: skip
        command = [*self._base, "bud", *how, "--file", str(self._file), "--tag", name]
        done = subprocess.run([*command, str(self._context)], capture_output=True)
        return done.returncode == 0


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    made = Buildah(tmp_path_factory.mktemp("buildah"))
    assert made.builds("FROM scratch\nCOPY f /f\n", OTHER)
    yield made


@pytest.mark.stack
@pytest.mark.parametrize("lines, words, built", REFUSED.values(), ids=list(REFUSED))
def test_the_table_is_what_buildah_does(buildah: Buildah, lines: str, words: str, built: bool):
    assert buildah.builds(whole(lines)) is built


@pytest.mark.stack
@pytest.mark.parametrize("lines", ACCEPTED.values(), ids=list(ACCEPTED))
def test_buildah_builds_what_is_accepted(buildah: Buildah, lines: str):
    assert buildah.builds(whole(lines))
