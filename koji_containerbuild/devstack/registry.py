"""The registry: Debian's docker-registry, deletion enabled, without TLS."""

from __future__ import annotations

import requests

from koji_containerbuild.devstack.places import Places, Ports
from koji_containerbuild.devstack.process import Part

CONF = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: "{host}:{port}"}}
"""


def part(places: Places, ports: Ports) -> Part:
    """Writes the configuration, too."""
    path = places.conf / "registry.yml"
    places.conf.mkdir(parents=True, exist_ok=True)
    path.write_text(
        CONF.format(root=places.state / "registry", host=ports.host, port=ports.registry)
    )
    return Part(
        name="registry",
        argv=("docker-registry", "serve", str(path)),
        ready=lambda: _answers(f"http://{ports.host}:{ports.registry}/v2/"),
        reads=(path,),
    )


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False
