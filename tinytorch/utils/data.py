"""The names of `torch.utils.data`."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np

from ..arguments import check_type, warn
from ..data.samplers import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from ..dataloader import DataLoader, Dataset, IterableDataset, TensorDataset
from ..dataloader import collate as default_collate
from ..dataloader import convert as default_convert
from ..missing import missing_name
from ..ops import random

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "random_split",
]


class Subset(Dataset):
    """The examples of a dataset at some indices.

    >>> from tinytorch.utils.data import Subset
    >>> list(Subset("abcdef", [4, 0, 1]))
    ['e', 'a', 'b']
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        found = self.indices[index]
        return self.dataset[found if isinstance(found, str) else int(found)]

    def batch(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Any:
        batch = getattr(self.dataset, "batch", None)
        return (
            batch([self.indices[i] for i in indices]) if callable(batch) else super().batch(indices)
        )


class ConcatDataset(Dataset):
    """Several datasets, one after the other.

    >>> from tinytorch.utils.data import ConcatDataset
    >>> list(ConcatDataset([[1, 2], [3]]))
    [1, 2, 3]
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset needs at least one dataset")
        for dataset in self.datasets:
            if isinstance(dataset, IterableDataset):
                raise TypeError("ConcatDataset takes no IterableDataset: use ChainDataset")
        self.cumulative_sizes = list(accumulate(len(dataset) for dataset in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"example {index} does not exist among {len(self)}")
        index %= len(self)
        number = bisect_right(self.cumulative_sizes, index)
        return self.datasets[number][index - (self.cumulative_sizes[number - 1] if number else 0)]


class ChainDataset(IterableDataset):
    """Several streams, one after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self.datasets)

    def __len__(self) -> int:
        return sum(map(len, self.datasets))


def random_split(
    dataset: Any,
    lengths: Sequence[int | float],
    generator: np.random.Generator | None = None,
) -> list[Subset]:
    """Divide a dataset at random into subsets.

    Args:
        dataset: the dataset.
        lengths: of the subsets; or fractions of the whole, which add up to 1.
        generator: by default the generator that `manual_seed` seeds.

    Raises:
        ValueError: the lengths do not add up to that of the dataset.

    >>> from tinytorch.utils.data import random_split
    >>> [len(part) for part in random_split(range(11), [0.7, 0.3])]
    [8, 3]
    """
    count, sizes = len(dataset), list(lengths)
    if generator is not None:
        check_type("random_split: generator", generator, np.random.Generator, "a Generator")
    if math.isclose(sum(sizes), 1) and sum(sizes) <= 1:
        for i, fraction in enumerate(sizes):
            if not 0 <= fraction <= 1:
                raise ValueError(f"random_split: fraction {i} must be in [0, 1], not {fraction}")
        sizes = [math.floor(count * fraction) for fraction in sizes]
        for i in range(count - int(sum(sizes))):  # what rounding leaves over
            sizes[i % len(sizes)] += 1
        for i, size in enumerate(sizes):
            if size == 0:
                warn(f"random_split: subset {i} is empty")
    if sum(sizes) != count:
        raise ValueError(
            f"random_split: the lengths {[*lengths]} add up to {sum(sizes)}, not to the length of"
            f" the dataset, {count}"
        )
    order = (random.generator() if generator is None else generator).permutation(count).tolist()
    stops = list(accumulate(int(size) for size in sizes))
    return [
        Subset(dataset, order[stop - int(size) : stop])
        for size, stop in zip(sizes, stops, strict=True)
    ]


def get_worker_info() -> None:
    """Information on the process that loads data: None, since it is the main process."""


def __getattr__(name: str) -> Any:
    raise missing_name("torch.utils.data", name, globals())
