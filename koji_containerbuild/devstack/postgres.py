"""PostgreSQL: a cluster of our own, on a Unix socket only, run as user postgres."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg2

from koji_containerbuild.devstack.machine import postgres_bin
from koji_containerbuild.devstack.places import Places
from koji_containerbuild.devstack.process import Part, run_program
from koji_containerbuild.errors import ServiceError

USER = "postgres"
GONE_SECONDS = 10.0
CONF = """\
listen_addresses = ''
unix_socket_directories = '{folder}'
unix_socket_permissions = 0700
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 80
shared_buffers = 64MB
log_timezone = 'UTC'
"""


def prepare(places: Places) -> None:
    """Make the cluster, once."""
    folder = places.postgres
    if (folder / "data" / "ready").exists():
        return
    remove(places)
    folder.mkdir(mode=0o700)
    shutil.chown(folder, USER, USER)
    initdb = str(postgres_bin() / "initdb")
    data = str(folder / "data")
    options = ["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    run_program([initdb, "-D", data, *options], user=USER)
    with open(folder / "data" / "postgresql.conf", "a") as conf:
        conf.write(CONF.format(folder=folder))
    (folder / "data" / "ready").touch()


def part(places: Places) -> Part:
    """The server. SIGINT is its fast shutdown."""
    folder = places.postgres
    return Part(
        name="postgres",
        argv=(str(postgres_bin() / "postgres"), "-D", str(folder / "data")),
        ready=lambda: _answers(folder),
        user=USER,
        stop_signal=signal.SIGINT,
    )


def wait_until_gone(places: Places) -> None:
    """Until the last child of a killed server has left; before that a new one refuses to start."""
    deadline = time.monotonic() + GONE_SECONDS
    while pids := list(_inside(places.postgres / "data")):
        if time.monotonic() > deadline:
            raise ServiceError(
                f"An earlier PostgreSQL still runs in {places.postgres}: processes {pids}.",
                do="End them with `kill -INT`, and try again.",
            )
        time.sleep(0.02)
    # A killed server that nobody has reaped yet still has a process id, which a new one respects.
    for lock in ("data/postmaster.pid", ".s.PGSQL.5432.lock"):
        (places.postgres / lock).unlink(missing_ok=True)


def load_schema(places: Places, source: Path) -> bool:
    """Koji's tables, once; True if they were made now."""
    if not sql(places, "SELECT 1 FROM pg_database WHERE datname = 'koji'", database="postgres"):
        sql(places, "CREATE USER koji SUPERUSER", database="postgres")
        sql(places, "CREATE DATABASE koji OWNER koji", database="postgres")
    if sql(places, "SELECT 1 FROM pg_tables WHERE tablename = 'build'"):
        return False
    sql(places, (source / "docs" / "schema.sql").read_text())
    return True


def sql(
    places: Places, statement: str, values: Sequence[Any] | None = None, database: str = "koji"
) -> list[tuple[Any, ...]]:
    """Run one statement; its rows, if it has any."""
    connection = psycopg2.connect(host=str(places.postgres), user=USER, dbname=database)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def remove(places: Places) -> None:
    """Delete the cluster (it must not be running)."""
    if places.postgres.exists():
        shutil.rmtree(places.postgres)


def forget(places: Places) -> None:
    """Delete the cluster of a state folder that somebody deleted: it knows of builds that are gone.

    Its server may run on, known to nobody.
    """
    for pid in _inside(places.postgres / "data"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
    wait_until_gone(places)
    remove(places)


def _inside(folder: Path) -> Iterator[int]:
    """Processes whose working folder is this one, as that of all of PostgreSQL's is."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "cwd") == str(folder):
                    yield int(entry.name)
            except OSError:
                continue  # it has ended meanwhile


def _answers(folder: Path) -> bool:
    try:
        psycopg2.connect(host=str(folder), user=USER, dbname="postgres").close()
    except psycopg2.OperationalError:
        return False
    return True
