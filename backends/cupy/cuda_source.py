"""The CUDA sources in `cuda/`, and what each kernel in them takes. No CuPy and no GPU is needed."""

import functools
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base import BackendError

FOLDER = Path(__file__).with_name("cuda")
HEADERS = [FOLDER / "common.cuh", FOLDER / "reductions.cuh"]
# The types that a kernel's T may have, by NumPy's names.
REALS = {"float32": "float", "float64": "double"}
_NULL = np.uint64(0)  # the null pointer
_SCALARS: dict[str, type[np.generic]] = {"Index": np.int64, "Bits": np.uint32, "double": np.float64}
_POINTEES: dict[str, type[np.generic]] = {**_SCALARS, "Bool": np.bool_}
_DECLARATION = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')


class Parameter(NamedTuple):
    """One parameter of a kernel: `dtype` of the array or of the number; None stands for T."""

    name: str
    is_array: bool
    dtype: type[np.generic] | None


@functools.cache
def source(real: str, head: int | None = None) -> str:
    """All kernels for one dtype, as one translation unit; compilers name the files' own lines.

    Args:
        real: "float32" or "float64".
        head: with it those of attention.cu, and no others, for heads of so many numbers.

    Raises:
        BackendError: the dtype is another.
    """
    if real not in REALS:
        raise BackendError(f"CUDA kernels compute in {' and '.join(REALS)}, not in {real}")
    by_head = FOLDER / "attention.cu"
    files = [by_head] if head else sorted({*FOLDER.glob("*.cu")} - {by_head})
    begin = [f"typedef {REALS[real]} T;", *([f"const int HEAD = {head};"] if head else [])]
    parts = [
        f'#line 1 "{file.name}"\n{file.read_text(encoding="utf-8")}' for file in (*HEADERS, *files)
    ]
    return "\n".join([*begin, *parts])


@functools.cache
def signatures() -> dict[str, list[Parameter]]:
    """Kernel name -> its parameters, read from the sources."""
    found = _DECLARATION.findall(source("float32") + source("float32", head=64))
    return {name: [_parameter(text) for text in inner.split(",")] for name, inner in found}


def names(text: str) -> list[str]:
    """The kernels that are declared in a source text."""
    return [name for name, _ in _DECLARATION.findall(text)]


def _parameter(text: str) -> Parameter:
    words = text.replace("const", "").replace("*", " * ").split()
    is_array = "*" in words
    kind, name = words[0], words[-1]
    table = _POINTEES if is_array else _SCALARS
    return Parameter(name, is_array, None if kind == "T" else table[kind])


def check_arguments(name: str, real: Any, arguments: tuple[Any, ...]) -> list[Any]:
    """`arguments` as the kernel takes them for dtype `real`: arrays of its dtypes, and numbers of
    its sizes.

    An array that is called a view by the kernel may have any strides, which it is told.

    Raises:
        BackendError: one is missing, too many, of another dtype, or not contiguous. CUDA would
            not notice: it would read other memory.
    """
    plan = _plan(name, real)
    if len(arguments) != len(plan):
        names = ", ".join(p.name for p in signatures()[name])
        raise BackendError(f"kernel {name} takes ({names}), not {len(arguments)} arguments")
    checked = []
    for (is_array, dtype, parameter), value in zip(plan, arguments, strict=True):
        if not is_array:
            checked.append(dtype.type(value))
        elif value is None:
            checked.append(_NULL)
        elif getattr(value, "dtype", None) == dtype and (
            value.flags.c_contiguous or parameter.endswith("_view")
        ):
            checked.append(value)
        else:
            raise BackendError(
                f"kernel {name} takes a contiguous array of {dtype} for {parameter}, not"
                f" {type(value).__name__} of {getattr(value, 'dtype', None)}"
            )
    return checked


@functools.cache
def _plan(name: str, real: Any) -> list[tuple[bool, np.dtype[Any], str]]:
    """What `check_arguments` asks of each argument."""
    return [(p.is_array, np.dtype(p.dtype or real), p.name) for p in signatures()[name]]
