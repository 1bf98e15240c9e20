"""The ranks that mpiexec, srun or another launcher of MPI has started."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress

from ..backends import Backend, BackendError
from ..backends.groups import MPIGroup
from ..backends.numpy import threads
from .agreement import RankError
from .heartbeat import EXIT_CODE, Heartbeat, end_all, name_of_signal

# Variables of MPICH, Intel's and Microsoft's MPI, and srun; Open MPI; PMIx; srun without any PMI.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE")
RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")
TASKS = "SLURM_STEP_NUM_TASKS"
FAREWELL = 2.0  # seconds for which a rank that ends waits for the others


def is_launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a launcher has started this process as one of several ranks."""
    sizes = [environment[name] for name in SIZES if name in environment]
    if not sizes and TASKS in environment:  # srun, whose PMIx tells no size
        sizes = [environment[TASKS]]
    return any(size != "1" for size in sizes) if sizes else "PMIX_RANK" in environment


def rank(environment: Mapping[str, str] = os.environ) -> int:
    """The number that the launcher has given to this process; 0 without one."""
    return next((int(environment[name]) for name in RANKS if name in environment), 0)


class StartError(RankError):
    """The ranks cannot start: all of them have this error, and one should print it."""


class World:
    """All ranks of the launcher.

    Args:
        report: called with what is wrong when another rank has ended or does not answer, or this
            one is stopped alone.
        parent: process id of the supervisor, see `supervise`.

    Attributes:
        group: the ranks as a group of host arrays.

    Raises:
        RankError: MPI cannot be used.
        StartError: it is another one than the launcher's, or a setting of all ranks is wrong.
    """

    def __init__(self, report: Callable[[str], None], parent: int = 0) -> None:
        # One sentence of ours instead of MPICH's.
        os.environ.setdefault("MPIR_CVAR_SUPPRESS_ABORT_MESSAGE", "1")
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise RankError(
                f"this program was started by mpiexec or srun, but mpi4py cannot be used ({error}):"
                ' pip install -e ".[mpi]"'
            ) from None
        if MPI.COMM_WORLD.Get_size() == 1 and is_launched():
            raise StartError(why_alone(MPI.Get_library_version().split("\n")[0]))
        if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
            raise RankError(
                f"{MPI.Get_library_version().split(chr(10))[0]} does not support several threads,"
                " of which one watches the other ranks"
            )
        self._report = report
        self._local = MPIGroup(MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED))
        _share_cores(self._local)
        self.group = MPIGroup(MPI.COMM_WORLD.Dup())
        self._farewell = MPI.COMM_WORLD.Dup()
        try:
            self._heartbeat = Heartbeat(MPI.COMM_WORLD.Dup(), report, parent)
        except ValueError as error:
            raise StartError(str(error)) from None
        self.group.waiting = self._heartbeat.waiting

    def use_device(self, backend: Backend) -> None:
        """Before the first tensor: let each rank of a machine compute on a GPU of its own.

        Where a rank sees one GPU, its launcher has chosen it.

        Raises:
            BackendError: there are more ranks than GPUs.
        """
        count, own = backend.device_count(), self._local.rank
        if backend.device_type == "cpu" or count == 1:
            return
        if own >= count:
            raise BackendError(
                f"rank {self.group.rank} is number {own + 1} of {self._local.size} on"
                f" {self.group.place}, which has {count} GPUs: start at most {count} ranks there"
            )
        backend.on_device(own)

    def alone(self) -> AbstractContextManager[None]:
        """A context in which this rank does what others do not."""
        return self._heartbeat.alone()

    def leave(self, code: int, is_shared: bool) -> None:
        """End the ranks together; if the others do not come, at once with this exit code.

        Args:
            code: the exit code of this rank.
            is_shared: whether the others come, perhaps after rank 0 has written its results.
        """
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the run has ended
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        request, end = self._farewell.Ibarrier(), time.monotonic() + FAREWELL
        with self._heartbeat.waiting():
            while not request.Test():
                if time.monotonic() > end and not is_shared:
                    if code > 128:  # the others do not know why
                        number = name_of_signal(code - 128)
                        self._report(f"{self._heartbeat.name} was stopped by {number}")
                    end_all(self._farewell, code or 1)
                time.sleep(0.01)
        self._heartbeat.stop()


def why_alone(library: str, environment: Mapping[str, str] = os.environ) -> str:
    """Why each rank sees itself alone, and what helps.

    Args:
        library: name and version of the MPI in use.
        environment: what the launcher has set.
    """
    if TASKS in environment and not any(name in environment for name in SIZES):
        return (
            f"srun has started {environment.get(TASKS)} tasks without a process manager that"
            f" {library} knows, so each sees itself alone: srun --mpi=pmi2, or another of"
            " srun --mpi=list"
        )
    return (
        "each rank sees itself alone: mpiexec belongs to another MPI than the one that mpi4py uses"
        f' ({library}); use the mpiexec of pip install -e ".[mpi]", or build mpi4py for the other'
    )


def _share_cores(local: MPIGroup) -> None:
    """Let the ranks of a machine use as many threads together as it has cores."""
    if "OMP_NUM_THREADS" in os.environ:
        return
    own = set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set()
    cores: set[int] = set().union(*local.gather(own)) or set(range(os.cpu_count() or 1))
    count = max(1, min(len(own) or len(cores), len(cores) // local.size))
    os.environ["OMP_NUM_THREADS"] = str(count)
    threads.num_threads.cache_clear()


def supervise(name: str) -> int:
    """Go on in a child process, while this one waits for its end and reports that of a signal.

    A launcher ends all ranks when one ends, but not all name the right one. Without fork, the
    program goes on in this process.

    Args:
        name: of the program, for the message.

    Returns:
        the process id of the supervisor, in the child; 0 without fork.
    """
    if not hasattr(os, "fork"):
        return 0
    supervisor = os.getpid()
    child = os.fork()
    if not child:
        return supervisor
    for number in ("SIGINT", "SIGTERM", "SIGHUP"):  # the launcher sends them to both
        signal.signal(getattr(signal, number), signal.SIG_IGN)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if what := _how_it_ended(code):
        with suppress(OSError, ValueError):
            place = f"process {child} on {socket.gethostname()}"
            print(f"{name}: rank {rank()} ({place}) {what}", file=sys.stderr, flush=True)
    os._exit(128 - code if code < 0 else code)


def _how_it_ended(code: int) -> str:
    """What is to be said of a rank that has ended without a word; "" of others.

    Args:
        code: its exit code, or minus the number of a signal.
    """
    intact = "so all ranks end: the last save is intact"
    if code < 0:
        memory = "; if memory ran out, use more ranks on other machines or a smaller --batch-size"
        name = name_of_signal(-code)
        return f"was ended by {name}, {intact}{memory if name == 'SIGKILL' else ''}"
    own = code <= EXIT_CODE or code > 128  # of this package, after a message
    return "" if own else f"ended with exit code {code}, {intact}"
