"""The names of `torch.nn.utils.parametrize`: a parameter that is computed by modules.

>>> from tinytorch.nn import Linear, Module
>>> from tinytorch.nn.utils import parametrize
>>> class Double(Module):
...     def forward(self, weight):
...         return 2 * weight
>>> layer = Linear(1, 1, bias=False)
>>> layer.weight.data.fill_(3.0)
Tensor([[3.]])
>>> _ = parametrize.register_parametrization(layer, "weight", Double())
>>> layer.weight.item(), layer.parametrizations.weight.original.item()
(6.0, 3.0)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...autograd import no_grad
from ...missing import missing_name
from ...modules.containers import ModuleDict, ModuleList
from ...modules.module import Module, Parameter
from ...tensor import Tensor

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
]


class ParametrizationList(ModuleList):
    """The modules that compute a tensor from `original`, each from the result of the one before."""

    def __init__(self, modules: list[Module], original: Tensor) -> None:
        if isinstance(original, Parameter):
            self.original = original
        else:
            self.register_buffer("original", original)
        super().__init__(modules)

    def forward(self) -> Tensor:
        x: Tensor = self.original
        for module in self:
            x = module(x)
        return x

    def right_inverse(self, value: Tensor) -> None:
        """Set `original` so that the result is `value`; needs `right_inverse` of each module."""
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"a parametrized tensor cannot be assigned, because {type(module).__name__}"
                        " has no right_inverse"
                    )
                value = module.right_inverse(value)
            self.original.copy_(value)


def register_parametrization(
    module: Any, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Any:
    """Compute the parameter or buffer `tensor_name` of `module` by ``parametrization(original)``.

    The parameter becomes ``module.parametrizations.<name>.original`` and is trained as before.

    Args:
        module: its class becomes a subclass in which `tensor_name` is a property.
        tensor_name: the name of the parameter or buffer.
        parametrization: the module; it may have parameters of its own. If the tensor has one
            already, it computes from its result.
        unsafe: allow a result of another shape.

    Raises:
        ValueError: there is no such tensor, or the result has another shape.
    """
    if is_parametrized(module, tensor_name):
        entry = module.parametrizations[tensor_name]
        before, stages = module.__getattribute__(tensor_name), [*entry, parametrization]
    else:
        before = module.__dict__.get(tensor_name)
        stages = [parametrization]
        if not isinstance(before, Tensor):
            raise ValueError(
                f"{type(module).__name__} has no parameter or buffer {tensor_name!r} to parametrize"
            )
        entry = None
    with no_grad():
        after = parametrization(before)
    if not unsafe and (not isinstance(after, Tensor) or after.shape != before.shape):
        raise ValueError(
            f"the parametrization of {tensor_name!r} must return a tensor of shape {before.shape},"
            f" not {getattr(after, 'shape', type(after).__name__)}; or pass unsafe=True"
        )
    if entry is not None:
        entry.append(parametrization)
        return module
    delattr(module, tensor_name)
    module.__dict__.get("_persistent", {}).pop(tensor_name, None)
    base = type(module).__bases__[0] if is_parametrized(module) else type(module)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = ParametrizationList(stages, before)
    _set_class(module, base)
    return module


def remove_parametrizations(module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """Make the tensor a parameter again: with its computed value, or else with the original."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"{tensor_name!r} of {type(module).__name__} is not parametrized")
    entry = module.parametrizations[tensor_name]
    original = entry.original
    if leave_parametrized:
        with no_grad():
            original.copy_(entry())
    del module.parametrizations[tensor_name]
    _set_class(module, type(module).__bases__[0])
    if isinstance(original, Parameter):
        setattr(module, tensor_name, original)
    else:
        module.register_buffer(tensor_name, original)
    if not len(module.parametrizations):
        del module.parametrizations
    return module


def is_parametrized(module: Any, tensor_name: str | None = None) -> bool:
    """Whether the module, or one of its tensors, has parametrizations."""
    found = module.__dict__.get("parametrizations")
    return isinstance(found, ModuleDict) and (tensor_name is None or tensor_name in found)


@contextmanager
def cached() -> Iterator[None]:
    """A context without effect; PyTorch computes a parametrized tensor only once in it."""
    yield


def _set_class(module: Any, base: type) -> None:
    """Make the class of the module a new subclass of `base` with a property for each tensor."""
    properties = {name: _property(name) for name in module.parametrizations}
    name = f"Parametrized{base.__name__}"
    module.__class__ = type(name, (base,), properties) if properties else base


def _property(name: str) -> property:
    def compute(module: Any) -> Any:
        return module.parametrizations[name]()

    def assign(module: Any, value: Any) -> None:
        module.parametrizations[name].right_inverse(value)

    return property(compute, assign)


def __getattr__(name: str) -> Any:
    raise missing_name("torch.nn.utils.parametrize", name, globals())
