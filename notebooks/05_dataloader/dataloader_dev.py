# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 05: Data
#
# A network is only as good as the data that it has seen, and its score only as good as the data
# that it is tested with. Many failures of machine learning are failures of data: examples in a bad
# order, one feature that drowns all others, and, worst of all, a test whose answers the network has
# seen before.
#
# In this lesson you build the path of the data, from a pile of examples to batches:
#
# | step | exercises |
# |---|---|
# | examples with an index, joined to batches | 5.1 to 5.3 |
# | a new order for each epoch | 5.4 |
# | an honest split into training and test | 5.5, 5.6 |
# | features of equal scale | 5.7 |
# | text as blocks of tokens | 5.8 |
# | all together: the loader | 5.9 |
#
# **You will build** datasets and a data loader.
#
# **You will learn**
#
# - what a dataset is, and how examples of any structure become a batch;
# - how to shuffle so that an experiment can be repeated;
# - three ways in which a test set leaks into training, and how to prevent them;
# - how a text becomes inputs and targets, and why no block needs to be stored;
# - what loading costs beside a step of the network, measured.
#
# **Before you start**: tensors, `stack` and indexing from lesson 01; in Python, classes, `yield`
# and dicts. The last part measures a network of lessons 02 and 03 with a loss of lesson 04.
#
# **Time**: two to three hours, ten to fifteen minutes per exercise and the rest for reading and
# experiments.

# %% setup=true
import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import accumulate
from types import GenericAlias
from typing import Any, Self

import numpy as np

from tinytorch.arguments import ShapeError, check_flag, check_integer, check_type, shown, warn
from tinytorch.backends import Backend
from tinytorch.backends.base import DefaultFloat
from tinytorch.functions.joining import stack
from tinytorch.ops import random
from tinytorch.serialization.checkpoint import restore_rng, rng_state
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise

# %% [markdown]
# ## The idea, by hand
#
# Letters for shapes: `N` examples, `B` examples in a batch, `D` features of an example, `T` tokens
# in a block.
#
# Five examples with two features and a label. An **epoch** visits each of them once, in a new
# random order. A **batch** of 2 takes the next two of this order; the last batch has what is left
# over. So an epoch of 5 examples has 3 batches: 5 / 2, rounded up.

# %%
x = np.array([[0.0, 1.0], [10.0, 11.0], [20.0, 21.0], [30.0, 31.0], [40.0, 41.0]])  # (N, D)
y = np.array([0, 1, 2, 3, 4])  # (N,)
order = np.array([3, 0, 4, 1, 2])  # (N,), drawn at random
for first in (0, 2, 4):
    indices = order[first : first + 2]  # (B,)
    print(indices, x[indices].tolist(), x[indices].shape, y[indices])  # (B, D) and (B,)

# %% [markdown]
# For a text, the examples are **blocks**. The network reads a block and predicts, at each of its
# places, the token that comes next. So the targets are the same text, one token later. The text
# "hello", with its letters numbered in alphabetical order, `e h l o`, in blocks of T = 3:

# %%
ids = np.array([1, 0, 2, 2, 3])  # h e l l o
for start in (0, 1):
    print("input", ids[start : start + 3], " target", ids[start + 1 : start + 4])

# %% [markdown]
# ## 5.1 A dataset
#
# A **dataset** is anything that has a length and gives example number `i`: a list is one. A class
# of your own may read example `i` from a file, so that the whole need not fit into memory.
#
# The simplest dataset has everything in memory, as tensors whose first axis counts the examples.
# Example `i` is row `i` of each. The method `batch` looks up many rows with **one** index; the last
# part of this lesson measures what that saves.
#
# The base class and `__init__`, which checks the lengths, are given.

# %% given="5.1"
from tinytorch.dataloader import Batch, Dataset

# %% exercise="5.1" points=2
from tinytorch.dataloader import TensorDataset

# TensorDataset.__len__:
#   The number of examples. All tensors are equally long.
# TensorDataset.__getitem__:
#   A tuple, with row `index` of each tensor. With one tensor it is a tuple too.
# TensorDataset.batch:
#   The same with many rows. Turn indices into an array first: a tensor takes x[2, 1] for one
#   element, in row 2 and column 1.

# %% test="5.1" points=2
# fmt: off
with Exercise("5.1", "TensorDataset") as check:
    rows, labels = np.arange(21.0, dtype=np.float32).reshape(7, 3), np.array([4, 4, 9, 1, 0, 2, 2])
    data = check.call(lambda: TensorDataset(Tensor(rows), Tensor(labels)),
                      "a dataset of shapes (7, 3) and (7,)",
                      cause="__init__ is given")
    check.equal(lambda: len(data), 7, "the length of a dataset of shapes (7, 3) and (7,)",
                cause="count the rows: the length of the first tensor, not the number of tensors")
    for index in (2, 0, 6, -1):
        row, label = check.call(lambda: data[index], f"example {index}", count=2,
                                cause="a tuple with t[index] for each tensor t of self.tensors")
        check.equal(lambda: row, rows[index], f"the features of example {index}",
                    cause="row `index`: t[index]")
        check.equal(lambda: label, int(labels[index]), f"the label of example {index}",
                    cause="t[index], of each tensor")
        check.true(lambda: isinstance(row, Tensor) and isinstance(label, Tensor),
                   "both are tensors",
                   cause="index the tensor itself, not its numbers")
        check.true(lambda: type(data[index]) is tuple, "an example is a tuple",
                   cause="tuple(... for t in self.tensors)")
    check.raises(IndexError, lambda: data[7], "example 7 of 7",
                 cause="let the tensor raise it: t[index]")
    for indices in ([4, 1, 4], np.array([5, 0]), (2, 1), range(1, 7, 3), [3]):
        x, y = check.call(lambda: data.batch(indices), f"the batch of {indices}", count=2,
                          cause="t[np.asarray(indices)] for each tensor t")
        wanted = np.array(list(indices))
        check.equal(lambda: x, rows[wanted], f"the features of the batch {indices}",
                    cause="all rows in the order of indices: t[np.asarray(indices)]")
        check.equal(lambda: y, labels[wanted], f"the labels of the batch {indices}",
                    cause="look up the same rows in each tensor")
        check.true(lambda: isinstance(x, Tensor) and type(data.batch(indices)) is tuple,
                   "a batch is a tuple of tensors",
                   cause="tuple(t[...] for t in self.tensors)")
    single = check.call(lambda: TensorDataset(rows), "a dataset of one array",
                        cause="__init__ is given")
    check.equal(lambda: len(single), 7, "the length of a dataset of one array (7, 3)",
                cause="the length of the first tensor: there may be only one")
    check.equal(lambda: [len(single[3]), len(single.batch([3, 4]))], [1, 1],
                "the number of tensors of an example, and of a batch",
                cause="one tensor gives a tuple of one: return tuples")
    three = check.call(lambda: TensorDataset(labels, rows, labels + 10),
                       "a dataset of three arrays",
                       cause="__init__ is given")
    check.equal(lambda: [t.tolist() for t in three[1]], [4, [3.0, 4.0, 5.0], 14],
                "example 1 of three tensors",
                cause="loop over self.tensors")
    check.equal(lambda: [t.tolist() for t in three.batch([6, 3])],
                [[2, 1], [[18.0, 19.0, 20.0], [9.0, 10.0, 11.0]], [12, 11]],
                "a batch of three tensors",
                cause="loop over self.tensors")
    away = check.call(lambda: TensorDataset(Tensor(rows, backend="reference"), labels),
                      "a dataset on the backend reference",
                      cause="__init__ is given")
    check.equal(lambda: [away.batch([1])[0].backend.name, away[1][0].backend.name],
                ["reference", "reference"], "the backends of a batch and of an example",
                cause="index the tensors, and create none")
    check.equal(lambda: [str(t.dtype) for t in (*away.batch([1]), *away[1])],
                ["float32", str(labels.dtype)] * 2, "the dtypes of a batch and of an example",
                cause="index the tensors, and convert none")
# fmt: on

# %% [markdown]
# ## 5.2 Joining examples
#
# Not every dataset has a fast `batch`. In general a loader fetches examples one by one, and
# **collates** them: B examples of one structure become one batch of that structure.
#
# | examples | batch |
# |---|---|
# | tensors (D,) and (D,) | a tensor (B, D) = (2, D) |
# | numbers 3 and 6 | a tensor (2,) |
# | strings | the list of them |
# | tuples `(x1, y1)`, `(x2, y2)` | a tuple `(batch of x1, x2; batch of y1, y2)` |
# | dicts | a dict with the same keys |
#
# The parts of tuples and dicts may be tuples and dicts again, so the function calls itself. The
# given `_kind_of` finds out which of these the examples are, and raises an error if they are not
# alike: tensors of different shapes cannot be stacked.

# %% given="5.2"
from tinytorch.dataloader import _KINDS, _check_equal, _kind_of

# %% exercise="5.2" points=4
from tinytorch.dataloader import collate

# collate:
#   _kind_of(examples) returns two things: the kind, and the examples as a list.
#   The kind is "tensors", "arrays", "numbers", "texts", "dicts" or "sequences".
#   stack joins tensors along a new first axis, and np.stack does it with arrays (then Tensor(...)).
#   Numbers: Tensor(...) of the list. Texts stay a list.
#   Dicts: collate the values of each key. Sequences: zip(*examples, strict=True) turns examples
#   into columns; collate each column, and return a tuple.
#   A named tuple stays one: if the first example has an attribute _fields, call its type with the
#   joined columns.

# %% test="5.2" points=4
# fmt: off
from collections import namedtuple

