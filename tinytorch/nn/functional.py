"""The names of `torch.nn.functional`."""

from typing import Any

from ..activations import gelu, relu, softmax, softplus
from ..losses import log_softmax
from ..missing import missing_name

__all__ = ["gelu", "log_softmax", "relu", "softmax", "softplus"]


def __getattr__(name: str) -> Any:
    raise missing_name("torch.nn.functional", name, globals())
