"""Who works on a run: one process at a time, so that none deletes or repeats what another has written.

Under a local directory the system's file lock is the lease: it ends with its process, however that ends. Elsewhere a
small file is rewritten every ten seconds; one that has not changed for a minute belonged to a process that is gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from graphseam import folders
from graphseam.errors import RunError
from graphseam.files import absolute, is_remote, local_path
from graphseam.sections import OutputConfig
from graphseam.tables import Tables

FOLDER = "_leases"
BEAT_S, STALE_S = 10.0, 60.0


@contextmanager
def held(spark: SparkSession, output: OutputConfig, run_id: str, work: str = "") -> Iterator[Lease]:
    """Hold the lease of a run while the block runs. RunError, which says who works on it, if another process does.

    work: one kind of work beside which others may go on, such as "place"; by default the run's own steps.
    Cost: nothing under a local directory; elsewhere one small file, and up to a minute of waiting after a process that
    ended without giving its lease back.
    """
    place = f"{_base(spark, output)}/{FOLDER}/{run_id}" + (f"~{work}" if work else "")  # no run id has a "~"
    lease: Lease
    if is_remote(place):
        lease = RewrittenFile(spark, place, run_id, work)
    else:
        lease = LockedFile(Path(local_path(place)), run_id, work)
    lease.take()
    try:
        yield lease
    finally:
        lease.give_back()


def _base(spark: SparkSession, output: OutputConfig) -> str:
    if not output.catalog:
        return absolute(output.root)
    tables = Tables(spark, output)
    tables.ensure("run_steps")
    row = spark.sql(f"DESCRIBE DETAIL {tables.identifier('run_steps')}").head()
    assert row is not None
    return str(row["location"])


class Lease:
    """The right of this process to work on a run."""

    def __init__(self, run_id: str, work: str = "") -> None:
        self.run_id, self.work = run_id, work
        self.who = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "token": uuid.uuid4().hex,
        }

    def take(self) -> None:
        """Begin to hold the lease, or RunError."""
        raise NotImplementedError

    def give_back(self) -> None:
        raise NotImplementedError

    def require(self) -> None:
        """RunError if another process has taken the lease in the meantime; asked before each step."""

    def refuse(self, content: str) -> RunError:
        """The error for a run that another process works on. content: what that process has written about itself."""
        try:
            other = json.loads(content)
            told = f"process {other['pid']} on {other['host']} since {other['since']}"
        except (ValueError, KeyError, TypeError):
            told = "another process"
        if self.work:
            return RunError(
                f"{told} is at the same work ({self.work}) on run {self.run_id!r}; wait until it has ended and "
                "start again"
            )
        return RunError(
            f"{told} works on run {self.run_id!r}; wait until it has ended and start again, which goes on where it "
            "stopped, or give a new --run-id"
        )


class LockedFile(Lease):
    """A lease by the lock of a file, which the system gives back when the process ends."""

    def __init__(self, path: Path, run_id: str, work: str = "") -> None:
        super().__init__(run_id, work)
        self.path = path
        self._descriptor = -1

    def take(self) -> None:
        while True:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:  # another process has just removed the empty folder
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                content = os.read(descriptor, 4096).decode("utf-8", "replace")
                os.close(descriptor)
                raise self.refuse(content) from None
            if self._is_there(descriptor):
                break
            os.close(descriptor)  # its owner removed the file between our two calls
        os.truncate(descriptor, 0)
        os.write(descriptor, json.dumps(self.who).encode())
        self._descriptor = descriptor

    def give_back(self) -> None:
        with suppress(OSError):
            self.path.unlink()
        os.close(self._descriptor)
        with suppress(OSError):  # another run's lease may be there
            self.path.parent.rmdir()

    def _is_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False


class RewrittenFile(Lease):
    """A lease by a file that its owner rewrites every `beat_s` seconds, at any address that Hadoop can write to."""

    def __init__(
        self,
        spark: SparkSession,
        path: str,
        run_id: str,
        work: str = "",
        beat_s: float = BEAT_S,
        stale_s: float = STALE_S,
    ) -> None:
        super().__init__(run_id, work)
        self.spark, self.path, self.beat_s, self.stale_s = spark, path, beat_s, stale_s
        self._beats = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

    def take(self) -> None:
        self._wait_for_a_sign_of_life()
        self._write()
        time.sleep(min(1.0, self.beat_s))  # of two that start at once, the one that wrote last has it
        self.require()
        self._thread.start()

    def give_back(self) -> None:
        self._ended.set()
        self._thread.join(self.stale_s)
        if self._is_mine(self._read()):
            folders.remove(self.spark, self.path)

    def require(self) -> None:
        content = self._read()
        if not self._is_mine(content):
            raise self.refuse(content)

    def _wait_for_a_sign_of_life(self) -> None:
        """Return if there is no lease, or one that is not rewritten for `stale_s` seconds; RunError if it is."""
        first, begun = self._read(), time.monotonic()
        while first and time.monotonic() - begun < self.stale_s:
            time.sleep(self.beat_s / 10)
            now = self._read()
            if not now:
                return
            if now != first:
                raise self.refuse(now)

    def _keep_beating(self) -> None:
        while not self._ended.wait(self.beat_s):
            with suppress(Exception):  # an address out of reach for a moment; `require` tells what is lost for good
                if not self._is_mine(self._read()):
                    return
                self._write()

    def _write(self) -> None:
        self._beats += 1
        folders.write_text(self.spark, self.path, json.dumps({**self.who, "beats": self._beats}))

    def _read(self) -> str:
        """What the file says; "" if there is none, and "" or an error if it stays unreadable for a whole beat.

        For a moment a file that is being rewritten is empty, or does not match its checksum.
        """
        for patience in reversed(range(10)):
            try:
                content = folders.read_text(self.spark, self.path)
            except Py4JJavaError:
                if not patience:
                    raise
                content = ""
            if content or not folders.exists(self.spark, self.path):
                return content
            time.sleep(self.beat_s / 10)
        return ""

    def _is_mine(self, content: str) -> bool:
        return str(self.who["token"]) in content