with Exercise("5.2", "collate") as check:
    def dtypes(batch: Any) -> list[str]:
        return [str(t.dtype) for t in batch]

    pairs = [Tensor([1.0, 2.0, 3.0]), Tensor([4.0, 5.0, 6.0])]
    check.equal(lambda: collate(pairs), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
                "the batch of two tensors (3,)",
                cause="stack makes a new first axis: (2, 3)")
    check.true(lambda: isinstance(collate(pairs), Tensor), "a batch of tensors is a tensor",
               cause="return stack(examples)")
    grids = np.random.default_rng(2).integers(0, 90, (4, 2, 3))
    for name, make in (("tensors", Tensor), ("arrays", np.array)):
        check.equal(lambda: collate([make(g) for g in grids]), grids,
                    f"the batch of four {name} (2, 3)",
                    cause="a new first axis: (4, 2, 3); do not join along an axis that exists")
    check.equal(lambda: collate([Tensor(g, backend="reference") for g in grids]).backend.name,
                "reference", "the backend of a batch of tensors",
                cause="use stack, which stays on the backend")
    for examples, dtype in (
        ([3, 6, -1], "int64"), ([0.5, 2, 4.0], "float32"), ([2, 0.5], "float32"),
        ([True, False], "bool"),
        ([np.float64(0.5), np.float64(7)], "float64"),
        ([np.uint8([1, 2]), np.uint8([3, 9])], "uint8"),
    ):
        check.equal(lambda: collate(examples),
                    [e if isinstance(e, int | float) else np.asarray(e).tolist() for e in examples],
                    f"the batch of {examples}",
                    cause="numbers: Tensor(examples); arrays: Tensor(np.stack(examples))")
        check.equal(lambda: str(collate(examples).dtype), dtype,
                    f"the dtype of the batch of {examples}",
                    cause="Tensor of the list chooses the dtype of numbers; arrays keep theirs:"
                    " Tensor(np.stack(examples))")
        check.true(lambda: isinstance(collate(examples), Tensor),
                   f"the batch of {examples} is a tensor",
                   cause="wrap it: Tensor(...)")
    check.equal(lambda: collate(["to", "be", ""]), ["to", "be", ""], "the batch of three strings",
                cause='kind "texts": return the list as it is')
    check.true(lambda: type(collate(("to", "be"))) is list, "the batch of a tuple of strings is a list",
               cause="use the list that _kind_of returns, as it is: no tuple and no array")
    rows = [(np.float32([1, 2]), 7, "a"), (np.float32([3, 4]), 8, "b"), (np.float32([5, 6]), 9, "c")]
    x, y, names = check.call(lambda: collate(rows),
                             "the batch of three tuples (array, number, string)", count=3,
                             cause="a batch has one entry for each column: zip(*examples,"
                             " strict=True)")
    check.equal(lambda: x, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "the first column",
                cause="collate each column")
    check.equal(lambda: y, [7, 8, 9], "the second column", cause="collate each column")
    check.equal(lambda: names, ["a", "b", "c"], "the third column", cause="collate each column")
    check.true(lambda: type(collate(rows)) is tuple, "the batch of tuples is a tuple",
               cause="tuple(columns)")
    check.true(lambda: type(collate([[1, 2], [3, 4]])) is tuple, "the batch of lists is a tuple",
               cause="tuple(columns), for lists too")
    check.equal(lambda: [c.tolist() for c in collate([[1, 2], [3, 4], [5, 6]])],
                [[1, 3, 5], [2, 4, 6]], "the batch of the lists [1, 2], [3, 4], [5, 6]",
                cause="one entry for each column, not for each example")
    dicts = [{"n": 1, "t": "x"}, {"t": "y", "n": 2}]
    check.equal(lambda: {k: v if k == "t" else v.tolist() for k, v in collate(dicts).items()},
                {"n": [1, 2], "t": ["x", "y"]}, "the batch of two dicts",
                cause="for each key, collate the values of this key; the order of keys may differ")
    nested = check.call(lambda: collate([{"in": (1, [2.0, "p"])}, {"in": (3, [4.0, "q"])}]),
                        "the batch of nested examples",
                        cause="collate calls itself")
    check.equal(lambda: [nested["in"][0].tolist(), nested["in"][1][0].tolist(), nested["in"][1][1]],
                [[1, 3], [2.0, 4.0], ["p", "q"]], "the parts of the batch of nested examples",
                cause="collate calls itself for each column and for each key")

    Point = namedtuple("Point", "x y")
    check.true(lambda: type(collate([Point(1, 2), Point(3, 4)])) is Point,
               "the batch of named tuples is one",
               cause="type(first)(*columns), with the star")
    check.equal(lambda: [c.tolist() for c in collate([Point(1, 2), Point(3, 4)])], [[1, 3], [2, 4]],
                "the columns of the batch of named tuples",
                cause="type(first)(*columns)")
    check.equal(lambda: collate([Tensor([7.0])]), [[7.0]], "the batch of a single tensor (1,)",
                cause="B = 1 is an axis too: (1, 1)")
    check.equal(lambda: collate((5, 6)), [5, 6], "the batch of a tuple of examples",
                cause="use the list that _kind_of returns")
    for examples in ([Tensor([1.0]), Tensor([1.0, 2.0])], [(1, 2), (3,)], [{"a": 1}, {"b": 1}]):
        check.raises(ValueError, lambda: collate(examples), f"examples that differ, {examples}",
                     message="equal",
                     cause="call _kind_of, which checks them")
# fmt: on

# %% [markdown]
# These functions apply it: a dataset without a fast way uses `_examples`.

# %% given="5.2"
from tinytorch.dataloader import _examples, _plain

# %% [markdown]
# ## 5.3 Batches
#
# Cut a stream of items into lists of `size` items. The last one may have fewer. Such a small batch
# has a noisy gradient, and some programs need equal shapes, so `drop_last` leaves it out.
#
# The items may come from a source that is slow or without an end. Hand out a batch as soon as it is
# full, with `yield`: the code after it goes on when the next batch is asked for.

# %% exercise="5.3" points=2
from tinytorch.data.samplers import batched, count_batches

# batched:
#   Collect items in a list. When it is full, yield it, and start a **new** list.
#   After the loop: what if there are items left? And if there are none?
# count_batches:
#   // rounds down. -(-a // b) rounds up.

# %% test="5.3" points=2
# fmt: off
with Exercise("5.3", "batched") as check:
    for items, size, drop_last, expected in (
        ("abcdefg", 3, False, [["a", "b", "c"], ["d", "e", "f"], ["g"]]),
        ("abcdefg", 3, True, [["a", "b", "c"], ["d", "e", "f"]]),
        ("abcdef", 2, False, [["a", "b"], ["c", "d"], ["e", "f"]]),
        ("abcdef", 2, True, [["a", "b"], ["c", "d"], ["e", "f"]]),
        ("abc", 1, True, [["a"], ["b"], ["c"]]),
        ((0, None, "", False, 0), 3, False, [[0, None, ""], [False, 0]]),
        ("ab", 5, False, [["a", "b"]]), ("ab", 5, True, []), ("", 2, False, []), ("", 2, True, []),
    ):
        check.equal(lambda: list(batched(iter(items), size, drop_last)), expected,
                    f"{items!r} in batches of {size}, drop_last={drop_last}",
                    cause="a full batch is yielded, and then a new list begins; the rest counts"
                    " unless drop_last, if there is any")
        check.equal(lambda: count_batches(len(items), size, drop_last), len(expected),
                    f"the number of batches of {size} for {len(items)} items,"
                    f" drop_last={drop_last}",
                    cause="rounded down with drop_last, and up without")

    check.equal(lambda: list(batched([5, 6, 7], 2, False)), [[5, 6], [7]],
                "the list [5, 6, 7] in batches of 2",
                cause="items may be a list as well: loop over it with for")
    check.true(lambda: all(type(batch) is list for batch in batched(range(5), 2, False)),
               "the batches of 2 of 5 items are lists",
               cause="lists, not tuples: a collate_fn gets them")

    def slow() -> Iterator[int]:
        yield from range(4)
        raise RuntimeError("item 4 was read before it was needed")

    check.equal(lambda: next(batched(slow(), 4, False)), [0, 1, 2, 3],
                "the first batch of 4 from a source that fails at item 4",
                cause="yield a batch as soon as it is full: do not read the whole source, nor one"
                " item too many")
    check.equal(lambda: [count_batches(n, 64, False) for n in (0, 1, 63, 64, 65, 128)],
                [0, 1, 1, 1, 2, 2], "batches of 64 for 0, 1, 63, 64, 65 and 128 examples",
                cause="round up: -(-count // size)")
    check.equal(lambda: [count_batches(n, 64, True) for n in (0, 1, 63, 64, 65, 128)],
                [0, 0, 0, 1, 1, 2], "full batches of 64 for 0, 1, 63, 64, 65 and 128 examples",
                cause="round down: count // size")
    check.true(lambda: type(count_batches(5, 2, False)) is int, "the number of batches is an int",
               cause="// of integers, not /: that gives a float")
# fmt: on

# %% [markdown]
# ## 5.4 Shuffling with a seed
#
# Files are often sorted: all cats, then all dogs. A network that sees only cats for an hour learns
# to say cat. So each epoch draws a new order. "Random" must still be **repeatable**, or you can
# never tell whether a change of the code or the dice made the result better. Therefore:
#
# - all random numbers come from a *generator*, which starts from a seed: the same seed, the same
#   numbers. A generator moves on with every number that it gives: the next epoch differs;
# - the generator is an argument. `np.random.shuffle` would draw from a hidden one that every other
#   part of the program also moves.
#
# A sampler has the order of an epoch. This one has two options. `replacement` draws each index by
# itself, so that some come twice and some never. `num_samples` is the length of an epoch, if it is
# not that of the dataset: a shorter one, or a longer one that begins the dataset again when all
# examples have come.
#
# | N = 3 | an order |
# |---|---|
# | by default | 2 0 1 |
# | `num_samples=2` | 1 2 |
# | `num_samples=7` | 2 0 1, 0 1 2, 1 |
# | `replacement=True` | 0 2 0 |

# %% given="5.4"
from tinytorch.data.samplers import Indices, RandomOrder, Sampler, SequentialSampler

# %% exercise="5.4" points=3
from tinytorch.data.samplers import RandomSampler

# RandomSampler.order:
#   size = len(self.data_source), and the wanted number of indices is self.num_samples.
#   rng.integers(size, size=count) draws each index by itself: that is "replacement".
#   rng.permutation(size) has each index once. If more are needed, join several with
#   np.concatenate; cut off what is too much.
#   Use only the argument rng. (A dataset may be empty: do not divide by 0.)

