"""The contents of a module: find, add, visit and convert them."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..tensor import Tensor
from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module


class ModuleBase:
    """Base class by which the functions of this file recognise a Module, which imports them."""


def children(module: "Module") -> Iterator["Module"]:
    """The modules that this one holds directly, each once."""
    return (child for _, child in module.named_children())


def buffers(module: "Module", recurse: bool = True) -> Iterator[Tensor]:
    """All buffers, each once."""
    return (buffer for _, buffer in named_buffers(module, recurse=recurse))


def named_buffers(
    module: "Module", prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
) -> Iterator[tuple[str, Tensor]]:
    """(dotted name, tensor) for each buffer; a shared one only under its first name."""
    seen: set[int] = set()
    for name, value in module._named_tensors(prefix, recurse, remove_duplicate):
        if not isinstance(value, Parameter) and id(value) not in seen:
            if remove_duplicate:
                seen.add(id(value))
            yield name, value


def get_submodule(module: "Module", target: str) -> "Module":
    """The module with a dotted name, such as "blocks.0.attention"; "" is the module itself."""
    found: Any = module
    for name in target.split(".") if target else []:
        found = _child(module, found, name, target)
    if not isinstance(found, ModuleBase):
        raise AttributeError(f"{target!r} in {type(module).__name__} is not a Module")
    return found  # type: ignore[return-value]


def get_parameter(module: "Module", target: str) -> Parameter:
    """The parameter with a dotted name."""
    found = _get_tensor(module, target)
    if target not in dict(module.named_parameters(remove_duplicate=False)):
        raise AttributeError(f"{target!r} in {type(module).__name__} is not a parameter")
    return found  # type: ignore[no-any-return]


def get_buffer(module: "Module", target: str) -> Tensor:
    """The buffer with a dotted name."""
    found = _get_tensor(module, target)
    if target not in dict(named_buffers(module, remove_duplicate=False)):
        raise AttributeError(f"{target!r} in {type(module).__name__} is not a buffer")
    return found  # type: ignore[no-any-return]


def _get_tensor(module: "Module", target: str) -> Any:
    path, _, name = target.rpartition(".")
    return _child(module, get_submodule(module, path), name, target)


def _child(root: "Module", holder: Any, name: str, target: str) -> Any:
    """The attribute `name` of a module, or the item of a list or dict of modules."""
    if isinstance(holder, list | tuple) and name.isdigit() and int(name) < len(holder):
        return holder[int(name)]
    if isinstance(holder, dict):
        for key, value in holder.items():
            if str(key) == name:
                return value
    elif hasattr(holder, name):
        return getattr(holder, name)
    raise AttributeError(
        f"{type(root).__name__} has no {target!r}: {type(holder).__name__} has no attribute"
        f" {name!r}"
    )


def add_module(module: "Module", name: str, child: "Module | None") -> None:
    """Add a module as the attribute `name`.

    Raises:
        TypeError: `child` is neither a module nor None.
        KeyError: the name is empty or contains a dot, or an attribute has it that is no module.
    """
    what = f"{type(module).__name__}.add_module"
    if child is not None and not isinstance(child, ModuleBase):
        raise TypeError(f"{what}: {name} must be a Module, not {type(child).__name__}")
    old = module.__dict__.get(name)
    _check_name(what, name, not isinstance(old, ModuleBase | None), module)
    setattr(module, name, child)


def register_parameter(module: "Module", name: str, param: Parameter | None) -> None:
    """Add a parameter, or None in its place, as the attribute `name`.

    Raises:
        TypeError: it is neither a Parameter nor None.
        KeyError: the name is empty or contains a dot, or another attribute has it.
    """
    what = f"{type(module).__name__}.register_parameter"
    if not isinstance(param, Parameter | None):
        raise TypeError(f"{what}: {name} must be a Parameter or None, not {type(param).__name__}")
    if param is not None and param._node is not None:
        raise ValueError(f"{what}: {name} was computed from other tensors; detach() it")
    old = module.__dict__.get(name)
    _check_name(what, name, not isinstance(old, Parameter | None), module)
    setattr(module, name, param)


def _check_name(what: str, name: str, is_used: bool, module: "Module") -> None:
    if not isinstance(name, str):
        raise TypeError(f"{what}: a name must be a string, not {type(name).__name__}")
    if not name or "." in name:
        raise KeyError(f"{what}: {name!r} is not a name; it cannot be empty or contain a dot")
    if is_used or (name not in module.__dict__ and hasattr(module, name)):
        raise KeyError(f"{what}: an attribute {name!r} already exists")


def apply(module: "Module", fn: Callable[["Module"], Any]) -> "Module":
    """Call ``fn(m)`` for each module within this one, and then for this one.

    >>> from tinytorch import Linear, Sequential
    >>> def init(m):
    ...     if isinstance(m, Linear):
    ...         m.weight.data.fill_(1.0)
    >>> Sequential(Linear(2, 1)).apply(init)[0].weight.tolist()
    [[1.0, 1.0]]
    """
    for child in children(module):
        child.apply(fn)
    fn(module)
    return module


def requires_grad_(module: "Module", requires_grad: bool = True) -> "Module":
    """Set `requires_grad` of all parameters, for example False to freeze them."""
    for parameter in module.parameters():
        parameter.requires_grad_(requires_grad)
    return module


def cpu(module: "Module") -> "Module":
    """Move all parameters and buffers to the host."""
    return module.to("cpu")


def cuda(module: "Module", device: Any = None) -> "Module":
    """Move all parameters and buffers to the GPU, the backend cupy."""
    return module.to("cuda" if device is None else device)


def half(module: "Module") -> "Module":
    """Cast all floating parameters and buffers to float16."""
    return module.to(dtype="float16")


def float_(module: "Module") -> "Module":
    """Cast all floating parameters and buffers to float32."""
    return module.to(dtype="float32")


def double(module: "Module") -> "Module":
    """Cast all floating parameters and buffers to float64."""
    return module.to(dtype="float64")


def bfloat16(module: "Module") -> "Module":
    """Raise an error: no backend has bfloat16."""
    raise TypeError(
        f"{type(module).__name__}.bfloat16: no backend has bfloat16; use float() or half()"
    )


def type_(module: "Module", dst_type: Any) -> "Module":
    """Cast all floating parameters and buffers to a dtype."""
    return module.to(dtype=dst_type)


def compile(module: "Module", *args: Any, **settings: Any) -> None:
    """Do nothing: steps are made faster by ``Trainer(..., cuda_graph=True)`` instead."""


def get_name(module: "Module") -> str:
    """The name of the class."""
    return type(module).__name__
