"""Data parallelism on one machine: each batch is divided among processes with the same model.

Threads contend for the GIL at every op. Processes synchronise only twice per step: when they
receive their rows of the batch, and when their gradients are summed.
"""

import contextlib
import itertools
import mmap
import multiprocessing
import os
import signal
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from ..backends import trace
from ..backends.base import Backend
from ..backends.base import NumpyArray as Array
from ..backends.groups import BUCKET_BYTES
from ..modules.module import Module, Parameter
from ..ops import random
from ..tensor import Tensor
from ..training import Trainer, accumulate_gradients
from .division import divided, picklable, rows_of
from .eager import EagerStep, why_eager
from .module_key import Same, module_key

CACHE_LINE = 64  # bytes

Bucket = list[tuple[int, Array]]  # parameter index, and the shared memory for its gradient


class Task(NamedTuple):
    """Work for a replica: the rows of a batch that start at row `first`."""

    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    first: int
    weight: float
    generator: dict[str, Any]  # state of the random generator
    masks: tuple[int, int]  # see `random.mask_state`


class Result(NamedTuple):
    """A replica's share of the loss, and the indices of the parameters that have gradients."""

    loss: float
    has_grad: list[int]


class ReplicaError(RuntimeError):
    """A process that computes part of each batch could not be started, or has ended.

    The parameters are those before the step: they can be saved, and training can continue.
    """


