# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 09: Spatial layers
#
# A linear layer on a photo of 224 x 224 x 3 has 150,528 weights *for each output*. It has to learn an
# edge in the top left corner and the same edge in the middle separately. A **convolution** looks at
# small patches, and uses the same weights for all of them: an edge is an edge wherever it is.
#
# | | linear layer | convolution |
# |---|---|---|
# | looks at | the whole image | a patch, then the next |
# | weights for 16 outputs, images 3 x 32 x 32 | 49,152 numbers, 16 results | 432 numbers, 16 maps |
# | if the image is shifted | everything changes | the map is shifted |
#
# **You will build** convolutions and pooling.
#
# **You will learn**
#
# - what a convolution computes: first with loops, then as one matrix product;
# - to predict the size of each map from kernel, stride, padding and dilation;
# - why the gradient of "copy the patches" is "add them back";
# - what pooling keeps and what it forgets;
# - what batch norm does in training and in evaluation, and why these differ.
#
# **Before you start**: lessons 01 to 04, and 06 for the gradients.
#
# **Time**: about three hours, ten minutes per exercise and the rest for reading and experiments.

# %% setup=true
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from tinytorch.arguments import ShapeError
from tinytorch.autograd import no_grad
from tinytorch.backends import get
from tinytorch.backends.arrays import Array, Namespace
from tinytorch.functions.padding import pad
from tinytorch.modules.convolution import Convolution
from tinytorch.modules.module import Module
from tinytorch.ops.op import op
from tinytorch.ops.pooling import covered, first_place
from tinytorch.ops.random import manual_seed
from tinytorch.ops.reductions import _mean
from tinytorch.ops.window_arguments import (
    as_batch,
    check_convolution,
    check_padding,
    like_input,
    same_padding,
    sizes,
)
from tinytorch.ops.windows import Window, pad_images, padded_size, unpad
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise

xp = get("numpy").xp


def slide(
    image: Any, kernel: Any, stride: Any = (1, 1), padding: Any = (0, 0), dilation: Any = (1, 1)
) -> Window:
    """Return the window of a kernel on an image; each argument is (vertical, horizontal)."""
    axes = zip(image, kernel, stride, padding, dilation, strict=True)
    output = [len(range(0, s + 2 * p - d * (k - 1), step)) for s, k, step, p, d in axes]
    return Window(image, kernel, stride, padding, dilation, (output[0], output[1]))


def patches(x: Any, window: Window, value: float = 0.0) -> Any:
    """Return the patches of images (N, C, H, W) by NumPy: a view (N, C, OH, OW, KH, KW)."""
    (SH, SW), (DH, DW), (OH, OW) = window.stride, window.dilation, window.output
    size = tuple(d * (k - 1) + 1 for d, k in zip(window.dilation, window.kernel, strict=True))
    axes = zip(window.padding, window.image, window.stride, window.output, size, strict=True)
    ends = [(p, max(p, (o - 1) * step + c - p - s)) for p, s, step, o, c in axes]
    padded = np.pad(x, ((0, 0), (0, 0), *ends), constant_values=value)
    view = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(2, 3))
    return view[:, :, ::SH, ::SW, ::DH, ::DW][:, :, :OH, :OW]


def spread(shares: Any, window: Window) -> Any:
    """Add what each patch sends to its elements, (N, C, OH, OW, KH, KW) -> (N, C, H, W)."""
    places = np.arange(math.prod(window.image)).reshape(1, 1, *window.image)
    targets = patches(places, window, -1)[0, 0].astype(int)
    result = np.zeros((*shares.shape[:2], math.prod(window.image) + 1))
    for n, c in np.ndindex(*shares.shape[:2]):
        np.add.at(result[n, c], targets, shares[n, c])
    return result[:, :, :-1].reshape(*shares.shape[:2], *window.image)


def convolved(view: Any, layer: Any, groups: int) -> Any:
    """Return what a layer makes of patches (N, C, OH, OW, KH, KW), by NumPy."""
    pairs = zip(np.split(view, groups, 1), np.split(layer.weight.numpy(), groups, 0), strict=True)
    y = np.concatenate([np.einsum("ncijkl,ockl->noij", p, w) for p, w in pairs], 1)
    return y if layer.bias is None else y + layer.bias.numpy()[:, None, None]


# Windows without symmetry, for tests.
WINDOWS = [
    slide((4, 5), (2, 3)),
    slide((6, 5), (3, 2), stride=(2, 1), padding=(1, 0)),
    slide((5, 8), (2, 3), stride=(1, 3), padding=(0, 1), dilation=(2, 1)),
    slide((7, 6), (2, 2), stride=(3, 2), padding=(1, 1), dilation=(3, 2)),
]
HANGING = Window((5, 6), (2, 3), (2, 2), (0, 1), (1, 1), (3, 4))  # over both ends, by ceil_mode
POOLS = [
    *WINDOWS[:2],
    HANGING,
    slide((5, 8), (2, 3), (1, 3), (1, 1)),
    slide((7, 6), (2, 4), (3, 2), (1, 2)),
]


# %% [markdown]
# ## By hand
#
# Images are tensors (N, C, H, W): N images, C channels (red, green, blue, or features), height, width.
# Slide a **kernel** over the image. At each position, multiply what lies under it and add up:
#
# ```text
#   image 3 x 4        kernel 2 x 2       map 2 x 3
#   1  2  0  1            1  -1           1  8  1
#   0  1  3  1            0   2           5  0  4
#   2  3  1  1
# ```
#
# The first number: 1 · 1 + 2 · (-1) + 0 · 0 + 1 · 2 = 1. The one to its right: 2 - 0 + 0 + 6 = 8. The last:
# 3 - 1 + 0 + 2 = 4. (Mathematicians flip the kernel first, and call this without a flip
# *cross-correlation*. A learned kernel does not care.)

# %%
image = np.array([[1.0, 2, 0, 1], [0, 1, 3, 1], [2, 3, 1, 1]])
kernel = np.array([[1.0, -1], [0, 2]])
print(np.einsum("ijkl,kl->ij", patches(image[None, None], slide((3, 4), (2, 2)))[0, 0], kernel))

