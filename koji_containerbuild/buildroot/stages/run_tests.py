"""Run the test commands of container.yaml in the finished image.

Takes:   the commands; the local image; what takes the repo files away
Gives:   nothing
Touches: a container of the image, thrown away afterwards
Fails:   when a command ends with an exit status other than 0, or the image has no shell

The commands run one after the other in one container, by the image's own shell, as the image's own
user, without a network. The image does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from koji_containerbuild.buildroot.console import Console
from koji_containerbuild.buildroot.rooted import inside
from koji_containerbuild.buildroot.step import InstructionFailed
from koji_containerbuild.buildroot.tools import Builder
from koji_containerbuild.errors import BuildFailed

SHELL = "/bin/sh"


def run_tests(
    commands: Sequence[str],
    image: str,
    without_repos: Callable[[Path], None],
    builder: Builder,
    console: Console,
) -> None:
    """Raises InstructionFailed for the first command that fails."""
    with builder.container(image) as container:
        without_repos(container.tree)
        if inside(container.tree, SHELL) is None:
            raise BuildFailed(
                f"The image has no {SHELL}, so its tests cannot be run.",
                do="Install a shell in the image, or remove 'test' from container.yaml.",
            )
        for number, command in enumerate(commands, 1):
            console.say(f"TEST {number}/{len(commands)}: {command}")
            status, last_lines = container.run((SHELL, "-c", command), console)
            if status:
                raise InstructionFailed(
                    f"Test {number} of {len(commands)} ended with exit status {status}.",
                    f"test: {command}",
                    last_lines,
                    do="The image is not published. Mend it, or 'test' in container.yaml.",
                )
