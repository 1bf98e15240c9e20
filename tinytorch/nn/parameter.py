"""The names of `torch.nn.parameter`."""

from ..modules.parameter import Parameter

__all__ = ["Parameter"]
