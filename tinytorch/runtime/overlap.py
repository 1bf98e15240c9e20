"""Sums of gradients among ranks that run beside the backward pass that computes the next ones.

A gradient is final when no node that has still to run uses its parameter. The order of the nodes is
known before the backward pass, so it is known too which node is the last one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from ..autograd import Node
from ..backends.arrays import NumpyArray as Array
from ..backends.groups import BUCKET_BYTES, MPIGroup, buckets, parts_of
from ..tensor import Tensor


class EarlySums:
    """Sums of the gradients of one step, in buckets from the last parameter to the first.

    A thread adds up one bucket after the other; their order is that of the parameters, and so the
    same in all ranks. All of them call `finish`, also after an error, and use the group for nothing
    else before that.

    Args:
        host: the ranks.
        parameters: the tensors that get gradients, on the host.
        is_whole: whether this rank computes whole batches; nothing is added up if any does.

    Attributes:
        taken: the parameters that had a gradient in this rank when their bucket was sent.

    Source: S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel
    Training" (2020), section 3.2.3.
    """

    def __init__(self, host: MPIGroup, parameters: Sequence[Tensor], is_whole: bool) -> None:
        self._host = host
        self._any_whole = np.array([is_whole], np.int64)
        trained = [p for p in reversed(parameters) if p.requires_grad and not is_whole]
        arrays: list[Any] = [p._array for p in trained]
        rest = iter(trained)
        self._buckets = [[next(rest) for _ in bucket] for bucket in buckets(arrays, BUCKET_BYTES)]
        self._sums: list[Array] = []  # of the buckets that have been sent
        self.taken: set[Tensor] = set()
        self._queue: SimpleQueue[Array | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._add_up, name="sums of gradients", daemon=True)
        self._thread.start()

    def watching(self, loss_fn: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A loss function for the last batch of a step: buckets are sent in its backward pass."""

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
        turns = [1 + max(last_use.get(id(p), -1) for p in bucket) for bucket in self._buckets]
        for turn in {turn for turn in turns if turn < len(nodes)}:
            node = nodes[turn]
            node.hooks = node.hooks or {}
            node.hooks.setdefault(0, []).insert(0, partial(self._send_until, turn, turns))

    def _send_until(self, turn: int, turns: Sequence[int], gradient: Any) -> Any:
        """A hook of a node, which returns the gradient as it is."""
        while len(self._sums) < len(turns) and turns[len(self._sums)] <= turn:
            self._send()
        return gradient

    def _send(self) -> None:
        """Take the gradients of the next bucket, and let the thread sum them."""
        bucket = self._buckets[len(self._sums)]
        flat = np.zeros(sum(p.size for p in bucket), bucket[0]._array.dtype)
        for p, part in _parts(bucket, flat):
            if p.grad is not None:
                part[...] = p.grad._array
                p.grad = None
                self.taken.add(p)
        self._sums.append(flat)
        self._queue.put(flat)

    def _add_up(self) -> None:
        try:
            self._host.sum_beside(self._any_whole)
            while (flat := self._queue.get()) is not None:
                if not self._any_whole[0]:
                    self._host.sum_beside(flat)
        except BaseException as error:
            self._error = error

    def finish(self) -> None:
        """Send the other buckets, and wait for all sums."""
        while len(self._sums) < len(self._buckets):
            self._send()
        self._queue.put(None)
        with self._host.waiting():
            self._thread.join()
        if self._error is not None:
            raise self._error

    def give_back(self, used: set[Tensor]) -> None:
        """Add the sums to the gradients of the parameters that any rank has used."""
        for bucket, flat in zip(self._buckets, self._sums, strict=True):
            for p, part in _parts(bucket, flat):
                if p not in used:
                    continue
                if p.grad is None:
                    p.grad = Tensor(part, backend=p.backend)
                else:  # of a node that was not known, such as one of another backward pass
                    p.grad._array += part


def has_several_buckets(parameters: Iterable[Tensor]) -> bool:
    """Whether sums can begin early: a single bucket is complete at the end only."""
    arrays: list[Array] = [p._array for p in parameters if p.requires_grad]  # type: ignore[misc]
    return sum(array.nbytes for array in arrays) > BUCKET_BYTES


def _parts(bucket: Sequence[Tensor], flat: Array) -> Iterator[tuple[Tensor, Array]]:
    """The parameters of a bucket, with their parts of its array."""
    arrays: list[Any] = [p._array for p in bucket]
    return zip(bucket, parts_of(flat, arrays), strict=True)


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
