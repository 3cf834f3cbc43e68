"""kojid's own configuration, as far as it is about us, and a session as kojid opens it."""

from __future__ import annotations

import configparser
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import koji

from koji_containerbuild.errors import ConfigError, ServiceError
from koji_containerbuild.koji_api.session import HUB_ERRORS, Session

DEFAULT_PATH = Path("/etc/kojid/kojid.conf")
SECONDS = 30  # for one answer of the hub


@dataclass(frozen=True)
class KojidConf:
    """Keys of [kojid], with kojid's defaults (koji 1.30 to 1.36, builder/kojid, get_options)."""

    server: str
    user: str = ""
    password: str = field(default="", repr=False)
    cert: str = ""
    serverca: str = ""
    krb_principal: str = ""
    host_principal_format: str = "compile/%s@EXAMPLE.COM"
    keytab: str = "/etc/kojid/kojid.keytab"
    no_ssl_verify: bool = False
    plugins: tuple[str, ...] = ()
    pluginpath: str = "/usr/lib/koji-builder-plugins"
    allowed_scms: str = ""
    allowed_scms_use_config: bool = True
    allowed_scms_use_policy: bool = False

    @property
    def name(self) -> str:
        """By which Koji finds the host's user: a user name, or a Kerberos principal.

        A certificate's name is not read here: a host is called as its machine is.
        """
        if self.user and not self._by_certificate:
            return self.user
        return socket.getfqdn() if self._by_certificate else self._principal

    @property
    def _by_certificate(self) -> bool:
        return bool(self.cert) and os.path.isfile(self.cert)

    @property
    def _principal(self) -> str:
        if self.krb_principal:
            return self.krb_principal
        return self.host_principal_format.replace("%s", socket.getfqdn())

    @contextmanager
    def anonymous(self) -> Iterator[Session]:
        """What everybody may ask the hub."""
        session = self._session()
        try:
            yield session
        finally:
            session.rsession.close()

    def log_in(self) -> bool:
        """Log in as kojid does, and out again. Whether another session of this user is at work.

        Koji gives a host one session at a time. kojid's is not disturbed by ours, which is merely
        refused everything; but a refusal of that kind comes after the login only. Raises
        ServiceError.
        """
        session = self._session()
        try:
            self._log_in(session)
            try:
                session.getLoggedInUser()
            except koji.AuthLockError:
                return True
            finally:
                session.logout()
        except (koji.GenericError, ImportError, *HUB_ERRORS) as error:  # no requests-gssapi
            raise ServiceError(f"Koji did not let us in: {error}.") from error
        finally:
            session.rsession.close()
        return False

    def _log_in(self, session: Session) -> None:
        """The order is kojid's."""
        if self._by_certificate:
            session.ssl_login(self.cert, None, self.serverca or None)
        elif self.user:
            session.login()
        else:
            how = {"principal": self._principal, "keytab": self.keytab}
            # Not kojid's own cache of tickets, which is in use.
            session.gssapi_login(**how, ccache=f"MEMORY:{os.getpid()}")

    def _session(self) -> Session:
        options: dict[str, Any] = {
            "user": self.user,
            "password": self.password,
            "serverca": self.serverca or None,
            "no_ssl_verify": self.no_ssl_verify,
            "timeout": SECONDS,
            "max_retries": 1,
            "anon_retry": False,
            "offline_retry": False,
        }
        return koji.ClientSession(self.server, options)


def read(path: Path, folder: Path = DEFAULT_PATH.parent) -> KojidConf:
    """`folder`: where kojid looks for certificates that its configuration does not name.

    Raises ConfigError.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
        keys = dict(parser["kojid"])
        given: dict[str, Any] = {name: keys[name] for name in _TEXTS if keys.get(name)}
        for name in _BOOLEANS:
            if name in keys:
                given[name] = parser.getboolean("kojid", name)
        given |= {name: str(path) for name, path in _found(folder) if name not in keys}
        plugins = f"{keys.get('plugin', '')} {keys.get('plugins', '')}".split()
        return KojidConf(**given, plugins=tuple(plugins))
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from error
    except KeyError as error:
        raise ConfigError(f"{path} has no section [kojid].") from error
    except TypeError as error:
        raise ConfigError(f"{path} names no server.", do="Set server in [kojid].") from error
    except (configparser.Error, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error


def _found(folder: Path) -> list[tuple[str, Path]]:
    """Certificates that are where kojid looks for them."""
    usual = (("cert", folder / "client.crt"), ("serverca", folder / "serverca.crt"))
    return [(name, path) for name, path in usual if path.exists()]


_TEXTS = (
    "server", "user", "password", "cert", "serverca", "krb_principal", "host_principal_format",
    "keytab", "pluginpath", "allowed_scms",
)  # fmt: skip
_BOOLEANS = ("no_ssl_verify", "allowed_scms_use_config", "allowed_scms_use_policy")
