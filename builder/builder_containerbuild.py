"""Koji builder plugin: gives each task its tools and tells it to run."""

import contextlib
import ctypes
import gc
import ssl
import time
import traceback
from functools import partial
from pathlib import Path

import koji
from koji.tasks import BaseTaskHandler, ServerExit, ServerRestart

from koji_containerbuild.config import config_path, load
from koji_containerbuild.contract.options import flags, kind_of
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.engines.choose import choose
from koji_containerbuild.errors import ConfigError, ContainerBuildError, ServiceError
from koji_containerbuild.koji_api import import_
from koji_containerbuild.koji_api.metadata import clean
from koji_containerbuild.koji_api.task_logs import TaskLogs
from koji_containerbuild.registry import transport  # noqa: F401 — see below
from koji_containerbuild.registry.access import open_registry
from koji_containerbuild.source import settings
from koji_containerbuild.source.download import read_url
from koji_containerbuild.tasks.aside import in_child
from koji_containerbuild.tasks.build import run_build
from koji_containerbuild.tasks.state import TaskState
from koji_containerbuild.tasks.tools import Kojid, Task, Tools

# kojid forks for each task: what is loaded here, once, no task loads again. So is the registry's
# transport, which the registry client loads only when it is spoken to, the compiled schemas, the
# types of the options, and what OpenSSL sets up for its first connection (1.5 MB in each task).
import_.validator()
settings.validator()
kind_of(flags()[0])
with contextlib.suppress(ssl.SSLWantReadError):  # nobody is there to answer
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="nobody").do_handshake()
del tls
# What a fork does not touch, it shares with kojid. So what these have left is given back (13 MB),
# and no collection of garbage touches what is here to stay (14 MB in each task).
gc.collect()
gc.freeze()
ctypes.CDLL(None).malloc_trim(0)


class BuildContainerTask(BaseTaskHandler):
    """One container image, from a git commit to a Koji build."""

    Methods = ["buildContainer"]
    config = None

    def weight(self):
        """What kojid counts for this task: it waits, but with a local engine the host builds."""
        try:
            self.config = load(config_path())
        except ConfigError:
            return self._taskWeight  # the task itself will tell
        return self.config.builder.task_weight

    def handler(self, src, target, opts=None):
        """The task's result, in the shape that Koji's clients have always read."""
        with in_koji_words():
            path = config_path()
            config = self.config or load(path)  # kojid asked for the weight just now
            if not config.registry.url:
                raise ConfigError(f"{path} names no registry.", do="Set url in [registry].")
            engine = choose(config, path)
            folder = Path(self.workdir)
            folder.mkdir(parents=True, exist_ok=True)
            info = self.taskinfo
            task = Task(self.id, info["owner"], info["channel_id"], self.options.server)
            state = TaskState.of(task, config.builder.work_dir / "tasks")
            logs = TaskLogs(self.session, self.getUploadDir(), state.folder)
            with open_registry(config) as registry:
                tools = Tools(
                    config=config,
                    engine=engine,
                    registry=registry,
                    session=self.session,
                    kojid=Kojid(self.options, self.run_callbacks),
                    logs=logs,
                    work=folder,
                    clock=time.time,
                    read_url=read_url,
                    sleep=time.sleep,
                    aside=partial(in_child, self.session, logs),
                )
                ask = partial(BuildRequest.read, src, target, opts)
                return clean(run_build(ask, task, state, tools).answer())


@contextlib.contextmanager
def in_koji_words():
    """What users and admins can mend is told without a traceback; a bug with all of it."""
    try:
        yield
    except ContainerBuildError as error:
        raise fault(error) from error
    except OSError as error:
        full = ServiceError(
            f"The builder host cannot go on: {error}.",
            do="An admin should look at its disk: work_dir in builder.conf, kojid's workdir.",
        )
        raise fault(full) from error
    except (koji.GenericError, ServerExit, ServerRestart):
        raise  # a site's callback says no, or kojid is told to end: in their own words
    except Exception as error:
        raise koji.GenericError(clean(traceback.format_exc())) from error


def fault(error):
    """The error as Koji passes it on: its words, and a code, and no traceback.

    A hub that cannot read the fault leaves the task open, and kojid would run it again and again.
    """
    kind = type(type(error).__name__, (koji.GenericError,), {"faultCode": error.fault_code})
    return kind(clean(f"{error.what}\n{error.do}".strip()))
