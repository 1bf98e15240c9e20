"""The CUDA sources in `cuda/` and the signatures of their kernels; needs neither CuPy nor a GPU."""

import functools
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base import BackendError

FOLDER = Path(__file__).with_name("cuda")
# Compiled by itself, once for each head size, precision and type of arrays.
ATTENTION = FOLDER / "attention.cu"
MIXED_PRECISION = FOLDER / "mixed_precision.cu"  # arrays in bfloat16, arithmetic in float32
PRECISIONS = ("tf32", "bf16")  # of the factors of attention's products
FLOAT_DTYPES = {"float32": "float", "float64": "double"}  # NumPy's name -> the C++ type T
BFLOAT16 = "bfloat16"  # arrays of it hold the bits as uint16; T is float
_NULL = np.uint64(0)  # the null pointer
_SCALARS: dict[str, type[np.generic]] = {"Index": np.int64, "Bits": np.uint32, "double": np.float64}
_POINTEES: dict[str, type[np.generic]] = {**_SCALARS, "Bool": np.bool_, "Bf16": np.uint16}
_DECLARATION = re.compile(
    r'extern "C" __global__ void (?:__launch_bounds__\((\d+)(?:, \d+)?\)\s+)?(\w+)\(([^)]*)\)'
)
MAX_THREADS = 256  # in a block, of kernels without __launch_bounds__


class Parameter(NamedTuple):
    """A parameter of a kernel; `dtype` is that of the array or scalar, or "T" or "Element"."""

    name: str
    is_array: bool
    dtype: type[np.generic] | str


@functools.cache
def source(dtype: str, head_dim: int | None = None, precision: str = "tf32") -> str:
    """Return the source of kernels for one dtype as one translation unit.

    With #line directives, compilers report errors with the files' own names and lines.

    Args:
        dtype: "float32" or "float64"; or "bfloat16" for the kernels of mixed_precision.cu.
        head_dim: if given, the unit holds the kernels of attention.cu for this head size instead
            of all others, for arrays of `dtype`.
        precision: of the factors of attention's products, "tf32" or "bf16".

    Raises:
        BackendError: another dtype.
    """
    if dtype not in (*FLOAT_DTYPES, BFLOAT16):
        raise BackendError(f"CUDA kernels compute in {' and '.join(FLOAT_DTYPES)}, not in {dtype}")
    T = FLOAT_DTYPES.get(dtype, "float")
    begin, headers = [f"typedef {T} T;"], ["common.cuh", "reductions.cuh"]
    if head_dim:
        element = "unsigned short" if dtype == BFLOAT16 else T
        begin += [f"typedef {element} Element;", f"const int HEAD_DIM = {head_dim};"]
        headers += [
            "bf16.cuh",
            "attention.cuh",
            f"attention_{precision}.cuh",
            "attention_scores.cuh",
        ]
        files = [ATTENTION]
    elif dtype == BFLOAT16:
        headers += ["bf16.cuh", "layer_norm.cuh", "activations.cuh"]
        files = [MIXED_PRECISION]
    else:
        headers += ["layer_norm.cuh", "activations.cuh"]
        files = sorted({*FOLDER.glob("*.cu")} - {ATTENTION, MIXED_PRECISION})
    files = [*(FOLDER / name for name in headers), *files]
    parts = [f'#line 1 "{file.name}"\n{file.read_text(encoding="utf-8")}' for file in files]
    return "\n".join([*begin, *parts])


@functools.cache
def signatures() -> dict[str, list[Parameter]]:
    """Kernel name -> its parameters, parsed from the sources."""
    text = source("float32") + source("float32", head_dim=64) + source(BFLOAT16)
    found = _DECLARATION.findall(text)
    return {name: [_parameter(text) for text in inner.split(",")] for _, name, inner in found}


def names(text: str) -> list[str]:
    """The names of the kernels that a source text declares."""
    return [name for _, name, _ in _DECLARATION.findall(text)]


def max_threads(text: str) -> dict[str, int]:
    """Name of each kernel that a source text declares -> the most threads in its blocks."""
    return {name: int(bound or MAX_THREADS) for bound, name, _ in _DECLARATION.findall(text)}


def _parameter(text: str) -> Parameter:
    words = text.replace("const", "").replace("*", " * ").split()
    is_array = "*" in words
    kind, name = words[0], words[-1]
    table = _POINTEES if is_array else _SCALARS
    return Parameter(name, is_array, kind if kind in ("T", "Element") else table[kind])


def check_arguments(name: str, dtype: Any, arguments: tuple[Any, ...]) -> list[Any]:
    """Convert `arguments` to what kernel `name` takes for `dtype`, and check the arrays.

    Numbers are cast to the parameter's C++ type, None becomes a null pointer. Arrays must be
    contiguous, except for parameters named *_view, which accept strided arrays; their strides are
    passed separately.

    Raises:
        BackendError: an argument is missing, superfluous, of the wrong dtype or not contiguous.
            CUDA would not detect this, and the kernel would access other memory.
    """
    plan = _plan(name, dtype)
    if len(arguments) != len(plan):
        names = ", ".join(p.name for p in signatures()[name])
        raise BackendError(f"kernel {name} takes ({names}), not {len(arguments)} arguments")
    checked = []
    for (is_array, expected, parameter), value in zip(plan, arguments, strict=True):
        if not is_array:
            checked.append(expected.type(value))
        elif value is None:
            checked.append(_NULL)
        elif getattr(value, "dtype", None) == expected and (
            value.flags.c_contiguous or parameter.endswith("_view")
        ):
            checked.append(value)
        else:
            raise BackendError(
                f"kernel {name} takes a contiguous array of {expected} for {parameter}, not"
                f" {type(value).__name__} of {getattr(value, 'dtype', None)}"
            )
    return checked


@functools.cache
def _plan(name: str, dtype: Any) -> list[tuple[bool, np.dtype[Any], str]]:
    """(is an array, dtype, name) of each parameter, with T and Element resolved."""
    is_bf16 = dtype == BFLOAT16
    types = {"T": np.float32 if is_bf16 else dtype, "Element": np.uint16 if is_bf16 else dtype}
    return [
        (p.is_array, np.dtype(types[p.dtype] if isinstance(p.dtype, str) else p.dtype), p.name)
        for p in signatures()[name]
    ]
