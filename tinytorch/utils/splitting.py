"""Parts of a dataset: subsets, and random splits with and without groups."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from ..arguments import check_type, shown, warn
from ..dataloader import Dataset
from ..ops import random


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


def _generator(name: str, generator: np.random.Generator | None) -> np.random.Generator:
    if generator is None:
        return random.generator()
    check_type(f"{name}: generator", generator, np.random.Generator, "a Generator")
    return generator


def _sizes(lengths: Sequence[int | float], count: int) -> list[int]:
    """The sizes of the parts of `count` examples, from lengths or from fractions that add up to 1.

    Raises:
        ValueError: they do not add up to all examples.
    """
    sizes = list(lengths)
    if math.isclose(sum(sizes), 1) and sum(sizes) <= 1:
        for i, fraction in enumerate(sizes):
            if not 0 <= fraction <= 1:
                raise ValueError(f"random_split: fraction {i} must be in [0, 1], not {fraction}")
        sizes = list(sizes_of_fractions(sizes, count))
        for i, size in enumerate(sizes):
            if size == 0:
                warn(f"random_split: subset {i} is empty")
    if sum(sizes) != count:
        raise ValueError(
            f"random_split: the lengths {[*lengths]} add up to {sum(sizes)}, not to the length of"
            f" the dataset, {count}"
        )
    return [int(size) for size in sizes]


def sizes_of_fractions(fractions: Sequence[float], count: int) -> list[int]:
    """Divide `count` examples by fractions that add up to 1; all sizes add up to `count`.

    Each size is rounded down. What is left over goes to the first parts, one example each.

    >>> from tinytorch.utils.splitting import sizes_of_fractions
    >>> sizes_of_fractions([0.5, 0.25, 0.25], 11)
    [6, 3, 2]
    """
    sizes = [math.floor(count * fraction) for fraction in fractions]
    for i in range(count - sum(sizes)):
        sizes[i % len(sizes)] += 1
    return sizes


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
    generator, sizes = _generator("random_split", generator), _sizes(lengths, len(dataset))
    order = generator.permutation(len(dataset)).tolist()
    stops = accumulate(sizes)
    return [
        Subset(dataset, order[stop - size : stop]) for size, stop in zip(sizes, stops, strict=True)
    ]


def _is_key(value: Any) -> bool:
    """Whether equal values are one key of a dict: not so for NaN, lists and tensors."""
    if isinstance(value, tuple):
        return all(map(_is_key, value))
    return isinstance(value, str | bytes | int | float | np.generic) and value == value


def _checked_groups(groups: Any, count: int) -> list[Any]:
    """The group of each of `count` examples, as values that can be keys of a dict."""
    values = groups.tolist() if hasattr(groups, "tolist") else list(groups)
    if len(values) != count:
        raise ValueError(
            f"group_split needs the group of each example: {count} groups, not {len(values)}"
        )
    for i, value in enumerate(values):
        if not _is_key(value):
            raise TypeError(
                "group_split: a group must be a number, a string or a tuple of these, not"
                f" {shown(value)} (example {i})"
            )
    return values


def group_split(
    dataset: Any,
    groups: Iterable[Any],
    lengths: Sequence[int | float],
    generator: np.random.Generator | None = None,
) -> list[Subset]:
    """Divide a dataset at random into subsets, with all examples of a group in the same one.

    A model that has seen one photo of a person recognizes the others. To measure how it does on new
    persons, all photos of a person belong to one part. With the examples themselves as groups,
    copies of an example stay together.

    Args:
        dataset: the dataset.
        groups: of each example, a number, a string or a tuple of these, such as a person's name.
        lengths: number of groups in each subset; or fractions of all groups, which add up to 1.
        generator: by default the generator that `manual_seed` seeds.

    Raises:
        TypeError: a group is not a number, a string or a tuple; NaN is none either.
        ValueError: the number of groups is not that of the examples, or the lengths do not add up.

    >>> from tinytorch.utils.splitting import group_split
    >>> texts = ["a", "b", "a", "a"]
    >>> sorted(sorted(part) for part in group_split(texts, texts, [1, 1]))
    [['a', 'a', 'a'], ['b']]
    """
    members: dict[Any, list[int]] = {}
    for index, group in enumerate(_checked_groups(groups, len(dataset))):
        members.setdefault(group, []).append(index)
    rows = list(members.values())  # of each group, the indices of its examples
    parts = random_split(rows, lengths, generator)
    return [Subset(dataset, [index for g in part.indices for index in rows[g]]) for part in parts]