# %% test="5.4" points=3
# fmt: off
with Exercise("5.4", "RandomSampler") as check:
    def drawn(size: int, count: int, seed: int = 0, **options: Any) -> list[list[int]]:
        """`count` orders from one generator."""
        rng, sampler = np.random.default_rng(seed), RandomSampler(range(size), **options)
        return [np.asarray(sampler.order(rng)).tolist() for _ in range(count)]

    check.equal(lambda: sorted(drawn(7, 1)[0]), [0, 1, 2, 3, 4, 5, 6],
                "the indices of an epoch of 7 examples, sorted",
                cause="rng.permutation(size): each index once")
    check.equal(lambda: RandomSampler(range(4)).order(np.random.default_rng(0)).shape, (4,),
                "the shape of the order of 4 examples",
                cause="return an array (num_samples,)")
    check.true(lambda: len({tuple(order) for order in drawn(30, 20)}) == 20,
               "20 epochs have 20 different orders",
               cause="the generator moves on: do not seed it again, nor keep an order")
    check.true(lambda: drawn(30, 1, seed=5) != drawn(30, 1, seed=6),
               "generators with other seeds have other orders",
               cause="draw from the argument rng, not from one with a seed of your own")

    def moved(generator: Any, **options: Any) -> bool:
        before = str(generator.bit_generator.state)
        drawn(30, 1, **options)
        return str(generator.bit_generator.state) != before

    for options in ({}, {"replacement": True}, {"num_samples": 70}):
        check.equal(lambda: drawn(30, 3, seed=5, **options),
                    lambda: drawn(30, 3, seed=5, **options),
                    f"the orders of two generators with the same seed, {options}",
                    cause="draw from the argument rng alone")
        check.true(lambda: not moved(random.generator(), **options),
                   f"other generators are not used, {options}",
                   cause="draw from the argument rng alone, not from random.generator() or"
                   " self.random_numbers()")
    def frequencies() -> list[int]:
        orders = [tuple(order) for order in drawn(3, 12000)]
        return [orders.count(order) for order in itertools.permutations(range(3))]

    counts = check.call(lambda: frequencies(), "12000 orders of 3 examples",
                        cause="rng.permutation(size)")
    check.true(lambda: min(counts) > 1830 and max(counts) < 2170,
               "each of the 6 orders of 3 examples comes about 2000 times in 12000",
               cause="all orders must be equally likely: swapping at random, or starting at a"
               " random place, is not enough")
    check.equal(lambda: len({pair for order in drawn(12, 1200) for pair in enumerate(order)}), 144,
                "the different pairs of a place and an index, in 1200 orders of 12 examples",
                cause="every example must be able to come at every place: permute all of them at once")
    for size, samples in ((7, 4), (7, 6), (5, 1)):
        orders = check.call(lambda: drawn(size, 60, num_samples=samples),
                            f"orders of num_samples={samples} of {size}",
                            cause="cut off what is too much: [:count]")
        check.true(lambda: all(len(o) == samples == len(set(o)) for o in orders),
                   f"num_samples={samples} of {size}: so many indices, none twice",
                   cause="a permutation of the whole dataset, of which the first num_samples are"
                   " used")
        check.equal(lambda: sorted({i for o in orders for i in o}), list(range(size)),
                    f"num_samples={samples} of {size}: the indices of many epochs",
                    cause="permute all `size` indices, then cut: not only the first num_samples"
                    " of the dataset")
    longer = check.call(lambda: drawn(7, 20, num_samples=17), "orders of num_samples=17 of 7",
                        cause="join several permutations with np.concatenate")
    check.true(lambda: all(len(o) == 17 for o in longer), "num_samples=17 of 7: so many indices",
               cause="join enough permutations, and cut off what is too much")
    check.true(lambda: all(sorted(o[:7]) == sorted(o[7:14]) == list(range(7)) for o in longer)
                       and all(len(set(o[14:])) == 3 for o in longer),
               "num_samples=17 of 7: all 7, then all 7 again, then 3 different ones",
               cause="each round is a permutation of all examples")
    check.true(lambda: all(o[:7] != o[7:14] for o in longer[:10]),
               "num_samples=17 of 7: the rounds have different orders",
               cause="draw a permutation for each round")
    check.true(lambda: len({tuple(o[14:]) for o in longer}) > 10,
               "num_samples=17 of 7: the last 3 indices differ from epoch to epoch",
               cause="the last round is a permutation too, cut off")
    shelf = [30, 10, 20]
    check.call(lambda: [RandomSampler(shelf).order(np.random.default_rng(s)) for s in range(5)],
               "orders of a list of 3 examples",
               cause="rng.permutation(size)")
    check.equal(lambda: shelf, [30, 10, 20], "the list afterwards",
                cause="permute indices: rng.shuffle(self.data_source) changes the data of everyone")
    check.equal(lambda: [len(o) for o in drawn(7, 2, num_samples=14)], [14, 14],
                "the number of indices for num_samples=14 of 7",
                cause="two rounds, and no rest")
    check.equal(lambda: drawn(1, 1, num_samples=3)[0], [0, 0, 0],
                "the order for num_samples=3 of 1 example",
                cause="as many rounds as needed, rounded up")
    check.equal(lambda: [drawn(0, 1)[0], drawn(0, 1, num_samples=3)[0]], [[], []],
                "the orders of an empty dataset",
                cause="do not divide by 0: max(1, size)")
    free = check.call(lambda: drawn(5, 400, replacement=True), "orders with replacement",
                      cause="rng.integers(size, size=count)")
    check.true(lambda: all(len(o) == 5 for o in free), "with replacement: 5 indices of 5 examples",
               cause="size=count")
    check.equal(lambda: sorted({i for o in free for i in o}), [0, 1, 2, 3, 4],
                "with replacement: all indices that occur",
                cause="rng.integers(size) draws from 0 to size - 1")
    check.true(lambda: 2 <= sum(len(set(o)) == 5 for o in free) < 40,
               "with replacement, an order without repetition is rare",
               cause="draw each index by itself: rng.integers")
    both = check.call(lambda: drawn(4, 50, replacement=True, num_samples=9),
                      "orders with replacement, num_samples=9",
                      cause="rng.integers(size, size=count)")
    check.true(lambda: all(len(o) == 9 for o in both) and {i for o in both for i in o} == {0, 1, 2, 3},
               "with replacement, num_samples=9 of 4: 9 indices below 4",
               cause="count is self.num_samples, and size the number of examples")
    check.true(lambda: any(sorted(o[:4]) != [0, 1, 2, 3] for o in both),
               "with replacement, the first 4 of 9 indices are no permutation",
               cause="draw each index by itself")
    check.true(lambda: all(type(i) is int for i in RandomSampler(range(3))),
               "the given __iter__ yields integers",
               cause="return an array of integers")
# fmt: on

# %% [markdown]
# What your code draws. Each dot is an example: where in the epoch it comes, and where it is in the
# dataset. Lines separate batches of 8. The second epoch continues with the same generator; the
# fourth picture starts again from the seed, and is equal to the first shuffled one.

# %%
import matplotlib.pyplot as plt

N, B = 40, 8
rng = np.random.default_rng(5)
epochs = {
    "in order": list(SequentialSampler(range(N))),
    "seed 5, epoch 1": list(RandomSampler(range(N), generator=rng)),
    "seed 5, epoch 2": list(RandomSampler(range(N), generator=rng)),
    "seed 5 again, epoch 1": list(RandomSampler(range(N), generator=np.random.default_rng(5))),
}
figure, axes = plt.subplots(1, 4, figsize=(11, 3), sharey=True)
for axis, (title, indices) in zip(axes, epochs.items(), strict=True):
    axis.scatter(range(N), indices, c=indices, cmap="viridis", s=18)
    for batch in range(count_batches(N, B, False) + 1):
        axis.axvline(batch * B - 0.5, color="0.8", lw=1)
    axis.set(title=title, xlabel="position in the epoch")
axes[0].set_ylabel("index in the dataset")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 5.5 Splitting
#
# A network is judged on examples that it has **not** seen. An example in both parts is the first
# leak: the answer is known. So the dataset is divided at random, once, before anything else happens
# with it. Sizes are given as numbers, or as fractions. By hand, 11 examples in parts of 1/2, 1/4
# and 1/4: 5.5, 2.75 and 2.75 rounded down are 5, 2 and 2. Two are left over, and go to the first
# two parts: 6, 3, 2.
#
# No example is copied. A `Subset` keeps the dataset and a list of indices.

# %% given="5.5"
from tinytorch.utils.splitting import Subset, _generator, _sizes

# %% exercise="5.5" points=3
from tinytorch.utils.splitting import random_split, sizes_of_fractions

# sizes_of_fractions:
#   math.floor rounds down. Count what is missing, and add 1 to as many sizes, from the first on.
# random_split:
#   _generator("random_split", generator) returns the generator to draw from, and
#   _sizes(lengths, len(dataset)) the size of each part.
#   One permutation of all indices, cut into pieces: so no index is in two parts. Turn it into a
#   list, .tolist(). accumulate(sizes) yields where each piece ends.

