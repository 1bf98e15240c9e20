"""The tensors of safetensors files, in one file or in several with an index, and how to write one.

The format: eight bytes with the size of the header; the header, JSON with the dtype, the shape and
the place of each tensor; the numbers. Source: https://github.com/huggingface/safetensors.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import shown
from ..serialization.atomic import check_regular_file, write_atomically
from .encodings import ENCODINGS
from .errors import PretrainedError
from .stored import StoredFile, StoredTensor, check_tensors, listed

LARGEST_JSON = 16 * 2**20  # bytes: a tensor takes about a hundred; parsed, JSON takes much more
WRITABLE = {"float64": "F64", "float32": "F32", "float16": "F16"}


def read_safetensors(path: str | os.PathLike[str]) -> tuple[dict[str, StoredTensor], Any]:
    """The tensors of a safetensors file by name, and its metadata, a dict of strings.

    Raises:
        PretrainedError: it is not a safetensors file, or is damaged.
    """
    file = StoredFile(path)
    start = file.size and int.from_bytes(file.read(0, min(8, file.size)).tobytes(), "little") + 8
    if not 8 < start <= file.size:
        raise PretrainedError(
            f"{path} is not a safetensors file, or is truncated: it has {file.size} bytes"
        )
    if start > LARGEST_JSON:
        raise PretrainedError(f"{path} has a header of {start - 8} bytes, not of a model")
    header = _parsed(file.read(8, start - 8).tobytes(), path)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise PretrainedError(f"{path} has metadata that are no dict")
    tensors = [_tensor(file, start, name, entry) for name, entry in header.items()]
    return check_tensors(file, tensors), metadata


def _tensor(file: StoredFile, start: int, name: str, entry: Any) -> StoredTensor:
    try:
        encoding, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if any(type(n) is not int or n < 0 for n in [*shape, begin, end]) or len(shape) > 32:
            raise TypeError
        size = prod(shape) * ENCODINGS[encoding].size
    except (KeyError, TypeError, ValueError):
        raise PretrainedError(f"{file.path} describes {shown(name)} as {shown(entry)}") from None
    if end - begin != size:
        raise PretrainedError(
            f"{shown(name)} in {file.path} has {shown(end - begin)} bytes, but as {encoding} of"
            f" shape {shown(tuple(shape))} it needs {shown(size)}"
        )
    return StoredTensor(file, name, encoding, tuple(shape), start + begin)


def read_shards(index: Path) -> dict[str, StoredTensor]:
    """The tensors of several safetensors files in one folder, by their index.

    Raises:
        PretrainedError: a file is missing or damaged, or lacks what the index says it holds.
    """
    places = read_json_file(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(v, str) for v in places.values()):
        raise PretrainedError(f"{index} has no weight_map of files by tensor")
    tensors: dict[str, StoredTensor] = {}
    for shard in sorted(set(places.values())):
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise PretrainedError(f"{index} names {shown(shard)}, not a file beside it")
        held, _ = read_safetensors(index.with_name(shard))
        expected = [name for name, place in places.items() if place == shard]
        missing = [name for name in expected if name not in held]
        if missing:
            raise PretrainedError(f"{index.with_name(shard)} lacks {listed(missing)}")
        tensors |= {name: held[name] for name in expected}
    return tensors


def read_json_file(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        PretrainedError: the file holds something else, or is too large.
    """
    try:
        check_regular_file(path)
        if path.stat().st_size > LARGEST_JSON:
            raise PretrainedError(f"{path} has {path.stat().st_size} bytes, which is too large")
        return _parsed(path.read_bytes(), path)
    except FileNotFoundError:
        raise PretrainedError(f"there is no file {path}") from None
    except OSError as error:
        raise PretrainedError(f"{path} cannot be read: {error.strerror}") from error


def _parsed(data: bytes, path: Any) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):  # ValueError: also bytes that are no text
        value = None
    if not isinstance(value, dict):
        raise PretrainedError(f"{path} is damaged: it does not hold a JSON object")
    return value


def write_safetensors(
    path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Write arrays of float64, float32 or float16 to a file, atomically.

    The arrays may be views of any strides; one at a time is copied.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": WRITABLE[array.dtype.name], "shape": array.shape, "data_offsets": [begin, end],
        }  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    write_atomically(path, _contents(text, arrays.values()))


def _contents(header: bytes, arrays: Iterable[NDArray[Any]]) -> Iterator[Any]:
    yield len(header).to_bytes(8, "little") + header
    for array in arrays:
        yield np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
