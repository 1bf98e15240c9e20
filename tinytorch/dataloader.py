"""Lesson 05: datasets, and batches of them."""

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
    """Examples by index. A subclass defines `__len__` and `__getitem__`."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of examples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Any:
        """One example: a tuple of tensors."""

    def batch(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Batch:
        """Several examples, stacked; a subclass may have a faster way."""
        examples = [self[int(i)] for i in indices]
        return tuple(stack(list(column)) for column in zip(*examples, strict=True))


class TensorDataset(Dataset):
    """Tensors whose first axis counts the examples.

    >>> TensorDataset(images, labels)[0]
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors or len({len(t) for t in tensors}) != 1:
            raise ValueError(f"tensors of one length are needed, got {[t.shape for t in tensors]}")
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> Batch:
        return tuple(t[index] for t in self.tensors)

    def batch(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Batch:
        return tuple(t[np.asarray(indices)] for t in self.tensors)


class TokenDataset(Dataset):
    """Blocks of a text and what follows each of their tokens.

    Args:
        ids: integer token ids (N,) of the whole text.
        block_size: T, tokens in a block.
        stride: tokens between the starts of two blocks.
        backend: where the batches go.

    >>> x, y = TokenDataset(ids, block_size=64)[0]      # (64,) and (64,), y one token ahead
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
            raise ValueError(f"block_size {block_size} and stride {stride} must be at least 1")
        if self.ids.ndim != 1 or len(self.ids) <= block_size:
            raise ValueError(
                f"a text of {self.ids.size} tokens is too short for blocks of {block_size} and"
                " the token that follows"
            )

    def __len__(self) -> int:
        return (len(self.ids) - self.block_size - 1) // self.stride + 1

    def __getitem__(self, index: int) -> Batch:
        if not -len(self) <= index < len(self):
            raise IndexError(f"no block {index} among {len(self)}")
        x, y = self.batch([index % len(self)])
        return x[0], y[0]

    def batch(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Batch:
        """(B, T) inputs and (B, T) targets."""
        starts = np.asarray(indices)[:, None] * self.stride  # (B, 1)
        blocks = self.ids[starts + np.arange(self.block_size + 1)]  # (B, T + 1)
        return (
            Tensor(blocks[:, :-1], backend=self.backend),
            Tensor(blocks[:, 1:], backend=self.backend),
        )

    def random_batch(self, batch_size: int, rng: np.random.Generator | None = None) -> Batch:
        """`batch_size` blocks from anywhere in the text."""
        rng = rng or random.generator()
        return self.batch(rng.integers(len(self), size=batch_size))


class DataLoader:
    """Batches of a dataset, once through.

    Args:
        dataset: what to load.
        batch_size: examples in a batch; the last one may have fewer.
        shuffle: a new order at each pass, from the generator that `manual_seed` sets.
        drop_last: leave out a last batch that is not full.

    >>> for x, y in DataLoader(dataset, batch_size=32, shuffle=True): ...
    """

    def __init__(
        self, dataset: Dataset, batch_size: int = 1, shuffle: bool = False, drop_last: bool = False
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is at least 1, not {batch_size}")
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.drop_last = shuffle, drop_last

    def __len__(self) -> int:
        """The number of batches."""
        if self.drop_last:
            return len(self.dataset) // self.batch_size
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.dataset)
        order = random.generator().permutation(count) if self.shuffle else np.arange(count)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield self.dataset.batch(order[start : start + self.batch_size])
