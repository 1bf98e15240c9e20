"""`save` and `load`: tensors in nested dicts and lists, in safetensors files instead of pickles."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import shown
from ..autograd import Variable
from ..backends import device, device_of
from ..tensor import Tensor
from . import checkpoint
from .checkpoint import CheckpointError

__all__ = ["load", "save"]

_TREE = "object"  # the key of the metadata
_CONVERT = (
    'convert it with PyTorch: safetensors.torch.save_file(torch.load("{name}"), "weights'
    '.safetensors"), where load returns a flat dict of tensors, and load that file'
)


def save(obj: Any, f: Any, *_: Any, **__: Any) -> None:
    """Write tensors and plain values to a file, which `load` reads.

    The file is in the safetensors format, with the structure as JSON in its metadata, whatever its
    extension: no pickle is involved, so reading a file runs no code from it. It is written
    atomically: if anything fails, an older file stays as it was.

    Args:
        obj: a tensor, or a dict, list or tuple of tensors, NumPy arrays, numbers, strings,
            booleans, None, dtypes, devices, and of such dicts, lists and tuples, as in
            ``{"model": model.state_dict(), "epoch": 3}``.
        f: a path, or a binary file that is open for writing.

    Raises:
        CheckpointError: the object contains something else, such as a whole module, or the file
            cannot be written.

    Example::

        save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "checkpoint.pt")
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    try:
        tree = _Encoder(arrays).encode(obj, ())
    except RecursionError:
        raise CheckpointError("save: the object is nested too deeply, or contains itself") from None
    if hasattr(f, "write"):
        with tempfile.TemporaryDirectory() as folder:
            checkpoint.save(Path(folder, "file"), arrays, {_TREE: tree})
            with open(Path(folder, "file"), "rb") as file:
                shutil.copyfileobj(file, f)
        return
    checkpoint.save(_path("save", f), arrays, {_TREE: tree})


def load(
    f: Any, map_location: Any = None, *_: Any, weights_only: bool | None = None, **__: Any
) -> Any:
    """Read what `save` has written, or the tensors of another safetensors file as a dict.

    Args:
        f: a path, or a binary file that is open for reading.
        map_location: the device or backend of the tensors; by default that of new tensors. A
            function of PyTorch's kind is called with each tensor and the name of its device.
        weights_only: without effect, since no file can contain code.

    Raises:
        CheckpointError: the file is missing, damaged, or a pickle, such as PyTorch's ``.pt`` files.
        FileNotFoundError: there is no such file.

    Example::

        checkpoint = load("checkpoint.pt", map_location="cpu")
        model.load_state_dict(checkpoint["model"])
    """
    if hasattr(f, "read"):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "file").write_bytes(f.read())
            return load(Path(folder, "file"), map_location)
    path = _path("load", f)
    if not path.exists():
        raise FileNotFoundError(f"load: there is no file {path}")
    _check_no_pickle(path)
    arrays, metadata = checkpoint.load(path, any_format=True)
    tensors = {name: _place(array, map_location) for name, array in arrays.items()}
    if _TREE not in metadata:
        if metadata:
            raise CheckpointError(
                f"{path} is a checkpoint of a Trainer: use Trainer.load_checkpoint"
            )
        return tensors
    try:
        return _decode(metadata[_TREE], tensors, arrays)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: its structure is inconsistent") from error


def _path(name: str, f: Any) -> Path:
    if not isinstance(f, str | os.PathLike):
        raise TypeError(f"{name} needs a path or an open binary file, not {shown(f)}")
    return Path(f)


def _check_no_pickle(path: Path) -> None:
    if not path.is_file():
        return  # `checkpoint.load` has the error
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # safetensors: the length of the header, which may begin with any byte
        return
    if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
        raise CheckpointError(
            f"{path} is a pickle, as PyTorch writes it, which can run code when it is read;"
            f" {_CONVERT.format(name=path.name)}"
        )


