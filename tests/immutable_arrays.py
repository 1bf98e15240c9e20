"""A backend whose arrays are immutable: `pytest --backend immutable -p immutable_arrays`."""

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import array_api_strict

from tinytorch import backends
from tinytorch.backends.strict import StrictBackend


@functools.cache
def _second_copy() -> ModuleType:
    """array-api-strict under another name, whose arrays have no in-place operations."""
    name, folder = "immutable_strict", Path(array_api_strict.__file__).parent
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    array_type = type(module.zeros(1))
    for operator in ("add", "sub", "mul", "truediv", "pow", "and", "or"):
        delattr(array_type, f"__i{operator}__")  # x += y is then x = x + y
    array_type.__setitem__ = _refuse
    return module


_OPERATORS = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]


def _refuse(array: Any, key: Any, value: Any) -> None:
    raise TypeError("this array is immutable")


class ImmutableBackend(StrictBackend):
    """array-api-strict on a fake device, where a write returns a new array."""

    name = "immutable"
    mutable = False

    def _standard(self) -> Any:
        return _second_copy()

    def _extra(self, name: str) -> Any:
        if name == "storage":
            return lambda x: x
        extra = super()._extra(name)
        if name not in ("index_add", "index_set"):
            return extra

        def changed(x: Any, key: Any, values: Any) -> Any:
            return extra(self.asarray(x), key, values)

        return changed


backends.register("immutable", ImmutableBackend)