class DataParallel:
    """Replicas of this process that compute the gradients of their rows of each batch.

    The replicas are forked, so the model may be of any class, including one defined in a notebook.
    Weights are in shared memory, so replicas see every update; after any other change of the model
    or the loss, `matches` is false, and a new `DataParallel` is needed. Losses and dropout masks
    are those of one process, up to floating-point summation order, if the loss is a mean over
    targets (see `training.count_targets`) and the first axis of everything that is dropped is that
    of the batch: masks are indexed by the row of the batch. A batch whose x and y have different
    lengths, or require gradients, is not divided.

    Args:
        model: the model; its parameters are moved to shared memory and can be used as before.
        loss_fn: ``loss_fn(prediction, target)``, a mean over the targets.
        count: number of processes, including this one.
        parameters: all parameters that get gradients; by default those of the model.

    Raises:
        ReplicaError: the processes cannot be started.
        ValueError: the backend's arrays cannot be shared between processes.

    Source: S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel
    Training" (2020); here on one machine, with one reduction at the end of backward.

    >>> from tinytorch import CrossEntropyLoss, Linear, Tensor
    >>> replicas = DataParallel(Linear(2, 3), CrossEntropyLoss(), count=2)
    >>> loss = replicas.backward(Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor([0, 2]))
    >>> replicas.close()
    """

    def __init__(
        self,
        model: Module,
        loss_fn: Callable[..., Tensor],
        count: int,
        parameters: Sequence[Parameter] | None = None,
    ) -> None:
        self.model, self.loss_fn, self.count = model, loss_fn, count
        self.parameters = list(model.parameters() if parameters is None else parameters)
        self._key = self._key_after = _replica_key(model, loss_fn, self.parameters)
        self._owner = os.getpid()
        check_shareable(self.parameters)
        if multiprocessing.current_process().daemon:
            raise ReplicaError(
                "this is a daemonic process, as in a multiprocessing.Pool, which cannot start"
                " processes of its own: use processes=1"
            )
        self.weights = shared_arrays([np.asarray(p._array) for p in self.parameters])
        self._share_weights()
        self.buckets = [make_buckets(self.weights) for _ in range(count - 1)]
        self.pipes: list[Connection] = []
        self.processes: list[Any] = []
        self._finalizer = weakref.finalize(
            self, _terminate, self._owner, self.processes, self.pipes
        )
        self._backend.before_fork()
        try:
            for number in range(count - 1):
                self.processes.append(self._fork(number))
        except OSError as error:
            self.close()
            raise ReplicaError(
                f"cannot start {count} processes ({error.strerror}): use fewer"
            ) from error

    @property
    def _backend(self) -> Backend:
        return self.parameters[0].backend if self.parameters else self.model.backend

    def backward(self, x: Tensor, y: Tensor, weight: Any = 1.0) -> Tensor:
        """As `training.accumulate_gradients`, with the rows divided among the processes.

        Raises:
            ReplicaError: a process has ended.
            Exception: any exception of the model or the loss, in any of the processes.
        """
        rows = rows_of(x, y)
        count = min(rows, len(self.pipes) + 1)
        if count <= 1:
            return accumulate_gradients(self.model, self.loss_fn, x, y, weight)
        parts, fractions = zip(*divided(self.loss_fn, y, count), strict=True)
        weights = [float(weight) * float(fraction) for fraction in fractions]
        self._share_weights()
        state = dict(random.generator().bit_generator.state), random.mask_state()
        try:
            for number, (part, part_weight) in enumerate(zip(parts[1:], weights[1:], strict=True)):
                task = Task(x.numpy()[part], y.numpy()[part], part.start, part_weight, *state)
                self._exchange(number, partial(_send, task))
            with self._backend.single_threaded():
                loss = accumulate_gradients(
                    self.model, self.loss_fn, x[parts[0]], y[parts[0]], weights[0]
                )
            # Computed here, while the replicas finish their rows.
            self._key_after = _replica_key(self.model, self.loss_fn, self.parameters)
            for number in range(count - 1):
                loss = loss + self._reduce(number)
            return loss
        except BaseException:
            self.close()  # a late result would be mistaken for that of a later task
            raise

    def matches(
        self, model: Module, loss_fn: Callable[..., Tensor], parameters: Sequence[Parameter]
    ) -> bool:
        """Whether the replicas are alive and compute what this model and this loss compute now."""
        alive = self._finalizer.alive and self._owner == os.getpid()
        return alive and self._key == _replica_key(model, loss_fn, parameters)

    def accept_changes(self) -> None:
        """Update the key that `matches` compares; called after a step of all processes.

        Changes made by the forward pass itself, such as a counter or a cached activation, are also
        made in each replica. Statistics of the batch, such as running means, are in each process
        those of its own rows.
        """
        self._key = self._key_after

    def close(self) -> None:
        """Terminate the replicas."""
        self._finalizer()

    def _fork(self, number: int) -> Any:
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        self.pipes.append(ours)
        process = context.Process(
            target=self._serve, args=(theirs, self.buckets[number]), name=f"replica {number + 1}",
            daemon=True,
        )  # fmt: skip
        with warnings.catch_warnings():
            # Python warns about threads that may hold a lock at the fork; this package's threads
            # hold none while they wait for work.
            warnings.simplefilter("ignore", DeprecationWarning)
            with _signals_blocked():
                process.start()
        theirs.close()
        return process

    def _serve(self, pipe: Connection, buckets: list[Bucket]) -> None:
        """The main loop of a replica, until the parent process ends or closes the pipe."""
        # The parent handles Ctrl-C and the end of a terminal, and ends its replicas.
        for name in ("SIGINT", "SIGHUP"):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for other in self.pipes:
            other.close()  # otherwise this replica would keep its own pipe open
        with contextlib.suppress(EOFError, OSError), self._backend.single_threaded():
            while True:
                self._handle(pipe.recv(), pipe, buckets)

    def _handle(self, task: Task, pipe: Connection, buckets: list[Bucket]) -> None:
        """Compute a task, and send its result and its gradients, or the exception, to the parent.

        Raises:
            OSError: the parent process has ended.
        """
        try:
            self._backend.set_row_offset(task.first)
            result = self._compute(task)
        except BaseException as error:  # SystemExit too, which one process would raise as well
            error.add_note(f"In a replica:\n{traceback.format_exc()}")
            pipe.send(picklable(error))
            return
        for number, bucket in enumerate(buckets):
            if number >= 2:
                pipe.recv()  # wait until the parent has read this memory's last bucket
            self._publish(bucket)
            pipe.send(None if number else result)

    def _compute(self, task: Task) -> Result:
        random.generator().bit_generator.state = task.generator
        for parameter in self.parameters:
            parameter.zero_grad()  # clear gradients that existed at the fork
        x, y = (Tensor(a, backend=self._backend) for a in (task.x, task.y))
        with random.masks_from(*task.masks):
            loss = accumulate_gradients(self.model, self.loss_fn, x, y, task.weight)
        has_grad = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        return Result(loss.item(), has_grad)

    def _publish(self, bucket: Bucket) -> None:
        """Move the gradients of a bucket to the shared memory that the parent reads."""
        for index, view in bucket:
            parameter = self.parameters[index]
            if parameter.grad is not None:
                view[...] = parameter.grad._array
                parameter.zero_grad()

    def _share_weights(self) -> None:
        """Copy weights back to shared memory if their arrays were replaced instead of modified."""
        for parameter, weight in zip(self.parameters, self.weights, strict=True):
            if parameter._array is not weight:
                weight[...] = parameter._array
                parameter._set_array(weight)

    def _reduce(self, number: int) -> float:
        """Wait for a replica, add its gradients to the parameters', and return its loss."""
        result: Result | BaseException = self._exchange(number, Connection.recv)
        if isinstance(result, BaseException):
            raise result
        has_grad = set(result.has_grad)
        buckets = self.buckets[number]
        for turn, bucket in enumerate(buckets):
            if turn:
                self._exchange(number, Connection.recv)
            for index, gradient in bucket:
                if index in has_grad:
                    self._accumulate(self.parameters[index], gradient)
            if turn + 2 < len(buckets):
                self._exchange(number, partial(_send, None))
        return result.loss

    @staticmethod
    def _accumulate(parameter: Parameter, gradient: Array) -> None:
        if parameter.grad is None:
            parameter.grad = Tensor(gradient, backend=parameter.backend)
        else:
            parameter.grad._array += gradient

    def _exchange(self, number: int, action: Callable[[Connection], Any]) -> Any:
        """Send to or receive from a replica; raise ReplicaError if its process has ended."""
        try:
            return action(self.pipes[number])
        except (EOFError, OSError):  # OSError: it ended within a message
            process = self.processes[number]
            process.join(1)
            raise ReplicaError(
                f"{process.name}, which computes part of each batch, ended with exit code"
                f" {process.exitcode}: if memory ran out, use a smaller batch"
            ) from None


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Ctrl-C and the end of a terminal wait; a process that is forked has time to ignore them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class DataParallelStep:
    """Runs the steps of a trainer with the rows of each batch divided among processes.

    Args:
        count: number of processes, including this one.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.replicas: DataParallel | None = None

    def __reduce__(self) -> Any:
        return DataParallelStep, (self.count,)  # a copy forks replicas of its own

    def run(self, trainer: Trainer, batches: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Run one step; new replicas are forked when the model or the loss has changed.

        There are no more processes than rows in the largest batch so far.
        """
        model, loss_fn, parameters = trainer.model, trainer.loss_fn, trainer.parameters()
        if reason := why_eager(model, loss_fn, parameters=parameters):
            trace.fallback("data-parallel step", reason, model.backend.name)
            return EagerStep().run(trainer, batches)
        count = min(self.count, max(rows_of(x, y) for x, y in batches))
        replicas = self.replicas
        if replicas is not None and not (
            count <= replicas.count and replicas.matches(model, loss_fn, parameters)
        ):
            replicas.close()
            self.replicas = None
        if self.replicas is None and count > 1:
            self.replicas = DataParallel(model, loss_fn, count, parameters)
        backward = None if self.replicas is None else self.replicas.backward
        loss = trainer.accumulate(batches, backward)
        replicas = self.replicas
        if replicas is not None and all(rows_of(x, y) >= replicas.count for x, y in batches):
            replicas.accept_changes()
        trainer.update()
        return loss


