"""Which arches an image is built for. Koji's names throughout: x86_64, aarch64."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from koji_containerbuild.errors import BadRequest

CANONICAL = {"i386": "i686", "i586": "i686", "amd64": "x86_64", "arm64": "aarch64"}


def canonical(arch: str) -> str:
    """Koji's name of an arch that may be written as Go or Debian name it.

    >>> canonical("arm64"), canonical("s390x")
    ('aarch64', 's390x')
    """
    return CANONICAL.get(arch, arch)


def choose(
    of_tag: Sequence[str],
    only: Collection[str],
    exclude: Collection[str],
    override: Sequence[str],
) -> tuple[str, ...]:
    """The arches to build, in the order of the build tag.

    `override` (an option) must lie within the tag's arches; `only` and `exclude` are those of
    container.yaml. Raises BadRequest.

    >>> choose(["x86_64", "aarch64"], (), ("aarch64",), ())
    ('x86_64',)
    """
    tag = tuple(dict.fromkeys(map(canonical, of_tag)))
    foreign = [arch for arch in override if arch not in tag]
    if foreign:
        raise BadRequest(
            f"The arch {foreign[0]} is not an arch of the build tag.",
            do=f"Choose among {', '.join(tag) or 'none: the tag has no arches'}.",
        )
    wanted = tuple(dict.fromkeys(override)) or tag
    chosen = tuple(a for a in wanted if (not only or a in only) and a not in exclude)
    if not chosen:
        raise BadRequest(
            f"No arch is left to build for: the build tag has {', '.join(tag) or 'none'}.",
            do="Check platforms in container.yaml, and the arches of the build tag.",
        )
    return chosen
