"""The clusters: reachable, and is there all that a build needs?

It is asked with the builder's own credential, so what that may not read is not tried; the line then
has the words with which an administrator can look.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from koji_containerbuild.check.build_configs import build_configs
from koji_containerbuild.check.fact import Fact, not_tried, ok, wrong
from koji_containerbuild.check.images import image_there
from koji_containerbuild.check.jobs import takes_jobs
from koji_containerbuild.check.named import named, nodes
from koji_containerbuild.check.rights import Account, ours
from koji_containerbuild.check.section import PATIENCE, Section
from koji_containerbuild.config import Config
from koji_containerbuild.engines.api import Api, ApiError
from koji_containerbuild.engines.permissions import KUBERNETES, OF_ENGINE
from koji_containerbuild.errors import ServiceError
from koji_containerbuild.registry.client import Registry

MOST_TOLD = 10  # permissions that are too much, in one line


def check_clusters(config: Config, registry: Registry) -> Iterator[Fact]:
    """All sections, drained ones too: their builds are followed to the end."""
    for name, cluster in config.clusters.items():
        section = Section(name, cluster)
        try:
            yield from _Cluster(section, config.limits.max_build_seconds, registry).facts()
        except ServiceError as error:  # it went away meanwhile
            yield wrong(section.of("it goes on answering"), error.what, error.do)


@dataclass(frozen=True)
class _Cluster:
    section: Section
    seconds: int  # the longest build
    registry: Registry

    def facts(self) -> Iterator[Fact]:
        section = self.section
        try:
            api = Api(section.name, section.cluster)
        except ServiceError as error:
            yield wrong(section.of("its files can be read"), error.what, error.do)
            return
        try:
            yield from self._token()
            reached = self._reached(api)
            yield reached
            if reached.state == "OK":
                yield from self._inside(api)
        finally:
            api.close()

    def _inside(self, api: Api) -> Iterator[Fact]:
        what = self.section.of("it knows the builder")
        try:
            account = ours(api, self.section.cluster.namespace)
        except ServiceError as error:
            yield wrong(what, error.what, self._get_token())
            return
        yield ok(what)
        yield from self._permissions(account)
        yield from self._objects(api, account)

    def _token(self) -> Iterator[Fact]:
        secret = self.section.cluster.token_file or self.section.cluster.key_file
        what = self.section.of("nobody else can read the credential")
        try:
            mode = stat.S_IMODE(Path(secret).stat().st_mode)
        except OSError as error:
            yield wrong(what, f"{secret}: {error.strerror}.", self._get_token())
            return
        yield ok(what) if not mode & 0o077 else wrong(what, "Others can.", f"chmod 600 {secret}")

    def _get_token(self) -> str:
        where = self.section.cluster.token_file
        if not where:
            return "Look at cert_file and key_file."
        words = "get secret koji-builder-token -o jsonpath='{.data.token}' | base64 -d"
        return (
            f"As an admin: {self.section.command(words)}\n"
            f"Here, with what that has printed: (umask 077; rm -f {where}; cat > {where})"
        )

    def _reached(self, api: Api) -> Fact:
        """A cluster that does not know us answers, too."""
        what = self.section.of("it answers over TLS")
        try:
            found = api.call("GET", "/version", patience=PATIENCE)
        except ApiError as error:
            if error.status in (401, 403):
                return ok(what)
            mend = f"Look at url and ca_file in [cluster {self.section.name}]."
            return wrong(what, error.what, mend)
        except ServiceError as error:
            return wrong(what, error.what, self._get_token())
        return ok(what, str(found.get("gitVersion") or ""))

    def _permissions(self, account: Account) -> Iterator[Fact]:
        needed = OF_ENGINE[self.section.cluster.engine]
        mend = self.section.apply("30-role.yaml")
        for permission in needed:
            what = self.section.of(f"the builder may {permission}")
            missing = [verb for verb in permission.verbs if not account.may(permission, verb)]
            if missing:
                said = f"It may not {', '.join(missing)}, which is to {permission.what_for}."
                yield wrong(what, said, mend)
            else:
                yield ok(what)
        what = self.section.of("the builder may not do what it has no use for")
        spare = account.spare(needed)
        if spare:
            more = f", and {len(spare) - MOST_TOLD} more" if len(spare) > MOST_TOLD else ""
            said = f"It may {', '.join(spare[:MOST_TOLD])}{more}."
            yield wrong(what, said, f"{mend}\nand give its account no other Role.")
        else:
            yield ok(what)

    def _objects(self, api: Api, account: Account) -> Iterator[Fact]:
        section, cluster = self.section, self.section.cluster
        if cluster.engine == "kubernetes":
            may = account.may(KUBERNETES[0], "create")
            yield takes_jobs(section, self.seconds, may)
            yield from named(section, api)
            yield self._image()
        else:
            yield from build_configs(section, api, self.seconds, self.registry)
        for arch in cluster.arches:
            yield nodes(section, api, arch)

    def _image(self) -> Fact:
        cluster = self.section.cluster
        what = self.section.of(f"the image of the buildroot is there: {cluster.image}")
        if cluster.pull_policy == "Never":
            return not_tried(what, "pull_policy is Never: its nodes have it, or not.")
        return image_there(what, cluster.image, cluster.arches, self.registry)
