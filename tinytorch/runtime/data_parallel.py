"""A batch divided among processes, each with the same model: data parallelism on one machine.

Threads of one interpreter meet at every op, and take turns at Python in between. Processes meet
twice a step: where they get their rows of the batch, and where their gradients are added up.
"""

import itertools
import mmap
import multiprocessing
import os
import pickle
import signal
import traceback
import warnings
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from ..backends.base import NumpyArray as Array
from ..nn.module import Module, Parameter
from ..ops import random
from ..tensor import Tensor

CACHE_LINE = 64  # bytes
WINDOW = 2**22  # bytes; gradients of a million numbers are seen at once

Window = list[tuple[int, Array]]  # which parameters' gradients, and where they stand


def gradients(model: Module, loss_fn: Callable[..., Tensor], x: Tensor, y: Tensor,
              share: float) -> Tensor:  # fmt: skip
    """Add a batch's share of the gradients to the parameters; return its share of the loss."""
    loss = loss_fn(model(x), y)
    if share != 1:
        loss = loss * share
    loss.backward()
    return loss.detach()


class Share(NamedTuple):
    """What a replica is asked to do: rows of a batch, from row `first` on."""

    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    first: int
    share: float
    rng: dict[str, Any]  # the state of the generator that dropout draws its seeds from


class Answer(NamedTuple):
    """What it answers: its share of the loss, and which parameters have gradients now."""

    loss: float
    found: list[int]


class Replicas:
    """Copies of this process that compute the gradients of their rows of each batch.

    The copies are made by `fork`, so a model may be of any class, one from a notebook as well.
    The weights stand in memory that all share: an update is seen by every copy. Anything else
    that changes in the model afterwards is not; make new replicas then.

    Args:
        model: its parameters move to shared memory, and stay usable as before.
        loss_fn: ``loss_fn(prediction, target)``, a mean over the batch.
        count: processes, this one included.

    Raises:
        ValueError: the backend's arrays cannot be shared by processes.

    Source: S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel
    Training" (2020); here for one machine, with one sum at the end.

    >>> replicas = Replicas(model, CrossEntropyLoss(), count=2)
    >>> loss = replicas.gradients(x, y)  # as loss_fn(model(x), y).backward()
    """

    def __init__(self, model: Module, loss_fn: Callable[..., Tensor], count: int) -> None:
        self.model, self.loss_fn = model, loss_fn
        self.parameters = model.parameters()
        self._kinds = [_kind(p) for p in self.parameters]
        shareable = all(isinstance(p._array, np.ndarray) for p in self.parameters)
        if not hasattr(os, "fork") or not shareable:
            raise ValueError(
                f"on this system processes cannot share arrays of the backend {model.backend}"
            )
        self.weights = shared_arrays([np.asarray(p._array) for p in self.parameters])
        self._share_weights()
        self.windows = [windows(self.weights) for _ in range(count - 1)]
        self.pipes: list[Connection] = []
        self.processes = [self._fork(number) for number in range(count - 1)]
        self._finalizer = weakref.finalize(self, _end, os.getpid(), self.processes, self.pipes)

    def _fork(self, number: int) -> Any:
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        self.pipes.append(ours)
        process = context.Process(
            target=self._serve, args=(theirs, self.windows[number]), name=f"replica {number + 1}",
            daemon=True,
        )  # fmt: skip
        with warnings.catch_warnings():
            # Python warns of threads that may hold a lock; this package's own hold none while
            # they wait for work.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        return process

    def _serve(self, pipe: Connection, windows: list[Window]) -> None:
        """What a copy does, until this process ends or closes the pipe."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for other in self.pipes:
            other.close()  # else a copy would keep its own pipe open
        backend = self.model.backend
        with backend.single_threaded():
            while True:
                try:
                    task: Share = pipe.recv()
                except EOFError:
                    return
                try:
                    backend.set_row_offset(task.first)
                    answer = self._answer(task)
                except Exception as error:
                    error.add_note(f"In a replica:\n{traceback.format_exc()}")
                    pipe.send(_portable(error))
                    continue
                for number, window in enumerate(windows):
                    if number >= 2:
                        pipe.recv()  # what was in this memory before has been added up
                    self._show(window)
                    pipe.send(None if number else answer)

    def _answer(self, task: Share) -> Answer:
        random.generator().bit_generator.state = task.rng
        for parameter in self.parameters:
            parameter.zero_grad()  # the copy was made with those that there were
        home = self.model.backend
        x, y = (Tensor(a, backend=home) for a in (task.x, task.y))
        loss = gradients(self.model, self.loss_fn, x, y, task.share)
        found = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        return Answer(loss.item(), found)

    def _show(self, window: Window) -> None:
        """Move gradients to where the first process can see them."""
        for index, view in window:
            parameter = self.parameters[index]
            if parameter.grad is not None:
                view[...] = parameter.grad._array
                parameter.zero_grad()

    def gradients(self, x: Tensor, y: Tensor, share: float = 1.0) -> Tensor:
        """As `parallel.gradients`, the rows of the batch divided among the processes.

        Raises:
            RuntimeError: a process has ended.
            Exception: whatever the model or the loss raises, in any of the processes.
        """
        rows = len(y) if y.ndim and x.ndim and len(x) == len(y) else 1
        count = min(rows, len(self.pipes) + 1)
        if count == 1:
            return gradients(self.model, self.loss_fn, x, y, share)
        bounds = [rows * i // count for i in range(count + 1)]
        parts = [slice(*pair) for pair in itertools.pairwise(bounds)]
        weights = [share * (part.stop - part.start) / rows for part in parts]
        self._share_weights()
        state = dict(random.generator().bit_generator.state)
        try:
            for number, (part, weight) in enumerate(zip(parts[1:], weights[1:], strict=True)):
                task = Share(x.numpy()[part], y.numpy()[part], part.start, weight, state)
                self._ask(number, partial(_send, task))
            with self.model.backend.single_threaded():
                loss = gradients(self.model, self.loss_fn, x[parts[0]], y[parts[0]], weights[0])
            for number in range(count - 1):
                loss = loss + self._add(number)
            return loss
        except BaseException:
            self.close()  # an answer may be on its way: nobody would know to which question
            raise

    def _share_weights(self) -> None:
        """Move to shared memory what was not written in place."""
        for parameter, weight in zip(self.parameters, self.weights, strict=True):
            if parameter._array is not weight:
                weight[...] = parameter._array
                parameter.replace(weight)

    def _add(self, number: int) -> float:
        """Wait for a replica, add its gradients to the parameters', return its loss."""
        answer: Answer | Exception = self._ask(number, Connection.recv)
        if isinstance(answer, Exception):
            raise answer
        found = set(answer.found)
        windows = self.windows[number]
        for turn, window in enumerate(windows):
            if turn:
                self._ask(number, Connection.recv)
            for index, more in window:
                if index in found:
                    self._add_to(self.parameters[index], more)
            if turn + 2 < len(windows):
                self._ask(number, partial(_send, None))
        return answer.loss

    @staticmethod
    def _add_to(parameter: Parameter, more: Array) -> None:
        if parameter.grad is None:
            parameter.grad = Tensor(more, backend=parameter.backend)
        else:
            parameter.grad._array += more

    def _ask(self, number: int, what: Callable[[Connection], Any]) -> Any:
        """What a replica's pipe answers, or how the replica ended."""
        try:
            return what(self.pipes[number])
        except (EOFError, ConnectionError):
            process = self.processes[number]
            process.join(1)
            raise RuntimeError(
                f"{process.name}, which computes a part of each batch, has ended with exit code"
                f" {process.exitcode}: if there was too little memory, take a smaller batch"
            ) from None

    def close(self) -> None:
        """End the copies; this process goes on by itself."""
        self._finalizer()

    def fit(self, loss_fn: Callable[..., Tensor], parameters: Sequence[Parameter]) -> bool:
        """Whether the copies compute this loss and the gradients of these parameters."""
        kinds = [_kind(p) for p in parameters]
        return self._finalizer.alive and self.loss_fn is loss_fn and self._kinds == kinds