# %% test="5.5" points=3
# fmt: off
with Exercise("5.5", "random_split") as check:
    for fractions, count, expected in (
        ([0.5, 0.25, 0.25], 11, [6, 3, 2]), ([0.7, 0.3], 10, [7, 3]), ([0.7, 0.3], 11, [8, 3]),
        ([0.1, 0.9], 3, [1, 2]), ([1 / 3, 1 / 3, 1 / 3], 11, [4, 4, 3]), ([1.0], 5, [5]),
        ([0.5, 0.5], 0, [0, 0]), ([0.9, 0.1], 5, [5, 0]), ([0.25] * 4, 10, [3, 3, 2, 2]),
    ):
        check.equal(lambda: list(sizes_of_fractions(fractions, count)), expected,
                    f"the sizes of {count} examples in parts of {[round(f, 2) for f in fractions]}",
                    cause="round down each; then one more for the first parts, until all examples"
                    " are used")
    check.true(lambda: all(type(n) is int for n in sizes_of_fractions([0.5, 0.5], 4)),
               "sizes are ints",
               cause="math.floor, not rounded floats")
    shares = [0.5, 0.5]
    check.call(lambda: sizes_of_fractions(shares, 4), "the sizes of 4 examples in halves",
               cause="a list of sizes")
    check.equal(lambda: shares, [0.5, 0.5], "the fractions afterwards",
                cause="make a new list of sizes")

    letters = "abcdefghijk"
    for lengths, expected in (
        ([6, 3, 2], [6, 3, 2]), ([2, 0, 9], [2, 0, 9]), ([0.5, 0.25, 0.25], [6, 3, 2]), ([11], [11]),
    ):
        parts = check.call(lambda: random_split(letters, lengths),
                           f"the parts of 11 letters, {lengths}", count=len(lengths),
                           cause="a list with one Subset for each length")
        check.equal(lambda: [len(part) for part in parts], expected,
                    f"the sizes of the parts {lengths}",
                    cause="piece i of the order ends at stop i, and has size i")
        check.equal(lambda: "".join(sorted(letter for part in parts for letter in part)), letters,
                    f"the letters of all parts {lengths} together",
                    cause="each index in exactly one part: cut one permutation into pieces")
        check.true(lambda: all(type(part) is Subset and part.dataset is letters for part in parts),
                   "parts are Subsets of the dataset",
                   cause="Subset(dataset, indices)")
        check.true(lambda: all(type(i) is int for part in parts for i in part.indices),
                   "indices are ints",
                   cause="turn the permutation into a list: .tolist()")

    def split(seed: int) -> list[list[int]]:
        parts = random_split(range(40), [30, 10], np.random.default_rng(seed))
        return [sorted(part.indices) for part in parts]

    def default(seed: int) -> list[list[int]]:
        random.manual_seed(seed)
        return [sorted(part.indices) for part in random_split(range(40), [30, 10])]

    check.equal(lambda: split(3), lambda: split(3),
                "the parts with two generators of the same seed",
                cause="draw from the argument generator")
    check.equal(lambda: default(3), lambda: default(3),
                "the parts after the same manual_seed, without a generator",
                cause="_generator returns the one that manual_seed seeds")
    check.true(lambda: len({str(split(seed)) for seed in range(20)}) == 20,
               "other seeds give other parts",
               cause="permute the indices of the whole dataset with the argument generator, without"
               " a seed of your own")
    check.true(lambda: len({str(default(seed)) for seed in range(20)}) == 20,
               "other seeds of manual_seed give other parts",
               cause="draw from what _generator returns")
    many = check.call(lambda: [split(seed)[1] for seed in range(400)], "400 splits",
                      cause="permute the indices")
    chosen = check.call(lambda: np.bincount(np.concatenate(many), minlength=40),
                        "how often each of 40 examples is in a part of 10, in 400 splits",
                        cause="permute the indices 0 to N - 1")
    check.true(lambda: chosen.min() > 55 and chosen.max() < 150,
               "each example is in a part of 10 of 40 about 100 times in 400 splits",
               cause="permute all indices: every example may be in every part")
    together = check.call(lambda: sum({0, 1} <= set(split(seed)[1]) for seed in range(400)),
                          "how often examples 0 and 1 are in the part of 10",
                          cause="permute the indices")
    check.true(lambda: together < 60,
               "neighbours in the dataset are rarely in the same part of 10 of 40",
               cause="permute the indices: no blocks of neighbours")
    check.raises(ValueError, lambda: random_split(letters, [6, 6]), "lengths of 12 for 11 letters",
                 message="add up",
                 cause="call _sizes, which checks them")
    check.raises(TypeError, lambda: random_split(letters, [6, 5], 42),
                 "a number instead of a generator", message="random_split: generator",
                 cause="call _generator, which checks it")
# fmt: on

# %% [markdown]
# ## 5.6 Splitting without leaks
#
# Disjoint indices are not enough. If a dataset has five photos of each person, a random split puts
# some into the training part and some into the test, and a network that only remembers faces
# passes. The same happens with copies of a document, with frames of one film, with measurements of
# one patient. The test then promises what no new person will ever get. That is the second leak.
#
# The remedy: examples that belong together form a **group**, and a group is never divided. Count:
# how many lines of NumPy's manual, split at random, are in both parts?

# %%
pages = ("mean", "std", "var", "median", "sum", "einsum", "pad", "linspace", "where", "clip", "dot",
         "sort", "unique", "cumsum", "percentile", "histogram", "concatenate", "reshape")  # fmt: skip
text = "\n".join(getattr(np, page).__doc__ for page in pages)
lines = [line.strip() for line in text.split("\n") if line.strip()]


def seen_before(training: Iterable[str], test: Iterable[str]) -> float:
    known, asked = set(training), list(test)
    return sum(line in known for line in asked) / len(asked)


training, test = random_split(lines, [0.8, 0.2], np.random.default_rng(0))
print(f"{len(lines)} lines, {len(set(lines))} different")
print(f"{seen_before(training, test):.0%} of the lines of the test are in the training part too")

# %% given="5.6"
from tinytorch.utils.splitting import _checked_groups, _is_key

# %% exercise="5.6" points=2
from tinytorch.utils.splitting import group_split

# group_split:
#   _checked_groups(groups, len(dataset)) returns a list with the group of each example.
#   Collect the indices of each group in a dict; its values are the groups. Split these with
#   random_split: that decides for whole groups. part.indices are the numbers of the groups of a
#   part.
#   Then build a Subset of the dataset from the indices of all groups of a part.

# %% test="5.6" points=2
# fmt: off
with Exercise("5.6", "group_split") as check:
    names = ["ann", "bob", "ann", "cem", "dan", "bob", "ann", "eva", "eva", "fay"]
    people = {"ann": {0, 2, 6}, "bob": {1, 5}, "cem": {3}, "dan": {4}, "eva": {7, 8}, "fay": {9}}
    photos = [f"photo {i}" for i in range(10)]
    for lengths, counts in (
        ([4, 2], [4, 2]), ([1, 2, 3], [1, 2, 3]), ([0.5, 0.5], [3, 3]), ([6, 0], [6, 0]),
    ):
        for seed in range(5):
            parts = check.call(lambda: group_split(photos, names, lengths, np.random.default_rng(seed)),
                               f"the parts of 10 photos of 6 people, {lengths}", count=len(lengths),
                               cause="lengths count people: split the list of groups, not the photos;"
                               " return a Subset for each length")
            check.equal(lambda: sorted(i for part in parts for i in part.indices), list(range(10)),
                        f"the indices of all parts {lengths}, sorted",
                        cause="every example once: all indices of all groups of a part")
            check.true(lambda: all(members & set(part.indices) in (set(), members)
                                   for part in parts for members in people.values()),
                       f"{lengths}: no person is in two parts",
                       cause="split the groups, not the examples")
            check.equal(lambda: [len({names[i] for i in part.indices}) for part in parts], counts,
                        f"the number of people in each part, {lengths}",
                        cause="lengths count groups: random_split(the list of groups, lengths,"
                        " generator)")
            check.true(lambda: all(type(part) is Subset and part.dataset is photos for part in parts),
                       "parts are Subsets of the dataset",
                       cause="Subset(dataset, indices of examples)")

    def first_part(seed: int, groups: Any = names) -> str:
        first, _ = group_split(photos, groups, [3, 3], np.random.default_rng(seed))
        return str(sorted(first.indices))

    def default_part(seed: int) -> str:
        random.manual_seed(seed)
        return str(sorted(group_split(photos, names, [3, 3])[0].indices))

    check.equal(lambda: [first_part(seed) for seed in range(5)],
                lambda: [first_part(seed) for seed in range(5)],
                "the first parts with two generators of the same seed, for five seeds",
                cause="hand on the generator to random_split")
    check.equal(lambda: [default_part(seed) for seed in range(5)],
                lambda: [default_part(seed) for seed in range(5)],
                "the first parts after the same manual_seed, for five seeds",
                cause="hand on generator, None too")
    check.true(lambda: len({first_part(seed) for seed in range(60)}) > 12,
               "60 seeds give most of the 20 choices of 3 people",
               cause="hand on the generator, and split all groups at random")
    check.true(lambda: len({default_part(seed) for seed in range(60)}) > 12,
               "60 seeds of manual_seed give most of the 20 choices",
               cause="hand on the generator, None too")
    numbers = [sorted(people).index(name) for name in names]
    check.equal(lambda: [first_part(seed) for seed in range(10)],
                lambda: [first_part(seed, numbers) for seed in range(10)],
                "the first parts for names, and for numbers of these names",
                cause="a set of strings has another order in each run: collect the groups in a"
                " dict")
    check.equal(lambda: sorted(len(part) for part in group_split(range(4), Tensor([7, 7, 2, 7]), [1, 1])),
                [1, 3], "the sizes of the parts for groups in a tensor",
                cause="use the list that _checked_groups returns: tensors are equal only to" "" ""
                " themselves as keys")
    check.equal(lambda: sorted(len(part) for part in group_split("xyz", [1, "1", 1], [1, 1])),
                [1, 2], "the sizes of the parts for the groups 1, '1' and 1",
                cause="a number and its text are two groups: no str(group)")
    tuples = [("a", 1), ("a", 2), ("a", 1)]
    check.equal(lambda: sorted(len(part) for part in group_split(range(3), tuples, [1, 1])),
                [1, 2], "the sizes of the parts for groups that are tuples",
                cause="a group is the whole value")
    check.equal(lambda: sorted(len(part) for part in group_split("xyyx", iter([0, 1, 1, 0]), [1, 1])),
                [2, 2], "the sizes of the parts for groups from an iterator, with a group 0",
                cause="use the list that _checked_groups returns")
    check.raises(ValueError, lambda: group_split(photos, names[:9], [4, 2]),
                 "9 names for 10 photos", message="10 groups",
                 cause="call _checked_groups(groups, len(dataset))")
    check.raises(ValueError, lambda: group_split(photos, names, [8, 2]),
                 "lengths of all photos, but 6 people", message="add up",
                 cause="lengths count groups, not examples")
# fmt: on

# %% [markdown]
# How bad is a leak? A hopeless task: five photos of each of 40 people (points near each other), and
# a coin tossed for each person. Nothing connects faces and coins, so no method can be right more
# often than in half of all cases. The "network" here looks up the nearest photo that it knows. Both
# tests split the same photos with your code.

# %%
training, test = group_split(lines, lines, [0.8, 0.2], np.random.default_rng(0))
print(f"lines in groups: {seen_before(training, test):.0%} of the test are in the training part")

rng = np.random.default_rng(1)
person = np.repeat(np.arange(40), 5)
faces = rng.standard_normal((40, 8))[person] + 0.3 * rng.standard_normal((200, 8))  # (N, D)


