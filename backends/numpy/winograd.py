"""Convolutions with a kernel of three lines by Winograd's F(4, 3), in half of the multiplications.

Four lines of the output depend on six of the image: on a *tile*. Fixed sums of the tile's lines are
multiplied by fixed sums of the kernel's, which takes six products instead of twelve, and fixed sums
of the products are the four lines (Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural
Networks", here along one axis only). The columns of the kernel are treated as in `lifted`.

Lines are stored one after the other with zeros between them, as wide as the padding, so that a
shift by a column of the kernel is one long copy for each channel.

The rounding errors in float32 are about 2.3 times as large as those of a plain sum of products. An
infinity would spread to all lines of a tile, so that the functions return None if a result is not
finite.
"""

import math
from typing import Any

import numpy as np

from ..base import NumpyArray as Array
from . import blas
from .lifted import inside, parallel_images
from .threads import threads_to_use

LINES = 4  # of the output in a tile
POINTS = (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2)  # two thirds of the errors of 0, 1, -1, 2, -2
TERMS = len(POINTS) + 1  # products; the last one is for the point at infinity


def _sums() -> tuple[Array, Array, Array]:
    """The factors in the sums of the image (6, 6), the kernel (6, 3) and the output (4, 6).

    A convolution is the transpose of a product of polynomials, one with the kernel's three elements
    as coefficients, one with four. It is determined by its values at five points and its highest
    coefficient.
    """
    of_image, of_kernel, of_output = (
        np.eye(TERMS),
        np.eye(TERMS, 3, 3 - TERMS),
        np.eye(TERMS, LINES, LINES - TERMS),
    )
    of_image[-1, :] = np.poly(POINTS)[::-1]
    for k, point in enumerate(POINTS):
        others = [p for p in POINTS if p != point]
        of_image[k, :-1] = np.poly(others)[::-1]
        of_kernel[k] = point ** np.arange(3) / np.prod([point - p for p in others])
        of_output[k] = point ** np.arange(LINES)
    return of_image, of_kernel, of_output.T


IMAGE_SUMS, KERNEL_SUMS, OUTPUT_SUMS = _sums()

# Of a product, at least, if there are enough images: with half of it, calls are so short that two
# threads wait a sixth of the time for the GIL.
BLOCK_COLUMNS = 512
BLOCK_COLUMNS_IN_C = 256
MIN_POSITIONS = 256  # of the kernel in all images; for fewer, the kernel's sums take too long
MIN_CHANNELS = 48  # of input and output; with fewer, the sums take as long as they save


def is_faster(images: int, shape: tuple[int, ...], window: Any, groups: int) -> bool:
    """Whether a convolution of images with a weight (O, C, KH, KW) should be computed here."""
    return (
        window.kernel[0] == 3
        and window.stride == (1, 1)
        and window.dilation[0] == 1
        and groups == 1
        and min(shape[:2]) >= MIN_CHANNELS
        and window.output[0] >= LINES
        and images * math.prod(window.output) >= MIN_POSITIONS
    )


def convolve(
    x: Array, weight: Array, bias: Array | None, window: Any, multiplications: int
) -> Array | None:
    """`convolution.convolve`, with `multiplications` for one image."""
    (N, C, _, _), (O, _, KH, KW) = x.shape, weight.shape  # noqa: E741
    y = np.empty((N, O, *window.output), x.dtype)
    if (is_done := _convolve_in_c(x, weight, bias, window, y)) is not None:
        return y if is_done else None
    lines = weight.transpose(2, 0, 1, 3).reshape(KH, -1)
    kernel = (KERNEL_SUMS.astype(x.dtype) @ lines).reshape(TERMS, O, C * KW)
    sums = OUTPUT_SUMS.astype(x.dtype)
    is_finite = []

    def work(start: int, stop: int) -> None:
        tiles = Tiles(C, stop - start, window, x.dtype)
        products = np.empty((TERMS, O * tiles.columns), x.dtype)
        matrices = products.reshape(TERMS, O, -1)
        out = np.empty((LINES, O * tiles.columns), x.dtype)
        for first in range(start, stop, tiles.block):
            images = slice(first, min(first + tiles.block, stop))
            tiles.load(x[images])
            for k in range(TERMS):
                np.matmul(kernel[k], tiles.lifted(k), out=matrices[k])
            np.matmul(sums, products, out=out)
            if bias is not None:
                with_bias = out.reshape(LINES, O, -1)
                with_bias += bias.reshape(-1, 1)
            is_finite.append(np.isfinite(np.vdot(out, out)))
            for of_y, of_out in tiles.lines_of(y[images], out):
                of_y[...] = of_out

    parallel_images(work, N, multiplications)
    return y if all(is_finite) else None


