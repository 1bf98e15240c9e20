"""Parameters as one vector, and back."""

from collections.abc import Iterable

from ...arguments import ShapeError
from ...autograd import no_grad
from ...functions.joining import concat
from ...tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of the parameters in one vector."""
    return concat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the elements of a vector to the parameters, in order."""
    if not isinstance(vec, Tensor) or vec.ndim != 1:
        raise TypeError("vector_to_parameters takes a tensor with one axis")
    parameters = list(parameters)
    needed = sum(parameter.numel() for parameter in parameters)
    if needed > len(vec):
        raise ShapeError(f"a vector of {len(vec)} elements is too short for {needed} parameters")
    start = 0
    with no_grad():
        for parameter in parameters:
            end = start + parameter.numel()
            parameter[...] = vec[start:end].reshape(parameter.shape)
            start = end