# %% [markdown]
# ## 9.1 How many positions
#
# | | meaning | here |
# |---|---|---|
# | kernel | elements of the kernel | 3 |
# | stride | distance between two positions | 2 |
# | padding | zeros added on *each* side | 1 |
# | dilation | distance between two elements of the kernel | 1 |
#
# A row of 8 numbers, padded, has 10. The kernel covers 3, so there is room to move by 7 more: steps of
# 2 fit three times, which makes 1 + 3 = **4** positions.
#
# With `ceil_mode`, which pooling has, a last position may also hang over the end. But it must begin in
# the image or in the padding before it: one that begins in the padding after it is dropped.

# %% exercise="9.1" points=2
from tinytorch.ops.windows import output_size

# output_size:
#   A kernel of k elements with dilation d covers d * (k - 1) + 1 numbers.
#   How much room is left in the padded row? How many strides fit into it, rounded down; with
#   ceil_mode, rounded up? The first position counts too.
#   With ceil_mode: the last position begins at (count - 1) * stride, counted from the start of the
#   padding before the image. Drop it if that is not before the end of the image.

# %% test="9.1" points=2
# fmt: off
with Exercise("9.1", "output_size") as check:
    rule = "(size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1"
    for settings, expected in (
        ((8, 3, 2, 1, 1), 4), ((28, 5, 1, 0, 1), 24), ((28, 5, 1, 2, 1), 28), ((9, 3, 2, 0, 1), 4), ((9, 3, 1, 0, 2), 5), ((7, 3, 2, 2, 3), 3),
        ((12, 4, 3, 1, 2), 3), ((5, 5, 4, 0, 1), 1), ((224, 7, 2, 3, 1), 112), ((3, 1, 1, 1, 1), 5),
    ):
        check.equal(lambda: output_size(*settings), expected, f"the positions for size, kernel, stride, padding, dilation = {settings}", cause=rule)
    check.true(lambda: output_size(3, 5, 1, 0, 1) < 1, "a kernel of 5 on a row of 3 has no position", cause=f"do not hide it: {rule}")
    check.true(lambda: output_size(3, 4, 2, 0, 1) < 1, "a kernel of 4 on a row of 3 has no position, with stride 2", cause="// rounds down, to -1; int(-1 / 2) is 0")
    for settings, expected in (((8, 3, 2, 0, 1), 4), ((6, 3, 7, 2, 1), 2), ((9, 3, 2, 0, 1), 4), ((7, 2, 3, 1, 1), 3), ((8, 2, 3, 1, 1), 3), ((6, 3, 4, 1, 1), 2), ((5, 2, 4, 1, 2), 2), ((4, 2, 5, 1, 1), 1), ((5, 1, 3, 1, 1), 2), ((5, 1, 4, 0, 1), 2)):
        check.equal(lambda: output_size(*settings, ceil_mode=True), expected, f"the positions for {settings} with ceil_mode",
                    cause="round up; then drop one position if (count - 1) * stride >= size + padding")
# fmt: on

# %% [markdown]
# ## 9.2 With loops
#
# Now all of it: every image, every output channel, every position. The weight is (O, C, KH, KW), one
# kernel of C channels for each of the O outputs. Slow, but nobody can misread it.

# %% exercise="9.2" points=2
from tinytorch.ops.convolution import convolve_with_loops

# convolve_with_loops:
#   Compute OH and OW (9.1, without padding), and make zeros (N, O, OH, OW) in the dtype of x.
#   np.ndindex(N, O, OH, OW) counts through all places (n, o, i, j).
#   Where does the patch of (i, j) begin? Slice all its channels, multiply by weight[o], and sum.

# %% test="9.2" points=2
# fmt: off
with Exercise("9.2", "convolve_with_loops") as check:
    image, kernel = np.array([[[[1.0, 2, 0, 1], [0, 1, 3, 1], [2, 3, 1, 1]]]]), np.array([[[[1.0, -1], [0, 2]]]])
    check.equal(lambda: convolve_with_loops(image, kernel), [[[[1.0, 8, 1], [5, 0, 4]]]], "the example by hand",
                cause="the sum of a patch times the kernel, not flipped; (H - KH) // stride + 1 rows; the patch of (i, j) begins at (i * stride, j * stride)")
    rng = np.random.default_rng(2)
    for shape, kernel_shape, stride in (((2, 3, 5, 4), (4, 3, 2, 3), 1), ((1, 2, 7, 6), (3, 2, 3, 2), 2), ((2, 1, 8, 5), (1, 1, 2, 2), 3), ((3, 2, 3, 2), (2, 2, 3, 2), 1)):
        x, w = rng.standard_normal(shape), rng.standard_normal(kernel_shape)
        window = slide(shape[2:], kernel_shape[2:], (stride, stride))
        check.close(lambda: convolve_with_loops(x, w, stride), np.einsum("ncijkl,ockl->noij", patches(x, window), w), f"x {shape}, weight {kernel_shape}, stride {stride}",
                    cause="the patch begins at (i * stride, j * stride), is (C, KH, KW), and its channels are summed too")
    check.equal(lambda: convolve_with_loops(np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 1, 1))).dtype.name, "float32", "the dtype of the result for float32 images", cause="dtype=x.dtype for the zeros")
# fmt: on

# %% [markdown]
# A kernel finds what looks like itself. Two of them, written by hand, on a picture of a house:

# %%
import matplotlib.pyplot as plt

house = np.zeros((24, 24))
for row in range(4, 12):
    house[row, 12 - (row - 3) : 12 + (row - 3)] = 0.6
house[12:22, 5:19] = 1.0
house[15:22, 10:14] = 0.2
sobel = np.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
kernels = np.stack([sobel, sobel.T, np.full((3, 3), 1 / 9)])[:, None]  # (3, 1, 3, 3)
maps = convolve_with_loops(house[None, None], kernels)[0]
figure, axes = plt.subplots(1, 4, figsize=(10, 2.8))
for axis, picture, title in zip(
    axes, (house, *maps), ("image", "vertical edges", "horizontal edges", "mean"), strict=True
):
    if title in ("image", "mean"):
        axis.imshow(picture, cmap="gray")
    else:
        axis.imshow(picture, cmap="bwr", vmin=-4, vmax=4)
    axis.set(title=title, xticks=[], yticks=[])
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 9.3 Patches as columns
#
# Python's loop over all positions is slow. Turn it around: loop over the few elements of the *kernel*.
# Element (0, 1) of a 2 x 2 kernel meets, over all positions, a whole slice of the image. That slice is
# a **tap**:
#
# ```text
#   x[..., 0:2, 0:3]   x[..., 0:2, 1:4]   x[..., 1:3, 0:3]   x[..., 1:3, 1:4]
#      1  2  0            2  0  1            0  1  3            1  3  1
#      0  1  3            1  3  1            2  3  1            3  1  1
# ```
#
# With a stride, the slices have steps; with a dilation, they begin further apart. `unfold` stacks the
# taps: column l of the result is the patch of position l. `fold` is its mirror: what lies in the
# columns is added up where it came from. A pixel under several positions gets several summands.
#
# A `Window` holds the sizes, each (vertical, horizontal): image, kernel, stride, padding, dilation and
# output. Given are `pad_images`, `padded_size` and `unpad`.

