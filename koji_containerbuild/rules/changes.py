"""What differs between two builds of images: packages, labels, layers, size, for each arch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from koji_containerbuild.errors import ServiceError
from koji_containerbuild.rules.rpm_versions import compare_evr


@dataclass(frozen=True, order=True)
class Package:
    """An installed RPM."""

    name: str
    arch: str
    evr: str  # [epoch:]version-release
    sigmd5: str  # hex: of header and payload; two that differ are different files


def evr(epoch: Optional[int], version: str, release: str) -> str:
    """One word for the three; the epoch where there is one.

    >>> evr(None, "1.0", "2.f43"), evr(0, "1", "2"), evr(3, "1", "2")
    ('1.0-2.f43', '1-2', '3:1-2')
    """
    return f"{epoch}:{version}-{release}" if epoch else f"{version}-{release}"


@dataclass(frozen=True)
class Layer:
    """One layer of an image."""

    diff_id: str
    size: Optional[int]  # bytes, uncompressed; None: not known


@dataclass(frozen=True)
class ImageFacts:
    """What is known of the image of one arch."""

    arch: str  # Koji's name
    labels: Mapping[str, str]
    layers: tuple[Layer, ...]  # oldest first
    packages: Optional[tuple[Package, ...]]  # None: not known
    config_digest: str = ""  # the image's one name in the world; empty: not known


def image_facts(
    arch: str,
    config: Any,
    sizes: Mapping[str, int],
    packages: Optional[tuple[Package, ...]],
    config_digest: str,
) -> ImageFacts:
    """Labels and layers out of an image's config, which need not be one of ours.

    `sizes`: bytes of layers by diff_id. Raises ServiceError for what is no image's config.
    """
    try:
        settings = (config or {}).get("config") or {}
        labels = settings.get("Labels") or {}
        diff_ids = ((config or {}).get("rootfs") or {}).get("diff_ids") or ()
        return ImageFacts(
            arch=arch,
            labels={str(name): str(value) for name, value in labels.items()},
            layers=tuple(Layer(str(one), sizes.get(str(one))) for one in diff_ids),
            packages=packages,
            config_digest=config_digest,
        )
    except (AttributeError, TypeError) as error:
        raise ServiceError(f"The config of an image of {arch} is not one.") from error


@dataclass(frozen=True)
class BuildFacts:
    """The images of one build."""

    name: str  # NVR; without one, the image's name in its registry
    images: tuple[ImageFacts, ...]


@dataclass(frozen=True)
class PackageChange:
    """One package: `old` is empty for one that was added, `new` for one that was removed."""

    name: str
    arch: str
    old: str  # evr
    new: str
    old_arch: str = ""  # empty for one that was added


@dataclass(frozen=True)
class PackageChanges:
    """All that differs in what is installed."""

    updated: tuple[PackageChange, ...]
    downgraded: tuple[PackageChange, ...]
    rebuilt: tuple[PackageChange, ...]  # the same version, another file
    added: tuple[PackageChange, ...]
    removed: tuple[PackageChange, ...]
    same: int  # how many did not change


@dataclass(frozen=True)
class LabelChange:
    """One label; None: not set."""

    name: str
    old: Optional[str]
    new: Optional[str]


@dataclass(frozen=True)
class LayerChanges:
    """Layers that both images begin with, and those above in each."""

    shared: tuple[Layer, ...]
    removed: tuple[Layer, ...]
    added: tuple[Layer, ...]


@dataclass(frozen=True)
class ArchChanges:
    """The differences of one arch's image."""

    arch: str
    packages: Optional[PackageChanges]  # None: one of the two package lists is not known
    labels: tuple[LabelChange, ...]
    layers: LayerChanges
    old_size: Optional[int]  # bytes, uncompressed, of all layers; None: not known
    new_size: Optional[int]

    @property
    def nothing(self) -> bool:
        """Whether the images are the same, as far as it is known."""
        packages = self.packages
        moved = packages and any(
            (packages.updated, packages.downgraded, packages.rebuilt, packages.added,
             packages.removed)
        )  # fmt: skip
        return not (moved or self.labels or self.layers.removed or self.layers.added)


@dataclass(frozen=True)
class Changes:
    """From one build to another."""

    old: str  # name of the build
    new: str
    arches: tuple[ArchChanges, ...]  # that both have
    arches_added: tuple[str, ...]
    arches_removed: tuple[str, ...]