def accuracy(parts: list[Subset], coins: np.ndarray) -> float:
    known, asked = (np.array(part.indices) for part in parts)
    distance = ((faces[asked, None] - faces[known]) ** 2).sum(axis=-1)  # (asked, known)
    return float(np.mean(coins[known[distance.argmin(axis=1)]] == coins[asked]))


scores: dict[str, list[float]] = {"random_split": [], "group_split": []}
for seed in range(60):
    rng = np.random.default_rng(seed)
    coins = rng.integers(0, 2, 40)[person]
    scores["random_split"].append(accuracy(random_split(faces, [0.8, 0.2], rng), coins))
    scores["group_split"].append(accuracy(group_split(faces, person, [0.8, 0.2], rng), coins))

figure, axis = plt.subplots(figsize=(8, 2.8))
for name, values in scores.items():
    label = f"{name}: mean {np.mean(values):.2f}"
    axis.hist(values, bins=np.linspace(0, 1, 26), alpha=0.7, label=label)
axis.axvline(0.5, color="k", ls="--", label="the truth")
axis.set(xlabel="accuracy on the test part", ylabel="splits", title="60 splits of a hopeless task")
axis.legend(loc="upper left")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 5.7 Normalization
#
# The features of an example may have different units: the length of a line in characters, up to 80,
# and the share of letters in it, at most 1. A layer multiplies each feature by a weight of the same
# size at the start, so the length would drown the share. **Standardizing** gives each feature mean
# 0 and standard deviation 1:
#
# $$ z = \frac{x - \mathrm{mean}}{\mathrm{std}} $$
#
# By hand: the numbers 1, 3, 8 have the mean 4, and the deviations -3, -1, 4. The mean of their
# squares is 26 / 3, its root is 2.94: z is -1.02, -0.34, 1.36.
#
# Mean and std are learned from data, so they are part of the network. Computing them from **all**
# data is the third leak: the test part would have a say in what the network sees. So `fit` them on
# the training part, and apply the same numbers to the test. Its mean will then not be 0 exactly,
# and need not be.
#
# The given base class stores the statistics and refuses what would go wrong silently: a NaN, which
# spreads to everything; a constant feature, whose std is 0.

# %% given="5.7"
from tinytorch.data.normalization import Values, _cast, _Statistics

# %% exercise="5.7" points=3
from tinytorch.data.normalization import Standardizer

# Standardizer.fit:
#   self._checked(x, axis) returns x as a float64 array, or raises an error.
#   Reduce with .mean(axis, keepdims=True) and .std(...): a reduced axis then has the length 1, and
#   the result broadcasts. Axis 0 counts examples: [0] removes it.
#   self._store(mean, std) sets both, and returns self.
# Standardizer.__call__:
#   self._ready(x) returns x as a tensor, or raises an error. Compute with x.to("float64").
#   _cast(z, x) returns z in the dtype of x.
# Standardizer.inverse:
#   Solve the formula for x.

# %% test="5.7" points=3
# fmt: off
with Exercise("5.7", "Standardizer") as check:
    scale = check.call(lambda: Standardizer().fit(Tensor([1.0, 3.0, 8.0])),
                       "fit on the numbers 1, 3, 8",
                       cause="self._store(mean, std) comes last, and its result is returned")
    check.true(lambda: isinstance(scale, Standardizer), "fit returns the standardizer",
               cause="return self._store(...), which returns self")
    check.close(lambda: [float(scale.mean), float(scale.std)], [4.0, math.sqrt(26 / 3)],
                "mean and std of 1, 3, 8",
                cause="std is the root of the mean square of deviations: values.std(axis,"
                " keepdims=True)[0], divided by N; [0] removes the axis of the examples")
    check.close(lambda: scale(Tensor([1.0, 3.0, 8.0])),
                np.array([-3.0, -1.0, 4.0]) / math.sqrt(26 / 3), "1, 3, 8 standardized",
                cause="(x - mean) / std")
    rng = np.random.default_rng(7)
    train = (rng.standard_normal((50, 3)) * [1.0, 20.0, 0.5] + [0.0, -100.0, 3.0]).astype(np.float32)
    other = rng.standard_normal((2, 3)).astype(np.float32)
    mean, std = train.astype(np.float64).mean(axis=0), train.astype(np.float64).std(axis=0)
    doubles = train.astype(np.float64)
    check.call(lambda: Standardizer().fit(doubles), "fit on examples (50, 3)", cause="see the hints")
    check.equal(lambda: doubles, train.astype(np.float64), "the examples, after fit",
                cause="do not write into the array: it may be the caller's")
    scale = check.call(lambda: Standardizer().fit(Tensor(train)), "fit on examples (50, 3)",
                       cause="see the hints")
    check.equal(lambda: [scale.mean.shape, scale.std.shape], [(3,), (3,)],
                "the shapes of mean and std for examples (50, 3)",
                cause="one number for each feature: reduce axis 0 with keepdims=True, then take"
                " [0]")
    check.close(lambda: scale.mean, mean, "the means of three features",
                cause="values.mean(axis, keepdims=True)[0]")
    check.close(lambda: scale.std, std, "the standard deviations of three features",
                cause="values.std(axis, keepdims=True)[0]: divide by N, not N - 1")
    check.equal(lambda: [str(scale.mean.dtype), str(scale.std.dtype)], ["float64", "float64"],
                "their dtypes",
                cause="compute with the array that _checked returns")
    z = check.call(lambda: scale(Tensor(train)), "the training part, standardized",
                   cause="_cast((x.to('float64') - self.mean) / self.std, x)")
    check.true(lambda: isinstance(z, Tensor), "the result is a tensor",
               cause="_ready returns a tensor: compute with it")
    check.close(lambda: z, (train - mean) / std, "the training part, standardized",
                cause="(x - self.mean) / self.std", tolerance=1e-4)
    check.equal(lambda: str(z.dtype), "float32", "the dtype for float32 data",
                cause="_cast(z, x) returns to the dtype of x")
    check.close(lambda: scale(Tensor(other)), (other - mean) / std, "new examples, standardized",
                cause="use the stored mean and std, not those of the new examples", tolerance=1e-4)
    check.close(lambda: scale(Tensor(other[0])), (other[0] - mean) / std,
                "one new example (3,), standardized",
                cause="use the stored statistics: they broadcast", tolerance=1e-4)
    check.close(lambda: scale(other.tolist()), (other - mean) / std,
                "new examples in lists, standardized",
                cause="use the tensor that _ready returns", tolerance=1e-4)
    check.close(lambda: scale.mean, mean, "the means, after it was applied",
                cause="only fit changes the statistics")
    check.close(lambda: scale.inverse(Tensor(other)), other * std + mean, "inverse of new examples",
                cause="z * std + mean: multiply first, then add", tolerance=1e-4)
    check.equal(lambda: str(scale.inverse(Tensor(other)).dtype), "float32",
                "the dtype of inverse for float32 data",
                cause="_cast(..., z)")
    check.close(lambda: scale.inverse(scale(Tensor(train))), train,
                "inverse of the standardized training part",
                cause="inverse undoes __call__", tolerance=1e-4)
    check.close(lambda: scale.inverse([1.0, 0.0, -1.0]), [1.0, 0.0, -1.0] * std + mean,
                "inverse of an example in a list",
                cause="use the tensor that _ready returns", tolerance=1e-4)
    pixels = check.call(lambda: Standardizer().fit(np.array([[0, 10], [255, 20]], np.uint8)),
                        "fit on pixels of dtype uint8",
                        cause="compute with the array that _checked returns")
    check.close(lambda: pixels(Tensor(np.array([[0, 20]], np.uint8))), [[-1.0, 1.0]],
                "pixels of dtype uint8, standardized",
                cause="x.to('float64') first: uint8 has no negative numbers")
    pixel = Tensor(np.array([[0, 20]], np.uint8))
    check.equal(lambda: [str(f(pixel).dtype) for f in (pixels, pixels.inverse)],
                ["float32", "float32"], "the dtypes for integers",
                cause="_cast(z, x) chooses the default dtype")
    far = 1e6 + np.arange(5.0)[:, None] * [1.0, 0.25]  # (5, 2)
    close = check.call(lambda: Standardizer().fit(far.astype(np.float32)),
                       "fit on numbers near a million",
                       cause="compute with the array that _checked returns")
    check.close(lambda: close(Tensor(far.astype(np.float32))),
                (far - far.mean(axis=0)) / far.std(axis=0),
                "float32 numbers near a million, standardized",
                cause="compute in float64 until the end: x.to('float64')")
    line = np.array([1e7, 1e7 + 1, 1e7 + 3], np.float32)
    check.close(lambda: Standardizer().fit(line)(Tensor(line)),
                np.array([-4.0, -1.0, 5.0]) / math.sqrt(14),
                "float32 numbers near ten million, standardized",
                cause="x.to('float64') before subtracting: float32 cannot hold their mean")
    check.close(lambda: Standardizer(-1.1e6, 1e6).inverse(Tensor(np.float32([1.1]))),
                [np.float64(np.float32(1.1)) * 1e6 - 1.1e6], "inverse with a mean of -1.1 million",
                cause="z.to('float64') first: the result is a small difference of large numbers")
    images = rng.normal([[[0.0]], [[9.0]]], [[[1.0]], [[5.0]]], (6, 2, 4, 3))  # (N, C, H, W)
    channels = check.call(lambda: Standardizer().fit(images, axis=(0, 2, 3)),
                          "fit on images (N, C, H, W), axis=(0, 2, 3)",
                          cause="keepdims=True, then [0]")
    check.equal(lambda: channels.mean.shape, (2, 1, 1), "the shape of the means for axis=(0, 2, 3)",
                cause="keepdims=True keeps the axes of height and width: (C, 1, 1)")
    check.close(lambda: channels(images),
                (images - images.mean((0, 2, 3), keepdims=True)) / images.std((0, 2, 3), keepdims=True),
                "images, standardized by channel",
                cause="mean and std both use the argument axis")
    away = Tensor(other.astype(np.float64), backend="reference")
    for name, use in (
        ("the result", lambda: scale(away)), ("inverse", lambda: scale.inverse(away)),
    ):
        check.equal(lambda: use().backend.name, "reference", f"the backend of {name}",
                    cause="compute with the tensor that _ready returns")
        check.equal(lambda: str(use().dtype), "float64", f"the dtype of {name} for float64 data",
                    cause="_cast(..., x), not float32 for all")
    kept, given = images.copy(), Tensor(images.copy())
    check.equal(lambda: Standardizer().fit(images).mean.shape, (2, 4, 3),
                "the shape of the means for axis=0",
                cause="one number for each pixel and channel")
    check.equal(lambda: images, kept, "the data, after fit",
                cause="do not write into the array that _checked returns: it may be the caller's")
    check.call(lambda: (channels(given), channels.inverse(given)), "float64 images, standardized",
               cause="see above")
    check.equal(lambda: given, kept, "the data, after it was standardized",
                cause="x -= ... would write into the caller's tensor: use -, not -=")
    again = check.call(lambda: Standardizer().fit(train).fit(train[:10] * 2), "a second fit",
                       cause="fit replaces the statistics")
    check.close(lambda: again.mean, (train[:10] * 2).astype(np.float64).mean(axis=0),
                "the means after a second fit",
                cause="fit replaces the statistics")
    for wrong, message in (
        (np.array([[1.0, math.nan], [2.0, 3.0]]), "finite"),
        (np.array([[1.0, 5.0], [2.0, 5.0]]), "constant"), (np.zeros((0, 2)), "at least one"),
    ):
        check.raises(ValueError, lambda: Standardizer().fit(wrong), f"fit on {wrong.tolist()}",
                     message=message,
                     cause="call self._checked(x, axis)")
    for name, use in (
        ("call", lambda: Standardizer()(other)), ("inverse", lambda: Standardizer().inverse(other)),
    ):
        check.raises(RuntimeError, use, f"{name} before fit", message="fit",
                     cause="call self._ready")
