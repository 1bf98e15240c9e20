"""Lesson 05: datasets, and a loader that iterates over them in batches."""

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import GenericAlias
from typing import Any

import numpy as np

from .arguments import check_flag, check_integer, shown, warn
from .backends import Backend
from .data.samplers import RandomOrder, RandomSampler, SequentialSampler, batched, count_batches
from .functions.joining import stack
from .ops import random
from .serialization.checkpoint import restore_rng, rng_state
from .tensor import Tensor

Batch = tuple[Tensor, ...]


class Dataset:
    """Base class of map-style datasets; a subclass defines `__len__` and `__getitem__`."""

    __class_getitem__: Any = classmethod(GenericAlias)  # Dataset[int], for type checkers

    def __getitem__(self, index: int) -> Any:
        """One example, such as a tuple of tensors; see `collate` for what it may be."""
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(index)")

    def batch(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Any:
        """The examples at `indices`, stacked; a subclass may override this with a faster way."""
        return _examples(self, indices)


class IterableDataset(Dataset):
    """Base class of datasets that are read as a stream; a subclass defines `__iter__`."""

    def __iter__(self) -> Iterator[Any]:
        """The examples."""
        raise NotImplementedError(f"{type(self).__name__} must define __iter__()")


def _kind_of(examples: Sequence[Any]) -> tuple[str, list[Any]]:
    """What the examples of a batch are, and the examples; an error if they are not alike.

    The kinds are "tensors", "arrays" (NumPy's, and its scalars), "numbers", "texts", "dicts" and
    "sequences" (tuples or lists). Tensors of other libraries become arrays.
    """
    first = examples[0]
    if hasattr(first, "__dlpack__") and not isinstance(first, Tensor | np.ndarray | np.generic):
        examples = [np.asarray(e) for e in examples]
        first = examples[0]
    kind, name = next(((k, name) for k, name in _KINDS if isinstance(first, k)), (None, ""))
    for i, example in enumerate(examples):
        if kind is None or not isinstance(example, kind):
            expected = "tensors, arrays, numbers, strings, tuples, lists and dicts of them"
            raise TypeError(
                f"a batch cannot join {type(example).__name__} (example {i} of the batch) to"
                f" {type(first).__name__} (example 0); it joins {expected}"
            )
    if name == "dicts":
        _check_equal([e.keys() for e in examples], "keys")
    elif name == "sequences":
        _check_equal([len(e) for e in examples], "lengths")
    elif name != "texts":
        _check_equal([np.shape(e) for e in examples], "shapes")
        if isinstance(first, np.generic):
            name = "arrays"
    return name, list(examples)


_KINDS: tuple[tuple[Any, str], ...] = (
    *((Tensor, "tensors"), (np.ndarray, "arrays"), (str, "texts"), (bytes, "texts")),
    *((Mapping, "dicts"), (bool | np.bool_, "numbers"), (int | float | np.number, "numbers")),
    (tuple | list, "sequences"),
)


def _check_equal(values: list[Any], what: str) -> None:
    for i, value in enumerate(values):
        if value != values[0]:
            raise ValueError(
                f"a batch needs examples of equal {what}: {values[0]} in example 0 of the batch,"
                f" {value} in example {i}; pad them, or define the dataset's batch()"
            )


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
    kind, examples = _kind_of(examples)
    first = examples[0]
    if kind == "tensors":
        return stack(examples)
    if kind == "texts":
        return examples
    if kind == "dicts":
        return {key: collate([example[key] for example in examples]) for key in first}
    if kind == "sequences":
        columns = [collate(column) for column in zip(*examples, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else tuple(columns)
    return Tensor(np.stack(examples) if kind == "arrays" else examples)


def convert(example: Any) -> Any:
    """An example with tensors instead of NumPy arrays, as PyTorch's default_convert returns."""
    if isinstance(example, np.ndarray | np.generic):
        return Tensor(example)
    if isinstance(example, Mapping):
        return {key: convert(value) for key, value in example.items()}
    if isinstance(example, tuple) and hasattr(example, "_fields"):
        return type(example)(*map(convert, example))
    return type(example)(map(convert, example)) if isinstance(example, tuple | list) else example


def _examples(dataset: Any, indices: Sequence[int] | np.ndarray[Any, Any]) -> Any:
    return collate([dataset[_plain(i)] for i in indices])


def _plain(index: Any) -> Any:
    """An index as a Python integer; keys of other types, such as strings, as they are."""
    return int(index) if isinstance(index, np.integer | Tensor) else index


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


class _Tokens(Dataset):
    """The ids of a text, checked, and random batches of its blocks."""

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
        raise NotImplementedError

    def random_batch(
        self, batch_size: int, rng: "np.random.Generator | int | None" = None
    ) -> Batch:
        """A batch of `batch_size` blocks drawn at random, with replacement.

        Args:
            batch_size: B, number of blocks.
            rng: a generator or a seed; by default the generator that `manual_seed` seeds.
        """
        batch: Batch = self.batch(self.random_indices(batch_size, rng))
        return batch

    def random_indices(
        self, batch_size: int, rng: "np.random.Generator | int | None" = None
    ) -> np.ndarray[Any, Any]:
        """The indices (B,) of the blocks that `random_batch` draws."""
        rng = random.generator() if rng is None else random.new_generator(rng)
        return rng.integers(len(self), size=batch_size)


class TokenDataset(_Tokens):
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
        x, y = blocks[:, :-1], blocks[:, 1:]
        return Tensor(x, backend=self.backend), Tensor(y, backend=self.backend)


class _Loader:
    """The arguments of a `DataLoader`, checked, and the place in its epoch."""

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = False,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: np.random.Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        self.dataset, self.num_workers, self.pin_memory = dataset, num_workers, pin_memory
        check_integer("DataLoader: num_workers", num_workers)
        self.shuffle = check_flag("DataLoader: shuffle", False if shuffle is None else shuffle)
        self.drop_last = check_flag("DataLoader: drop_last", drop_last)
        self.is_stream = isinstance(dataset, IterableDataset)
        self._check_dataset(sampler, batch_sampler)
        if sampler is not None and self.shuffle:
            raise ValueError("DataLoader takes either shuffle=True or a sampler")
        if batch_sampler is not None and (
            batch_size != 1 or self.shuffle or sampler is not None or drop_last
        ):
            raise ValueError(
                "DataLoader takes either a batch_sampler, or batch_size, shuffle, sampler and"
                " drop_last"
            )
        for name, value in (("sampler", sampler), ("batch_sampler", batch_sampler)):
            if value is not None and not hasattr(value, "__iter__"):
                raise TypeError(
                    f"DataLoader: {name} must be an iterable of indices, not {shown(value)};"
                    " drop_last is given by name"
                )
        if collate_fn is not None and not callable(collate_fn):
            raise TypeError(f"DataLoader: collate_fn must be a function, not {shown(collate_fn)}")
        if batch_size is not None:
            batch_size = check_integer("DataLoader: batch_size", batch_size, 1)
        self.batch_size = None if batch_sampler is not None else batch_size
        if sampler is None and not self.is_stream and batch_sampler is None:
            sampler = self._default_sampler(generator)
        self.sampler, self.batch_sampler, self.generator = sampler, batch_sampler, generator
        self.collate_fn = collate_fn
        # The generator as at the start of the epoch, and the position in the epoch.
        self._state: tuple[np.random.Generator | None, int] = (None, 0)
        self._resumed: tuple[np.random.Generator | None, int] | None = None

    def _check_dataset(self, *samplers: Any) -> None:
        needed = [] if self.is_stream else ["__getitem__"]
        given = any(sampler is not None for sampler in samplers)
        if self.is_stream and (given or self.shuffle):
            raise ValueError(
                "DataLoader reads an IterableDataset in its own order: without shuffle, sampler and"
                " batch_sampler"
            )
        if not self.is_stream and not given:
            needed.insert(0, "__len__")
        if not all(hasattr(self.dataset, name) for name in needed):
            raise TypeError(
                f"DataLoader needs a dataset with {' and '.join(needed)}, such as a list, or an"
                f" IterableDataset, not {type(self.dataset).__name__}"
            )

    def _default_sampler(self, generator: np.random.Generator | None) -> Iterable[int]:
        raise NotImplementedError

    def _load(self, indices: Any) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]
        count = len(self.dataset if self.is_stream else self.sampler)  # type: ignore[arg-type]
        if self.batch_size is None:
            return count
        return count_batches(count, self.batch_size, self.drop_last)

    def _single_examples(self) -> Iterator[Any]:
        """The examples one by one, for batch_size=None."""
        convert_one = self.collate_fn or convert
        if self.is_stream:
            yield from map(convert_one, self.dataset)
            return
        assert self.sampler is not None
        for index in self.sampler:
            yield convert_one(self.dataset[index])

    def _example_lists(self) -> Iterator[list[Any]]:
        """The examples of each batch of a stream."""
        assert self.batch_size is not None
        return batched(self.dataset, self.batch_size, self.drop_last)

    def _index_lists(self) -> Iterator[Any]:
        """The indices of each batch of an epoch, or of the rest of one."""
        if self.batch_sampler is not None:
            yield from self.batch_sampler
            return
        assert self.batch_size is not None
        size, (start, position), self._resumed = self.batch_size, self._resumed or (None, 0), None
        if isinstance(self.sampler, RandomOrder):
            rng = self._generator_at(start)
            start = copy.deepcopy(rng)
            batches = self._slices(self.sampler.order(rng), size, position)
        elif isinstance(self.sampler, SequentialSampler):
            batches = self._slices(np.arange(len(self.sampler)), size, position)
        else:
            assert self.sampler is not None
            rest = itertools.islice(self.sampler, position, None)
            batches = batched(rest, size, self.drop_last)
        for indices in batches:
            position += size
            self._state = start, position
            yield indices
        self._state = None, 0  # between two epochs: the next one starts from the beginning

    def _own_generator(self) -> np.random.Generator | None:
        """The generator that only the user holds, so that no checkpoint contains it."""
        return self.sampler.generator if isinstance(self.sampler, RandomOrder) else None

    def _generator_at(self, start: np.random.Generator | None) -> np.random.Generator:
        """The generator of the next order; that of the user continues from a saved `start`."""
        assert isinstance(self.sampler, RandomOrder)
        own = self._own_generator()
        if start is None:
            return self.sampler.random_numbers()
        if own is None:  # a checkpoint restores the generator of manual_seed, for later epochs
            return start
        own.bit_generator.state = start.bit_generator.state
        return own

    def _slices(self, order: np.ndarray[Any, Any], size: int, position: int) -> Iterator[Any]:
        stop = count_batches(len(order), size, self.drop_last) * size
        return (order[first : first + size] for first in range(position, stop, size))

    def state_dict(self) -> dict[str, Any]:
        """The place in the current epoch, which JSON can represent.

        A checkpoint in the middle of an epoch continues bit for bit with it:
        ``trainer.save_checkpoint(path, loader=loader.state_dict())``, and later
        ``loader.load_state_dict(trainer.load_checkpoint(path)["loader"])``.
        """
        if self.is_stream or self.batch_size is None:
            warn(
                "DataLoader.state_dict: the place in an epoch is known only with batch_size and a"
                " sampler; a loader of a stream, of single examples or with a batch_sampler will"
                " start from the beginning"
            )
        generator, position = self._state
        if generator is None and position == 0:
            generator = self._own_generator()
        return {"generator": generator and rng_state(generator), "position": position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next iteration the rest of the epoch in which `state` was saved.

        The dataset, batch_size, shuffle and drop_last must be those of then. A `generator` of the
        loader's own is set to its state of then, so that later epochs continue too. The order of a
        sampler of another class than those of this package is not restored, nor is the place in a
        stream, with a batch_sampler or with batch_size=None.
        """
        if not isinstance(state, Mapping) or set(state) != {"generator", "position"}:
            raise ValueError("DataLoader.load_state_dict takes what state_dict() returned")
        saved = state["generator"]
        generator = None if saved is None else restore_rng(saved)
        self._state = self._resumed = (generator, check_integer("position", state["position"]))


class DataLoader(_Loader):
    """Iterable over the batches of a dataset; each iteration is one epoch.

    Batches are loaded in this process, and their arrays are not copied to pinned memory:
    `num_workers`, `pin_memory`, `timeout`, `worker_init_fn`, `multiprocessing_context`,
    `prefetch_factor`, `persistent_workers`, `pin_memory_device` and `in_order`, which PyTorch has
    for this, are without effect.

    Args:
        dataset: a `Dataset`, a list, or any object with `__len__` and `__getitem__`; or an
            `IterableDataset`.
        batch_size: number of examples in a batch; the last batch may have fewer. None loads
            examples one by one, without an axis for the batch.
        shuffle: draw a new order for each epoch.
        sampler: an iterable of the indices of an epoch, instead of `shuffle`.
        batch_sampler: an iterable of lists of indices, instead of all of `batch_size`, `shuffle`,
            `sampler` and `drop_last`.
        collate_fn: joins a list of examples to a batch; by default the method `batch` of the
            dataset if it has one, else `collate`.
        drop_last: leave out the last batch if it is not full.
        generator: for `shuffle`; by default the generator that `manual_seed` seeds.

    >>> from tinytorch import DataLoader, Tensor, TensorDataset
    >>> for (x,) in DataLoader(TensorDataset(Tensor([1, 2, 3])), batch_size=2):
    ...     print(x)
    Tensor([1, 2])
    Tensor([3])
    >>> for x, y in DataLoader([([1.0, 2.0], 0), ([3.0, 4.0], 1)], batch_size=2):
    ...     print(x, y)
    (Tensor([1., 3.]), Tensor([2., 4.])) Tensor([0, 1])
    """

    def _default_sampler(self, generator: np.random.Generator | None) -> Iterable[int]:
        """The order of the examples if no sampler is given."""
        if self.shuffle:
            return RandomSampler(self.dataset, generator=generator)
        return SequentialSampler(self.dataset)

    def _load(self, indices: Any) -> Any:
        """The batch of the examples at these indices."""
        if self.collate_fn is not None:
            return self.collate_fn([self.dataset[_plain(i)] for i in indices])
        batch = getattr(self.dataset, "batch", None)
        return batch(indices) if callable(batch) else _examples(self.dataset, indices)

    def __iter__(self) -> Iterator[Any]:
        if self.batch_size is None and self.batch_sampler is None:
            yield from self._single_examples()
        elif self.is_stream:
            for examples in self._example_lists():
                yield (self.collate_fn or collate)(examples)
        else:
            for indices in self._index_lists():
                yield self._load(indices)