def _kind(p: Parameter) -> tuple[Any, ...]:
    """What changes if the parameter is exchanged, moved, frozen or thawed."""
    return id(p), p._array.shape, p._array.dtype, p.requires_grad


def _send(task: Share | None, pipe: Connection) -> None:
    pipe.send(task)


def _end(owner: int, processes: Sequence[Any], pipes: Sequence[Connection]) -> None:
    if os.getpid() != owner:  # a copy has this object too, and may be the first to forget it
        return
    for pipe in pipes:
        pipe.close()
    for process in processes:
        process.terminate()
        process.join()


def shared_arrays(arrays: Sequence[Array]) -> list[Array]:
    """Arrays of the same shapes and dtypes, not filled, in memory that forked processes share."""
    memory = mmap.mmap(-1, max(1, sum(map(_room, arrays))))
    return _views(memory, arrays)


def windows(arrays: Sequence[Array]) -> list[Window]:
    """Views like the arrays on two pieces of shared memory, each of `WINDOW` bytes or as many as
    the largest array needs: while one window is read, the next is written to the other piece.

    As much shared memory as all gradients together would make a step need more than without
    processes.
    """
    groups: list[list[int]] = [[]]
    room = max([WINDOW, *map(_room, arrays)])
    left = room
    for index, array in enumerate(arrays):
        if _room(array) > left:
            groups.append([])
            left = room
        groups[-1].append(index)
        left -= _room(array)
    pieces = [mmap.mmap(-1, room) for _ in groups[:2]]
    return [
        list(zip(group, _views(pieces[n % 2], [arrays[i] for i in group]), strict=True))
        for n, group in enumerate(groups)
    ]


def _room(array: Array) -> int:
    """Bytes of the array, up to a whole cache line."""
    return -(-int(array.nbytes) // CACHE_LINE) * CACHE_LINE


def _views(memory: mmap.mmap, arrays: Sequence[Array]) -> list[Array]:
    starts = [0, *itertools.accumulate(map(_room, arrays))]
    return [
        np.frombuffer(memory, a.dtype, a.size, start).reshape(a.shape)
        for a, start in zip(arrays, starts, strict=False)
    ]


def _portable(error: Exception) -> Exception:
    """The exception, or one that says the same, if it cannot travel through a pipe."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
