"""Image references: `registry/repository:tag` and `registry/repository@digest`.

Grammar: the reference grammar of the distribution project, less its rarer corners.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from koji_containerbuild.errors import BadRequest

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
REGISTRY = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
)
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True)
class Pullspec:
    """One image reference. `registry` is empty when it was not written.

    >>> Pullspec.parse("registry.example.com:5000/fedora/web:1.0-3")
    Pullspec(registry='registry.example.com:5000', repository='fedora/web', tag='1.0-3', digest='')
    >>> str(Pullspec.parse("web@sha256:" + "0" * 64).at_tag("1"))
    'web:1'
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Pullspec:
        """Raises BadRequest, naming the part that is wrong."""
        rest, _, digest = text.partition("@")
        first, slash, others = rest.partition("/")
        is_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
        registry, path = (first, others) if is_registry else ("", rest)
        path, _, tag = path.partition(":")
        spec = cls(registry, path, tag, digest)
        spec._check(text)
        if text.count("@") > 1 or rest.endswith(":") or text.endswith("@"):
            raise BadRequest(f"'{text}' is not an image reference.", do=_FORM)
        return spec

    def _check(self, text: str) -> None:
        for pattern, value, part in (
            (REGISTRY, self.registry, "registry"),
            (REPOSITORY, self.repository or "?", "repository"),
            (TAG, self.tag, "tag"),
            (DIGEST, self.digest, "digest"),
        ):
            if value and not pattern.fullmatch(value):
                raise BadRequest(f"The {part} of the image reference '{text}' is wrong.", do=_FORM)

    def at_digest(self, digest: str) -> Pullspec:
        """The same repository, at exactly that manifest."""
        return replace(self, tag="", digest=digest)

    def at_tag(self, tag: str) -> Pullspec:
        """The same repository, at that tag."""
        return replace(self, tag=tag, digest="")

    @property
    def reference(self) -> str:
        """What the registry is asked for: the digest if there is one, else the tag, else latest."""
        return self.digest or self.tag or "latest"

    @property
    def name(self) -> str:
        """Registry and repository, without tag or digest."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    def __str__(self) -> str:
        if self.digest:
            return f"{self.name}@{self.digest}"
        return f"{self.name}:{self.tag}" if self.tag else self.name


_FORM = "Write REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:DIGEST, in lower case."
