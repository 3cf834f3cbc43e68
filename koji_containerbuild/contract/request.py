"""What the user asked for: a source, a target and options, checked as far as words alone allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from koji_containerbuild.contract.options import BuildOptions
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.nvr import check_isolated_release, check_release
from koji_containerbuild.rules.repos import check_repo_url
from koji_containerbuild.rules.scm import SourceUrl, check_branch
from koji_containerbuild.rules.userdata import check_userdata


@dataclass(frozen=True)
class BuildRequest:
    """The three parameters of the `buildContainer` task."""

    source: SourceUrl
    target: str
    options: BuildOptions

    @classmethod
    def read(
        cls, src: Any, target: Any, opts: Any, *, on_this_machine: bool = False
    ) -> BuildRequest:
        """Read what came over the wire. Raises BadRequest; the same words at hub and builder.

        A source `on_this_machine` is for a build without Koji alone.
        """
        if not isinstance(src, str) or not src:
            raise BadRequest("The source is not a URL.", do="Give it as the first parameter.")
        if not isinstance(target, str) or not target:
            raise BadRequest(
                "The build target is not a name.", do="Give it as the second parameter."
            )
        options = BuildOptions.from_dict(opts)
        if options.isolated:
            check_isolated_release(options.release or "")
        elif options.release:
            check_release(options.release)
        check_branch(options.git_branch or "")
        check_userdata(options.userdata or {})
        for url in options.yum_repourls:
            check_repo_url(url)
        return cls(SourceUrl.parse(src, on_this_machine), target, options)
