"""One layer in place of several: the same files, whatever each layer added, replaced or removed."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from koji_containerbuild.buildroot.stages.own_layer import OPAQUE, WHITEOUT, one_layer
from koji_containerbuild.contract.plan import RepoFile

Tree = dict[str, str]  # path → content; "dir" for a folder
REPO = RepoFile("koji-containerbuild-f43.repo", "")
NAMES = ("a", "b", "d", "d/x", "d/y", "d/e", "d/e/z")


def layer_of(old: Tree, new: Tree, opaque: frozenset[str] = frozenset()) -> bytes:
    """The layer that makes `new` out of `old`, as a builder writes it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for path in sorted(new):
            if path not in old or old[path] != new[path] or new[path] == "dir":
                add(tar, path, new[path])
            if path in opaque and new[path] == "dir":
                add(tar, f"{path}/{OPAQUE}", "")
        for path in sorted(set(old) - set(new)):
            folder, _, name = path.rpartition("/")
            if (folder in new or not folder) and new.get(folder, "dir") == "dir":
                add(tar, f"{folder}/{WHITEOUT}{name}".lstrip("/"), "")
    return data.getvalue()


def add(tar: tarfile.TarFile, path: str, content: str) -> None:
    entry = tarfile.TarInfo(path)
    if content == "dir":
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    else:
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content.encode()))


def applied(tree: Tree, layers: list[bytes]) -> Tree:
    """A tree with layers on top, by the rules of the OCI image spec: marks act on what is below."""
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            entries = [(e.name, "dir" if e.isdir() else text(tar, e)) for e in tar]
        below = dict(tree)
        for path, _ in entries:
            folder, _, name = path.rpartition("/")
            if name == OPAQUE:
                below = {p: c for p, c in below.items() if not p.startswith(f"{folder}/")}
            elif name.startswith(WHITEOUT):
                below = without(below, f"{folder}/{name[len(WHITEOUT) :]}".lstrip("/"))
        for path, content in entries:
            if WHITEOUT not in path and content != "dir":
                below = without(below, path)
        tree = {**below, **{p: c for p, c in entries if WHITEOUT not in p}}
    return tree


def text(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    file = tar.extractfile(entry)
    return file.read().decode() if file else ""


def without(tree: Tree, path: str) -> Tree:
    return {p: c for p, c in tree.items() if p != path and not p.startswith(f"{path}/")}


def merged(tmp: Path, layers: list[bytes]) -> bytes:
    paths = []
    for number, layer in enumerate(layers):
        paths.append(tmp / f"old-{number}")
        paths[-1].write_bytes(layer)
    one_layer([REPO], paths, tmp / "new")
    return (tmp / "new").read_bytes()


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    tree: Tree = {}
    for path in NAMES:
        folder = path.rpartition("/")[0]
        if (not folder or tree.get(folder) == "dir") and draw(st.booleans()):
            kinds = ["dir", "1", "2"] if path in ("d", "d/e") else ["1", "2"]
            tree[path] = draw(st.sampled_from(kinds))
    return tree


@example({"d": "dir", "d/x": "1"}, {"d": "dir"}, {"d": "1"}, {"d": "dir"})
@given(trees(), trees(), trees(), trees())
def test_one_layer_gives_what_the_layers_give_together(tmp_path_factory, base, one, two, three):
    layers = [layer_of(base, one), layer_of(one, two), layer_of(two, three)]
    assert applied(base, layers) == three
    new = merged(tmp_path_factory.mktemp("layers"), layers)
    assert applied(base, [new]) == three
    names = tarfile.open(fileobj=io.BytesIO(new)).getnames()
    assert len(names) == len(set(names))


def test_a_folder_emptied_by_a_mark_stays_empty(tmp_path):
    base = {"d": "dir", "d/x": "1"}
    layers = [layer_of({}, {"d": "dir", "d/y": "2"}, frozenset({"d"})), layer_of({}, {"b": "1"})]
    assert applied(base, [merged(tmp_path, layers)]) == {"d": "dir", "d/y": "2", "b": "1"}


def test_a_hard_link_to_a_replaced_file_keeps_what_it_had(tmp_path):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        add(tar, "a", "old")
        link = tarfile.TarInfo("b")
        link.type, link.linkname = tarfile.LNKTYPE, "a"
        tar.addfile(link)
    new = merged(tmp_path, [data.getvalue(), layer_of({}, {"a": "new"})])
    assert applied({}, [new]) == {"a": "new", "b": "old"}


def test_repo_files_and_the_marks_of_their_going_are_left_out_wherever_they_are(tmp_path):
    tree = {"etc": "dir", f"etc/{REPO.name}": "1", "kept.repo": "1"}
    layer = layer_of({f"{REPO.name}": "1"}, tree)
    assert f"{WHITEOUT}{REPO.name}".encode() in gzip.decompress(layer)
    assert applied({}, [merged(tmp_path, [layer])]) == {"etc": "dir", "kept.repo": "1"}


def test_the_diff_id_and_the_size_are_those_of_the_bytes(tmp_path):
    (tmp_path / "old").write_bytes(layer_of({}, {"a": "1"}))
    layer = one_layer([], [tmp_path / "old"], tmp_path / "new")
    import hashlib

    plain = gzip.decompress((tmp_path / "new").read_bytes())
    assert layer.size == len(plain)
    assert layer.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