# fmt: on

# %% [markdown]
# Two features of the lines, before and after: the number of characters, and the share of letters.
# Fitted on the training part; the test part gets the same shift and scale.

# %%
features = np.array([[len(line), np.mean([c.isalpha() for c in line])] for line in lines])  # (N, 2)
parts = group_split(lines, lines, [0.8, 0.2], np.random.default_rng(0))
training, test = (features[part.indices] for part in parts)
scale = Standardizer().fit(training)
figure, axes = plt.subplots(1, 2, figsize=(10, 3))
for axis, title, parts in (
    (axes[0], "before", (training, test)),
    (axes[1], "after", (scale(training).numpy(), scale(test).numpy())),
):
    for column, name in enumerate(("characters", "share of letters")):
        for part, style in zip(parts, ("stepfilled", "step"), strict=True):
            label = f"{name}, {'training' if style == 'stepfilled' else 'test'}"
            axis.hist(part[:, column], bins=30, density=True, histtype=style, alpha=0.6,
                      color=f"C{column}", lw=2, label=label)  # fmt: skip
    axis.set(title=title, yscale="log", xlabel="value of the feature")
axes[0].legend(fontsize=8)
axes[0].set_ylabel("density")
figure.tight_layout()
plt.show()
print("mean of the test part, standardized:", scale(test).mean(axis=0).numpy().round(3))

# %% [markdown]
# ## 5.8 Blocks of tokens
#
# A text of N tokens is one long array. Block `i` begins at token `i * stride` and has T tokens; its
# targets begin one token later. So a block needs **T + 1** tokens, and the last block begins at
# `N - T - 1` at most.
#
# | N = 9, T = 4 | starts of blocks | number |
# |---|---|---|
# | `stride=1` | 0 1 2 3 4 | 5 |
# | `stride=2` | 0 2 4 | 3 |
# | `stride=3` | 0 3 | 2 |
# | `stride=4` | 0 4 | 2 |
#
# With `stride=1`, nearly every token is in T blocks. Storing them all would need T times the
# memory; the dataset keeps the ids once, and cuts blocks out when they are asked for. All blocks of
# a batch in one step: a column of starts (B, 1) plus a row of offsets (T + 1,) broadcasts to a
# table of positions (B, T + 1).
#
# The base class is given: it checks the ids, and can draw random blocks with your `batch`.

# %% given="5.8"
from tinytorch.dataloader import _Tokens

# %% exercise="5.8" points=3
from tinytorch.dataloader import TokenDataset

# TokenDataset.__len__:
#   How many multiples of the stride are there from 0 to N - T - 1, both included?
# TokenDataset.__getitem__:
#   Raise an IndexError if there is no such block; -1 is the last one, as in lists (% helps).
#   Then take the only row of a batch of one.
# TokenDataset.batch:
#   Raise an IndexError for indices that are negative or too large.
#   Build the table of positions, look it up in self.ids, and cut it into inputs and targets.
#   Return two tensors on the backend self.backend.

# %% test="5.8" points=3
# fmt: off
with Exercise("5.8", "TokenDataset") as check:
    check.equal(lambda: [len(TokenDataset(range(9), 4, stride)) for stride in (1, 2, 3, 4, 5, 9)],
                [5, 3, 2, 2, 1, 1],
                "the number of blocks for N = 9, T = 4, stride 1, 2, 3, 4, 5, 9",
                cause="the last start is N - T - 1 at most: (N - T - 1) // stride + 1")
    check.equal(lambda: [len(TokenDataset(range(n), 1)) for n in (2, 3, 10)], [1, 2, 9],
                "the number of blocks for N = 2, 3, 10, T = 1",
                cause="a block and its target need T + 1 tokens")
    for n, T, stride in ((9, 4, 1), (12, 3, 2), (11, 2, 4), (5, 4, 3)):
        ids = np.random.default_rng(n).permutation(n) + 50
        data = check.call(lambda: TokenDataset(ids, T, stride), f"a dataset of {n} tokens",
                          cause="__init__ is given")
        starts = list(range(0, n - T, stride))
        for index in {0, 1, -1, -len(starts), len(starts) - 1} & set(range(-len(starts), len(starts))):
            start = starts[index]
            x, y = check.call(lambda: data[index], f"block {index}",
                              cause="a pair: the input and the target, the only rows of a batch"
                              " of one", count=2)
            check.equal(lambda: x, ids[start : start + T],
                        f"the input of block {index}, N = {n}, T = {T}, stride = {stride}",
                        cause="T tokens from index * stride on; negative indices count from the"
                        " end")
            check.equal(lambda: y, ids[start + 1 : start + T + 1],
                        f"the target of block {index}, N = {n}, T = {T}, stride = {stride}",
                        cause="the same block, one token later")
        for index in (len(starts), -len(starts) - 1):
            check.raises(IndexError, lambda: data[index], f"block {index} of {len(starts)}",
                         cause="indices from -len to len - 1 exist: % alone would wrap around")
        chosen = [len(starts) - 1, 0, 0]
        for indices in (chosen, np.array(chosen), range(len(starts))):
            wanted = np.array([ids[starts[i] : starts[i] + T + 1] for i in indices])
            x, y = check.call(lambda: data.batch(indices), f"the batch of blocks {indices}",
                              cause="two tensors, inputs and targets", count=2)
            check.equal(lambda: x, wanted[:, :-1],
                        f"the inputs of the blocks {indices}, T = {T}, stride = {stride}",
                        cause="starts (B, 1) are indices * stride; the first T of T + 1 tokens")
            check.equal(lambda: y, wanted[:, 1:],
                        f"the targets of the blocks {indices}, T = {T}, stride = {stride}",
                        cause="the last T of T + 1 tokens")
        for wrong in ([0, len(starts)], [-1, 0], [0, -1]):
            check.raises(IndexError, lambda: data.batch(wrong),
                         f"the batch of blocks {wrong} of {len(starts)}",
                         cause="compare the smallest and the largest index with 0 and len(self):"
                         " NumPy would wrap -1 around")
    data = check.call(lambda: TokenDataset(np.arange(9, dtype=np.uint8), 4, backend="reference"),
                      "a dataset on the backend reference",
                      cause="__init__ is given")
    check.equal(lambda: [t.backend.name for t in (*data.batch([1]), *data[0])], ["reference"] * 4,
                "the backends of a batch and of a block",
                cause="Tensor(..., backend=self.backend), both")
    check.equal(lambda: [str(t.dtype) for t in data.batch([1])], ["int64", "int64"],
                "the dtypes of a batch",
                cause="look up self.ids, which are int64")
    check.true(lambda: type(data[0]) is tuple and type(data.batch([1])) is tuple,
               "a block and a batch are tuples",
               cause="return x, y")
    check.equal(lambda: TokenDataset([70_000, 300, 255], 2)[0], [[70_000, 300], [300, 255]],
                "the block of the tokens 70000, 300, 255",
                cause="look up self.ids as they are: a small dtype would cut large ids off")
    mine = np.array([1, 2])
    check.call(lambda: TokenDataset(range(9), 2, 3).batch(mine), "the batch of blocks [1, 2]",
               cause="starts are indices * stride")
    check.equal(lambda: mine, [1, 2], "the indices, afterwards",
                cause="np.asarray does not copy, so that indices *= stride writes into the caller's"
                " array: use *")
    check.equal(lambda: [t.shape for t in data.batch(np.zeros(0, int))], [(0, 4), (0, 4)],
                "the shapes of a batch of no blocks",
                cause="an empty array has no minimum: look at indices.size first")
    check.true(lambda: all(isinstance(t, Tensor) for t in (*data.batch([1]), *data[0])),
               "inputs and targets are tensors",
               cause="Tensor(..., backend=self.backend)")
    check.equal(lambda: sorted({int(i) for i in data.random_batch(200, 3)[0].numpy()[:, 0]}),
                [0, 1, 2, 3, 4], "where 200 random blocks begin",
                cause="random_batch, given, draws from range(len(self))")
# fmt: on

# %% [markdown]
# The blocks of your code over a text. Each row is a block of T = 8 characters, with `stride=4`;
# below it, in the same columns, its targets.

# %%
sentence = "the mean of all means"
letters = sorted(set(sentence))
blocks = TokenDataset([letters.index(c) for c in sentence], block_size=8, stride=4)
figure, axis = plt.subplots(figsize=(9, 3.6))
for column, c in enumerate(sentence):
    axis.text(column, 0.8, c, ha="center", va="center", family="monospace", weight="bold")
