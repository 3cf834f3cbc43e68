"""The configuration of a builder host: every mistake is named, with what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.config import Config, config_path, load
from koji_containerbuild.errors import ConfigError


def read(folder: Path, text: str | bytes) -> Config:
    file = folder / "builder.conf"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(file)


def test_an_empty_file_is_the_default(tmp_path: Path):
    assert read(tmp_path, "") == Config()


def test_every_type_of_value_is_read(tmp_path: Path):
    config = read(
        tmp_path,
        "[builder]\nwork_dir = /srv/x\n[registry]\ninsecure = Yes\ntimeout = 7\n"
        "url = r:5000\n[parents]\nallowed_registries = a.io, b.io c.io\n"
        "[signing_keys]\nf43-* = 0xA1B2c3d4 829b606631645531\n"
        "[labels]\nVendor = A = B; C %(x)s\ncom.example:x = #1\n",
    )
    assert config.builder.work_dir == Path("/srv/x")
    assert config.registry.insecure is True
    assert config.registry.timeout == 7
    assert config.parents.allowed_registries == ("a.io", "b.io", "c.io")
    assert config.signing_keys == {"f43-*": ("a1b2c3d4", "829b606631645531")}
    assert config.labels == {"Vendor": "A = B; C %(x)s", "com.example:x": "#1"}


@pytest.mark.parametrize(
    "text, words",
    [
        ("[registy]\n", r"unknown section \[registy\]. Did you mean 'registry'"),
        ("[zzz]\n", "Known are: builder, registry"),
        ("[registry]\nurll = x\n", r"unknown key 'urll' in \[registry\]. Did you mean 'url'"),
        ("[registry]\nURL = x\n", "unknown key 'URL'"),
        ("[registry]\nzzz = x\n", "Known are: url, insecure"),
        ("[registry]\ninsecure = perhaps\n", "insecure.*is 'perhaps'.*true or false"),
        ("[registry]\ntimeout = 1.5\n", "timeout.*write a number"),
        ("[registry]\ntimeout =\n", "timeout.*write a number"),
        ("url = x\n", "not an INI file"),
        ("[registry]\nurl = a\nurl = b\n", "not an INI file"),
        ("[registry]\nurl\n", "not an INI file"),
        ("[signatures]\npolicy = fial\n", r"\[signatures\] is 'fial': .* did you mean 'fail'"),
        ("[buildroot]\nnetwork = hsot\n", "is 'hsot': write private, host, none; .* 'host'"),
        ("[buildroot]\nisolation = zzz\n", "isolation .* is 'zzz': write oci, chroot[.]"),
        ("[files]\nmax_file_mib = -1\n", "max_file_mib .* is '-1': write a number from 0 on"),
        ("[files]\nfile_seconds = 0\n", "file_seconds .* is '0': write a number from 1 on"),
        ("[builder]\ntask_weight = nan\n", "is 'nan': write a number from 0 on"),
        ("[limits]\nmax_build_seconds = 60\n", "default_build_seconds .* is 10800, more than"),
        ("[signing_keys]\nf43 = aaaaaaaa abc\n", r"f43 in \[signing_keys\] has 'abc'"),
        ("[signing_keys]\nf43 = aaaaaaaag\n", "has 'aaaaaaaag', which is no key id. Write"),
        (b"[registry]\nurl = \xff\n", "not an INI file"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str | bytes, words: str):
    with pytest.raises(ConfigError, match=words) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "builder.conf") in str(caught.value)


def test_a_file_that_is_not_there_says_how_to_name_another(tmp_path: Path):
    with pytest.raises(ConfigError, match="KOJI_CONTAINERBUILD_CONFIG"):
        load(tmp_path / "none")


CLUSTER = """
[cluster one]
url = https://one:6443
token_file = /t
namespace = builds
arches = x86_64 aarch64
image = registry/buildroot
"""


def test_clusters_are_kept_in_their_order(tmp_path: Path):
    config = read(tmp_path, CLUSTER.replace("one", "zwei") + CLUSTER + "max_builds = 3\n")
    assert list(config.clusters) == ["zwei", "one"]
    assert config.clusters["one"].url == "https://one:6443"
    assert config.clusters["one"].max_builds == 3


@pytest.mark.parametrize(
    "text, words",
    [
        ("[builder]\nengine = clusters\n", "is 'clusters', and there is none. Add a section"),
        (CLUSTER + "imge = x\n", r"unknown key 'imge' in \[cluster one\]. Did you mean 'image'"),
        (
            CLUSTER.replace("arches =", "build_config = x\narches = s390x").replace("image", "#")
            + "engine = openshift\n",
            r"build_config is 'x' in \[cluster one\]. Write \{arch\}",
        ),
        (CLUSTER.replace("arches", "#"), r"there is no arches in \[cluster one\]"),
        (
            CLUSTER.replace("https", "http"),
            r"url does not begin with https:// in \[cluster one\]. Write https",
        ),
        *(
            (CLUSTER.replace("one:6443", url), r"url is not https://HOST:PORT in \[cluster one\]")
            for url in (
                "",
                ":6443",
                "h:64x3",
                "h:99999",
                "h:0",
                "u:s3cr3t@h",
                "h/k8s/c",
                "h/?a=b",
                "[::1",
            )
        ),
        (CLUSTER + CLUSTER.replace(" one", "  one"), r"there are two \[cluster one\]"),
        (CLUSTER + "engine = openshift\n", "image has no effect with engine = openshift"),
        (
            CLUSTER.replace("image", "#") + "engine = openshift\nmemory_limit = 2Gi\n",
            "memory_limit has no effect",
        ),
        (CLUSTER.replace("token", "#"), "there is no credential .* Set token_file, or"),
        (CLUSTER + "cert_file = /x\n", "there is no credential"),
        (CLUSTER.replace(" one", " One"), "'One' is no name"),
        (CLUSTER.replace(" one", " "), "'' is no name"),
        (CLUSTER.replace("image", "#"), "there is no image"),
        (CLUSTER + "node_selector = a\n", "node_selector has 'a' .* Write LABEL=VALUE"),
        (CLUSTER + "tolerations = a:Never\n", "tolerations has 'a:Never'"),
        (CLUSTER + "engine = nomad\n", "engine .* is 'nomad': write kubernetes, openshift"),
    ],
)
def test_a_mistake_about_a_cluster_is_named(tmp_path: Path, text: str, words: str):
    with pytest.raises(ConfigError, match=words) as caught:
        read(tmp_path, text)
    assert "s3cr3t" not in str(caught.value)


@given(data=st.binary() | st.text(st.characters(exclude_categories=("Cs",))).map(str.encode))
def test_any_file_is_read_or_named(data: bytes, tmp_path_factory: pytest.TempPathFactory):
    try:
        read(tmp_path_factory.getbasetemp(), data)
    except ConfigError as error:
        assert "builder.conf" in str(error)


def test_a_default_in_the_file_is_not_a_section_for_all(tmp_path: Path):
    """configparser's DEFAULT would put its keys into every section."""
    with pytest.raises(ConfigError, match="DEFAULT"):
        read(tmp_path, "[DEFAULT]\nurl = x\n[registry]\n")