def compare(old: BuildFacts, new: BuildFacts) -> Changes:
    """What changed on the way from `old` to `new`."""
    before = {image.arch: image for image in old.images}
    after = {image.arch: image for image in new.images}
    return Changes(
        old=old.name,
        new=new.name,
        arches=tuple(_compare_images(before[a], after[a]) for a in sorted(before) if a in after),
        arches_added=tuple(sorted(after.keys() - before.keys())),
        arches_removed=tuple(sorted(before.keys() - after.keys())),
    )


def _compare_images(old: ImageFacts, new: ImageFacts) -> ArchChanges:
    known = {la.diff_id: la.size for la in (*old.layers, *new.layers) if la.size is not None}
    before, after = _sized(old.layers, known), _sized(new.layers, known)
    packages = None
    if old.packages is not None and new.packages is not None:
        packages = compare_packages(old.packages, new.packages)
    return ArchChanges(
        arch=new.arch,
        packages=packages,
        labels=_compare_labels(old.labels, new.labels),
        layers=_compare_layers(before, after),
        old_size=_size(before),
        new_size=_size(after),
    )


def _sized(layers: Iterable[Layer], known: Mapping[str, int]) -> tuple[Layer, ...]:
    """A layer that both images have is known in both if it is in one."""
    return tuple(Layer(layer.diff_id, known.get(layer.diff_id)) for layer in layers)


def _size(layers: Sequence[Layer]) -> Optional[int]:
    sizes = [layer.size for layer in layers if layer.size is not None]
    return sum(sizes) if len(sizes) == len(layers) else None


def _compare_labels(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[LabelChange, ...]:
    return tuple(
        LabelChange(name, old.get(name), new.get(name))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    )


def _compare_layers(old: Sequence[Layer], new: Sequence[Layer]) -> LayerChanges:
    """A layer counts as shared only if all below it are: else it is another file tree."""
    same = 0
    for ours, theirs in zip(old, new):
        if ours.diff_id != theirs.diff_id:
            break
        same += 1
    return LayerChanges(tuple(new[:same]), tuple(old[same:]), tuple(new[same:]))


def compare_packages(old: Iterable[Package], new: Iterable[Package]) -> PackageChanges:
    """Packages of one name are the same package, as long as it is clear which became which.

    An image may have one name more than once: on two arches, or several kernels.
    """
    before, after = Counter(old), Counter(new)
    gone, come = _by_name(before - after), _by_name(after - before)
    kinds: dict[str, list[PackageChange]] = {
        kind: [] for kind in ("updated", "downgraded", "rebuilt", "added", "removed")
    }
    for name in sorted({*gone, *come}):
        for change in _pairs(gone[name], come[name]):
            kinds[_kind(change)].append(change)
    return PackageChanges(
        same=sum((before & after).values()),
        **{kind: tuple(found) for kind, found in kinds.items()},
    )


def _by_name(packages: Counter[Package]) -> defaultdict[str, list[Package]]:
    found: defaultdict[str, list[Package]] = defaultdict(list)
    for package in sorted(packages.elements()):
        found[package.name].append(package)
    return found


def _pairs(gone: list[Package], come: list[Package]) -> list[PackageChange]:
    """What became what: the only one of its arch, then the only one at all."""
    pairs = []
    for arch in sorted({package.arch for package in gone}):
        ours = [package for package in gone if package.arch == arch]
        theirs = [package for package in come if package.arch == arch]
        if len(ours) == len(theirs) == 1:
            pairs.append((ours[0], theirs[0]))
            gone.remove(ours[0])
            come.remove(theirs[0])
    if len(gone) == len(come) == 1:
        pairs.append((gone.pop(), come.pop()))
    return [
        *(PackageChange(new.name, new.arch, old.evr, new.evr, old.arch) for old, new in pairs),
        *(PackageChange(old.name, old.arch, old.evr, "", old.arch) for old in gone),
        *(PackageChange(new.name, new.arch, "", new.evr) for new in come),
    ]


def _kind(change: PackageChange) -> str:
    if not change.old:
        return "added"
    if not change.new:
        return "removed"
    return {-1: "updated", 0: "rebuilt", 1: "downgraded"}[compare_evr(change.old, change.new)]
