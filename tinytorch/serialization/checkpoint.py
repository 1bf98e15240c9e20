"""Checkpoints: named arrays and JSON in one safetensors file, written whole or not at all.

No pickle: a file from a stranger can be read without running any code of theirs.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import write_atomically

Array = np.ndarray[Any, Any]

FORMAT = "tinytorch"
VERSION = "1"
_RESERVED = ("format", "version")  # our own keys in the file's metadata

_DTYPES = {np.dtype(code).name for code in "?bhiqBHIQefd"}  # bool to float64

# These by name, and nothing else: the name comes from a file.
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
    """A checkpoint could not be written or read; the message says in one sentence why."""


def save(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, Any]
) -> None:
    """Write `arrays` (any shapes) and `metadata` (values that JSON can hold) to one file.

    Until the new file is complete and on disk, the old one stays as it was, even if the power
    fails. Kept are shapes and dtypes (bool, integers, float16 to float64); JSON turns
    tuples into lists and keys of inner dicts into strings. Raises CheckpointError if the file
    cannot be written (a full disk, no such folder), or if an array or a value has no form in it.

    >>> save("model.safetensors", {"w": np.zeros((2, 3))}, {"step": 100})
    """
    path = Path(path)
    data = _serialize(path, arrays, _encode(path, metadata))
    try:
        write_atomically(path, data)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise CheckpointError(f"{path} was not written: {_reason(error)}") from error


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the metadata that `save` wrote; the arrays are writable copies.

    Raises CheckpointError if the file is missing, cut short, or not written by `save`.

    >>> arrays, metadata = load("model.safetensors")
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if os.path.isdir(path):
        raise CheckpointError(f"{path} is a folder, not a checkpoint")
    try:
        # "np": the spelling that every release of safetensors knows
        with safe_open(path, framework="np") as file:
            metadata = _decode(path, file.metadata() or {})
            arrays = {name: _own(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except CheckpointError:
        raise
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is damaged, cut short or not a safetensors file: {error}"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {_reason(error)}") from error
    return arrays, metadata


def rng_state(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a NumPy generator, as JSON can hold it, for `restore_rng`.

    Raises CheckpointError for a bit generator that is not one of NumPy's own.

    >>> save(path, arrays, {"rng": rng_state(generator)})
    """
    state: dict[str, Any] = _plain(generator.bit_generator.state)
    _bit_generator(state.get("bit_generator"))
    return state


def restore_rng(state: Mapping[str, Any]) -> np.random.Generator:
    """A generator that goes on where the one given to `rng_state` stood.

    Its draws are the same; what it would `spawn` is not, for NumPy's state does not hold that.
    Raises CheckpointError if the state is not one that `rng_state` made.

    >>> generator = restore_rng(metadata["rng"])
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
        raise CheckpointError(f"unknown bit generator {name!r}; known are {known}")
    return _BIT_GENERATORS[name]


def _plain(value: Any) -> Any:
    """`value` with arrays as lists and NumPy's integers as Python's."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _encode(path: Path, metadata: Mapping[str, Any]) -> dict[str, str]:
    """The metadata as safetensors holds it: strings only, so each value becomes JSON."""
    encoded = {"format": FORMAT, "version": VERSION}
    for key, value in metadata.items():
        if not isinstance(key, str) or key in _RESERVED:
            raise CheckpointError(f"{path}: metadata cannot have the key {key!r}")
        try:
            encoded[key] = json.dumps(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: JSON cannot hold metadata {key!r}: {error}") from error
    return encoded


def _decode(path: Path, encoded: Mapping[str, str]) -> dict[str, Any]:
    if encoded.get("format") != FORMAT:
        raise CheckpointError(f"{path} is a safetensors file, but not a TinyTorch checkpoint")
    if encoded.get("version") != VERSION:
        raise CheckpointError(
            f"{path} is a checkpoint of version {encoded.get('version')}, "
            f"and this TinyTorch reads version {VERSION}"
        )
    return {key: json.loads(text) for key, text in encoded.items() if key not in _RESERVED}


def _serialize(path: Path, arrays: Mapping[str, Array], metadata: dict[str, str]) -> bytes:
    from safetensors import SafetensorError
    from safetensors.numpy import save as serialize

    if "__metadata__" in arrays:
        raise CheckpointError(f"{path}: no array can be named '__metadata__' in safetensors")
    try:
        return serialize({name: _dense(name, array) for name, array in arrays.items()}, metadata)
    except (SafetensorError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} was not written: {error}") from error


def _dense(name: str, array: Array) -> Array:
    """In C order, for safetensors copies the memory as it lies (and sees to the byte order)."""
    array = np.asarray(array, order="C")  # np.ascontiguousarray would give a scalar an axis
    if array.dtype.name not in _DTYPES:
        raise CheckpointError(
            f"array {name!r} has the dtype {array.dtype}, which a checkpoint cannot hold"
        )
    return array


def _own(array: Array) -> Array:
    return array if array.flags.owndata and array.flags.writeable else array.copy()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