def test_the_variable_names_the_file():
    assert config_path({"KOJI_CONTAINERBUILD_CONFIG": "/x/y"}) == Path("/x/y")
    assert config_path({}) == Path("/etc/koji-containerbuild/builder.conf")


def test_the_candidate_registry_is_the_one_of_parents_unless_another_is_named(tmp_path: Path):
    text = "[registry]\nurl = r:1\ninsecure = true\n[parents]\ninsecure_registries = p:2\n"
    config = read(tmp_path, text)
    assert config.parent_registry == "r:1"
    assert [config.is_insecure(host) for host in ("r:1", "p:2", "q:3")] == [True, True, False]
    assert read(tmp_path, text + "default_registry = p:2\n").parent_registry == "p:2"


def test_groups_of_equal_labels_and_the_url_of_images_are_read(tmp_path: Path):
    path = tmp_path / "builder.conf"
    path.write_text(
        "[equal_labels]\nany = a, io.k8s.B\n[naming]\ninfo_url = https://x/{name}/{release}\n"
    )
    config = load(path)
    assert config.equal_labels == {"any": ("a", "io.k8s.B")}
    assert config.naming.info_url == "https://x/{name}/{release}"


@pytest.mark.parametrize(
    "text, words",
    [
        ("[equal_labels]\nany = a\n", r"any in \[equal_labels\] is 'a'. Name two"),
        ("[naming]\ninfo_url = https://x/{nmae}\n", "info_url in .* Only {component}, {name}"),
        ("[naming]\ninfo_url = https://x/{name.__class__}\n", "info_url in"),
        ("[naming]\ninfo_url = https://x/{name\n", "info_url in"),
    ],
)
def test_a_wrong_rule_for_labels_is_refused(tmp_path: Path, text: str, words: str):
    path = tmp_path / "builder.conf"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load(path)


def test_a_level_is_one_of_three_words(tmp_path: Path):
    path = tmp_path / "builder.conf"
    path.write_text("[packages]\nunknown_to_koji = warn\n")
    assert load(path).packages.unknown_to_koji == "warn"
    path.write_text("[packages]\nunknown_to_koji = error\n")
    with pytest.raises(ConfigError, match="is 'error': write ignore, warn, fail"):
        load(path)
