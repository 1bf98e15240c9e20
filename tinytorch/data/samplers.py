"""The names of `torch.utils.data.sampler`: iterables over the indices of an epoch."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from types import GenericAlias
from typing import Any

import numpy as np

from ..arguments import check_flag, check_integer, check_type
from ..ops import random

Indices = np.ndarray[Any, Any]


class Sampler:
    """Base class of samplers; a subclass defines `__iter__`, and `__len__` if it has a length."""

    __class_getitem__: Any = classmethod(GenericAlias)

    def __init__(self, data_source: Any = None) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__()")


class SequentialSampler(Sampler):
    """The indices 0, 1, ... of a dataset."""

    data_source: Sized

    def __init__(self, data_source: Sized) -> None:
        super().__init__(data_source)

    def __len__(self) -> int:
        return len(self.data_source)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))


class RandomOrder(Sampler):
    """Base class of samplers whose order comes from a generator.

    Args:
        generator: by default the generator that `manual_seed` seeds.
    """

    def __init__(self, generator: np.random.Generator | None) -> None:
        if generator is not None:
            check_type(f"{type(self).__name__}: generator", generator, np.random.Generator,
                       "a Generator")  # fmt: skip
        self.generator = generator

    def random_numbers(self) -> np.random.Generator:
        """The generator in use."""
        return random.generator() if self.generator is None else self.generator

    def order(self, rng: np.random.Generator) -> Indices:
        """The indices of an epoch."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        return iter(self.order(self.random_numbers()).tolist())


class RandomSampler(RandomOrder):
    """The indices of a dataset in random order.

    Args:
        data_source: the dataset.
        replacement: draw each index on its own, so that some come twice.
        num_samples: number of indices; by default the length of the dataset.
        generator: by default the generator that `manual_seed` seeds.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: np.random.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        self.data_source = data_source
        self.replacement = check_flag("RandomSampler: replacement", replacement)
        if num_samples is not None:
            num_samples = check_integer("RandomSampler: num_samples", num_samples, 1)
        self._num_samples = num_samples

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __len__(self) -> int:
        return self.num_samples

    def order(self, rng: np.random.Generator) -> Indices:
        """The indices of an epoch (num_samples,), drawn from `rng`."""
        size, count = len(self.data_source), self.num_samples
        if self.replacement:
            return rng.integers(size, size=count)
        if count == size:
            return rng.permutation(size)
        rounds = -(-count // max(1, size))
        return np.concatenate([rng.permutation(size) for _ in range(rounds)])[:count]


class SubsetRandomSampler(RandomOrder):
    """The given indices in random order."""

    def __init__(
        self, indices: Sequence[int], generator: np.random.Generator | None = None
    ) -> None:
        super().__init__(generator)
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def order(self, rng: np.random.Generator) -> Indices:
        return rng.permutation(np.asarray(self.indices, np.int64))


class WeightedRandomSampler(RandomOrder):
    """Indices drawn with probabilities in proportion to weights, which need not add up to 1.

    Args:
        weights: of the indices 0, 1, ...; a list, an array or a tensor.
        num_samples: number of indices to draw.
        replacement: whether an index may be drawn again.
        generator: by default the generator that `manual_seed` seeds.
    """

    def __init__(
        self,
        weights: Any,
        num_samples: int,
        replacement: bool = True,
        generator: np.random.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        self.weights = np.asarray(weights, np.float64)
        if self.weights.ndim != 1 or not (self.weights >= 0).all() or not self.weights.sum() > 0:
            raise ValueError(
                "WeightedRandomSampler needs weights of shape (N,), of 0 or more and not all 0, got"
                f" shape {self.weights.shape}"
            )
        self.num_samples = check_integer("WeightedRandomSampler: num_samples", num_samples, 1)
        self.replacement = check_flag("WeightedRandomSampler: replacement", replacement)
        possible = np.count_nonzero(self.weights)
        if not replacement and num_samples > possible:
            raise ValueError(
                f"WeightedRandomSampler cannot draw {num_samples} of {possible} indices with a"
                " positive weight without replacement"
            )

    def __len__(self) -> int:
        return self.num_samples

    def order(self, rng: np.random.Generator) -> Indices:
        chances = self.weights / self.weights.sum()
        return rng.choice(len(chances), self.num_samples, self.replacement, chances)


class DistributedSampler(Sampler):
    """The indices of one of several processes, each of which gets equally many.

    Args:
        dataset: the dataset.
        num_replicas: number of processes, such as the `size` of a group.
        rank: number of this process, from 0.
        shuffle: draw a new order for each epoch, the same in all processes; see `set_epoch`.
        seed: of the order, the same in all processes.
        drop_last: leave out what cannot be divided; else the first indices are repeated at the end.

    >>> from tinytorch.data.samplers import DistributedSampler
    >>> [list(DistributedSampler("abcde", 2, rank, shuffle=False)) for rank in (0, 1)]
    [[0, 2, 4], [1, 3, 0]]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            raise ValueError(
                "DistributedSampler needs num_replicas and rank, such as group.size and group.rank"
            )
        self.dataset = dataset
        self.num_replicas = check_integer("DistributedSampler: num_replicas", num_replicas, 1)
        self.rank = check_integer("DistributedSampler: rank", rank)
        if self.rank >= self.num_replicas:
            raise ValueError(
                f"DistributedSampler: rank must be in [0, {self.num_replicas}), not {rank}"
            )
        self.shuffle = check_flag("DistributedSampler: shuffle", shuffle)
        self.seed = check_integer("DistributedSampler: seed", seed)
        self.drop_last = check_flag("DistributedSampler: drop_last", drop_last)
        self.epoch = 0

    @property
    def num_samples(self) -> int:
        """Number of indices of each process."""
        return count_batches(len(self.dataset), self.num_replicas, self.drop_last)

    @property
    def total_size(self) -> int:
        """Number of indices of all processes together."""
        return self.num_samples * self.num_replicas

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        return iter(np.resize(order, self.total_size)[self.rank :: self.num_replicas].tolist())

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next epoch: without this call, it is that of the last one."""
        self.epoch = check_integer("set_epoch", epoch)


class BatchSampler(Sampler):
    """Lists of `batch_size` indices of another sampler.

    >>> from tinytorch.data.samplers import BatchSampler
    >>> list(BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        self.sampler = sampler
        self.batch_size = check_integer("BatchSampler: batch_size", batch_size, 1)
        self.drop_last = check_flag("BatchSampler: drop_last", drop_last)

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count_batches(count, self.batch_size, self.drop_last)

    def __iter__(self) -> Iterator[list[Any]]:
        return batched(self.sampler, self.batch_size, self.drop_last)


def batched(items: Iterable[Any], size: int, drop_last: bool) -> Iterator[list[Any]]:
    """Lists of `size` items each; the last one may have fewer, or is left out."""
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch and not drop_last:
        yield batch


def count_batches(count: int, size: int, drop_last: bool) -> int:
    """The number of batches of `size` examples each that `batched` makes of `count` examples."""
    return count // size if drop_last else -(-count // size)
