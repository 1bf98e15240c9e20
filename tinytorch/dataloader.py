"""Lesson 05: datasets, and a loader that iterates over them in batches."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .backends import Backend
from .ops import random
from .tensor import Tensor, stack

Batch = tuple[Tensor, ...]


class Dataset(ABC):
    """Base class of map-style datasets; a subclass defines `__len__` and `__getitem__`."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of examples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Any:
        """One example: a tuple of tensors."""

    def batch(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Batch:
        """The examples at `indices`, stacked; a subclass may override this with a faster way."""
        examples = [self[int(i)] for i in indices]
        return tuple(stack(list(column)) for column in zip(*examples, strict=True))


class TensorDataset(Dataset):
    """Dataset over tensors whose first axis is the example index.

    >>> from tinytorch import Tensor, TensorDataset
    >>> images, labels = Tensor([[0.0, 1.0], [2.0, 3.0]]), Tensor([7, 8])
    >>> TensorDataset(images, labels)[1]
    (Tensor([2., 3.]), Tensor(8))
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors or len({len(t) for t in tensors}) != 1:
            raise ValueError(
                f"TensorDataset needs tensors of equal length, got {[t.shape for t in tensors]}"
            )
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> Batch:
        return tuple(t[index] for t in self.tensors)

    def batch(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Batch:
        return tuple(t[np.asarray(indices)] for t in self.tensors)


class TokenDataset(Dataset):
    """Blocks of consecutive tokens with the next token of each as its target.

    Args:
        ids: integer token ids (N,) of the whole text.
        block_size: T, number of tokens in a block.
        stride: distance between the starts of consecutive blocks, in tokens.
        backend: backend of the batches.

    >>> from tinytorch import TokenDataset
    >>> TokenDataset([1, 2, 3, 4, 5], block_size=3)[0]
    (Tensor([1, 2, 3]), Tensor([2, 3, 4]))
    """

    def __init__(
        self,
        ids: Any,
        block_size: int,
        stride: int = 1,
        *,
        backend: str | Backend | None = None,
    ) -> None:
        self.ids = np.asarray(ids, dtype=np.int64)
        self.block_size, self.stride, self.backend = block_size, stride, backend
        if block_size < 1 or stride < 1:
            raise ValueError(f"block_size={block_size} and stride={stride} must be at least 1")
        if self.ids.ndim != 1 or len(self.ids) <= block_size:
            raise ValueError(
                f"a text of {self.ids.size} tokens is too short for blocks of {block_size} tokens"
                " and the next one"
            )

    def __len__(self) -> int:
        return (len(self.ids) - self.block_size - 1) // self.stride + 1

    def __getitem__(self, index: int) -> Batch:
        if not -len(self) <= index < len(self):
            raise IndexError(f"block {index} does not exist among {len(self)}")
        x, y = self.batch([index % len(self)])
        return x[0], y[0]

    def batch(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Batch:
        """Inputs (B, T) and targets (B, T)."""
        starts = np.asarray(indices)[:, None] * self.stride  # (B, 1)
        blocks = self.ids[starts + np.arange(self.block_size + 1)]  # (B, T + 1)
        return (
            Tensor(blocks[:, :-1], backend=self.backend),
            Tensor(blocks[:, 1:], backend=self.backend),
        )

    def random_batch(self, batch_size: int, rng: np.random.Generator | None = None) -> Batch:
        """A batch of `batch_size` blocks drawn at random, with replacement."""
        rng = rng or random.generator()
        return self.batch(rng.integers(len(self), size=batch_size))


class DataLoader:
    """Iterable over the batches of a dataset; each iteration is one epoch.

    Args:
        dataset: the dataset to load.
        batch_size: number of examples in a batch; the last batch may have fewer.
        shuffle: draw a new order for each epoch from the generator that `manual_seed` seeds.
        drop_last: leave out the last batch if it is not full.

    >>> from tinytorch import DataLoader, Tensor, TensorDataset
    >>> for (x,) in DataLoader(TensorDataset(Tensor([1, 2, 3])), batch_size=2):
    ...     print(x)
    Tensor([1, 2])
    Tensor([3])
    """

    def __init__(
        self, dataset: Dataset, batch_size: int = 1, shuffle: bool = False, drop_last: bool = False
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.drop_last = shuffle, drop_last

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        if self.drop_last:
            return len(self.dataset) // self.batch_size
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.dataset)
        order = random.generator().permutation(count) if self.shuffle else np.arange(count)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield self.dataset.batch(order[start : start + self.batch_size])
