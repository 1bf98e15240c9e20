"""PyTorch's pooling layers: those of lesson 09, and AdaptiveAvgPool2d."""

from typing import Any

from ..arguments import check_integer, shown
from ..backends.arrays import Array, Namespace, Shape
from ..modules.module import Module
from ..ops.op import op
from ..ops.window_arguments import as_batch, check_images, like_input
from ..spatial import AvgPool2d, MaxPool2d
from ..tensor import Tensor

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "MaxPool2d"]


@op(promote="float")
def adaptive_average_pooling(xp: Namespace, x: Array, *, output: tuple[int, int]) -> Any:
    """The means of OH x OW parts of the images, which overlap if the sizes are not divisible.

    The mean of a rectangle is the mean of its rows' means, so each axis is reduced by itself.
    """
    shape = x.shape
    for axis, count in ((2, output[0]), (3, output[1])):
        means = [xp.mean(x[_part(axis, *bounds)], axis=axis) for bounds in _parts(x, axis, count)]
        x = xp.stack(means, axis=axis)
    return x, (shape,)


@adaptive_average_pooling.gradient
def adaptive_average_pooling_gradient(xp: Namespace, g: Array, shape: Shape) -> Any:
    for axis in (3, 2):
        dx = xp.zeros(
            (*g.shape[:axis], *shape[axis : axis + 1], *g.shape[axis + 1 :]), dtype=g.dtype
        )
        for i, (start, stop) in enumerate(_parts(dx, axis, g.shape[axis])):
            share = g[_part(axis, i, i + 1)] / (stop - start)
            dx = xp.index_add(dx, _part(axis, start, stop), share)
        g = dx
    return g


def _parts(x: Array, axis: int, count: int) -> list[tuple[int, int]]:
    """Start and stop of `count` parts of an axis."""
    size = x.shape[axis]
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _part(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    """The key of a part of an axis."""
    return (*[slice(None)] * axis, slice(start, stop), *[slice(None)] * (3 - axis))


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means of OH x OW parts of the images.

    Args:
        input: images (N, C, H, W), or one image (C, H, W).
        output_size: OH = OW, or (OH, OW); None for the size of the image.
    """
    name = "adaptive_avg_pool2d"
    check_images(name, "HW", input.shape)
    given = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size,) * 2
    if len(given) != 2:
        raise ValueError(f"{name}: output_size must be one or two sizes, not {shown(output_size)}")
    pairs = zip(given, input.shape[-2:], strict=True)
    height, width = (
        n if o is None else check_integer(f"{name}: output_size", o, 1) for o, n in pairs
    )
    x = as_batch(input)
    N, C, H, W = x.shape
    if H % height == 0 and W % width == 0:  # equal parts
        y = x.reshape(N, C, height, H // height, width, W // width).mean((3, 5))
    else:
        y = adaptive_average_pooling(x, output=(height, width))
    return like_input(y, input)


class AdaptiveAvgPool2d(Module):
    """The means of OH x OW parts: (N, C, H, W) -> (N, C, OH, OW); see `adaptive_avg_pool2d`.

    >>> from tinytorch import zeros
    >>> from tinytorch.nn import AdaptiveAvgPool2d
    >>> AdaptiveAvgPool2d(1)(zeros(8, 16, 7, 7)).shape
    (8, 16, 1, 1)
    """

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
