"""Lesson 05: datasets, and a loader that iterates over them in batches."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .arguments import check_flag, check_integer
from .backends import Backend
from .functions.shapes import stack
from .ops import random
from .serialization.checkpoint import restore_rng, rng_state
from .tensor import Tensor

Batch = tuple[Tensor, ...]


class Dataset(ABC):
    """Base class of map-style datasets; a subclass defines `__len__` and `__getitem__`."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of examples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Any:
        """One example, such as a tuple of tensors; see `collate` for what it may be."""

    def batch(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Any:
        """The examples at `indices`, stacked; a subclass may override this with a faster way."""
        return _examples(self, indices)


def collate(examples: Sequence[Any]) -> Any:
    """Join examples of one structure to a batch, as PyTorch's default_collate does.

    Tensors (also PyTorch's), arrays and numbers are stacked along a new first axis, strings are
    listed, and tuples, lists and dicts are joined element by element. Lists become tuples.

    Raises:
        TypeError: an example has another type than the first, or one that cannot be joined.
        ValueError: shapes, lengths or keys differ.

    >>> from tinytorch import Tensor
    >>> from tinytorch.dataloader import collate
    >>> collate([(Tensor([1.0, 2.0]), 3), (Tensor([4.0, 5.0]), 6)])
    (Tensor([[1., 2.],
            [4., 5.]]), Tensor([3, 6]))
    """
    first = examples[0]
    if hasattr(first, "__dlpack__") and not isinstance(first, Tensor | np.ndarray | np.generic):
        examples = [np.asarray(e) for e in examples]  # tensors of another library
        first = examples[0]
    kind = next((k for k in _KINDS if isinstance(first, k)), None)
    for i, example in enumerate(examples):
        if kind is None or not isinstance(example, kind):
            expected = "tensors, arrays, numbers, strings, tuples, lists and dicts of them"
            raise TypeError(
                f"a batch cannot join {type(example).__name__} (example {i} of the batch) to"
                f" {type(first).__name__} (example 0); it joins {expected}"
            )
    if kind is str or kind is bytes:
        return list(examples)
    if kind is Mapping:
        _check_equal([e.keys() for e in examples], "keys")
        return {key: collate([e[key] for e in examples]) for key in first}
    if kind is _SEQUENCE:
        _check_equal([len(e) for e in examples], "lengths")
        columns = [collate(column) for column in zip(*examples, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else tuple(columns)
    _check_equal([np.shape(e) for e in examples], "shapes")
    if kind is Tensor:
        return stack(list(examples))
    return Tensor(
        np.stack(examples) if isinstance(first, np.ndarray | np.generic) else list(examples)
    )


_SEQUENCE: Any = tuple | list
_KINDS: tuple[Any, ...] = (
    *(Tensor, np.ndarray, str, bytes, Mapping),
    *(bool | np.bool_, int | float | np.number, _SEQUENCE),
)


def _check_equal(values: list[Any], what: str) -> None:
    for i, value in enumerate(values):
        if value != values[0]:
            raise ValueError(
                f"a batch needs examples of equal {what}: {values[0]} in example 0 of the batch,"
                f" {value} in example {i}; pad them, or define the dataset's batch()"
            )


def _examples(dataset: Any, indices: Sequence[int] | np.ndarray[Any, Any]) -> Any:
    return collate([dataset[int(i)] for i in indices])


class TensorDataset(Dataset):
    """Dataset over tensors or arrays whose first axis is the example index.

    >>> from tinytorch import Tensor, TensorDataset
    >>> images, labels = Tensor([[0.0, 1.0], [2.0, 3.0]]), Tensor([7, 8])
    >>> TensorDataset(images, labels)[1]
    (Tensor([2., 3.]), Tensor(8))
    """

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tuple([t if isinstance(t, Tensor) else Tensor(t) for t in tensors])
        shapes = [t.shape for t in self.tensors]
        if () in shapes or len({shape[0] for shape in shapes}) != 1:
            raise ValueError(f"TensorDataset needs tensors of equal length, got {shapes}")

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
        given = np.asarray(ids)
        if given.ndim != 1:
            raise ValueError(f"TokenDataset takes token ids of shape (N,), not {given.shape}")
        if given.size and given.dtype.kind not in "iu":
            raise TypeError(f"TokenDataset takes integer token ids, not {given.dtype}")
        self.ids = given.astype(np.int64)
        self.block_size = check_integer("TokenDataset: block_size", block_size, 1)
        self.stride, self.backend = check_integer("TokenDataset: stride", stride, 1), backend
        if len(self.ids) <= block_size:
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
        indices = np.asarray(indices)  # (B,)
        if indices.size and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"block {indices} does not exist among {len(self)}")
        starts = indices[:, None] * self.stride  # (B, 1)
        blocks = self.ids[starts + np.arange(self.block_size + 1)]  # (B, T + 1)
        return (
            Tensor(blocks[:, :-1], backend=self.backend),
            Tensor(blocks[:, 1:], backend=self.backend),
        )

    def random_batch(
        self, batch_size: int, rng: "np.random.Generator | int | None" = None
    ) -> Batch:
        """A batch of `batch_size` blocks drawn at random, with replacement.

        Args:
            batch_size: B, number of blocks.
            rng: a generator or a seed; by default the generator that `manual_seed` seeds.
        """
        rng = random.generator() if rng is None else random.new_generator(rng)
        return self.batch(rng.integers(len(self), size=batch_size))


class DataLoader:
    """Iterable over the batches of a dataset; each iteration is one epoch.

    Args:
        dataset: a `Dataset`, a list, or any object with `__len__` and `__getitem__`. Its examples
            are joined by its method `batch`, or else by `collate`.
        batch_size: number of examples in a batch; the last batch may have fewer.
        shuffle: draw a new order for each epoch from the generator that `manual_seed` seeds.
        drop_last: leave out the last batch if it is not full.

    >>> from tinytorch import DataLoader, Tensor, TensorDataset
    >>> for (x,) in DataLoader(TensorDataset(Tensor([1, 2, 3])), batch_size=2):
    ...     print(x)
    Tensor([1, 2])
    Tensor([3])
    >>> for x, y in DataLoader([([1.0, 2.0], 0), ([3.0, 4.0], 1)], batch_size=2):
    ...     print(x, y)
    (Tensor([1., 3.]), Tensor([2., 4.])) Tensor([0, 1])
    """

    def __init__(
        self, dataset: Any, batch_size: int = 1, shuffle: bool = False, drop_last: bool = False
    ) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(
                f"DataLoader needs a dataset with __len__ and __getitem__, such as a list, not"
                f" {type(dataset).__name__}"
            )
        self.dataset = dataset
        self.batch_size = check_integer("DataLoader: batch_size", batch_size, 1)
        self.shuffle = check_flag("DataLoader: shuffle", shuffle)
        self.drop_last = check_flag("DataLoader: drop_last", drop_last)
        # The generator as at the start of the epoch, and the position in the epoch.
        self._state: tuple[np.random.Generator | None, int] = (None, 0)
        self._resumed: tuple[np.random.Generator | None, int] | None = None

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self._batches(len(self.dataset))

    def _batches(self, count: int) -> int:
        return count // self.batch_size if self.drop_last else math.ceil(count / self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        count, rng, position = len(self.dataset), random.generator(), 0
        if self._resumed is not None:
            (start, position), self._resumed = self._resumed, None
            rng = rng if start is None else start
        start = copy.deepcopy(rng) if self.shuffle else None
        order = rng.permutation(count) if self.shuffle else np.arange(count)
        for first in range(position, self._batches(count) * self.batch_size, self.batch_size):
            self._state = (start, first + self.batch_size)
            indices = order[first : first + self.batch_size]
            batch = getattr(self.dataset, "batch", None)
            yield batch(indices) if callable(batch) else _examples(self.dataset, indices)
        self._state = None, 0  # between two epochs: the next one starts from the beginning

    def state_dict(self) -> dict[str, Any]:
        """The place in the current epoch, which JSON can represent.

        A checkpoint in the middle of an epoch continues bit for bit with it:
        ``trainer.save_checkpoint(path, loader=loader.state_dict())``, and later
        ``loader.load_state_dict(trainer.load_checkpoint(path)["loader"])``.
        """
        generator, position = self._state
        return {"generator": generator and rng_state(generator), "position": position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next iteration the rest of the epoch in which `state` was saved.

        The dataset, batch_size, shuffle and drop_last must be those of then.
        """
        if not isinstance(state, Mapping) or set(state) != {"generator", "position"}:
            raise ValueError("DataLoader.load_state_dict takes what state_dict() returned")
        saved = state["generator"]
        generator = None if saved is None else restore_rng(saved)
        self._state = self._resumed = (generator, check_integer("position", state["position"]))
