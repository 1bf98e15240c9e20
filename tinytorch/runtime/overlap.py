"""Gradients are summed among ranks while the backward pass computes the next ones.

A gradient is final when no node that has still to run uses its parameter. The order of the nodes is
known before the backward pass, so it is known too which node is the last one.
"""

import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import ref

import numpy as np

from ..autograd import Node, wrap_array
from ..backends.base import NativeArray as Array
from ..backends.groups import BUCKET_BYTES, Group, MPIGroup, buckets, parts_of
from ..tensor import Tensor


class EarlySums:
    """Sums of the gradients of one step, in buckets from the last parameter to the first.

    They are added up beside the computation, one bucket after the other. First, the ranks tell each
    other which parameters are in which bucket. Unless all have the same buckets, nothing is summed,
    and `finish` puts the gradients back. A rank has none if it computes whole batches, if there is
    no memory for the sums, or if it would have a single one, which is complete at the end only.

    All ranks make one for the same steps, and call `finish`, also after an error.

    Args:
        host: the ranks.
        group: the same ranks, for arrays of the parameters' backend.
        parameters: the tensors that get gradients.
        is_whole: whether this rank computes whole batches.

    Attributes:
        taken: the parameters that had a gradient in this rank when their bucket was sent.

    Source: S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel
    Training" (2020), section 3.2.3.
    """

    def __init__(
        self, host: MPIGroup, group: Group, parameters: Sequence[Tensor], is_whole: bool
    ) -> None:
        self._buckets: list[list[tuple[Tensor, Array]]] = []  # with their parts of the sums
        self._sums: list[Array] = []  # of the buckets
        self._sent = 0  # buckets
        self.taken: set[Tensor] = set()
        self._layouts = np.zeros(host.size, np.int64)  # of the buckets of each rank; 0 for none
        with suppress(MemoryError):
            found = [] if is_whole else _divided(parameters)
            if len(found) > 1:
                layout = _checksum(found, parameters)
                self._sums = list(map(_zeros, found))
                self._buckets = [_parts(b, flat) for b, flat in zip(found, self._sums, strict=True)]
                self._layouts[host.rank] = layout
        request = host.start_beside(self._layouts)
        self._side = group.side_sums(partial(_agree, self._layouts, request))

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
        """Take the gradients of the next bucket, and let them be summed."""
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
            self._side.queue.put(flat)  # also after an error: the other ranks wait for it
        self._side.go_on()

    def finish(self, error: BaseException | None = None) -> BaseException | None:
        """Send the other buckets, and let what follows wait for all sums.

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
        try:
            lost = self._side.finish()
        except BaseException as caught:  # Ctrl-C: the others learn of it later; a second one ends
            error = error or caught
            lost = self._side.finish()
        if lost is not None:
            raise lost from error
        if not _are_equal(self._layouts):
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


def _zeros(bucket: Sequence[Tensor]) -> Array:
    """An array for the sums of a bucket."""
    size, p = sum(p.size for p in bucket), bucket[0]
    return p.backend.xp.zeros((size,), dtype=p._array.dtype)


def _checksum(divided: Sequence[Sequence[Tensor]], parameters: Sequence[Tensor]) -> int:
    """A number from 1 that differs if the parameters of a bucket do."""
    numbers = {id(p): number for number, p in enumerate(parameters)}
    layout = [[(numbers[id(p)], p.shape, str(p.dtype)) for p in bucket] for bucket in divided]
    return 1 + zlib.crc32(repr(layout).encode())


def _agree(layouts: Any, request: Any, wait: Callable[[Any], None]) -> bool:
    """Whether all ranks have the same buckets; waits until they have told each other."""
    wait(request)
    return _are_equal(layouts)


def _are_equal(layouts: Any) -> bool:
    return bool(layouts.all() and (layouts == layouts[0]).all())


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
