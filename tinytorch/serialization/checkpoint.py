"""Checkpoints: named arrays and JSON metadata in one safetensors file, written atomically.

No pickle is involved, so reading a file from an untrusted source runs no code from it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .atomic import check_regular_file, write_atomically

FORMAT = "tinytorch"
VERSION = "2"  # since version 2, a file contains the SHA-256 of its contents
_RESERVED = ("format", "version", "contents_sha256")  # metadata keys of the format itself

_DTYPES = {np.dtype(code).name for code in "?bhiqBHIQefd"}  # bool to float64

# The name of a bit generator comes from a file, so only these are accepted.
_BIT_GENERATORS = {
    kind.__name__: kind
    for kind in (
        np.random.PCG64,
        np.random.PCG64DXSM,
        np.random.MT19937,
        np.random.Philox,
        np.random.SFC64,
    )
}


class CheckpointError(ValueError):
    """A checkpoint cannot be written or read; the message is one sentence with the reason."""


def save(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
) -> None:
    """Write arrays and metadata to one file, atomically.

    Args:
        path: the file. Until the new contents are complete and on disk, it keeps the old ones,
            even if the power fails.
        arrays: arrays of any shape; dtypes bool, integers, and float16 to float64.
        metadata: values that JSON can represent. As in JSON, tuples become lists, and the keys of
            inner dicts become strings.

    Raises:
        CheckpointError: the file cannot be written (no such folder, a full disk), or an array or
            a value cannot be represented.

    Example::

        save("model.safetensors", {"weight": np.zeros((2, 3))}, {"step": 100})
    """
    path = Path(path)
    data = _serialize(path, arrays, _encode_metadata(path, metadata))
    try:
        write_atomically(path, data)
    except (OSError, ValueError) as error:  # ValueError: the path contains a NUL
        raise CheckpointError(f"{path} was not written: {_reason(error)}") from error


def load(
    path: str | os.PathLike[str], any_format: bool = False
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the arrays and the metadata of a file written by `save`.

    Args:
        path: the file.
        any_format: whether safetensors files of other programs are read too; their metadata are
            left out.

    Returns:
        The arrays, as writable copies, and the metadata.

    Raises:
        CheckpointError: the file is missing or damaged, or was not written by `save`. Files of
            version 2 contain a checksum, so a wrong bit in what they hold is noticed.

    Example::

        arrays, metadata = load("model.safetensors")
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if os.path.isdir(path):
        raise CheckpointError(f"{path} is a folder, not a checkpoint")
    try:
        check_regular_file(path)
        # "np" is the only spelling that every release of safetensors accepts.
        with safe_open(path, framework="np") as file:
            encoded = file.metadata() or {}
            is_foreign = any_format and encoded.get("format") != FORMAT
            metadata = {} if is_foreign else _decode_metadata(path, encoded)
            arrays = {name: _writable(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        if is_foreign or encoded["version"] == "1":
            return arrays, metadata
        if encoded.get("contents_sha256") != _sha256(arrays, encoded):
            raise CheckpointError(f"{path} is damaged: its contents do not match their checksum")
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except CheckpointError:
        raise
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is damaged, truncated or not a safetensors file: {_reason(error)}"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {_reason(error)}") from error
    return arrays, metadata


def _sha256(arrays: Mapping[str, NDArray[Any]], encoded: Mapping[str, str]) -> str:
    """Hash names, dtypes, shapes, numbers and metadata, except for the hash itself."""
    metadata = sorted((key, text) for key, text in encoded.items() if key != "contents_sha256")
    names = sorted(arrays)
    described = [(name, arrays[name].dtype.name, arrays[name].shape) for name in names]
    digest = hashlib.sha256(json.dumps([metadata, described]).encode())
    for name in names:
        digest.update(_contiguous(name, arrays[name]).data)
    return digest.hexdigest()


def strip_prefix(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The arrays whose names start with `prefix`, by the rest of their names."""
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def rng_state(generator: np.random.Generator) -> dict[str, Any]:
    """Return the state of a NumPy generator as values that JSON can represent.

    Raises:
        CheckpointError: the bit generator is not one of NumPy's own.

    >>> import numpy as np
    >>> from tinytorch.serialization.checkpoint import restore_rng, rng_state
    >>> generator = np.random.default_rng(0)
    >>> state = rng_state(generator)
    >>> restore_rng(state).random() == generator.random()
    True
    """
    state: dict[str, Any] = _to_json_types(generator.bit_generator.state)
    _bit_generator(state.get("bit_generator"))
    return state


def restore_rng(state: Mapping[str, Any]) -> np.random.Generator:
    """Return a generator that continues from the state returned by `rng_state`.

    It draws the same numbers. Generators from `spawn` differ, because NumPy's state does not
    include the seed sequence.

    Raises:
        CheckpointError: `state` was not returned by `rng_state`.
    """
    try:
        bits = _bit_generator(state["bit_generator"])(0)
        bits.state = state
    except CheckpointError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"not the state of a random generator: {error!r}") from error
    return np.random.Generator(bits)


def _bit_generator(name: Any) -> Any:
    if not isinstance(name, str) or name not in _BIT_GENERATORS:
        known = ", ".join(_BIT_GENERATORS)
        raise CheckpointError(f"unknown bit generator {name!r}; known ones are {known}")
    return _BIT_GENERATORS[name]


def _to_json_types(value: Any) -> Any:
    """Convert arrays to lists, and NumPy scalars to Python numbers, also within dicts."""
    if isinstance(value, dict):
        return {key: _to_json_types(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _encode_metadata(path: Path, metadata: Mapping[str, Any]) -> dict[str, str]:
    """Encode each value as JSON, because the metadata of safetensors are strings."""
    encoded = {"format": FORMAT, "version": VERSION}
    for key, value in metadata.items():
        if not isinstance(key, str) or key in _RESERVED:
            raise CheckpointError(f"{path}: metadata cannot have the key {key!r}")
        try:
            encoded[key] = json.dumps(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{path}: JSON cannot represent metadata {key!r}: {error}"
            ) from error
    return encoded


def _decode_metadata(path: Path, encoded: Mapping[str, str]) -> dict[str, Any]:
    if encoded.get("format") != FORMAT:
        raise CheckpointError(f"{path} is a safetensors file, but not a TinyTorch checkpoint")
    if encoded.get("version") not in ("1", VERSION):
        raise CheckpointError(
            f"{path} is a checkpoint of version {encoded.get('version')!s:.20}, "
            f"but this TinyTorch reads versions 1 and {VERSION}"
        )
    return {key: json.loads(text) for key, text in encoded.items() if key not in _RESERVED}


def _serialize(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: dict[str, str]) -> bytes:
    from safetensors import SafetensorError
    from safetensors.numpy import save as serialize

    if "__metadata__" in arrays:
        raise CheckpointError(f"{path}: safetensors reserves the array name '__metadata__'")
    try:
        contiguous = {name: _contiguous(name, array) for name, array in arrays.items()}
        digest = _sha256(contiguous, metadata)
        return serialize(contiguous, {**metadata, "contents_sha256": digest})
    except (SafetensorError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} was not written: {_reason(error)}") from error


def _contiguous(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return the array as a file holds it: little-endian and in C order."""
    array = np.asarray(array)
    if array.dtype.name not in _DTYPES:
        raise CheckpointError(
            f"array {name!r} has dtype {array.dtype}, which a checkpoint cannot represent"
        )
    # np.ascontiguousarray would give a scalar an axis.
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _writable(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.flags.owndata and array.flags.writeable else array.copy()


def _reason(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return reason if len(reason) <= 300 else reason[:300] + "..."  # it may quote the file
