"""Arrays of NumPy as the bytes of a safetensors file."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import CODES, SafetensorError

_NAMES = {np.dtype(code): name for name, code in CODES.items()}


def save(
    arrays: Mapping[str, np.ndarray[Any, Any]], metadata: dict[str, str] | None = None
) -> bytes:
    """Return the contents of a file with these arrays, the largest elements first.

    Raises:
        SafetensorError: an array has a dtype that the format lacks.
    """
    header: dict[str, Any] = {"__metadata__": metadata} if metadata is not None else {}
    parts, end = [], 0
    for name, array in sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])):
        if array.dtype not in _NAMES:
            raise SafetensorError(f"{name} has dtype {array.dtype}")
        parts.append(np.ascontiguousarray(array).tobytes())
        place, end = [end, end + array.nbytes], end + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype], "shape": array.shape, "data_offsets": place,
        }  # fmt: skip
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])
