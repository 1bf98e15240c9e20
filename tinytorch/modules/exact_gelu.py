"""GELU with the error function, which models trained elsewhere need; lesson 02 approximates it."""

from ..ops.activations import gelu_erf
from ..tensor import Tensor
from .module import Module


class ExactGELU(Module):
    """x Phi(x) with the normal distribution function Phi, as PyTorch's ``GELU()``.

    Source: D. Hendrycks and K. Gimpel, "Gaussian Error Linear Units" (2016), section 2.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> (...)."""
        return gelu_erf(x)
