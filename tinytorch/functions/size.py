"""The number of elements, which is also PyTorch's method `size`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..tensor import Tensor


class ElementCount(int):
    """The value of `Tensor.size`: an integer that can be called.

    It is the number of elements, as in NumPy and the array API; a call is PyTorch's method.

    >>> from tinytorch import zeros
    >>> x = zeros(2, 3)
    >>> x.size, x.size(), x.size(0), x.size(-1)
    (6, (2, 3), 2, 3)
    """

    shape: tuple[int, ...]

    def __call__(self, dim: int | None = None) -> Any:
        if dim is None:
            return self.shape
        try:
            return self.shape[dim]
        except IndexError:
            raise IndexError(
                f"size({dim}): axis {dim} does not exist in a tensor of shape {self.shape}"
            ) from None


def size(x: "Tensor") -> ElementCount:
    """The number of elements; ``x.size()`` is the shape, ``x.size(dim)`` the size of an axis."""
    count, shape = 1, x.shape
    for n in shape:
        count *= n
    result = ElementCount(count)
    result.shape = shape
    return result