for i in range(len(blocks)):
    for row, tokens in enumerate(blocks[i]):
        color = ("#cfe2f3", "#fce5cd")[row]
        box = {"boxstyle": "square,pad=0.15", "facecolor": color, "edgecolor": "none"}
        for offset, token in enumerate(tokens.tolist()):
            axis.text(i * blocks.stride + row + offset, -i - 0.4 * row, letters[token],
                      ha="center", va="center", family="monospace", bbox=box)  # fmt: skip
    axis.text(-1, -i - 0.2, f"block {i}", ha="right", va="center")
axis.set(
    xlim=(-4, len(sentence)), ylim=(-len(blocks) + 0.2, 1.2), title="blue: inputs, orange: targets"
)
axis.axis("off")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 5.9 The loader
#
# Now everything is there. The **loader** iterates over a dataset: one epoch, batch by batch. Its
# base class is given, and long, since it does what users never see: it checks arguments, and
# remembers the place within an epoch, so that a training that was interrupted continues with the
# very next batch. It takes from you the three decisions that matter.

# %% given="5.9"
from tinytorch.dataloader import IterableDataset, _Loader, convert

# %% exercise="5.9" points=3
from tinytorch.dataloader import DataLoader

# DataLoader._default_sampler:
#   RandomSampler (5.4) if self.shuffle, with generator=generator; or else the SequentialSampler.
# DataLoader._load:
#   A function self.collate_fn of the user gets a list of examples, self.dataset[_plain(i)]
#   (_plain makes NumPy's integers Python's). If it is None: the dataset's method batch(indices), if the dataset has one that is callable (a list
#   has none: getattr); or else _examples(self.dataset, indices) of 5.2.
# DataLoader.__iter__:
#   One example after the other, self._single_examples(), if batch_size and batch_sampler are both
#   None. If self.is_stream, there are no indices: self._example_lists() yields lists of examples
#   to collate. Usually, self._index_lists() yields the indices of each batch to load.

# %% test="5.9" points=3
# fmt: off
with Exercise("5.9", "DataLoader") as check:
    rows, labels = np.arange(14.0, dtype=np.float32).reshape(7, 2), np.arange(7) * 10
    data = check.call(lambda: TensorDataset(rows, labels), "a dataset of 7 examples",
                      cause="exercise 5.1")

    def epoch(loader: Any) -> list[list[int]]:
        """The labels of each batch."""
        return [batch[1].tolist() for batch in loader]

    check.equal(lambda: epoch(DataLoader(data, 3)), [[0, 10, 20], [30, 40, 50], [60]],
                "the labels of 7 examples in batches of 3",
                cause="without shuffle, the order is that of the SequentialSampler; yield"
                " self._load(indices) for each list of indices")
    check.equal(lambda: [x.tolist() for x, _ in DataLoader(data, 3)],
                [rows[:3], rows[3:6], rows[6:]], "the features of 7 examples in batches of 3",
                cause="yield self._load(indices)")
    check.equal(lambda: epoch(DataLoader(data, 3, drop_last=True)), [[0, 10, 20], [30, 40, 50]],
                "the labels in batches of 3, drop_last",
                cause="_index_lists leaves it out")
    check.equal(lambda: [len(DataLoader(data, 3, drop_last=drop)) for drop in (False, True)],
                [3, 2], "the numbers of batches",
                cause="__len__ is given, and uses count_batches of exercise 5.3")

    def left_early() -> list[list[list[int]]]:
        loader = DataLoader(data, 3)
        next(iter(loader))
        return [epoch(loader), epoch(loader)]

    check.equal(lambda: left_early(), [[[0, 10, 20], [30, 40, 50], [60]]] * 2,
                "two epochs, after one that was left after a batch",
                cause="each iteration starts a new epoch: keep no iterator in self")

    def shuffled(seed: int | None, epochs: int = 1) -> list[list[list[int]]]:
        rng = None if seed is None else np.random.default_rng(seed)
        loader = DataLoader(data, 3, shuffle=True, generator=rng)
        return [epoch(loader) for _ in range(epochs)]

    check.true(lambda: type(DataLoader(data, shuffle=True).sampler) is RandomSampler,
               "the sampler with shuffle=True",
               cause="RandomSampler(self.dataset, generator=generator)")
    check.true(lambda: type(DataLoader(data).sampler) is SequentialSampler,
               "the sampler without shuffle",
               cause="SequentialSampler(self.dataset)")
    check.true(lambda: all(sorted(itertools.chain(*one)) == labels.tolist() for one in shuffled(1, 5)),
               "each shuffled epoch has each example once",
               cause="RandomSampler(self.dataset, generator=generator), without other options")
    check.equal(lambda: shuffled(2, 3), lambda: shuffled(2, 3),
                "three epochs with two generators of the same seed",
                cause="hand on generator=generator")
    check.true(lambda: len({str(one) for one in shuffled(3, 10)}) == 10,
               "ten epochs have ten orders",
               cause="let the sampler draw a new order for each epoch")
    check.true(lambda: len({str(shuffled(seed)) for seed in range(20)}) == 20,
               "20 seeds give 20 orders",
               cause="hand on generator=generator")

    def seeded() -> list[list[list[int]]]:
        random.manual_seed(11)
        return shuffled(None, 2)

    check.equal(lambda: seeded(), lambda: seeded(),
                "two epochs after the same manual_seed, without a generator",
                cause="hand on generator, None too")

    def seeded_later() -> list[list[list[int]]]:
        loader = DataLoader(data, 3, shuffle=True)
        random.manual_seed(11)
        return [epoch(loader), epoch(loader)]

    check.equal(lambda: seeded_later(), lambda: seeded(),
                "two epochs of a loader that was there before manual_seed",
                cause="hand on generator as it is, None too: the sampler asks for the generator of"
                " manual_seed in each epoch")
    check.true(lambda: len({str(one) for one in shuffled(None, 10)}) == 10,
               "ten epochs have ten orders, without a generator",
               cause="no seed of your own, neither for the sampler nor for an epoch")

    def seeded_with(seed: int) -> str:
        random.manual_seed(seed)
        return str(shuffled(None))

    check.true(lambda: len({seeded_with(seed) for seed in range(20)}) == 20,
               "20 seeds of manual_seed give 20 orders",
               cause="hand on generator, None too, and no generator of your own")
    dice = np.random.default_rng(1)
    check.true(lambda: DataLoader(data, shuffle=True, generator=dice).sampler.generator is dice,
               "the sampler draws from the generator that is given",
               cause="hand on the generator itself, no copy")
    check.equal(lambda: epoch(DataLoader(data, 2, sampler=[6, 0, 3])), [[60, 0], [30]],
                "the labels with the sampler [6, 0, 3]",
                cause="self._index_lists() uses it")
    check.equal(lambda: epoch(DataLoader(data, batch_sampler=[[1, 2], (5,), [0, 0, 6]])),
                [[10, 20], [50], [0, 0, 60]], "the labels with a batch_sampler",
                cause="batch_size is None then too: one example at a time only if batch_sampler"
                " is None as well")

    class Words:
        """A dataset without a fast way, and with an attribute of that name."""

        batch = 2

        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> Any:
            if type(index) is not int:
                raise TypeError(f"the index {index!r} is no int")
            return ["a", "list", "of", "five", "words"][index], index * index

    class Pairs(Dataset):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            return index, index + 1

        def batch(self, indices: Any) -> Any:
            return "fast", len(indices)

    check.equal(lambda: [(list(w), n.tolist()) for w, n in DataLoader(Words(), 2)],
                [(["a", "list"], [0, 1]), (["of", "five"], [4, 9]), (["words"], [16])],
                "the batches of a dataset without a method batch",
                cause="look for a callable batch with getattr, or else use"
                " _examples(self.dataset, indices)")
    check.equal(lambda: [b.tolist() for b in DataLoader([5, 6, 7], 2)], [[5, 6], [7]],
                "the batches of the list [5, 6, 7]",
                cause="_examples(self.dataset, indices): a list has no method batch")
    check.equal(lambda: list(DataLoader(Pairs(), 2)), [("fast", 2), ("fast", 1)],
                "the batches of a dataset with a method batch",
                cause="use the dataset's batch(indices)")
    def first_word(examples: Any) -> str:
        return f"{len(examples)}: {examples[0][0]}"

    check.equal(lambda: list(DataLoader(Words(), 2, collate_fn=first_word)),
                ["2: a", "2: of", "1: words"], "the batches with a collate_fn",
                cause="self.collate_fn gets the list of examples self.dataset[_plain(i)]")
    check.true(lambda: list(DataLoader(Words(), 2, collate_fn=type)) == [list] * 3,
               "a collate_fn gets lists",
               cause="self.collate_fn gets the list of examples self.dataset[_plain(i)]")
    check.equal(lambda: list(DataLoader(Pairs(), 2, collate_fn=list)), [[(0, 1), (1, 2)], [(2, 3)]],
                "the batches with a collate_fn, for a dataset with a method batch",
                cause="collate_fn comes first: it gets examples, not a batch")
    check.equal(lambda: [(w, n) for w, n in DataLoader(Words(), batch_size=None)],
                [("a", 0), ("list", 1), ("of", 4), ("five", 9), ("words", 16)],
                "examples one by one, batch_size=None",
                cause="all that self._single_examples() yields, if batch_size and batch_sampler are None")

    class Stream(IterableDataset):
        read = 0

        def __iter__(self) -> Iterator[Any]:
            for Stream.read in range(5):
                yield Stream.read, str(Stream.read)

        def __getitem__(self, index: int) -> Any:
            raise TypeError("a stream has no examples by index: collate the lists of examples")

    check.equal(lambda: [(n.tolist(), list(t)) for n, t in DataLoader(Stream(), 2)],
                [([0, 1], ["0", "1"]), ([2, 3], ["2", "3"]), ([4], ["4"])],
                "the batches of a stream",
                cause="collate each list of self._example_lists()")
    check.equal(lambda: list(DataLoader(Stream(), 2, collate_fn=len)), [2, 2, 1],
                "the batches of a stream with a collate_fn",
                cause="use self.collate_fn if there is one, for streams too")
    check.call(lambda: next(iter(DataLoader(Stream(), 2))), "the first batch of a stream",
               cause="yield each batch")
    check.equal(lambda: Stream.read, 1, "the last example that the first batch of 2 has read",
                cause="yield each batch at once: do not turn self._example_lists() into a list")
    check.equal(lambda: list(DataLoader(Stream(), None)), [(i, str(i)) for i in range(5)],
                "a stream with batch_size=None",
                cause="ask for batch_size=None first: it holds for streams too")

    def resumed() -> tuple[Any, Any]:
        random.manual_seed(5)
        loader, other = (DataLoader(data, 2, shuffle=True) for _ in range(2))
        batches = iter(loader)
        next(batches)
        other.load_state_dict(loader.state_dict())
        return epoch(batches), epoch(other)

    rest, continued = check.call(lambda: resumed(), "an epoch that is continued by another loader",
                                 cause="yield each batch before the next list of indices is"
                                 " fetched", count=2)
    check.equal(lambda: continued, lambda: rest,
                "the rest of an epoch, continued by another loader",
                cause="load one batch at a time: do not turn self._index_lists() into a list")
    check.equal(lambda: len(rest), 3, "the number of batches of the rest",
                cause="load one batch at a time")
