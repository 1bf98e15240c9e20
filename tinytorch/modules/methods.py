"""The methods of modules that lesson 03 does not build; each is a function in this folder."""

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from ..missing import MissingAttribute
from . import hooks, structure, views

if TYPE_CHECKING:
    from ..tensor import Tensor
    from .module import Module, Parameter


class ModuleMethods(structure.ModuleBase):
    """Base class of Module: a table of its further methods."""

    _hooks: tuple[hooks.Hook, ...] = ()

    # Contents
    children = structure.children
    buffers = structure.buffers
    named_buffers = structure.named_buffers
    get_submodule = structure.get_submodule
    get_parameter = structure.get_parameter
    get_buffer = structure.get_buffer
    add_module = register_module = structure.add_module
    register_parameter = structure.register_parameter
    apply = structure.apply
    _get_name = structure.get_name

    # Conversion
    requires_grad_ = structure.requires_grad_
    cpu = structure.cpu
    cuda = structure.cuda
    half = structure.half
    float = structure.float_
    double = structure.double
    bfloat16 = structure.bfloat16
    type = structure.type_
    compile = structure.compile

    # Hooks
    register_forward_hook = hooks.register_forward_hook
    register_forward_pre_hook = hooks.register_forward_pre_hook
    register_full_backward_hook = hooks.register_full_backward_hook
    register_full_backward_pre_hook = hooks.register_full_backward_pre_hook

    # Missing
    get_extra_state = MissingAttribute("torch.nn.Module")
    register_backward_hook = MissingAttribute("torch.nn.Module")
    register_load_state_dict_post_hook = MissingAttribute("torch.nn.Module")
    register_load_state_dict_pre_hook = MissingAttribute("torch.nn.Module")
    register_state_dict_post_hook = MissingAttribute("torch.nn.Module")
    register_state_dict_pre_hook = MissingAttribute("torch.nn.Module")
    set_extra_state = MissingAttribute("torch.nn.Module")
    set_submodule = MissingAttribute("torch.nn.Module")
    share_memory = MissingAttribute("torch.nn.Module")
    to_empty = MissingAttribute("torch.nn.Module")

    # Dicts by name of what this module alone holds; assigning to them assigns attributes

    @property
    def _modules(self: Any) -> "MutableMapping[str, Module]":
        return views.View(self, "modules")

    @property
    def _parameters(self: Any) -> "MutableMapping[str, Parameter]":
        return views.View(self, "parameters")

    @property
    def _buffers(self: Any) -> "MutableMapping[str, Tensor]":
        return views.View(self, "buffers")
