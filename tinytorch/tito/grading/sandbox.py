"""Run a worker with a student's code, within limits of time, memory and output."""

import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")
LINE = 100_000  # bytes of the longest event


@dataclass(frozen=True)
class Limits:
    """Limits of one submission.

    Attributes:
        test: seconds for each test.
        load: seconds for the import of the package.
        total: seconds for all.
        memory: bytes that a process may allocate.
    """

    test: float = 60.0
    load: float = 60.0
    total: float = 900.0
    memory: int = 2 << 30


@dataclass
class Events:
    """What a worker has reported.

    Attributes:
        ended: the error, or None, of each test that has ended.
        collected: the names of the integration tests.
        running: the test that was running when the process was stopped or ended, or "".
        reason: why not all tests have run, or "".
        loaded: whether the package could be imported.
    """

    ended: dict[str, str | None] = field(default_factory=dict)
    collected: list[str] = field(default_factory=list)
    running: str = ""
    reason: str = ""
    loaded: bool = False


class StoppedError(Exception):
    """Grading was interrupted."""


class Sandbox:
    """Starts workers, and stops them all when grading is interrupted."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.stopped = threading.Event()

    def run(self, job: dict[str, Any], seconds: float) -> Events:
        """Run a worker until it ends, or has used up its time.

        Args:
            job: see `worker`.
            seconds: how long it may take, at most.

        Raises:
            StoppedError: grading was interrupted.
        """
        nonce, events = secrets.token_hex(16), Events()
        with tempfile.TemporaryDirectory(prefix="tito-") as folder, tempfile.TemporaryFile() as log:
            scratch = os.path.realpath(folder)
            job = {**job, "nonce": nonce, "scratch": scratch, "memory": self.limits.memory}
            program = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(WORKER)],
                cwd=scratch, env=_environment(scratch), start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
            try:
                with suppress(OSError):  # it has ended already
                    assert program.stdin is not None
                    program.stdin.write(json.dumps(job).encode())
                    program.stdin.close()
                complete = self._follow(program, nonce, events, seconds)
            finally:
                _kill(program)
            if not complete and not events.reason:
                events.reason = _ending(program.returncode)
                log.seek(0)
                if not events.loaded and not events.running:  # Python itself, or the worker
                    events.reason += f": {log.read(2000).decode(errors='replace').strip()}"
        return events

    def _follow(
        self, program: subprocess.Popen[bytes], nonce: str, events: Events, seconds: float
    ) -> bool:
        """Record the events of a worker; return whether it has reported that it is done."""
        lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=_read, args=(program, lines), daemon=True).start()
        now = time.monotonic()
        end, allowed = now + seconds, self.limits.load
        limit = now + allowed
        while True:
            if self.stopped.is_set():
                raise StoppedError
            now = time.monotonic()
            if now > min(end, limit):
                events.reason = (
                    f"it was stopped after {allowed:g} seconds: is there an endless loop?"
                )
                if now > end:
                    events.reason = "it was stopped: the time for the whole notebook was over"
                return False
            try:
                line = lines.get(timeout=min(0.1, max(0.0, min(end, limit) - now)))
            except queue.Empty:
                continue
            if not line:
                return False
            event = _event(line, nonce)
            if "done" in event:
                return True
            if event:
                _record(event, events)
                allowed = self.limits.test if events.loaded else self.limits.load
                limit = time.monotonic() + allowed


def _record(event: dict[str, Any], events: Events) -> None:
    if "begin" in event:
        events.running = event["begin"]
    elif "end" in event:
        events.running = ""
        events.ended[event["end"]] = event["error"]
    elif "collected" in event:
        events.collected = event["collected"]
    elif "loaded" in event:
        events.running = ""
        events.loaded = event["loaded"] is None
        events.reason = event["loaded"] or ""


def _event(line: bytes, nonce: str) -> dict[str, Any]:
    """Parse a line of the worker; empty if it is not from the worker."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) and event.pop("nonce", None) == nonce else {}


def _read(program: subprocess.Popen[bytes], lines: "queue.Queue[bytes]") -> None:
    assert program.stdout is not None
    with suppress(OSError, ValueError):  # closed
        while line := program.stdout.readline(LINE):
            lines.put(line)
    lines.put(b"")


def _environment(scratch: str) -> dict[str, str]:
    """Return the few variables that a worker gets: none that could hold a secret."""
    kept = ("LANG", "LC_ALL", "PATH", "SYSTEMROOT")
    own = {name: os.environ[name] for name in kept if name in os.environ}
    folders = dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP", "TT_DATA_HOME"), scratch)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**own, **folders, **threads, "MPLBACKEND": "Agg"}


def _ending(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return f"it ended Python, by {signal.Signals(-code).name}"
    return f"it ended Python, with exit code {code}"


def _kill(program: subprocess.Popen[bytes]) -> None:
    """Kill a worker with all processes that it has started."""
    if sys.platform == "win32":
        program.kill()
    else:
        # The group exists as long as the worker is not waited for, even if it has ended.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    for pipe in (program.stdin, program.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()


@contextmanager
def stops_on_signals(sandbox: Sandbox) -> Iterator[None]:
    """Stop all workers on Ctrl-C, SIGTERM and SIGHUP; a second signal has its usual effect."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}

    def stop(number: int, frame: Any) -> None:
        sandbox.stopped.set()
        signal.signal(number, before[number])

    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
