"""Every error a user may see. Each says what happened and what to do next.

    ContainerBuildError
    ├── BadRequest          the person asked for something that cannot be built
    ├── ConfigError         the site's configuration is wrong (an admin mends it)
    ├── ServiceError        Koji, a registry or git did not do what we asked of it
    │   ├── NotFound        it answered that the thing is not there
    │   └── OddManifest     a registry answered with a manifest of a kind that we do not know
    ├── BuildFailed         the build ran and did not succeed; names stage and arch
    └── BuildCancelled      somebody stopped the build

Errors that are not in this tree are bugs, and are shown with a traceback.
"""

from __future__ import annotations

from typing import Any


class ContainerBuildError(Exception):
    """Base of all our errors. Never raised itself.

    `what` happened (a sentence), and what to `do` next (a sentence, or nothing).
    """

    fault_code = 2001  # the XML-RPC fault that Koji's clients see; kept from the old system

    def __init__(self, what: str, *, do: str = "") -> None:
        super().__init__(f"{what} {do}".strip())
        self.what = what
        self.do = do

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, whatever its kind wants to be made of."""
        return Exception.__new__, (type(self), *self.args), self.__dict__


class BadRequest(ContainerBuildError):
    """The person asked for something that cannot be built, or in a way we cannot read."""

    fault_code = 1005  # koji.BuildError: every Koji client knows it and prints it by name


class ConfigError(ContainerBuildError):
    """The configuration of this host is wrong; nothing the packager can mend."""


class ServiceError(ContainerBuildError):
    """Koji, a registry or a git server did not do what was asked of it."""


class NotFound(ServiceError):
    """The service answered, and the thing asked for is not there."""


class OddManifest(ServiceError):
    """The registry's answer is no manifest that we know."""

    def __init__(self, what: str, *, kind: str, do: str = "") -> None:
        """`kind`: what the registry calls it."""
        super().__init__(what, do=do)
        self.kind = kind


class BuildFailed(ContainerBuildError):
    """The build ran and did not succeed. Names the stage and the arch."""


class BuildCancelled(ContainerBuildError):
    """Somebody stopped the build."""

    fault_code = 2002
