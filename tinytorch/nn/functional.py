"""The names of `torch.nn.functional`."""

from typing import Any

from ..activations import gelu, relu, softmax, softplus
from ..losses import log_softmax
from ..missing import missing_name
from .attention import scaled_dot_product_attention

__all__ = ["gelu", "log_softmax", "relu", "scaled_dot_product_attention", "softmax", "softplus"]


def __getattr__(name: str) -> Any:
    raise missing_name("torch.nn.functional", name, globals())