# fmt: on

# %% [markdown]
# ## All together
#
# An epoch over real text, with everything that you built: characters, split in two, blocks,
# shuffled batches. The network of lesson 03 has not learned anything, so the loss of lesson 04
# should be near `ln V`, where V is the number of different characters. Learning follows in the next
# lessons; the data is ready.

# %%
from tinytorch.layers import Linear, Sequential
from tinytorch.losses import CrossEntropyLoss

characters = sorted(set(text))
V, T = len(characters), 16
ids = np.array([characters.index(c) for c in text])
cut = len(ids) * 9 // 10  # the last tenth is the test: overlapping blocks must not share tokens
training, test = TokenDataset(ids[:cut], T, stride=T), TokenDataset(ids[cut:], T, stride=T)

random.manual_seed(0)
network, loss_of = Sequential(Linear(V, 32), Linear(32, V)), CrossEntropyLoss()
one_hot = np.eye(V, dtype=np.float32)
for name, blocks in (("training", training), ("test", test)):
    losses = [
        loss_of(network(Tensor(one_hot[x.numpy()])), y).item()  # (B, T, V) and (B, T)
        for x, y in DataLoader(blocks, batch_size=32, shuffle=name == "training")
    ]
    print(f"{name:9} {len(blocks):5} blocks in {len(losses):3} batches: mean loss"
          f" {np.mean(losses):.3f}, ln V = {math.log(V):.3f}")  # fmt: skip

# %% [markdown]
# Why are the blocks not split with `random_split`? With `stride=1`, neighbouring blocks share all
# but one token: a random split would put nearly every token of the test into the training part too.
# That is the leak of 5.6 again. A text is cut once, in one place.

# %% [markdown]
# ## What it costs
#
# The processor computes with a batch only once it is there. How long does loading take, beside the
# forward pass and the loss? Three measurements for examples as large as small photos, 28 x 28: one
# by one (`data[i]`, then `collate`), with one index (`data.batch`), and the network's step.

# %%
from tinytorch.activations import ReLU
from tinytorch.tito.measure import seconds

N, D = 4096, 784
rng = np.random.default_rng(0)
photos = TensorDataset(rng.standard_normal((N, D)).astype(np.float32), rng.integers(0, 10, N))
network = Sequential(Linear(D, 128), ReLU(), Linear(128, 10))
sizes, table = (1, 8, 64, 512), []
print("    B   one by one   one index   forward and loss   loading, of the whole")
for B in sizes:
    indices = rng.integers(0, N, B)
    x, y = photos.batch(indices)
    slow = seconds(lambda indices=indices: collate([photos[i] for i in indices]))
    fast = seconds(lambda indices=indices: photos.batch(indices))
    step = seconds(lambda x=x, y=y: loss_of(network(x), y))
    table.append((slow, fast, step))
    print(f"{B:5} {1e3 * slow:9.3f} ms {1e3 * fast:8.3f} ms {1e3 * step:15.3f} ms"
          f" {slow / (slow + step):11.0%} or {fast / (fast + step):.0%}")  # fmt: skip

figure, axis = plt.subplots(figsize=(8, 3))
for bar, name in enumerate(("one by one", "one index", "forward and loss")):
    per_example = [1e6 * times[bar] / B for times, B in zip(table, sizes, strict=True)]
    axis.bar(np.arange(len(sizes)) + 0.27 * bar, per_example, 0.25, label=name)
axis.set(yscale="log", ylabel="microseconds per example", xlabel="batch size B")
axis.set_xticks(np.arange(len(sizes)) + 0.27, sizes)
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
figure.tight_layout()
plt.show()

# %% [markdown]
# Per example, the network gets cheaper with larger batches; calls of Python for each example do
# not. With large batches, loading one by one can take longer than the network. Training adds a
# backward pass, about twice the time of the forward pass; a GPU divides the time of the network,
# not that of loading. Then the GPU waits.
#
# A loader with *workers* loads the next batches while the network computes, so that the longer of
# the two counts instead of their sum. That hides loading, up to the point where it takes longer
# than the step. With what you measured:

# %%
for B, (slow, _, step) in zip(sizes, table, strict=True):
    after, beside = slow + step, max(slow, step)
    print(f"B = {B:3}: one after the other {1e3 * after:7.3f} ms, side by side {1e3 * beside:7.3f}"
          f" ms, {after / beside:.2f} times as fast")  # fmt: skip

# %% [markdown]
# Shuffling has a price, too: memory is fast when it is read in order. The same number of bytes,
# from a table of 64 MiB, in rows of different length:

# %%
memory = np.ones(2**24, np.float32)
for width in (4, 64, 1024):
    rows = memory.reshape(-1, width)
    count = 2**22 // width
    near, far = np.arange(count), rng.permutation(len(rows))[:count]
    fast, slow = (seconds(lambda i=i, rows=rows: rows.take(i, axis=0)) for i in (near, far))
    print(f"rows of {rows[0].nbytes:5} bytes: in order {1e3 * fast:6.2f} ms, shuffled"
          f" {1e3 * slow:6.2f} ms, {slow / fast:4.1f} times")  # fmt: skip

# %% [markdown]
# Memory comes in lines, longer than a short row: in random order, the neighbours of each row are
# fetched for nothing. Long rows, as those of photos or blocks of text, may be shuffled freely.
#
# And the size: a text as ids, against all of its blocks stored, with inputs and targets.

# %%
examples = (
    ("this text", len(ids), 16),
    ("a million tokens", 10**6, 256),
    ("a billion tokens", 10**9, 1024),
)
for name, N, T in examples:
    stored, all_blocks = 8 * N / 2**20, 8 * 2 * T * (N - T) / 2**20
    print(f"{name:17} T = {T:4}: ids {stored:10.1f} MiB, blocks {all_blocks:14.1f} MiB")

# %% [markdown]
# ## Questions to think about
#
# 1. A dataset has 1000 examples, and `batch_size=64`. How many steps has an epoch, with and without
#    `drop_last`? How many examples are never seen with it, if the data is shuffled for each epoch?
# 2. Two runs with the same seed give different losses since a colleague draws one random number in
#    between, for a plot. Why, and what would have prevented it?
# 3. A network predicts tomorrow's temperature from the last ten days. Why is `random_split` of the
#    days wrong? How would you split?
# 4. The mean of a standardized test part is 0.7, not 0. Is that a mistake? What does it say?
# 5. You try 50 networks, and report the best accuracy on the test part. Nothing was in both parts.
#    What leaked?
# 6. Loading a batch takes 30 ms, a step 20 ms on the CPU and 2 ms on a GPU. How long does a step
#    take in each case, with and without workers that load ahead? What would you improve first?

# %% [markdown] instructor=true
# ### Answers, for the instructor
#
# 1. 1000 / 64 = 15.6: 16 steps, the last with 40 examples; 15 with `drop_last`. It leaves out 40
#    examples in each epoch, but other ones each time: over many epochs, all are seen.
# 2. Both draw from the same generator, and it has moved. The plot, or better the loader, needs a
#    generator of its own: `DataLoader(..., generator=np.random.default_rng(0))`.
# 3. The days before and after a test day are in the training part, and nearly tell the answer; and
#    in use, the future is never known. Split in time: train on the past, test on the last part,
#    with a gap of ten days, so that no input contains a test day.
# 4. No. The test part gets the shift of the training part. 0.7 says that its examples differ from
#    those of the training part, by 0.7 standard deviations: the network is used on data that it was
#    not trained for. Fitting on the test part would have hidden that.
# 5. The choice: the best of 50 is chosen by the test, luck included, so its accuracy is too high.
#    Choose with a third part (validation), and use the test part once, at the end.
# 6. Without workers 50 ms and 32 ms; with them 30 ms and 30 ms: the longer one counts. On the GPU,
#    the step is 15 times shorter than loading: load with one index, several workers, or data
#    prepared once and stored. A faster GPU changes nothing.
#
# Rubric: 25 points for the exercises; 2 points for each question, 1 without the reason. Typical
# trouble: in 5.2 returning one entry for each example instead of each column; in 5.3 the same list
# yielded again and again, and an empty last batch; in 5.4 `np.random` instead of the argument; in
# 5.7 the statistics of the data at hand; in 5.8 the last block.

# %% [markdown]
# ## In PyTorch
#
# | here | PyTorch, in `torch.utils.data` |
# |---|---|
# | `Dataset`, `TensorDataset`, `Subset` | the same; a fast `batch` is called `__getitems__` |
# | `collate` | `default_collate` |
# | `RandomSampler(data, generator=...)` | the same, with a `torch.Generator` |
# | `batched` | `BatchSampler` |
# | `random_split` | the same |
# | `group_split` | none; scikit-learn has `GroupShuffleSplit` |
# | `Standardizer` | none; scikit-learn has `StandardScaler`, torchvision `Normalize` |
# | `DataLoader(data, 32, shuffle=True)` | the same, and `num_workers` loads in other processes |
#
# Sources: S. Kaufman et al., *Leakage in data mining* (2012); S. Kapoor and A. Narayanan, *Leakage
# and the reproducibility crisis in machine-learning-based science* (2023), who found leaks in 17
# fields; R. Fisher and F. Yates, *Statistical Tables* (1938), for shuffling.
#
# Next: in lesson 06, the network learns from these batches.