class _Encoder:
    """Converts an object to values of JSON, and collects the arrays in it.

    What JSON does not have is a dict with one key: ``{"$tensor": name}``. A dict whose keys are not
    all strings, or start with "$", is ``{"$dict": [[key, value], ...]}``.

    Args:
        arrays: receives the arrays by name.
    """

    def __init__(self, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
        self._arrays = arrays
        self._names: dict[int, str] = {}  # of arrays, so that a shared tensor is saved once
        self._kept: list[Any] = []  # keeps the ids valid

    def encode(self, value: Any, path: tuple[Any, ...]) -> Any:
        """`value` in JSON; `path` has the keys that lead to it."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, Variable):
            name = self._add(value._array, value._backend.to_numpy(value._array), path)
            grad = {"requires_grad": True} if value._requires_grad else {}
            return {"$tensor": name, **grad}
        if isinstance(value, np.ndarray):
            return {"$array": self._add(value, value, path)}
        if isinstance(value, Mapping):
            items = [(key, self.encode(item, (*path, key))) for key, item in value.items()]
            if all(type(key) is str and key[:1] != "$" for key, _ in items):
                return dict(items)
            return {"$dict": [[self.encode(key, path), item] for key, item in items]}
        if isinstance(value, list | tuple):
            values = [self.encode(item, (*path, i)) for i, item in enumerate(value)]
            return values if isinstance(value, list) else {"$tuple": values}
        if isinstance(value, np.generic):
            return self.encode(value.item(), path)
        if isinstance(value, np.dtype):
            return {"$dtype": value.name}
        if isinstance(value, device):
            return {"$device": str(value)}
        if isinstance(value, bool | int | float | str):  # of a subclass
            base = next(kind for kind in (bool, int, float, str) if isinstance(value, kind))
            return base(value)
        raise CheckpointError(_unsupported(value, path))

    def _add(self, key: Any, values: np.ndarray[Any, Any], path: tuple[Any, ...]) -> str:
        if id(key) not in self._names:
            name = base = ".".join(map(str, path)) or "tensor"
            number = 1
            while name in self._arrays or name == "__metadata__":
                number += 1
                name = f"{base}-{number}"
            self._names[id(key)], self._arrays[name] = name, values
            self._kept.append(key)
        return self._names[id(key)]


def _unsupported(value: Any, path: tuple[Any, ...]) -> str:
    where = "".join(f"[{key!r}]" for key in path)
    what = f"obj{where} is {shown(value)}, which" if path else f"{shown(value)}"
    if hasattr(value, "state_dict"):
        return f"save: {what} cannot be saved as a whole; save its state_dict()"
    if hasattr(value, "__dict__") and not callable(value):
        return f"save: {what} cannot be saved; save its attributes, vars(...)"
    return f"save: {what} cannot be saved; only tensors, numbers, strings, lists and dicts can"


def _decode(value: Any, tensors: Mapping[str, Tensor], arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    kind = next(iter(value), "")
    if kind[:1] != "$":
        return {key: _decode(item, tensors, arrays) for key, item in value.items()}
    content = value[kind]
    if kind == "$tensor":
        tensor = tensors[content]
        # The tensor itself may also be elsewhere in the object, without a gradient.
        return tensor.detach().requires_grad_() if value.get("requires_grad") is True else tensor
    if kind == "$array":
        return arrays[content]
    if kind == "$dict":
        pairs = [_decode(pair, tensors, arrays) for pair in content]
        return dict(pairs)
    if kind == "$tuple":
        return tuple([_decode(item, tensors, arrays) for item in content])
    if kind == "$dtype":
        return np.dtype(content)
    if kind == "$device":
        return device(content)
    raise ValueError(f"unknown kind {kind!r}")


def _place(array: np.ndarray[Any, Any], location: Any) -> Tensor:
    if isinstance(location, Mapping):
        location = location.get(str(device_of(Tensor(0.0).backend)))
    if isinstance(location, Callable):  # type: ignore[arg-type]
        tensor = Tensor(array)
        moved = location(tensor, str(tensor.device))
        return tensor if moved is None else moved
    return Tensor(array, device=location)
