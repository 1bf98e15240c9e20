"""Splits in groups."""

import math
import warnings
from typing import Any

import numpy as np
import pytest

from tinytorch import DataLoader, Tensor, manual_seed
from tinytorch.utils.splitting import group_split

NAMES = ["a", "b", "a", "c", "b", "a"]


@pytest.mark.parametrize(
    ("groups", "error", "match"),
    [
        (NAMES[:5], ValueError, "6 groups, not 5"),
        ([*NAMES[:5], None], TypeError, r"not None \(example 5\)"),
        ([*NAMES[:5], [1]], TypeError, r"not \[1\] \(example 5\)"),
        ([*NAMES[:5], math.nan], TypeError, "not nan"),
        (np.zeros((6, 2)), TypeError, r"not \[0.0, 0.0\] \(example 0\)"),
        ([Tensor(1)] * 6, TypeError, "not Tensor"),
        ([("a", [1])] * 6, TypeError, "not tuple of length 2"),
    ],
)
def test_groups_that_cannot_be_told_apart_raise(groups: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        group_split(range(6), groups, [1, 2])


def test_lengths_count_groups() -> None:
    with pytest.raises(ValueError, match="add up to 6, not to the length of the dataset, 3"):
        group_split(range(6), NAMES, [4, 2])


@pytest.mark.parametrize("kind", [list, np.array, iter, Tensor])
def test_groups_of_any_kind(kind: Any) -> None:
    numbers = [3, 1, 3, 2, 1, 3]
    for seed in range(5):
        parts = group_split(range(6), kind(numbers), [2, 1], np.random.default_rng(seed))
        first, second = ({numbers[i] for i in part.indices} for part in parts)
        assert (len(first), len(second)) == (2, 1)
        assert not first & second


def test_parts_are_datasets() -> None:
    manual_seed(0)
    part, _ = group_split(np.arange(6) * 10, NAMES, [2, 1])
    batches = [batch.tolist() for batch in DataLoader(part, 2)]
    assert sorted(i for batch in batches for i in batch) == sorted(10 * i for i in part.indices)


def test_an_empty_part_warns() -> None:
    with pytest.warns(UserWarning, match="subset 1 is empty"):
        group_split("xx", "aa", [0.9, 0.1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group_split("xy", "ab", [0.5, 0.5])
