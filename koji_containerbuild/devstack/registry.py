"""The registry: Debian's docker-registry, deletion enabled, on 127.0.0.1 without TLS."""

from __future__ import annotations

import requests

from koji_containerbuild.devstack.places import HOST, Places, Ports
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
    path.write_text(CONF.format(root=places.state / "registry", host=HOST, port=ports.registry))
    return Part(
        name="registry",
        argv=("docker-registry", "serve", str(path)),
        ready=lambda: _answers(ports.registry),
        reads=(path,),
    )


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://{HOST}:{port}/v2/", timeout=5).ok
    except requests.RequestException:
        return False