# %% exercise="9.3" points=4
from tinytorch.ops.windows import fold, taps, unfold

# taps:
#   For each row of the kernel, then each column: yield (..., rows, columns), two slices.
#   Element (a, b) begins at (a * dilation, b * dilation). There are OH positions, a stride apart:
#   the last one is (OH - 1) strides later, and a slice ends one after that.
# unfold:
#   Pad, take all taps, and xp.stack them on a new axis 2. Merge the kernel's elements and the
#   positions with xp.reshape: (N, C, KH * KW, OH * OW).
# fold:
#   Give the columns their positions back: (N, C, KH * KW, OH, OW).
#   Begin with zeros (N, C, *padded_size(window)) in the dtype of the columns, and xp.index_add the
#   k-th element's numbers at the k-th tap. Cut the padding off.

# %% test="9.3" points=4
# fmt: off
with Exercise("9.3", "taps, unfold, fold") as check:
    image = np.array([[1.0, 2, 0, 1], [0, 1, 3, 1], [2, 3, 1, 1]])
    found = check.call(lambda: [image[key].tolist() for key in taps(slide((3, 4), (2, 2)))], "the taps of the example", count=4, cause="yield one key for each element of the kernel")
    check.equal(found, [[[1, 2, 0], [0, 1, 3]], [[2, 0, 1], [1, 3, 1]], [[0, 1, 3], [2, 3, 1]], [[1, 3, 1], [3, 1, 1]]], "the taps of the example", cause="rows first, then columns; each slice ends one after its last position")
    rng = np.random.default_rng(3)
    for window in WINDOWS:
        x = rng.standard_normal((2, 3, *window.image))
        what = f"for image {window.image}, kernel {window.kernel}, stride {window.stride}, padding {window.padding}, dilation {window.dilation}"
        (KH, KW), (OH, OW) = window.kernel, window.output
        padded = np.pad(x, ((0, 0), (0, 0), *[(p, p) for p in window.padding]))
        view = patches(x, window)  # (N, C, OH, OW, KH, KW)
        keys = check.call(lambda: list(taps(window)), f"the taps {what}", count=KH * KW, cause="yield one key for each element of the kernel")
        for key, (a, b) in zip(keys, np.ndindex(KH, KW), strict=True):
            check.equal(lambda: padded[key], view[..., a, b], f"the tap of element {(a, b)} {what}", cause="slice(a * dilation, a * dilation + (OH - 1) * stride + 1, stride), likewise for columns")
        columns = view.transpose(0, 1, 4, 5, 2, 3).reshape(2, 3, KH * KW, OH * OW)
        check.equal(lambda: unfold(xp, x, window), columns, f"unfold {what}", cause="stack the taps of the padded image on axis 2, and reshape")
        values = rng.standard_normal(columns.shape)
        shares = values.reshape(2, 3, KH, KW, OH, OW).transpose(0, 1, 4, 5, 2, 3)
        check.close(lambda: fold(xp, values, window), spread(shares, window), f"fold {what}", cause="add each element's numbers at its tap of zeros, then unpad")
    small = np.ones((1, 1, 4, 2), np.float32)
    check.equal(lambda: fold(xp, small, slide((2, 3), (2, 2))), [[[[1.0, 2, 1], [1, 2, 1]]]], "fold of ones: how many positions see each pixel", cause="add: do not overwrite")
    check.equal(lambda: fold(xp, small, slide((2, 3), (2, 2))).dtype.name, "float32", "the dtype of fold", cause="zeros with dtype=columns.dtype")
# fmt: on

# %% [markdown]
# How often is each pixel seen? That is `fold` of `unfold` of ones. Pixels at the border are seen less,
# and with a large stride some not at all.

# %%
figure, axes = plt.subplots(1, 3, figsize=(8, 2.8))
for axis, stride in zip(axes, (1, 2, 4), strict=True):
    window = slide((11, 11), (3, 3), (stride, stride))
    seen = fold(xp, unfold(xp, np.ones((1, 1, 11, 11)), window), window)[0, 0]
    shown = axis.imshow(seen, vmin=0, vmax=9)
    axis.set(title=f"3 x 3, stride {stride}", xticks=[], yticks=[])
figure.colorbar(shown, ax=axes)
plt.show()

# %% [markdown]
# ## 9.4 One matrix product, and its gradient
#
# The weight as a matrix is (O, C KH KW), the columns are (C KH KW, OH OW): their product is all maps at
# once, (O, OH OW). So a convolution *is* a linear layer, on patches.
#
# | | shape | from |
# |---|---|---|
# | Y | (O, L) | W (O, K) @ columns (K, L) |
# | dW | (O, K) | g (O, L) and the columns (K, L), summed over the batch |
# | d columns | (K, L) | W (O, K) and g (O, L); `fold` makes dx of them |
# | db | (O,) | g: every position of every image uses b |
#
# With `groups`, the channels are divided: the first O / G outputs see the first C / G channels only. The
# helpers bring a group axis G in front of the matrices, and `@` multiplies each group by itself.

# %% given="9.4"
from tinytorch.ops.convolution import grouped_columns, grouped_rows, matrices

# %% exercise="9.4" points=4
from tinytorch.ops.convolution import convolution, convolution_gradient

# convolution:
#   matrices(...) @ grouped_columns(...) is (N, G, O / G, OH * OW): reshape it to (N, O, OH, OW).
#   Add the bias, one number for each map, unless it is None.
#   Return y, and what the gradient takes: x, weight, window, groups.
# convolution_gradient:
#   grouped_rows brings g into the shape of the product, (N, G, O / G, OH * OW).
#   For x: the transposed matrices times these rows; in the shape (N, C, KH * KW, OH * OW), fold.
#   For the weight: the rows times the transposed columns; sum over the batch, in weight's shape.
#   For the bias: a sum of g over all axes but the channels'.
#   Return three, each an array or a function without arguments.

