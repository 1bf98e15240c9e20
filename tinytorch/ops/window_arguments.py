"""Arguments of functions with a window that slides over images, checked."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..arguments import ShapeError, check_integer, shown
from .windows import Window, output_size

if TYPE_CHECKING:
    from ..tensor import Tensor


def as_batch(x: "Tensor") -> "Tensor":
    """One image (C, H, W) as a batch (1, C, H, W); a batch as it is."""
    return x.reshape(1, *x.shape) if x.ndim == 3 else x


def like_input(y: "Tensor", input: "Tensor") -> "Tensor":
    """The result for a batch without its first axis if the input was one image."""
    return y.reshape(y.shape[1:]) if input.ndim == 3 else y


def window_of(
    name: str,
    image: tuple[int, ...],
    kernel: Any,
    stride: Any,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Window:
    """The window of a function called `name`, with its arguments checked.

    >>> from tinytorch.ops.window_arguments import window_of
    >>> window_of("conv2d", (28, 28), kernel=5, stride=2, padding=1).output
    (13, 13)
    """
    given = [tuple(v) if isinstance(v, list) else v for v in (kernel, stride, padding, dilation)]
    return _window(name, tuple(image), *given, ceil_mode)


@lru_cache(maxsize=512)
def _window(
    name: str,
    image: tuple[int, int],
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> Window:
    kernel = sizes(f"{name}: kernel_size", kernel)
    stride = sizes(f"{name}: stride", stride)
    padding = sizes(f"{name}: padding", padding, least=0)
    dilation = sizes(f"{name}: dilation", dilation)
    axes = zip(image, kernel, stride, padding, dilation, strict=True)
    output = [output_size(*axis, ceil_mode) for axis in axes]
    if min(output) < 1:
        raise ShapeError(
            f"{name}: a kernel {kernel} with dilation {dilation} is larger than an image {image}"
            f" with padding {padding}"
        )
    return Window(image, kernel, stride, padding, dilation, (output[0], output[1]))


def sizes(name: str, value: Any, count: int = 2, least: int = 1) -> Any:
    """`count` integers, given as such or as one for all."""
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    if len(values) not in (1, count):
        raise ValueError(f"{name} must be an integer or {count} integers, not {shown(value)}")
    checked = tuple([check_integer(name, v, least) for v in values])
    return checked if len(checked) == count else checked * count


@lru_cache(maxsize=512)
def check_convolution(
    name: str,
    letters: str,
    input: tuple[int, ...],
    weight: tuple[int, ...],
    bias: tuple[int, ...] | None,
    groups: int,
) -> None:
    """Check the shapes of a convolution's arguments; `letters` are the axes of an image."""
    check_integer(f"{name}: groups", groups, 1)
    if len(weight) != len(letters) + 2 or weight[0] % groups:
        kernel = ", ".join(f"K{letter}" for letter in letters)
        raise ShapeError(
            f"{name} needs a weight (O, C / groups, {kernel}) with O divisible by groups={groups},"
            f" got shape {weight}"
        )
    channels = weight[1] * groups
    check_images(f"{name} with a weight {weight} and groups={groups}", letters, input, channels)
    if bias not in (None, weight[:1]):
        raise ShapeError(f"{name} with a weight {weight} needs a bias {weight[:1]}, got {bias}")


def check_images(name: str, letters: str, shape: tuple[int, ...], channels: Any = "C") -> None:
    """Check that a shape is that of images, or of one image, with so many channels."""
    axes = len(letters) + 1
    is_known = len(shape) in (axes, axes + 1)
    if not is_known or channels not in ("C", shape[-axes]) or 0 in shape[1 - axes :]:
        image = ", ".join([str(channels), *letters])
        raise ShapeError(f"{name} needs input (N, {image}) or ({image}), got shape {shape}")


def same_padding(kernel: tuple[int, ...], dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    """The padding before and after each axis for an output as large as the input."""
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return [(t // 2, t - t // 2) for t in total]


def check_padding(name: str, padding: str, stride: Any) -> None:
    """Check the name of a padding, and the stride that it allows."""
    if padding not in ("valid", "same"):
        raise ValueError(f"{name}: padding must be 'valid', 'same' or numbers, not {padding!r}")
    if padding == "same" and set(stride if isinstance(stride, tuple | list) else (stride,)) != {1}:
        raise ValueError(f"{name}: padding='same' needs a stride of 1, not {stride}")
