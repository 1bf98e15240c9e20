"""How files encode numbers: floats of 64 to 16 bits, and GGUF's blocks of 4, 6 and 8 bits.

Blocks share a scale, so that a number takes little more than its few bits:

| name | numbers | bytes of a block |
|---|---|---|
| Q8_0 | 32 | scale d (float16), 32 integers q: d q |
| Q4_0 | 32 | scale d (float16), 16 bytes of two integers each: d (q - 8) |
| Q4_1 | 32 | scale d and minimum m (float16), 16 bytes of two integers each: d q + m |
| Q6_K | 256 | 128 bytes of lower, 64 of upper bits, 16 scales s (int8), d (float16): d s (q - 32) |

In a byte of two integers, the lower four bits belong to the first half of the block.

Source: the format of GGUF files, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and the
structs of its blocks, `ggml-common.h`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Numbers = NDArray[Any]


class Encoding(NamedTuple):
    """An encoding of numbers in blocks.

    Attributes:
        numbers: numbers in a block.
        size: bytes of a block.
        decode: bytes (N, size) -> floats (N, numbers); None for what cannot be a weight.
    """

    numbers: int
    size: int
    decode: Callable[[Bytes], Numbers] | None = None


def _floats(code: str) -> Encoding:
    dtype = np.dtype(code)
    return Encoding(1, dtype.itemsize, lambda raw: raw.view(dtype))


def _bfloat16(raw: Bytes) -> Numbers:
    """The upper half of a float32."""
    return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)


def _half(raw: Bytes) -> Numbers:
    """Two bytes (N, 2) as float32 (N, 1)."""
    return np.ascontiguousarray(raw).view("<f2").astype(np.float32)


def _q8_0(raw: Bytes) -> Numbers:
    return raw[:, 2:].view(np.int8) * _half(raw[:, :2])  # (N, 32)


def _nibbles(raw: Bytes) -> Numbers:
    """Bytes (N, 16) -> their lower, then their upper four bits: floats (N, 32)."""
    q = np.empty((len(raw), 32), np.float32)
    np.copyto(q[:, :16], raw & 15)
    np.copyto(q[:, 16:], raw >> 4)
    return q


def _q4_0(raw: Bytes) -> Numbers:
    d = _half(raw[:, :2])  # (N, 1)
    q = _nibbles(raw[:, 2:])
    q -= 8
    q *= d
    return q


def _q4_1(raw: Bytes) -> Numbers:
    d, m = _half(raw[:, :2]), _half(raw[:, 2:4])  # (N, 1) each
    q = _nibbles(raw[:, 4:])
    q *= d
    q += m
    return q


def _q6_k(raw: Bytes) -> Numbers:
    N = len(raw)
    two = raw[:, :128].reshape(N, 2, 1, 64)  # of two halves of 128 numbers, lower bits of two
    low = np.concatenate([two & 15, two >> 4], axis=2).reshape(N, 2, 4, 32)
    four = raw[:, 128:192].reshape(N, 2, 1, 32)  # upper bits of four
    high = (four >> np.array([0, 2, 4, 6], np.uint8)[:, None]) & 3  # (N, 2, 4, 32)
    q = (low | high << 4).astype(np.float32).reshape(N, 16, 16)
    q -= 32
    scales: Numbers = raw[:, 192:208].view(np.int8) * _half(raw[:, 208:])  # (N, 16)
    numbers: Numbers = (q * scales[:, :, None]).reshape(N, 256)
    return numbers


ENCODINGS = {
    "F64": _floats("<f8"),
    "F32": _floats("<f4"),
    "F16": _floats("<f2"),
    "BF16": Encoding(1, 2, _bfloat16),
    "Q8_0": Encoding(32, 34, _q8_0),
    "Q4_0": Encoding(32, 18, _q4_0),
    "Q4_1": Encoding(32, 20, _q4_1),
    "Q6_K": Encoding(256, 210, _q6_k),
    # of safetensors; masks and positions, for example
    "BOOL": Encoding(1, 1),
    "I8": Encoding(1, 1),
    "U8": Encoding(1, 1),
    "F8_E4M3": Encoding(1, 1),
    "F8_E5M2": Encoding(1, 1),
    "I16": Encoding(1, 2),
    "U16": Encoding(1, 2),
    "I32": Encoding(1, 4),
    "U32": Encoding(1, 4),
    "I64": Encoding(1, 8),
    "U64": Encoding(1, 8),
}
READABLE = [name for name, encoding in ENCODINGS.items() if encoding.decode]
