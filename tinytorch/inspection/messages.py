"""What messages carry besides numbers and text: heads, and bytes in base64."""

import base64
import binascii
from collections.abc import Collection
from typing import Any

from ..arguments import check_integer, shown
from .ablation import Head

Reply = dict[str, Any]


def to_heads(heads: Any) -> tuple[Head, ...]:
    """The pairs (block, head) of a message, sorted."""
    pairs: Collection[Any] = heads or []
    if not isinstance(pairs, list) or not all(isinstance(h, list) and len(h) == 2 for h in pairs):
        raise ValueError(f"heads must be pairs [block, head], not {shown(heads)}")
    return tuple(sorted((check_integer("block", b), check_integer("head", h)) for b, h in pairs))


def to_bytes(data: Any) -> bytes:
    """The bytes of a message."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ValueError("the file's bytes are not in base64") from None


def to_base64(data: bytes) -> str:
    """Bytes for a message."""
    return base64.b64encode(data).decode("ascii")
