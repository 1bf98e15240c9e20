"""PyTorch's names of dtypes: NumPy's dtypes, which every backend knows by their names."""

import numpy as np

from ..ops.dtypes import get_default_dtype, set_default_dtype

__all__ = [
    "bfloat16",
    "bool",
    "double",
    "float",
    "float16",
    "float32",
    "float64",
    "get_default_dtype",
    "half",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "long",
    "set_default_dtype",
    "short",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]

bool = np.dtype("bool")
uint8, uint16, uint32, uint64 = map(np.dtype, ("uint8", "uint16", "uint32", "uint64"))
int8, int16, int32, int64 = map(np.dtype, ("int8", "int16", "int32", "int64"))
float16, float32, float64 = map(np.dtype, ("float16", "float32", "float64"))
short, int, long = int16, int32, int64
half, float, double = float16, float32, float64
bfloat16 = "bfloat16"  # only a name: an error wherever it is used as a dtype
