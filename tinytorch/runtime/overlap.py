"""Gradients are summed among ranks while the backward pass computes the next ones.

A gradient is final when no node that has still to run uses its parameter. The order of the nodes is
known before the backward pass, so it is known too which node is the last one.
"""

import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any
from weakref import ref

import numpy as np

from ..autograd import Node, wrap_array
from ..backends.arrays import NumpyArray as Array
from ..backends.groups import BUCKET_BYTES, MPIGroup, buckets, parts_of
from ..tensor import Tensor


class EarlySums:
    """Sums of the gradients of one step, in buckets from the last parameter to the first.

    A thread adds up one bucket after the other, on a communicator of its own. First, the ranks tell
    each other which parameters are in which bucket. Unless all have the same buckets, nothing is
    summed, and `finish` puts the gradients back. A rank has none if it computes whole batches, if
    there is no memory for the sums, or if it would have a single one, which is complete at the end
    only.

    All ranks make one for the same steps, and call `finish`, also after an error.

    Args:
        host: the ranks.
        parameters: the tensors that get gradients, on the host.
        is_whole: whether this rank computes whole batches.

    Attributes:
        taken: the parameters that had a gradient in this rank when their bucket was sent.

    Source: S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel
    Training" (2020), section 3.2.3.
    """

    def __init__(self, host: MPIGroup, parameters: Sequence[Tensor], is_whole: bool) -> None:
        self._host = host
        self._buckets: list[list[tuple[Tensor, Array]]] = []  # with their parts of the sums
        self._sums: list[Array] = []  # of the buckets
        self._sent = 0  # buckets
        self.taken: set[Tensor] = set()
        self._queue: SimpleQueue[Array | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._is_over = Event()
        self._thread = Thread(target=self._add_up, name="sums of gradients", daemon=True)
        self._layouts = np.zeros(host.size, np.int64)  # of the buckets of each rank; 0 for none
        with suppress(MemoryError):
            found = [] if is_whole else _divided(parameters)
            if len(found) > 1:
                layout = _checksum(found, parameters)
                self._sums = [np.zeros(sum(p.size for p in b), b[0]._array.dtype) for b in found]
                self._buckets = [_parts(b, flat) for b, flat in zip(found, self._sums, strict=True)]
                self._layouts[host.rank] = layout
        self._agreement = host.start_beside(self._layouts)
        if self._buckets:
            with suppress(RuntimeError):  # if no thread can be started, `finish` adds up
                self._thread.start()

    def watching(self, loss_fn: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A loss function for the last batch of a step: buckets are sent in its backward pass."""
        if not self._buckets:
            return loss_fn

        def watched(prediction: Tensor, target: Tensor) -> Tensor:
            loss = loss_fn(prediction, target)
            if isinstance(loss, Tensor) and loss._node is not None:
                self._watch(nodes_of(loss._node))
            return loss

        return watched

    def _watch(self, nodes: Sequence[Node]) -> None:
        """Send each bucket when the first of the nodes is reached that uses none of it any more."""
        last_use = {id(edge.target): turn for turn, node in enumerate(nodes)
                    for edge in node.inputs if edge is not None}  # fmt: skip
        turns = [1 + max(last_use.get(id(p), -1) for p, _ in bucket) for bucket in self._buckets]
        sums = ref(self)  # a model may keep a node, but not the sums with it

        def send_until(turn: int, gradient: Any) -> Any:
            own = sums()
            while own and own._sent < len(turns) and turns[own._sent] <= turn:
                own._send()
            return gradient

        for turn in {turn for turn in turns if turn < len(nodes)}:
            node = nodes[turn]
            node.hooks = node.hooks or {}
            node.hooks.setdefault(0, []).insert(0, partial(send_until, turn))

    def _send(self) -> None:
        """Take the gradients of the next bucket, and let the thread sum them."""
        bucket, flat = self._buckets[self._sent], self._sums[self._sent]
        self._sent += 1
        try:
            for p, part in bucket:
                # The first forward pass may have given it a shape: then it is summed at the end.
                if p.grad is not None and p.grad.shape == part.shape:
                    part[...] = p.grad._array
                    p.grad = None
                    self.taken.add(p)
        finally:
            self._queue.put(flat)  # also after an error: the other ranks wait for it

    def _add_up(self) -> None:
        try:
            self._host.finish_beside(self._agreement)
            while (flat := self._queue.get()) is not None:
                if self._is_agreed():
                    self._host.sum_beside(flat)
        except BaseException as error:
            self._error = error
        finally:
            self._is_over.set()

    def _wait(self) -> None:
        if self._thread.ident is None:  # was not started
            self._add_up()
        else:
            self._is_over.wait()  # unlike a second `join`, which returns at once in Python 3.11

    def _is_agreed(self) -> bool:
        """Once the ranks have told each other: whether all have the same buckets."""
        layouts = set(self._layouts.tolist())
        return len(layouts) == 1 and 0 not in layouts

    def finish(self, error: BaseException | None = None) -> BaseException | None:
        """Send the other buckets, and wait for all sums.

        Args:
            error: an exception of this rank's backward pass.

        Returns:
            the same, or one of this call; in both cases, all that the others wait for was sent.

        Raises:
            BaseException: the ranks cannot be reached.
        """
        is_sent = False
        while not is_sent:
            try:
                while self._sent < len(self._buckets):
                    self._send()
                is_sent = True
            except BaseException as caught:
                error = error or caught
        self._queue.put(None)
        self._host.barrier()  # a wait for ranks that still compute, unlike that for the sums
        try:
            self._wait()
        except BaseException as caught:  # Ctrl-C: the others learn of it later; a second one ends
            error = error or caught
            self._wait()
        if self._error is not None:
            raise self._error from error
        if not self._is_agreed():
            self.give_back(self.taken)
            self.taken = set()
        return error

    def give_back(self, used: set[Tensor]) -> None:
        """Add the sums to the gradients of the parameters that any rank has used."""
        for bucket in self._buckets:
            for p, part in bucket:
                if p not in used:
                    continue
                if p.grad is None:
                    p.grad = wrap_array(Tensor, part, p.backend)
                else:  # of a node that was not known, such as one of another backward pass
                    p.grad._array += part


def _divided(parameters: Sequence[Tensor]) -> list[list[Tensor]]:
    """Buckets of the parameters that are trained, from the last to the first."""
    trained = [p for p in reversed(parameters) if p.requires_grad]
    arrays: list[Any] = [p._array for p in trained]
    rest = iter(trained)
    return [[next(rest) for _ in bucket] for bucket in buckets(arrays, BUCKET_BYTES)]


def _checksum(divided: Sequence[Sequence[Tensor]], parameters: Sequence[Tensor]) -> int:
    """A number from 1 that differs if the parameters of a bucket do."""
    numbers = {id(p): number for number, p in enumerate(parameters)}
    layout = [[(numbers[id(p)], p.shape, str(p.dtype)) for p in bucket] for bucket in divided]
    return 1 + zlib.crc32(repr(layout).encode())


def _parts(bucket: Sequence[Tensor], flat: Array) -> list[tuple[Tensor, Array]]:
    """The parameters of a bucket, with their parts of its array."""
    arrays: list[Any] = [p._array for p in bucket]
    return list(zip(bucket, parts_of(flat, arrays), strict=True))


def nodes_of(root: Node) -> list[Node]:
    """The nodes that a backward pass runs, in its order.

    >>> from tinytorch import Tensor
    >>> x = Tensor([2.0], requires_grad=True)
    >>> [node.name for node in nodes_of((x.exp() * x).sum()._node)]
    ['sum', 'multiply', 'exp']
    """
    found, new = {root.sequence_nr: root}, [root]
    while new:
        for edge in new.pop().inputs:
            if edge is None or not isinstance(edge.target, Node):
                continue
            if edge.target.sequence_nr not in found:
                found[edge.target.sequence_nr] = edge.target
                new.append(edge.target)
    return [found[number] for number in sorted(found, reverse=True)]