def weight_gradient(
    g: Array, x: Array, shape: tuple[int, ...], window: Any, multiplications: int
) -> Array | None:
    """`convolution.weight_gradient`, with `multiplications` for one image."""
    (N, C, _, _), (O, _, KH, KW) = x.shape, shape  # noqa: E741
    total: Any = _weight_gradient_in_c(g, x, shape, window)
    if total is not None:
        lines = KERNEL_SUMS.astype(x.dtype).T @ total.reshape(TERMS, -1)
        lines = lines.reshape(KH, KW, C, O).transpose(3, 2, 0, 1)
        return np.ascontiguousarray(lines) if np.isfinite(lines).all() else None
    sums = OUTPUT_SUMS.astype(x.dtype).T
    parts = {}

    def work(start: int, stop: int) -> None:
        tiles = Tiles(C, stop - start, window, x.dtype)
        given = np.zeros((LINES, O * tiles.columns), x.dtype)
        products = np.empty((TERMS, O * tiles.columns), x.dtype)
        matrices = products.reshape(TERMS, O, -1).swapaxes(1, 2)
        total = np.zeros((TERMS, C * KW, O), x.dtype)
        for first in range(start, stop, tiles.block):
            images = slice(first, min(first + tiles.block, stop))
            tiles.load(x[images])
            if images.stop - first < tiles.block:
                given[...] = 0  # no gradient for the images of the block before
            for of_g, of_given in tiles.lines_of(g[images], given):
                of_given[...] = of_g
            np.matmul(sums, given, out=products)
            for k in range(TERMS):
                total[k] += tiles.lifted(k) @ matrices[k]
        parts[start] = total

    parallel_images(work, N, multiplications)
    total = sum(parts[start] for start in sorted(parts))  # always in the same order
    lines = KERNEL_SUMS.astype(x.dtype).T @ total.reshape(TERMS, -1)
    lines = lines.reshape(KH, C, KW, O).transpose(3, 1, 0, 2)
    return np.ascontiguousarray(lines) if np.isfinite(lines).all() else None


