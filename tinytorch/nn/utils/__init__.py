"""The names of `torch.nn.utils`."""

from typing import Any

from ...missing import missing_name
from . import parametrize, rnn
from .clip_grad import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from .convert_parameters import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "parametrize",
    "rnn",
    "vector_to_parameters",
]


def __getattr__(name: str) -> Any:
    raise missing_name("torch.nn.utils", name, globals())
