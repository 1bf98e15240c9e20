"""Predicted seconds of a training step that is divided among ranks, and where more stop paying.

A message of m bytes takes ``latency + m / bandwidth`` seconds, and a rank sends one at a time. What
a step sends is read off the code that sends it: `Ranks.accumulate`, `ShardedUpdate`, `MPIGroup`,
`NCCLGroup`.

Sources: R. Thakur et al., "Optimization of Collective Communication Operations in MPICH" (2005), on
this model and on recursive doubling; P. Patarasuk and X. Yuan, "Bandwidth Optimal All-reduce
Algorithms for Clusters of Workstations" (2009), on the ring.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from ..backends.arrays import NumpyArray
from ..backends.groups import BUCKET_BYTES, buckets
from ..modules.module import Module
from ..ops import random
from ..tensor import Tensor
from ..transformers import GPT, GPTConfig
from .sharding import owners_of, padded

BACKWARD = 2 / 3  # of what the rows of a step take: two products for each one of the forward pass
GAIN = 1.25  # times the throughput of half as many, which ranks must have to be worth it


@dataclass(frozen=True)
class Network:
    """What connects the ranks.

    Args:
        latency: seconds of a message without content; alpha in the papers.
        bandwidth: bytes a second in each direction; 1 / beta.
        adding: bytes a second that a rank adds to others; 1 / gamma.
        copying: bytes a second that a rank copies into a bucket, or out of it.
    """

    latency: float
    bandwidth: float
    adding: float = math.inf
    copying: float = math.inf


@dataclass(frozen=True)
class Message:
    """A number of arrays that are added up together, and their bytes."""

    nbytes: int
    arrays: int = 1


@dataclass(frozen=True)
class Exchange:
    """What each step sends, in the order of the parameters.

    Args:
        gradients: of the gradients and the loss.
        flags: before them, on hosts: which parameters have a gradient.
        barriers: waits for all ranks.
        weights: bytes of each parameter that one rank updates and sends to the others.
    """

    gradients: Sequence[Message]
    flags: Sequence[Message] = ()
    barriers: int = 0
    weights: Sequence[int] = ()


@dataclass(frozen=True)
class Work:
    """A step in one process.

    Args:
        seconds: of the whole step.
        rows: of its batch.
        fixed: seconds that do not depend on the rows: the update, and the overhead of the calls.
        update: seconds of `fixed` that are divided in proportion to the weights of a rank.
    """

    seconds: float
    rows: int
    fixed: float
    update: float = 0.0


# Bytes


def describe(config: GPTConfig) -> GPT:
    """A model for its sizes alone: zeros, which take no memory until they are written to."""
    with random.undrawn():
        return GPT.from_config(config, "numpy")


def mpi_exchange(
    model: Module, limit: int = BUCKET_BYTES, sharded: Iterable[Tensor] = ()
) -> Exchange:
    """What a step sends through an `MPIGroup`, with buckets of at most `limit` bytes.

    Args:
        model: the model.
        limit: bytes.
        sharded: the parameters that are divided among the ranks, of one optimizer.

    >>> from tinytorch import Linear
    >>> mpi_exchange(Linear(10, 5)).gradients  # weights, biases and the loss, in one bucket
    [Message(nbytes=224, arrays=3)]
    """
    arrays = _gradients(model)
    # one for an error, one for hooks, two for the rows, and one for each parameter: `arrays` has
    # the loss besides
    flags = Message((len(arrays) + 3) * np.dtype(np.int64).itemsize)
    sent = [Message(sum(a.nbytes for a in b), len(b)) for b in buckets(arrays, limit)]
    weights = _shards(sharded)
    return Exchange(sent, [flags], barriers=3 if weights else 2, weights=weights)


def nccl_exchange(
    model: Module, limit: int = BUCKET_BYTES, sharded: Iterable[Tensor] = ()
) -> Exchange:
    """What a step sends through a `NCCLGroup` from a CUDA graph.

    The gradients are in buckets from the last to the first, if there are several, as in
    `EarlySums`; else each is sent by itself. Without a graph, the host exchanges the flags of
    `mpi_exchange` besides.

    Args:
        model: the model.
        limit: bytes of a bucket.
        sharded: the parameters that are divided among the ranks, of one optimizer.
    """
    *arrays, loss = _gradients(model)
    found = list(buckets(arrays[::-1], limit))
    if len(found) == 1:
        found = [[array] for array in arrays[::-1]]
    # The kernels that gather a bucket are a part of the step.
    sent = [Message(sum(a.nbytes for a in bucket)) for bucket in reversed(found)]
    return Exchange([*sent, Message(loss.nbytes)], weights=_shards(sharded))


def _shards(parameters: Iterable[Tensor]) -> list[int]:
    """Bytes of parameters in the rows of `ShardedUpdate`."""
    arrays = [np.asarray(p._array) for p in parameters]
    return [padded(a.size, a.itemsize) * a.itemsize for a in arrays]


def largest_share(ranks: int, exchange: Exchange) -> int:
    """Bytes of the weights of the rank that updates the most, and so of the row of each rank."""
    owners = owners_of(exchange.weights, ranks)
    loads = [0] * ranks
    for owner, nbytes in zip(owners, exchange.weights, strict=True):
        loads[owner] += nbytes
    return max(loads)


def _gradients(model: Module) -> list[NumpyArray]:
    """Arrays like all gradients and the loss, in the order in which they are sent."""
    return [*(np.asarray(p._array) for p in model.parameters()), np.zeros((), np.float32)]


def step_flops(config: GPTConfig, rows: int) -> float:
    """FLOPs of the matrix products of a step: forward, and both gradients.

    Of the scores of attention, half are counted, because it is causal.
    """
    C, L, T = config.embed_dim, config.num_layers, config.max_seq_len
    weights = 12 * L * C * C + C * config.vocab_size
    return 6.0 * rows * T * (weights + L * C * T)  # two products with C x T / 2 in each block


# Seconds


def ring(ranks: int, nbytes: float, network: Network) -> float:
    """Sum of an array in all ranks by a ring: 2 (n - 1) turns, in each a rank sends an n-th of it.

    >>> ring(4, 8e6, Network(latency=0.0, bandwidth=1e9))  # 2 x 3 / 4 of the bytes
    0.012
    """
    part = nbytes / ranks
    sent = 2 * (ranks - 1) * (network.latency + part / network.bandwidth)
    return sent + (ranks - 1) * part / network.adding


def doubling(ranks: int, nbytes: float, network: Network) -> float:
    """Sum of an array in all ranks by recursive doubling: all of it to another rank in each turn.

    Ranks beyond a power of 2 give theirs to another rank first, and get the sum at the end.
    """
    turns = ranks.bit_length() - 1
    beyond = ranks > 1 << turns
    added, sent = turns + beyond, turns + 2 * beyond
    return sent * (network.latency + nbytes / network.bandwidth) + added * nbytes / network.adding


def all_reduce(ranks: int, message: Message, network: Network) -> float:
    """Sum of a message in all ranks by the faster algorithm, and the copies that a bucket needs."""
    if ranks == 1:
        return 0.0
    copied = 2 * message.nbytes / network.copying if message.arrays > 1 else 0.0
    return copied + min(algorithm(ranks, message.nbytes, network) for algorithm in (ring, doubling))


def all_gather(ranks: int, nbytes: float, network: Network) -> float:
    """Rows of so many bytes from each rank to all: twice as many of them in each turn."""
    sent = (ranks - 1) * nbytes / network.bandwidth
    return math.ceil(math.log2(ranks)) * network.latency + sent


def barrier(ranks: int, network: Network) -> float:
    """A wait for all ranks, by messages without content."""
    return math.ceil(math.log2(ranks)) * network.latency


def exchange_seconds(ranks: int, exchange: Exchange, network: Network) -> float:
    """All that a step sends, after its backward pass."""
    return _around(ranks, exchange, network) + sum(
        all_reduce(ranks, message, network) for message in exchange.gradients
    )


def _around(ranks: int, exchange: Exchange, network: Network) -> float:
    """What is sent before the gradients, and after them."""
    waits = exchange.barriers * barrier(ranks, network)
    if exchange.weights:
        waits += all_gather(ranks, largest_share(ranks, exchange), network)
    return waits + sum(all_reduce(ranks, message, network) for message in exchange.flags)


def step_seconds(
    ranks: int,
    rows: int,
    work: Work,
    exchange: Exchange,
    network: Network,
    overlap: bool = False,
) -> float:
    """A step of the rank with the most rows.

    Args:
        ranks: number of ranks.
        rows: of the whole batch; a rank computes at least one.
        work: the step in one process.
        exchange: what a step sends.
        network: what connects the ranks.
        overlap: whether messages are sent during the backward pass, each when its gradients are
            computed, and take no processor time; see `overlap`.
    """
    own = (work.seconds - work.fixed) * max(1, math.ceil(rows / ranks)) / work.rows
    fixed = work.fixed
    if exchange.weights:
        fixed -= work.update * (1 - largest_share(ranks, exchange) / sum(exchange.weights))
    if not overlap:
        return fixed + own + exchange_seconds(ranks, exchange, network)
    end = sent_at(  # the last message is ready at the end of the backward pass
        [(1 - BACKWARD) * own + BACKWARD * own * part for part in computed(exchange)],
        [all_reduce(ranks, message, network) for message in reversed(exchange.gradients)],
    )
    return fixed + end + _around(ranks, exchange, network)


def computed(exchange: Exchange) -> list[float]:
    """The part of the backward pass after which each message is complete, from the last parameter.

    Gradients are supposed to take time in proportion to their bytes.

    >>> computed(Exchange([Message(60), Message(30), Message(10)]))
    [0.1, 0.4, 1.0]
    """
    sizes = [message.nbytes for message in reversed(exchange.gradients)]
    return [done / sum(sizes) for done in accumulate(sizes)]


def sent_at(ready: Iterable[float], seconds: Iterable[float]) -> float:
    """When the last message has been sent, one after the other, none before it is ready.

    >>> sent_at([1.0, 2.0, 8.0], [3.0, 1.0, 1.0])
    9.0
    """
    end = 0.0
    for begin, duration in zip(ready, seconds, strict=True):
        end = max(end, begin) + duration
    return end


# Scaling


def strong(
    counts: Iterable[int], work: Work, exchange: Exchange, network: Network, overlap: bool = False
) -> dict[int, float]:
    """Throughput of each number of ranks, in units of one process's: they divide its batch."""
    return {
        n: work.seconds / step_seconds(n, work.rows, work, exchange, network, overlap)
        for n in counts
    }


def weak(
    counts: Iterable[int], work: Work, exchange: Exchange, network: Network, overlap: bool = False
) -> dict[int, float]:
    """As `strong`, with a batch that grows with the ranks, so that each has that of one process."""
    return {
        n: n * work.seconds / step_seconds(n, n * work.rows, work, exchange, network, overlap)
        for n in counts
    }


def worth(throughputs: Mapping[int, float], gain: float = GAIN) -> int:
    """The most ranks that are faster than one process, and by `gain` than the number before them.

    Args:
        throughputs: of ascending numbers of ranks, in units of one process's.
        gain: a factor.

    >>> worth({1: 1.0, 2: 1.9, 4: 3.0, 8: 3.3})
    4
    """
    steps = pairwise(throughputs.items())
    good = [ranks for (_, less), (ranks, more) in steps if more >= gain * less and more > 1]
    return max(good, default=1)
