"""The tensors and the metadata of a GGUF file, the format of llama.cpp.

The format, little-endian: "GGUF", the version, the numbers of tensors and of metadata; the
metadata, each a name, a type and a value; name, shape, type and place of each tensor; the numbers,
aligned. Shapes are written with the contiguous axis first.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import math
import os
from typing import Any

import numpy as np

from ..arguments import shown
from .encodings import ENCODINGS, READABLE
from .errors import PretrainedError
from .stored import StoredFile, StoredTensor, check_tensors

# Numbers of the types of tensors; of some that are not read, so that they can be named.
TENSOR_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1",
    10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 28: "F64", 30: "BF16",
}  # fmt: skip
# Types of metadata, except for strings and arrays.
_VALUE_TYPES = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8",
    11: "<i8", 12: "<f8",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
LARGEST_METADATA = 64 * 2**20  # bytes; vocabularies take some millions


def read_gguf(path: str | os.PathLike[str]) -> tuple[dict[str, StoredTensor], dict[str, Any]]:
    """The tensors of a GGUF file by name, and its metadata.

    Metadata are numbers, booleans, strings, lists of strings, and arrays of numbers.

    Raises:
        PretrainedError: it is not a GGUF file, or is damaged, or holds tensors of a type that is
            not read.
    """
    file = StoredFile(path)
    reader = _Reader(file)
    if reader.take(4) != b"GGUF":
        raise PretrainedError(f"{path} is not a GGUF file")
    version = reader.number("<u4")
    if version not in (2, 3):
        raise PretrainedError(f"{path} is a GGUF file of version {version}, not of 2 or 3")
    count, entries = reader.number("<u8"), reader.number("<u8")
    metadata = {}
    for _ in range(entries):  # ends with an error at the end of the file
        name = reader.string()
        metadata[name] = reader.value(reader.number("<u4"))
    parts = metadata.get("split.count", 1)
    if type(parts) is not int or parts != 1:
        raise PretrainedError(f"{path} is a part of a model: join its {shown(parts)}")
    infos = [_info(reader) for _ in range(count)]
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= 2**16:
        raise PretrainedError(f"{path} is damaged: its alignment is {shown(alignment)}")
    start = math.ceil(reader.position / alignment) * alignment
    tensors = [
        StoredTensor(file, name, encoding, shape, start + offset)
        for name, encoding, shape, offset in infos
    ]
    return check_tensors(file, tensors), metadata


def _info(reader: "_Reader") -> tuple[str, str, tuple[int, ...], int]:
    """Name, encoding, shape and offset of a tensor."""
    name, axes = reader.string(), reader.number("<u4")
    if axes > 8:
        raise PretrainedError(f"{reader.path} is damaged: {shown(name)} has {axes} axes")
    shape = tuple(reader.number("<u8") for _ in range(axes))[::-1]
    number, offset = reader.number("<u4"), reader.number("<u8")
    encoding = TENSOR_TYPES.get(number, f"number {number}")
    if encoding not in ENCODINGS:
        raise PretrainedError(
            f"{shown(name)} in {reader.path} has the type {encoding}; read are"
            f" {', '.join(READABLE)}"
        )
    if shape and shape[-1] % ENCODINGS[encoding].numbers:
        raise PretrainedError(
            f"{shown(name)} in {reader.path} of shape {shape} cannot be {encoding}, in blocks of"
            f" {ENCODINGS[encoding].numbers}"
        )
    return name, encoding, shape, offset


class _Reader:
    """Reads the values in front of the numbers one after the other."""

    def __init__(self, file: StoredFile) -> None:
        self.path, self.position = file.path, 0
        self._data = file.mapped()
        self._end = min(file.size, LARGEST_METADATA)

    def take(self, count: int) -> bytes:
        """The next bytes."""
        start, self.position = self.position, self.position + count
        if self.position > self._end:
            raise PretrainedError(f"{self.path} is truncated or damaged: its metadata do not end")
        data: bytes = self._data[start : self.position]
        return data

    def number(self, code: str) -> Any:
        dtype = np.dtype(code)
        return np.frombuffer(self.take(dtype.itemsize), dtype)[0].item()

    def string(self) -> str:
        size = int.from_bytes(self.take(8), "little")
        return self.take(size).decode("utf-8", "replace")

    def _strings(self, count: int) -> list[str]:
        """As `string`, for a vocabulary: without the calls, three times faster."""
        data, at, end, found = self._data, self.position, self._end, []
        for _ in range(count):
            start = at + 8
            at = start + int.from_bytes(data[at:start], "little")
            if start > end or at > end:
                break
            found.append(data[start:at].decode("utf-8", "replace"))
        self.position = at
        self.take(0)  # an error if it is not in the file
        return found

    def value(self, kind: int) -> Any:
        """A value of the type with a number."""
        if kind == _STRING:
            return self.string()
        if kind in _VALUE_TYPES:
            return self.number(_VALUE_TYPES[kind])
        if kind != _ARRAY:
            raise PretrainedError(f"{self.path} is damaged: no metadata have the type {kind}")
        kind, count = self.number("<u4"), self.number("<u8")
        if kind == _STRING:
            return self._strings(count)
        if kind not in _VALUE_TYPES:
            raise PretrainedError(f"{self.path} has an array of the type {kind} in its metadata")
        dtype = np.dtype(_VALUE_TYPES[kind])
        return np.frombuffer(self.take(count * dtype.itemsize), dtype).copy()
