"""A sign of life from every rank, each second, so that one that is stopped or hangs is noticed."""

import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

INTERVAL = 1.0  # seconds between two signs of life
SILENCE = 12.0  # seconds without one after which a rank counts as ended
# Seconds for which others wait for a rank that is alive but does not come; kernels may be compiled
# before the first steps.
HANGING, STARTING = 25.0, 900.0
VARIABLE = "TT_RANK_TIMEOUT"  # of the environment, with a number instead of HANGING
PATIENCE = 2.0  # seconds for which MPI may take to end all ranks
EXIT_CODE = 3

COMPUTING, WAITING, ALONE = 0, 1, 2


class Watch:
    """What rank 0 knows about the others, and what any rank knows about rank 0.

    Args:
        names: of all ranks, for messages.
        now: the time in seconds.
        hanging: seconds for which others wait for a rank.
    """

    def __init__(self, names: list[str], now: float, hanging: float = HANGING) -> None:
        self._names, self._patience = names, hanging
        self._seen = dict.fromkeys(range(len(names)), now)
        self._since = dict.fromkeys(range(len(names)), now)  # when its state changed
        self._states = dict.fromkeys(range(len(names)), (0, ALONE))
        self._last_look = now

    def hear(self, rank: int, state: tuple[int, int], now: float) -> None:
        """Note a sign of life: how often the rank has waited for others, and what it does."""
        self._seen[rank] = now
        if self._states[rank] != state:
            self._states[rank], self._since[rank] = state, now

    def problem(self, own: int, now: float) -> str:
        """What is wrong with another rank, or ""; `own` is the number of this one."""
        if now - self._last_look > 3 * INTERVAL:  # this process was stopped, or the machine asleep
            self._seen = dict.fromkeys(self._seen, now)
            self._since = dict.fromkeys(self._since, now)
        self._last_look = now
        watched = [0] if own else range(1, len(self._names))
        for rank in watched:
            if now - self._seen[rank] > SILENCE:
                return f"{self._names[rank]} has not answered for {SILENCE:.0f} seconds"
        return "" if own else self._hanging(now)

    def _hanging(self, now: float) -> str:
        """A rank that is alive, but does not come to where others wait."""
        waiting = [r for r, (_, phase) in self._states.items() if phase == WAITING]
        if not waiting:
            return ""
        latest = max(self._since.values())
        if len(waiting) == len(self._states) and now - latest > self._patience:
            return "all ranks wait for each other: their programs have taken different branches"
        turn = max(self._states[rank][0] for rank in waiting)
        limit = self._patience if turn > 20 else max(self._patience, STARTING)
        for rank, (count, phase) in self._states.items():
            late = count < turn and phase == COMPUTING
            if late and now - max(self._since[rank], self._since[waiting[0]]) > limit:
                return (
                    f"{self._names[rank]} is alive, but the others have waited for it for"
                    f" {limit:.0f} seconds"
                )
        return ""


class Heartbeat:
    """A thread that tells rank 0 that this rank is alive, and ends it when another one is not.

    The state of this rank is what `MPIGroup` calls: `waiting`, and `alone`.

    Args:
        comm: a communicator of its own.
        report: called with what is wrong, before this process ends.
        parent: the process id of the supervisor, without which this process ends; 0 for none.

    Attributes:
        name: of this rank, for messages.

    Raises:
        ValueError: a setting of some rank is wrong; raised in all.
    """

    def __init__(self, comm: Any, report: Callable[[str], None], parent: int = 0) -> None:
        self._comm, self._report, self._parent = comm, report, parent
        self._rank = comm.Get_rank()
        self.name = f"rank {self._rank} (process {os.getpid()} on {socket.gethostname()})"
        seconds, error = math.nan, ""
        try:
            seconds = patience()
        except ValueError as caught:
            error = f"{self.name}: {caught}"
        names, errors = zip(*comm.allgather((self.name, error)), strict=True)
        if any(errors):
            raise ValueError(next(filter(None, errors)))
        self._watch = Watch(list(names), time.monotonic(), seconds)
        self._peers = range(1, len(names)) if self._rank == 0 else range(1)
        self._count, self._phase = 0, COMPUTING
        self._end = threading.Event()
        self._sent: list[tuple[Any, Any]] = []
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A context in which this rank waits for others."""
        self._count += 1
        with self._in(WAITING):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A context in which this rank does something that others do not, so they may wait long."""
        with self._in(ALONE):
            yield

    @contextmanager
    def _in(self, phase: int) -> Iterator[None]:
        before, self._phase = self._phase, phase
        try:
            yield
        finally:
            self._phase = before

    def stop(self) -> None:
        """End the thread, before MPI ends."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(INTERVAL):
            if self._parent and os.getppid() != self._parent:
                os._exit(EXIT_CODE)  # the launcher notices it, and ends the other ranks
            self._send()
            self._receive()
            if self._rank == 0:
                self._watch.hear(0, (self._count, self._phase), time.monotonic())
            problem = self._watch.problem(self._rank, time.monotonic())
            if problem and not self._end.is_set():
                self._report(problem)
                end_all(self._comm, EXIT_CODE)

    def _send(self) -> None:
        self._sent = [(request, state) for request, state in self._sent if not request.Test()]
        for peer in self._peers:
            state = np.array([self._count, self._phase], np.int64)
            self._sent.append((self._comm.Isend(state, peer), state))

    def _receive(self) -> None:
        for peer in self._peers:
            while self._comm.Iprobe(peer):
                state = np.empty(2, np.int64)
                self._comm.Recv(state, peer)
                self._watch.hear(peer, (int(state[0]), int(state[1])), time.monotonic())


def patience(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds for which ranks wait for one that is alive.

    Raises:
        ValueError: the variable of the environment is no positive number.
    """
    text = environment.get(VARIABLE) or str(HANGING)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise ValueError(f"{VARIABLE} must be a positive number of seconds, not {text!r:.40}")
    return seconds


def end_all(comm: Any, code: int) -> None:
    """End all ranks at once, with this exit code."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the terminal may be closed
            stream.flush()
    # Where MPI itself is stuck; the launcher then ends the others when it notices that.
    timer = threading.Timer(PATIENCE, os._exit, [code])
    timer.daemon = True
    timer.start()
    comm.Abort(code)


def name_of_signal(number: int) -> str:
    """As in SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