def check_shareable(parameters: Sequence[Parameter]) -> None:
    """Raise ValueError if processes cannot share the arrays of parameters."""
    if not hasattr(os, "fork") or not all(isinstance(p._array, np.ndarray) for p in parameters):
        names = sorted({p.backend.name for p in parameters})
        raise ValueError(
            f"processes cannot share arrays of the backend {', '.join(names)} on this system: use"
            " one process"
        )


def _replica_key(
    model: Module, loss_fn: Callable[..., Tensor], parameters: Sequence[Parameter]
) -> Any:
    """A key that changes if the replicas, which were forked earlier, would compute otherwise.

    The values of parameters are in shared memory, and the state of the generator goes with each
    batch; its type is in the key.
    """
    identities = [(Same(p), p._array.shape, p._array.dtype, p.requires_grad) for p in parameters]
    generator = type(random.generator().bit_generator)
    return identities, generator, module_key(model, loss_fn)


def _send(task: Task | None, pipe: Connection) -> None:
    pipe.send(task)


def _terminate(owner: int, processes: Sequence[Any], pipes: Sequence[Connection]) -> None:
    if os.getpid() != owner:  # replicas have a copy of this object, which they may collect
        return
    for pipe in pipes:
        pipe.close()
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(1)
        if process.is_alive():  # it has been stopped by SIGSTOP
            process.kill()
            process.join()


def shared_arrays(arrays: Sequence[Array]) -> list[Array]:
    """Uninitialised arrays of the same shapes and dtypes in memory that forked processes share."""
    memory = mmap.mmap(-1, max(1, sum(map(padded_nbytes, arrays))))
    return _views(memory, arrays)


def make_buckets(arrays: Sequence[Array]) -> list[Bucket]:
    """Allocate views with the shapes of `arrays`, in buckets on two pieces of shared memory.

    Consecutive buckets alternate between the pieces: while one is read, the next is written. Each
    piece has `BUCKET_BYTES`, or the size of the largest array if that is more. Shared memory for
    all gradients at once would make a step use more memory than in one process.
    """
    groups: list[list[int]] = [[]]
    size = max([BUCKET_BYTES, *map(padded_nbytes, arrays)])
    left = size
    for index, array in enumerate(arrays):
        if padded_nbytes(array) > left:
            groups.append([])
            left = size
        groups[-1].append(index)
        left -= padded_nbytes(array)
    pieces = [mmap.mmap(-1, size) for _ in groups[:2]]
    return [
        list(zip(group, _views(pieces[n % 2], [arrays[i] for i in group]), strict=True))
        for n, group in enumerate(groups)
    ]


def padded_nbytes(array: Array) -> int:
    """Bytes of the array, rounded up to a multiple of the cache line."""
    return -(-int(array.nbytes) // CACHE_LINE) * CACHE_LINE


def _views(memory: mmap.mmap, arrays: Sequence[Array]) -> list[Array]:
    starts = [0, *itertools.accumulate(map(padded_nbytes, arrays))]
    return [
        np.frombuffer(memory, a.dtype, a.size, start).reshape(a.shape)
        for a, start in zip(arrays, starts, strict=False)
    ]