# %% test="9.4" points=4
# fmt: off
with Exercise("9.4", "convolution, convolution_gradient") as check:
    rng = np.random.default_rng(4)
    for window, C, outs, groups in zip(WINDOWS * 2, (3, 2, 4, 6, 1, 4, 3, 2), (2, 3, 6, 4, 3, 4, 3, 1), (1, 1, 2, 2, 1, 4, 3, 1), strict=True):
        x, w, b = rng.standard_normal((2, C, *window.image)), rng.standard_normal((outs, C // groups, *window.kernel)), rng.standard_normal(outs)
        view = patches(x, window)
        parts = [np.einsum("ncijkl,ockl->noij", p, v) for p, v in zip(np.split(view, groups, 1), np.split(w, groups, 0), strict=True)]
        wanted, what = np.concatenate(parts, 1), f"x {x.shape}, weight {w.shape}, groups {groups}, stride {window.stride}, padding {window.padding}"
        for bias, value in ((None, wanted), (b, wanted + b[:, None, None])):
            y, saved = check.call(lambda: convolution.forward(xp, x, w, bias, window=window, groups=groups), f"the forward for {what}", count=2,
                                  cause="matrices(xp, weight, groups) @ grouped_columns(xp, x, window, groups); the bias as (O, 1, 1); return y and a tuple")
            check.close(y, value, f"the convolution of {what}, {'with' if bias is not None else 'without'} a bias", cause="matrices @ columns, in the shape (N, O, OH, OW); the bias as (O, 1, 1)")
            check.equal(lambda: len(saved), 4, "how much is saved", cause="x, weight, window, groups")
            check.true(lambda: saved[0] is x and saved[1] is w and saved[2] is window, "x, weight and window are saved as they came", cause="x, weight, window, groups: the gradient makes columns and matrices itself")
            check.equal(lambda: saved[3], groups, "the number of groups that is saved", cause="x, weight, window, groups")
        g = rng.standard_normal(wanted.shape)
        before = [part.copy() for part in (g, x, w)]
        grads = check.call(lambda: convolution.reference.gradient(xp, g, x, w, window, groups), f"the gradients for {what}", count=3, cause="three: for x, weight and bias")
        sent = [np.einsum("noij,ockl->ncijkl", h, v) for h, v in zip(np.split(g, groups, 1), np.split(w, groups, 0), strict=True)]
        dw = [np.einsum("noij,ncijkl->ockl", h, p) for h, p in zip(np.split(g, groups, 1), np.split(view, groups, 1), strict=True)]
        for part, value, name, rule in zip(grads, (spread(np.concatenate(sent, 1), window), np.concatenate(dw, 0), g.sum((0, 2, 3))), ("x", "the weight", "the bias"),
                                           ("fold the transposed matrices @ rows", "rows @ the transposed columns, summed over the batch", "the sum of g over axes 0, 2 and 3"), strict=True):
            check.close(lambda: part() if callable(part) else part, value, f"the gradient of {name} for {what}", cause=rule)
        check.equal(lambda: [g, x, w], before, "g, x and the weight afterwards", cause="others hold them: compute new arrays")
    leaves = [Tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((1, 2, 4, 5), (2, 2, 2, 3), (2,))]
    check.gradient(lambda *inputs: convolution(*inputs, window=WINDOWS[0]), *leaves, what="convolution", cause="save x, weight, window, groups in this order")
# fmt: on

# %% [markdown]
# ## 9.5 The layers
#
# A layer brings the parameters. The base class `Convolution` checks arguments and initialises weight
# and bias; the function `conv2d` checks shapes, adds a missing N, and calls your op. Both are given.

# %% given="9.5"
from tinytorch.ops.window_arguments import _window, window_of

# %% given="9.5"
from tinytorch.spatial import _pad_as_named, conv2d

# %% exercise="9.5" points=2
from tinytorch.spatial import Conv2d, Flatten

# Conv2d.forward:
#   self.padded(input) returns the input and the padding: for a padding_mode other than zeros, it has
#   padded the input already. Call conv2d with self's weight, bias, stride, dilation and groups.
# Flatten.forward:
#   Images become rows: a tensor has a method flatten(start_dim, end_dim).

# %% test="9.5" points=2
# fmt: off
with Exercise("9.5", "Conv2d, Flatten") as check:
    rng = np.random.default_rng(5)
    for settings in ({"kernel_size": 3}, {"kernel_size": (2, 3), "stride": (2, 1)}, {"kernel_size": 3, "padding": (1, 2)}, {"kernel_size": 2, "dilation": (3, 2)}, {"kernel_size": (3, 1), "groups": 2}, {"kernel_size": 3, "bias": False},
                     {"kernel_size": 3, "padding": 1, "padding_mode": "circular"}, {"kernel_size": (3, 5), "padding": "same"}):
        manual_seed(5)
        layer = check.call(lambda: Conv2d(4, 6, dtype="float64", **settings), f"Conv2d(4, 6, {settings})", cause="__init__ is that of Convolution")
        x = rng.standard_normal((2, 4, 8, 7))
        pairs = [(v, v) if isinstance(v, int) else v for v in (settings["kernel_size"], settings.get("stride", 1), settings.get("padding", 0), settings.get("dilation", 1))]
        if pairs[2] == "same":
            pairs[2] = (1, 2)
        padded = np.pad(x, ((0, 0), (0, 0), *[(p, p) for p in pairs[2]]), mode="wrap" if "padding_mode" in settings else "constant")
        view, groups = patches(padded, slide(padded.shape[2:], pairs[0], pairs[1], (0, 0), pairs[3])), settings.get("groups", 1)
        check.close(lambda: layer(Tensor(x)), lambda: convolved(view, layer, groups), f"Conv2d(4, 6, {settings})", cause="x, padding = self.padded(input); pass weight, bias, stride, padding, dilation, groups to conv2d")
        check.close(lambda: layer(Tensor(x[0])), lambda: convolved(view, layer, groups)[0], f"one image (C, H, W) through Conv2d(4, 6, {settings})", cause="conv2d takes one image too: pass it on as it is")
    x = np.arange(120.0).reshape(2, 3, 4, 5)
    check.equal(lambda: Flatten()(Tensor(x)), x.reshape(2, 60), "Flatten() of (2, 3, 4, 5)", cause="flatten from self.start_dim to self.end_dim")
    check.equal(lambda: Flatten(0, 1)(Tensor(x)), x.reshape(6, 4, 5), "Flatten(0, 1)", cause="flatten(self.start_dim, self.end_dim)")
    check.equal(lambda: Flatten(start_dim=2)(Tensor(x)), x.reshape(2, 3, 20), "Flatten(2)", cause="flatten(self.start_dim, self.end_dim)")
# fmt: on

# %% [markdown]
# ## 9.6 Max pooling
#
# Where exactly an edge is matters less than that there is one. Max pooling keeps the largest number of
# each patch, and so makes a map smaller. For the gradient it remembers the **place** of the winner in
# the kernel (0 to KH KW - 1): the winner gets all of g, the others nothing.
#
# ```text
#   1  5  2  0        5  3        place (row by row)    1  2
#   4  0  3  1
# ```
#
# Padding must never win, so it is -infinity. Among equals the first wins. NaN must stay visible, so it
# wins over all numbers; of several NaN the last one wins, as in PyTorch. If everything is -infinity, the place is the first one inside of the image (`first_place`).

# %% exercise="9.6" points=3
from tinytorch.ops.pooling import largest, max_pooling, max_pooling_gradient

# largest:
#   Pad with -math.inf. Begin with y full of -math.inf, in the dtype of x, and with
#   place = first_place(xp, window), broadcast to the shape of y.
#   For each tap, numbered k: where is its value larger than y, or NaN (not equal to itself)?
#   There, xp.where takes it, and k for the place.
# max_pooling_gradient:
#   Like fold: zeros of the padded size, and at the k-th tap g is added where place is k, else 0.
#   Cut the padding off.

# %% test="9.6" points=3
# fmt: off
with Exercise("9.6", "largest, max_pooling_gradient") as check:
    rng = np.random.default_rng(6)
    first = np.array([[[[1.0, 5, 2, 0], [4, 0, 3, 1]]]])
    window = slide((2, 4), (2, 2), (2, 2))
    y, place = check.call(lambda: largest(xp, first, window), "the example", count=2, cause="return y and place")
    check.equal(y, [[[[5.0, 3]]]], "the largest of the example", cause="keep the larger of y and the tap")
    check.equal(place, [[[[1, 2]]]], "the places of the example", cause="the number k of the tap, row by row")
    for window in (*WINDOWS, HANGING):
        x = rng.standard_normal((2, 3, *window.image)) - 3  # padding with 0 would win
        view = patches(x, window, -math.inf)
        flat = view.reshape(*view.shape[:4], -1)
        what = f"of images {window.image}, kernel {window.kernel}, stride {window.stride}, padding {window.padding}, dilation {window.dilation}"
        y, place = check.call(lambda: largest(xp, x, window), f"the largest {what}", count=2, cause="return y and place")
        check.equal(y, flat.max(-1), f"the largest {what}", cause="pad with -math.inf")
        best = np.where(np.isinf(flat.max(-1)), first_place(xp, window), flat.argmax(-1))
        check.equal(place, best, f"the places {what}", cause="k where the tap is larger, else the place so far; begin with first_place")
        g = rng.standard_normal(best.shape)
        shares = (np.arange(flat.shape[-1]) == best[..., None]) * g[..., None]
        check.close(lambda: max_pooling_gradient(xp, g, best, window), spread(shares.reshape(view.shape), window), f"the gradient {what}", cause="add g at the k-th tap where place == k, and 0 elsewhere; then unpad")
    window = slide((2, 2), (2, 2))
    for values, number, place in (([[3.0, 3], [1, 3]], 3.0, 0), ([[1.0, math.nan], [5, 2]], math.nan, 1), ([[math.nan, 1], [math.nan, 2]], math.nan, 2), ([[-math.inf] * 2] * 2, -math.inf, 0)):
        got = check.call(lambda: largest(xp, np.array([[values]]), window), f"the largest of {values}", count=2, cause="return y and place")
        check.equal(lambda: np.nan_to_num(got[0], nan=99.0, neginf=-99.0), [[[[np.nan_to_num(number, nan=99.0, neginf=-99.0)]]]], f"the largest of {values} (99 for NaN, -99 for -infinity)", cause="where (value > y) | (value != value)")
        check.equal(lambda: got[1], [[[[place]]]], f"the place in {values}", cause="the first of equals: > and not >=; of several NaN the last")
    got = check.call(lambda: largest(xp, np.full((1, 1, 2, 2), -math.inf), slide((2, 2), (2, 2), (1, 1), (1, 1))), "the largest of -infinity with padding 1", count=2, cause="return y and place")
    check.equal(lambda: got[1], [[[[3, 2, 2], [1, 0, 0], [1, 0, 0]]]], "the places of -infinity with padding 1: never in the padding", cause="begin with first_place(xp, window), not with 0")
    check.true(lambda: got[1].dtype.kind == "i", "places are integers", cause="xp.full_like(place, k)")
    check.equal(lambda: max_pooling_gradient(xp, np.array([[[[math.inf]]]]), np.array([[[[1]]]]), window), [[[[0.0, math.inf], [0, 0]]]], "an infinite gradient goes to the winner only", cause="xp.where, no product with 0")
    check.equal(lambda: largest(xp, np.ones((1, 1, 2, 2), np.float32), window)[0].dtype.name, "float32", "the dtype of the largest", cause="xp.full(..., dtype=x.dtype)")
    check.equal(lambda: max_pooling_gradient(xp, np.ones((1, 1, 1, 1), np.float32), np.zeros((1, 1, 1, 1), int), window).dtype.name, "float32", "the dtype of the gradient", cause="zeros with dtype=g.dtype")
    leaf = Tensor(rng.standard_normal((1, 2, 5, 4)), requires_grad=True)
    check.gradient(lambda x: max_pooling(x, window=slide((5, 4), (3, 2), (2, 1), (1, 0))), leaf, what="max_pooling", cause="see the gradient above")
# fmt: on

# %% [markdown]
# ## 9.7 Average pooling
#
# The mean instead of the largest: every element gets the same share of g. Does the padding count?
# PyTorch divides by the elements inside of the padded image (`count_include_pad`), which makes borders
# darker, or by those inside of the image. With `ceil_mode`, a last position that hangs over the end
# has fewer elements in both. `covered(xp, window, axis, count_include_pad)` counts them along one
# axis; a position covers rows times columns.

# %% exercise="9.7" points=2
from tinytorch.ops.pooling import average_pooling, average_pooling_gradient

# average_pooling:
#   Add up all taps of the padded images, beginning with zeros in the dtype of x.
#   The count is `divisor`, unless that is None: then covered of axis 0 (as a column) times that of
#   axis 1, as numbers of the dtype of x.
#   Return the quotient, and for the gradient the pair (count, window).
# average_pooling_gradient:
#   Each tap gets g / count. Add up as in 9.6.

# %% test="9.7" points=2
# fmt: off
with Exercise("9.7", "average_pooling, average_pooling_gradient") as check:
    rng = np.random.default_rng(7)
    for window in POOLS:
        x = rng.standard_normal((2, 3, *window.image)) + 2
        view, inside = patches(x, window), patches(np.ones_like(x), window)
        framed = tuple(size + 2 * p for size, p in zip(window.image, window.padding, strict=True))
        whole = patches(np.ones((1, 1, *framed)), window._replace(image=framed, padding=(0, 0))).sum((4, 5))
        for settings, count in (({}, whole), ({"count_include_pad": False}, inside.sum((4, 5))), ({"divisor": 7}, 7), ({"divisor": 5, "count_include_pad": False}, 5)):
            what = f"of images {window.image}, kernel {window.kernel}, stride {window.stride}, padding {window.padding}, {settings}"
            y, saved = check.call(lambda: average_pooling.forward(xp, x, window=window, **settings), f"the means {what}", count=2,
                                  cause="covered of axis 0 as a column times that of axis 1; return y and the tuple (count, window)")
            check.close(y, view.sum((4, 5)) / count, f"the means {what}", cause="the sum of all taps / count; the count is divisor, or covered rows times covered columns")
            g = rng.standard_normal(view.shape[:4])
            before = g.copy()
            shares = np.broadcast_to((g / count)[..., None, None], view.shape)
            check.close(lambda: average_pooling.reference.gradient(xp, g, *saved), spread(shares, window), f"the gradient {what}", cause="add g / count at every tap of zeros, then unpad")
            check.equal(lambda: g, before, "g after the gradient", cause="g / count makes a new array: do not write into g")
    kept, ones = slide((2, 2), (2, 2)), np.ones((1, 1, 2, 2), np.float32)
    check.equal(lambda: average_pooling.forward(xp, ones, window=kept)[0].dtype.name, "float32", "the dtype of the means", cause="cast the count to x.dtype, and make zeros of x.dtype")
    check.equal(lambda: average_pooling.reference.gradient(xp, ones[:, :, :1, :1], 4, kept).dtype.name, "float32", "the dtype of the gradient", cause="zeros with dtype=g.dtype")
# fmt: on

# %% [markdown]
# Both shrink the map to a third. Where the maximum keeps thin lines, the mean blurs them.

# %%
edges = np.abs(maps[None, :1])  # (1, 1, 22, 22)
window = slide((22, 22), (3, 3), (3, 3))
pooled = [largest(xp, edges, window)[0], average_pooling.forward(xp, edges, window=window)[0]]
figure, axes = plt.subplots(1, 3, figsize=(8, 3.2))
for axis, picture, title in zip(
    axes,
    (edges[0, 0], pooled[0][0, 0], pooled[1][0, 0]),
    ("vertical edges", "largest of 3 x 3", "mean of 3 x 3"),
    strict=True,
):
    axis.imshow(picture)
    axis.set(title=title, xticks=[], yticks=[])
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 9.8 Batch norm in training
#
# Each layer's inputs change whenever the layers before it learn. Batch norm gives every channel mean 0
# and variance 1 over the *whole batch*, all images and all places, and lets the network choose scale and
# shift itself: $y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b$ (Ioffe and Szegedy, 2015).
#
# **By hand**: a channel with 1, 2 in one image and 3, 6 in another: mean 3, variance (4+1+0+9)/4 = 3.5.
#
# The gradient is given: mean and variance depend on every x too, which is why it has three terms.

# %% exercise="9.8" points=3
from tinytorch.ops.batch_norm import batch_normalization, batch_normalization_gradient

# batch_normalization:
#   x is (N, C, ...), with any number of further axes. Take means over all axes but 1:
#   _mean(xp, x, axes) keeps these axes with size 1, so that it broadcasts.
#   The variance is the mean of the squares of x - mean (divided by the count, not count - 1).
#   Scale: 1 / xp.sqrt(variance + eps). weight and bias are (C,), or None: reshape them like mean.
#   Return a triple (y, mean, variance), the last two (C,); and for the gradient: the normalised x
#   before weight and bias, scale, weight.

# %% test="9.8" points=3
# fmt: off
with Exercise("9.8", "batch_normalization") as check:
    rng = np.random.default_rng(8)
    hand = np.array([[[[1.0, 2]]], [[[3, 6]]]])
    rule = "means over all axes but 1, here 0, 2 and 3, divided by the count; divide by xp.sqrt(variance + eps)"
    found, _ = check.call(lambda: batch_normalization.forward(xp, hand, eps=0.5), "the example, with eps = 0.5", count=2, cause=f"{rule}; return (y, mean, variance), and what is saved")
    for got, value, name in zip(check.call(lambda: found, "the results", count=3, cause="the triple (y, mean, variance)"), ([[[[-1.0, -0.5]]], [[[0.0, 1.5]]]], [3.0], [3.5]), ("y", "mean", "variance"), strict=True):
        check.close(got, value, f"{name} of the example", cause=rule)
    for shape in ((3, 2, 4, 5), (6, 3), (2, 4, 3), (4, 1, 2, 3)):
        x, w, b = 3 * rng.standard_normal(shape) + 5, rng.uniform(1, 3, shape[1]), rng.standard_normal(shape[1])
        axes, like = tuple(a for a in range(len(shape)) if a != 1), tuple(-1 if a == 1 else 1 for a in range(len(shape)))
        mean, variance, kept = x.mean(axes), x.var(axes), x.copy()
        normal = (x - mean.reshape(like)) / np.sqrt(variance.reshape(like) + 0.1)
        for weight, bias in ((None, None), (w, b), (w, None), (None, b)):
            what = f"of x {shape}, weight {'none' if weight is None else 'given'}, bias {'none' if bias is None else 'given'}"
            results, saved = check.call(lambda: batch_normalization.forward(xp, x, weight, bias, eps=0.1), f"batch norm {what}", count=2,
                                        cause="means over axis 0 and all axes from 2; weight and bias in the shape of mean; return (y, mean, variance), and what is saved")
            check.equal(lambda: x, kept, f"x afterwards, {what}", cause="x - mean makes a new array: do not write into x")
            y = normal * (1 if weight is None else w.reshape(like)) + (0 if bias is None else b.reshape(like))
            for got, value, name in zip(check.call(lambda: results, f"the results {what}", count=3, cause="the triple (y, mean, variance)"), (y, mean, variance), ("y", "mean", "variance"), strict=True):
                check.close(got, value, f"{name} {what}", cause="statistics over all axes but 1; weight and bias in the shape of mean; the results' mean and variance are (C,)")
            check.call(lambda: saved, f"what is saved {what}", count=3, cause="(normal, scale, weight)")
            check.close(lambda: saved[0], normal, f"the normalised x that is saved {what}", cause="before weight and bias")
            check.close(lambda: saved[1], 1 / np.sqrt(variance.reshape(like) + 0.1), f"the scale that is saved {what}", cause="1 / sqrt(variance + eps), shape (1, C, 1, ...)")
            check.true(lambda: saved[2] is weight, f"the weight is saved {what}", cause="as it came, or None")
    check.close(lambda: batch_normalization.forward(xp, np.float32([[10000.0], [10001], [10003], [10004]]), eps=0.1)[0][2], [2.5], "the variance of 10000, 10001, 10003, 10004 in float32",
                cause="the mean of the squares of x - mean; mean of x² minus mean² loses all digits")
    check.equal(lambda: batch_normalization.forward(xp, np.float32([[1.0], [2.0]]), eps=0.1)[0][0].dtype.name, "float32", "the dtype of y", cause="the functions of xp keep float32")
    leaves = [Tensor(rng.standard_normal(s), requires_grad=True) for s in ((3, 2, 2, 2), (2,), (2,))]
    check.gradient(lambda *inputs: batch_normalization(*inputs, eps=0.1)[0], *leaves, what="batch_normalization", cause="save normal, scale, weight in this order")
# fmt: on

# %% [markdown]
# ## 9.9 Batch norm in evaluation
#
# A single image has no batch; and what the network says about it must not depend on its neighbours. So
# training keeps **running** statistics: after each batch they move a fraction, the momentum, towards
# those of the batch. In evaluation they are constants, and batch norm is a scale and a shift.
#
# A batch's variance, divided by count, is a little too small as an estimate for all data: it is
# multiplied by count / (count - 1) first.

# %% exercise="9.9" points=3
from tinytorch.ops.batch_norm import move_statistics, scale_and_shift

# move_statistics:
#   running is a pair, of mean and variance; either may be None. Move each *in place*:
#   the fraction `momentum` of the way to mean, and to the variance that divides by count - 1.
# scale_and_shift:
#   (x - mean) / sqrt(variance + eps) * weight + bias = x * scale + shift. Which scale, which shift?
#   weight may be None (1), and bias (0).

# %% test="9.9" points=3
# fmt: off
with Exercise("9.9", "move_statistics, scale_and_shift") as check:
    rng = np.random.default_rng(9)
    for count, momentum in ((5, 0.1), (2, 0.3), (40, 1.0), (7, 0.0)):
        before, mean, variance = rng.standard_normal((2, 3)) + 4, rng.standard_normal(3), rng.uniform(1, 2, 3)
        wanted = before + momentum * (np.stack([mean, variance * count / (count - 1)]) - before)
        for keep in ((True, True), (True, False), (False, True)):
            running = tuple(Tensor(v) if k else None for v, k in zip(before, keep, strict=True))
            now = Tensor(mean), Tensor(variance)
            what = f"after a batch of {count} values, momentum {momentum}, kept {keep}"
            check.equal(lambda: move_statistics(running, *now, count, momentum), None, f"move_statistics {what}", cause="it changes the tensors in place and returns None; skip what is None")
            for kept, value, name in zip(running, wanted, ("mean", "variance"), strict=True):
                if kept is not None:
                    check.close(kept, value, f"the running {name} {what}", cause="kept += momentum * (now - kept); variance * count / (count - 1) first")
            check.equal(now, [mean, variance], f"mean and variance of the batch {what}", cause="do not write into them")
    x, mean, variance, w, b = rng.standard_normal((4, 3)), rng.standard_normal(3), rng.uniform(1, 2, 3), rng.uniform(2, 3, 3), rng.standard_normal(3)
    for weight, bias in ((None, None), (w, b), (w, None), (None, b)):
        given = [None if v is None else Tensor(v) for v in (mean, variance, weight, bias)]
        what = f"weight {'none' if weight is None else 'given'}, bias {'none' if bias is None else 'given'}"
        scale, shift = check.call(lambda: scale_and_shift(*given, 0.2), f"scale and shift, {what}", count=2, cause="return the pair (scale, shift)")
        factor = (1 if weight is None else w) / np.sqrt(variance + 0.2)
        check.close(scale, factor, f"scale, {what}", cause="(variance + eps) ** -0.5, times weight")
        check.close(shift, (0 if bias is None else b) - mean * factor, f"shift, {what}", cause="bias - mean * scale, with the scale that has weight in it")
        for tensor, value, name in zip(given, (mean, variance, weight, bias), ("mean", "variance", "weight", "bias"), strict=True):
            check.equal(tensor, value, f"{name} after scale_and_shift, {what}", cause="no +=, -= or *= on arguments: they belong to the layer")
# fmt: on

# %% [markdown]
# What would happen if evaluation still used the batch's statistics? The same image, alone and beside
# another one:

# %%
rng = np.random.default_rng(0)
x = rng.standard_normal((2, 1, 4, 4)) + np.array([0.0, 6.0]).reshape(2, 1, 1, 1)
alone = batch_normalization.forward(xp, x[:1], eps=1e-5)[0][0][0, 0, 0]
together = batch_normalization.forward(xp, x, eps=1e-5)[0][0][0, 0, 0]
print("first row alone           ", alone.round(2))
print("beside a brighter neighbour", together.round(2))

# %% [markdown]
# ## It learns to see
#
# Small images with one bar in noise: horizontal, vertical, or diagonal. A convolution with four kernels,
# batch norm, ReLU, and the largest of each map; then a linear layer on four numbers. All ops of images
# are yours; the rest is from lessons 03, 04 and 06.

# %%
from tinytorch.activations import relu
from tinytorch.layers import Linear
from tinytorch.losses import cross_entropy
from tinytorch.modules.parameter import Parameter


def bars(count: int, rng: Any) -> tuple[Any, Any]:
    """Images (count, 1, 12, 12) of one bar each, and its direction: 0, 1 or 2."""
    images, labels = 0.3 * rng.standard_normal((count, 1, 12, 12)), np.arange(count) % 3
    for picture, label in zip(images[:, 0], labels, strict=True):
        row, column = rng.integers(0, 7, 2)
        for k in range(6):
            picture[row + k * (label != 0), column + k * (label != 1)] += 1.5
    return images.astype(np.float32), labels


manual_seed(0)
rng = np.random.default_rng(0)
images, labels = bars(192, rng)
test_images, test_labels = bars(300, rng)
first, last = Conv2d(1, 4, 5), Linear(4, 3)
scale, offset = Parameter(np.ones(4, np.float32)), Parameter(np.zeros(4, np.float32))
running = Tensor(np.zeros(4, np.float32)), Tensor(np.ones(4, np.float32))
parameters = [*first.parameters(), scale, offset, *last.parameters()]


def network(x: Tensor, training: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 12, 12) -> logits (N, 3), and the feature maps (N, 4, 8, 8)."""
    h = first(x)
    if training:
        h, mean, variance = batch_normalization(h, scale, offset, eps=1e-5)
        with no_grad():
            move_statistics(running, mean, variance, h.size // 4, 0.1)
    else:
        factor, shift = scale_and_shift(*running, scale, offset, 1e-5)
        h = h * factor.reshape(4, 1, 1) + shift.reshape(4, 1, 1)
    h = relu(h)
    best = max_pooling(h, window=slide((8, 8), (8, 8)))
    return last(Flatten()(best)), h


history = []
for _ in range(120):
    loss = cross_entropy(network(Tensor(images), True)[0], Tensor(labels))
    loss.backward()
    with no_grad():
        for p in parameters:
            p.data = p.numpy() - 0.3 * p.grad.numpy()
            p.grad = None
    history.append(loss.item())
with no_grad():
    logits, feature_maps = network(Tensor(test_images), False)
right = (logits.numpy().argmax(axis=1) == test_labels).mean()
weights = int(np.sum([p.size for p in parameters]))
print(f"loss {history[0]:.3f} -> {history[-1]:.3f}; {right:.0%} of new images are right")
print(f"{weights} numbers were learned; a linear layer on all pixels has {144 * 3 + 3}")

# %% [markdown]
# The filters that it found, and what each of them sees in three new images:

# %%
figure, axes = plt.subplots(4, 5, figsize=(7.5, 6))
most, brightest = np.abs(first.weight.numpy()).max(), feature_maps.numpy()[:3].max()
axes[0, 0].axis("off")
for c in range(4):
    axes[0, c + 1].imshow(first.weight.numpy()[c, 0], cmap="bwr", vmin=-most, vmax=most)
    axes[0, c + 1].set_title(f"filter {c}")
    for n in range(3):
        axes[n + 1, c + 1].imshow(feature_maps.numpy()[n, c], vmin=0, vmax=brightest)
for n in range(3):
    axes[n + 1, 0].imshow(test_images[n, 0], cmap="gray")
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
figure.tight_layout()
plt.show()

# %% [markdown]
# ## What it costs
#
# **Time**: loops of Python against one product. **Memory**: each pixel lies in up to KH KW columns.

# %%
from tinytorch.tito.measure import seconds

x, w = np.ones((4, 8, 24, 24), np.float32), np.ones((16, 8, 3, 3), np.float32)
window = slide((24, 24), (3, 3))
loops = seconds(lambda: convolve_with_loops(x, w))
product = seconds(lambda: convolution.forward(xp, x, w, window=window))
print(
    f"loops {1e3 * loops:.0f} ms, one product {1e3 * product:.2f} ms: {loops / product:.0f} times"
)
columns = unfold(xp, x, window)
print(f"image {x.nbytes / 2**10:.0f} KiB, columns {columns.nbytes / 2**10:.0f} KiB")

# %% [markdown]
# That is why the op saves x and not its columns: they are copied again in the gradient.
#
# ## Questions to think about
#
# 1. Two layers of 3 x 3 see patches of which size? How many weights for C channels in and out, against
#    one layer of 5 x 5?
# 2. A 1 x 1 convolution has no neighbours. What is it good for?
# 3. Why does a convolution directly before batch norm need no bias?
# 4. What goes wrong in training with batches of two images? And with a single one of 1 x 1?
# 5. How many numbers does `unfold` write for C channels, a K x K kernel and stride K?

# %% [markdown] instructor=true
# ### Answers, for the instructor
#
# 1. 5 x 5. 18 C² against 25 C², and one more nonlinearity.
# 2. It mixes channels: a linear layer at every pixel, often to make C smaller before a 3 x 3.
# 3. Its mean is subtracted again; the shift of batch norm does its work. The bias' gradient is 0.
# 4. The statistics are noise, and the running ones fit neither. With one value, the variance is 0, y is
#    the bias, and count - 1 is 0: the package raises an error.
# 5. As many as the image has: no patch overlaps another.
#
# Rubric for each question: 2 points for the right answer with its reason, 1 without. Typical trouble:
# in 9.3 the rows of a tap in the order of columns; in 9.4 the sum over the batch; in 9.6 padding by 0.

# %% [markdown]
# ## In PyTorch
#
# | here | PyTorch |
# |---|---|
# | `Conv2d`, `MaxPool2d`, `AvgPool2d`, `BatchNorm2d`, `Flatten` | the same names in `torch.nn` |
# | `unfold`, `fold` | `torch.nn.functional.unfold`, `fold`, with C and KH KW merged |
# | one matrix product | one of several algorithms of cuDNN and oneDNN, chosen for the shape |
# | `move_statistics` | inside of `batch_norm` |
#
# Sources: Y. LeCun et al., *Gradient-based learning applied to document recognition* (1998); S. Ioffe
# and C. Szegedy, *Batch normalization* (2015); V. Dumoulin and F. Visin, *A guide to convolution
# arithmetic for deep learning* (2016).
#
# Next: lesson 10 turns from images to text.