def _convolve_in_c(
    x: Array, weight: Array, bias: Array | None, window: Any, y: Array
) -> bool | None:
    """Write the convolution to y by compiled code; None if it does not support the arrays.

    Returns:
        Whether all results are finite.
    """
    if x.dtype != np.float32 or not blas.is_available():
        return None
    kernel = np.tensordot(KERNEL_SUMS.astype(x.dtype), weight, (1, 2))  # (TERMS, O, C, KW)
    kernel = np.ascontiguousarray(kernel.transpose(0, 3, 1, 2))
    finite = np.empty(len(x), np.float32)
    sums = (s.astype(x.dtype) for s in (IMAGE_SUMS, np.ascontiguousarray(OUTPUT_SUMS)))
    sizes = _sizes(x.shape, weight.shape, window)
    given = np.ascontiguousarray(x), kernel, bias, *sums, y, finite
    block = max(sizes[0], -(-len(x) // (2 * threads_to_use())))
    done = blas.run("winograd_convolve", *given, len(x), *sizes, block=block)
    return bool(finite.all()) if done else None


def _weight_gradient_in_c(g: Array, x: Array, shape: tuple[int, ...], window: Any) -> Array | None:
    """The gradient of the kernel's sums (TERMS, KW, C, O) by compiled code, or None."""
    sizes, (O, C, _, KW) = _sizes(x.shape, shape, window), shape  # noqa: E741
    block = max(sizes[0], -(-len(x) // threads_to_use()))
    totals = blas.Totals(len(x), block, TERMS * KW * C * O)
    sums = (s.astype(x.dtype) for s in (IMAGE_SUMS, np.ascontiguousarray(OUTPUT_SUMS)))
    given = np.ascontiguousarray(x), np.ascontiguousarray(g), *sums, totals.array
    done = blas.run("winograd_weight_gradient", *given, len(x), *sizes, block=block)
    return totals.sum().reshape(TERMS, KW, C, O) if done else None


def _sizes(image: tuple[int, ...], weight: tuple[int, ...], window: Any) -> tuple[int, ...]:
    """The numbers that the compiled functions take; the first is that of images in a block."""
    (_, C, H, W), (O, _, _, KW), (OH, OW) = image, weight, window.output  # noqa: E741
    (top, left), shift = window.padding, window.dilation[1]
    width = max(left + W, OW + shift * (KW - 1) - left, OW)
    images = -(-BLOCK_COLUMNS_IN_C // (-(-OH // LINES) * width))
    return images, C, H, W, O, OH, OW, KW, shift, top, left, width


class Tiles:
    """The sums of the lines of a block of images, in buffers that are used again.

    Attributes:
        block: number of images in a block.
        columns: number of positions of the kernel in a line of all tiles of a block, and some in
            the padding, whose results are not used.
    """

    def __init__(self, channels: int, images: int, window: Any, dtype: Any) -> None:
        (_, KW), (OH, OW), (_, left) = window.kernel, window.output, window.padding
        self.window, self.shift = window, window.dilation[1]
        last = self.shift * (KW - 1)
        self.count = -(-OH // LINES)  # of tiles in an image
        self.width = max(left + window.image[1], OW + last - left, OW)
        size = self.count * self.width
        self.block = min(images, -(-BLOCK_COLUMNS // size))
        self.columns = self.block * size
        self.lines = np.zeros((TERMS, channels, self.columns + last), dtype)
        self.sums = np.empty_like(self.lines)
        self.factors = IMAGE_SUMS.astype(dtype)
        windows = np.lib.stride_tricks.sliding_window_view(self.sums, self.columns, axis=2)
        self.shifted = windows[:, :, :: self.shift]  # (TERMS, C, KW, columns)
        self.patches = np.empty((channels, KW, self.columns), dtype)
        (H, W), (top, left) = window.image, window.padding
        self.tiles = self._of_images(self.lines[..., : self.columns])[..., left : left + W]
        met = [inside(H, self.count, LINES, i - top) for i in range(TERMS)]
        self.keys = [((i, slice(None), slice(None), at), of_x) for i, (at, of_x) in enumerate(met)]

    def _of_images(self, lines: Array) -> Array:
        """Lines (n, C, columns) as (n, C, images, tiles, width)."""
        return lines.reshape(*lines.shape[:2], self.block, self.count, self.width)

    def load(self, x: Array) -> None:
        """Compute the sums for images (n, C, H, W)."""
        images = x.swapaxes(0, 1)
        for at, of_x in self.keys:
            self.tiles[at][:, : len(x)] = images[:, :, of_x]
        np.matmul(self.factors, self.lines.reshape(TERMS, -1), out=self.sums.reshape(TERMS, -1))

    def lifted(self, k: int) -> Array:
        """The k-th sum, shifted by each column of the kernel: (C * KW, columns)."""
        self.patches[...] = self.shifted[k]
        return self.patches.reshape(-1, self.columns)

    def lines_of(self, y: Array, tiles: Array) -> list[tuple[Array, Array]]:
        """Views of the same lines in y (n, O, OH, OW) and in tiles (LINES, O * columns).

        They are in the order of y's lines, which is the larger array, twice as fast as others.
        """
        n, O, OH, OW = y.shape  # noqa: E741
        full, rest = divmod(OH, LINES)
        parts = self._of_images(tiles.reshape(LINES, O, -1))[:, :, :n, :, :OW]
        whole = y[:, :, : full * LINES].reshape(n, O, full, LINES, OW)
        return [
            (whole, parts[:, :, :, :full].transpose(2, 1, 3, 0, 4)),
            (y[:, :, full * LINES :], parts[:rest, :, :, -1].transpose(2, 1, 0, 3)),
        ]
