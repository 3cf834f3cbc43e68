"""Word of how a build ended, by mail. What cannot be sent fails no build."""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import Optional

import koji

from koji_containerbuild.config import MailConfig
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.contract.tasks import TASK_LOG, BuildResult
from koji_containerbuild.errors import BadRequest, ContainerBuildError
from koji_containerbuild.koji_api.lookups import CANCELED, Lookups
from koji_containerbuild.koji_api.metadata import clean
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.tasks.ends import told_to_end
from koji_containerbuild.tasks.tools import Ask, Task, Tools

SUCCEEDED, FAILED, CANCELLED = "Succeeded", "Failed", "Canceled"  # as the old system wrote them
TIMEOUT = 20.0  # seconds, for each answer of the mail server
IN_HASTE = 1.0  # the same, for a task that kojid is about to kill
LONGEST = 10_000  # characters of an error
ADDRESS = re.compile(r"[^\s@,;:<>()\[\]\"\\]+@[A-Za-z0-9.-]+")


@dataclass
class Told:
    """What is known of the build so far; filled in by the one who builds."""

    plan: Optional[BuildPlan] = None
    result: Optional[BuildResult] = None


@contextmanager
def telling(ask: Ask, task: Task, tools: Tools) -> Iterator[Told]:
    """Sends one mail when the body ends for good, whichever way, if the site wants mail.

    A request that nobody can read, and a dry run, are told to the one who asks, and to nobody else.
    """
    told = Told()
    try:
        yield told
    except BaseException as error:
        if tools.config.mail.host:
            _tell_of_error(error, ask, task, told, tools)
        raise
    if tools.config.mail.host and told.result:
        _tell(SUCCEEDED, "", _Build(ask(), task, told), tools)


def _tell_of_error(error: BaseException, ask: Ask, task: Task, told: Told, tools: Tools) -> None:
    try:
        request = ask()
    except BadRequest:
        return
    status = "" if request.options.dry_run else _status(error, task, tools)
    if status:
        _tell(status, str(error), _Build(request, task, told), tools)


def _status(error: BaseException, task: Task, tools: Tools) -> str:
    """Empty: the build goes on, in another process or after a restart of kojid."""
    try:
        now = Lookups(tools.session).task_state(task.id)
    except ContainerBuildError:
        return ""
    if now == CANCELED:
        return CANCELLED
    return "" if told_to_end(error) or now != koji.TASK_STATES["OPEN"] else FAILED


@dataclass(frozen=True)
class _Build:
    request: BuildRequest
    task: Task
    told: Told

    @property
    def name(self) -> str:
        """The image's, or before that is known the repository's."""
        plan = self.told.plan
        if plan is None:
            return self.request.source.repository
        return Pullspec.parse(plan.destination.repository).repository


def _tell(status: str, error: str, build: _Build, tools: Tools) -> None:
    config = tools.config.mail
    try:
        submitter, owner = _people(build, tools)
        to = recipients(config, status, submitter, owner)
        if not to:
            return
        message = compose(config, status, build, submitter, error)
        message["To"] = ", ".join(to)
        message["Date"] = format_datetime(datetime.fromtimestamp(tools.clock(), timezone.utc))
        send(config, message, to, IN_HASTE if status == CANCELLED else TIMEOUT)
    except Exception as trouble:  # noqa: BLE001 — whatever it is, the build has ended
        if told_to_end(trouble):
            raise
        # Not an event: the task's folder, where those are kept, may be gone by now.
        text = f"The mail was not sent: {trouble}\n"
        tools.logs.write(TASK_LOG, text.encode(errors="backslashreplace"))
        tools.logs.flush(now=True)


def _people(build: _Build, tools: Tools) -> tuple[str, str]:
    """Names of the submitter and of the package's owner; empty where nobody wants to know."""
    hub, plan = Lookups(tools.session), build.told.plan
    submitter = hub.submitter(build.task.owner, build.task.channel).name
    if not tools.config.mail.to_owner or not plan or not plan.koji:
        return submitter, ""
    return submitter, hub.package_owner(plan.nvr.name, plan.koji.destination_tag)


def recipients(config: MailConfig, status: str, submitter: str, owner: str) -> tuple[str, ...]:
    """Addresses, each once. What is no address is left out."""
    names = [submitter] if config.to_submitter else []
    names += [owner] if config.to_owner and owner else []
    people = [name if "@" in name else f"{name}@{config.domain}" for name in names]
    errors = config.errors_to if status == FAILED else ()
    wanted = dict.fromkeys([*people, *config.additional, *errors])
    return tuple(address for address in wanted if ADDRESS.fullmatch(address))


def compose(
    config: MailConfig, status: str, build: _Build, submitter: str, error: str
) -> EmailMessage:
    """Without the addresses of those who get it."""
    request, task, told = build.request, build.task, build.told
    result = told.result
    page = f"{config.web_url.rstrip('/')}/taskinfo?taskID={task.id}" if config.web_url else ""
    rows = [
        ("Image name", build.name),
        ("Build", str(told.plan.nvr) if told.plan else ""),
        ("Repositories", "\n    ".join(result.repositories) if result else ""),
        ("Status", status),
        ("Submitted by", submitter),
        ("Task id", str(task.id)),
        ("Log", page),
        ("Source url", _without_user(request.source.clone_url)),
        ("Source ref", told.plan.source.commit if told.plan else request.source.revision),
        ("Warnings", "\n    ".join(result.user_warnings) if result else ""),
    ]
    text = "".join(f"{key}: {value}\n" for key, value in rows if value)
    if error and status != CANCELLED:
        text += f"\n{error[:LONGEST]}\n"
    message = EmailMessage(policy=SMTP)
    message["Subject"] = " ".join(clean(f"{status} building image {build.name}").split())
    message["From"] = config.from_address
    message["Message-ID"] = make_msgid(domain=config.from_address.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday mail is wanted
    message.set_content(clean(text), cte="quoted-printable")  # any relay takes it
    return message


def _without_user(url: str) -> str:
    return re.sub(r"://[^/@]*@", "://", url)


def send(config: MailConfig, message: EmailMessage, to: tuple[str, ...], timeout: float) -> None:
    """To the site's relay, which asks for no password."""
    with smtplib.SMTP(config.host, config.port, timeout=timeout) as server:
        if config.tls:
            server.starttls(context=ssl.create_default_context())
        server.send_message(message, config.from_address, to)
