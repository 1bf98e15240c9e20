"""Tables of keys: which tensor of a file is which part of which parameter, read in both ways.

A row names our parameter, the file's tensor, its shape in letters (`sizes` says what they are), and
the view of our array that has the tensor's elements in the tensor's order. Reading writes to that
view, and writing reads it, so one table serves both. A ``*`` stands for the number of a block.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import shown
from ..functions.conversion import host
from ..modules.module import Module
from .errors import PretrainedError
from .stored import Tensors, listed

Array = NDArray[Any]
Sizes = Mapping[str, int]
View = Callable[[Array, Sizes], Array]


def whole(array: Array, sizes: Sizes) -> Array:
    """The array as it is."""
    return array


def transposed(array: Array, sizes: Sizes) -> Array:
    """The transpose of a matrix, for files that hold it as (in, out)."""
    return array.T


class Row(NamedTuple):
    """A row of a table of keys.

    Attributes:
        ours: name of the parameter.
        theirs: name of the tensor in files, without what all names begin with.
        shape: of the tensor in files, letters separated by spaces.
        view: the part of our array that the tensor is.
    """

    ours: str
    theirs: str
    shape: str
    view: View = whole


class Key(NamedTuple):
    """A row for one block: the names, the shape in numbers, and the view of our array."""

    ours: str
    theirs: str
    shape: tuple[int, ...]
    view: Callable[[Array], Array]


def keys_of(rows: Iterable[Row], sizes: Sizes) -> list[Key]:
    """The rows for all blocks; their number is ``sizes["L"]``."""
    return [_key(row, i, sizes) for row in rows
            for i in range(sizes["L"] if "*" in row.ours else 1)]  # fmt: skip


def _key(row: Row, block: int, sizes: Sizes) -> Key:
    names = [name.replace("*", str(block)) for name in (row.ours, row.theirs)]
    shape = tuple(sizes[letter] for letter in row.shape.split())
    return Key(names[0], names[1], shape, lambda array: row.view(array, sizes))


def check_keys(
    rows: Sequence[Row], sizes: Sizes, tensors: Tensors, ignored: Iterable[str], source: Any
) -> list[Key]:
    """The keys of all blocks, if the tensors of a file are exactly these, with their shapes.

    Nothing is built before, so that a configuration of large numbers needs no memory.

    Args:
        rows: the table.
        sizes: the numbers of its letters.
        tensors: of the file, by name.
        ignored: patterns of further tensors, such as masks, that are not weights.
        source: the file, for messages.

    Raises:
        PretrainedError: tensors are missing or unexpected, or have other shapes; it names them.
    """
    prefix = next(row.theirs.partition("*")[0] for row in rows if "*" in row.theirs)
    blocks = {found[1] for name in tensors
              if (found := re.match(re.escape(prefix) + r"(\d{1,9})\.", name))}  # fmt: skip
    if len(blocks) != sizes["L"]:
        raise PretrainedError(
            f"{source} should have {shown(sizes['L'])} layers, but holds {len(blocks)}"
        )
    keys = keys_of(rows, sizes)
    expected = {key.theirs for key in keys}
    missing = [key.theirs for key in keys if key.theirs not in tensors]
    others = [name for name in tensors if name not in expected
              and not any(fnmatchcase(name, pattern) for pattern in ignored)]  # fmt: skip
    wrong = [
        f"{key.theirs} has shape {shown(tensors[key.theirs].shape)}, not {shown(key.shape)}"
        for key in keys
        if key.theirs in tensors and tensors[key.theirs].shape != key.shape
    ]
    kinds = {"missing": missing, "unexpected": others, "misfit": wrong}
    problems = [f"{what}: {listed(names)}" for what, names in kinds.items() if names]
    if problems:
        raise PretrainedError(f"the tensors of {source} do not fit: {'; '.join(problems)}")
    return keys


def fill(model: Module, keys: Iterable[Key], tensors: Tensors) -> None:
    """Read the tensors into the parameters of a model; on the CPU straight into their memory."""
    for name, parts in _by_parameter(keys).items():
        parameter = _parameter(model, name)
        direct = isinstance(parameter._array, np.ndarray)
        dtype = str(parameter.dtype).rpartition(".")[2]
        values = parameter._array if direct else np.empty(parameter.shape, dtype)
        for key in parts:
            tensors[key.theirs].read_into(key.view(values))
        if not direct:
            parameter.data = values


def check_model(model: Module, keys: Sequence[Key]) -> None:
    """Check that a table has all parameters of a model, with their shapes; biases may be absent.

    A model whose parts were exchanged is no longer the one that its configuration describes.

    Raises:
        PretrainedError: it has others, which it names.
    """
    parameters = {name: _parameter(model, name) for name in _by_parameter(keys)}
    found = {id(p) for p in parameters.values()}
    problems = {
        "missing": [n for n, p in parameters.items() if p is None and not n.endswith(".bias")],
        "unexpected": [n for n, p in model.named_parameters() if id(p) not in found],
        "misfit": [
            f"{name} has shape {parameters[name].shape}"
            for name, parts in _by_parameter(keys).items()
            if parameters[name] is not None and not _fits(parameters[name], parts)
        ],
    }
    texts = [f"{what}: {listed(names)}" for what, names in problems.items() if names]
    if texts:
        raise PretrainedError(
            f"the parameters are not those of the model's configuration: {'; '.join(texts)}"
        )


def _fits(parameter: Any, parts: Sequence[Key]) -> bool:
    """Whether the parts of a parameter are the whole of it, with the shapes of the table."""
    shape = np.broadcast_to(np.float32(0), parameter.shape)  # no memory
    return shape.size == sum(prod(key.shape) for key in parts) and all(
        key.view(shape).shape == key.shape for key in parts
    )


def arrays_of(model: Module, keys: Iterable[Key]) -> Iterator[tuple[str, Array]]:
    """The file's name and the values of each key; a bias that the model lacks is zero."""
    for key in keys:
        parameter = _parameter(model, key.ours)
        if parameter is None:
            yield key.theirs, np.zeros(key.shape, host(next(model.parameters())).dtype)
        else:
            yield key.theirs, key.view(host(parameter))


def _by_parameter(keys: Iterable[Key]) -> dict[str, list[Key]]:
    grouped: dict[str, list[Key]] = {}
    for key in keys:
        grouped.setdefault(key.ours, []).append(key)
    return grouped


def _parameter(model: Module, name: str) -> Any:
    """The attribute of a dotted name, or None."""
    found: Any = model
    for part in name.split("."):
        if part.isdigit():
            found = found[int(part)] if int(part) < len(found) else None
        else:
            found = getattr(found, part, None)
    return found
