"""Functions that move elements give the same values, dtypes, gradients and errors as PyTorch's."""

from typing import Any

import numpy as np
import pytest
from helpers import require
from torch_compare import compare, tensor_of

from tinytorch import backends

require("torch")

X = np.arange(24.0).reshape(2, 3, 4).astype(np.float32)
M = np.arange(12.0).reshape(3, 4).astype(np.float32)
Q = np.arange(16.0).reshape(4, 4).astype(np.float32)
V = np.arange(5.0).astype(np.float32)


# Each case is a function of the library and of tensors of the arrays that follow it.
CASES: dict[str, tuple[Any, ...]] = {
    "numel": (lambda t, x: tensor_of(t, x.numel()), X),
    "size()": (lambda t, x: tensor_of(t, list(x.size())), X),
    "size(-1)": (lambda t, x: tensor_of(t, [x.size(-1), x.size(dim=0), x.dim()]), X),
    "size(3)": (lambda t, x: x.size(3), X),
    "stride": (lambda t, x: tensor_of(t, [*x.stride(), x.stride(0), *x.mT.stride()]), X),
    "contiguous": (lambda t, x: tensor_of(t, [x.is_contiguous(), x.mT.is_contiguous(),
                                          x.mT.contiguous().is_contiguous()]), X),
    "contiguous values": (lambda t, x: x.mT.contiguous(), X),
    "element_size": (lambda t, x: tensor_of(t, [x.element_size(), x.nbytes, x.itemsize]), X),
    "view": (lambda t, x: x.view(-1, 2), M),
    "view of a part": (lambda t, x: x.mT.view(2, 4, 1, 3), X),
    "view of a transpose": (lambda t, x: x.t().view(-1), M),
    "view misfit": (lambda t, x: x.view(5, -1), M),
    "meshgrid of matrices": (lambda t, x: t.meshgrid(x, x, indexing="ij"), M),
    "view_as": (lambda t, x, y: x.view_as(y), M, np.zeros((2, 6))),
    "reshape": (lambda t, x: t.reshape(x, (4, -1)), M),
    "ravel": (lambda t, x: t.ravel(x.t()), M),
    "flatten": (lambda t, x: t.flatten(x), X),
    "flatten from": (lambda t, x: x.flatten(start_dim=1), X),
    "flatten to": (lambda t, x: x.flatten(0, end_dim=1), X),
    "flatten backwards": (lambda t, x: x.flatten(2, 1), X),
    "unflatten": (lambda t, x: x.unflatten(-1, (2, -1)), X),
    "unflatten dim": (lambda t, x: t.unflatten(x, dim=1, sizes=(3, 1)), X),
    "unflatten misfit": (lambda t, x: x.unflatten(1, (2, 2)), X),
    "squeeze": (lambda t, x: t.squeeze(x[:1, :, :1]), X),
    "squeeze dim": (lambda t, x: x[:1].squeeze(0), X),
    "squeeze dims": (lambda t, x: x[:1, :, :1].squeeze((0, 2)), X),
    "squeeze other dim": (lambda t, x: x.squeeze(dim=0), X),
    "unsqueeze": (lambda t, x: t.unsqueeze(x, -1), X),
    "unsqueeze far": (lambda t, x: x.unsqueeze(4), X),
    "atleast": (lambda t, x: t.atleast_3d(t.atleast_2d(t.atleast_1d(x[0]))), V),
    "permute": (lambda t, x: t.permute(x, (2, 0, 1)), X),
    "transpose": (lambda t, x: t.transpose(x, 1, -1), X),
    "swapaxes": (lambda t, x: x.swapaxes(0, 1), X),
    "swapdims": (lambda t, x: t.swapdims(x, 0, 1), X),
    "t": (lambda t, x: x.t(), M),
    "t of vector": (lambda t, x: t.t(x), V),
    "t of stack": (lambda t, x: x.t(), X),
    "movedim": (lambda t, x: x.movedim(0, -1), X),
    "movedims": (lambda t, x: t.movedim(x, (0, 1), (2, 0)), X),
    "movedim misfit": (lambda t, x: x.movedim((0, 1), (0,)), X),
    "flip": (lambda t, x: x.flip(0, -1), X),
    "flip dims": (lambda t, x: t.flip(x, dims=[1]), X),
    "flip tuple": (lambda t, x: t.flip(x, (1, 2)), X),
    "flip twice": (lambda t, x: x.flip(0, 0), X),
    "flip far": (lambda t, x: x.flip(3), X),
    "fliplr": (lambda t, x: x.fliplr(), M),
    "flipud": (lambda t, x: t.flipud(x), M),
    "rot90": (lambda t, x: t.rot90(x), M),
    "rot270": (lambda t, x: x.rot90(-1, (1, 2)), X),
    "rot180": (lambda t, x: x.rot90(2), M),
    "roll": (lambda t, x: t.roll(x, 1, 0), M),
    "roll dims": (lambda t, x: x.roll(shifts=(1, -2), dims=(0, 1)), M),
    "roll all": (lambda t, x: x.roll(5), M),
    "roll misfit": (lambda t, x: x.roll((1, 2), 0), M),
    "tril": (lambda t, x: t.tril(x), M),
    "tril diagonal": (lambda t, x: x.tril(diagonal=1), X),
    "triu": (lambda t, x: t.triu(x, diagonal=1), Q),
    "tril of integers": (lambda t, x: t.tril(x), np.ones((3, 3), np.int64)),
    "triu of booleans": (lambda t, x: t.triu(x, 1), np.ones((3, 3), bool)),
    "tril of vector": (lambda t, x: t.tril(x), V),
    "diag of vector": (lambda t, x: t.diag(x), V),
    "diag above": (lambda t, x: x.diag(2), V),
    "diag below": (lambda t, x: t.diag(x, diagonal=-1), V),
    "diag of matrix": (lambda t, x: t.diag(x, 1), M),
    "diag of stack": (lambda t, x: t.diag(x), X),
    "diag_embed": (lambda t, x: t.diag_embed(x, offset=1), M),
    "diagflat": (lambda t, x: t.diagflat(x), M),
    "diagonal": (lambda t, x: x.diagonal(), M),
    "diagonal below": (lambda t, x: x.diagonal(-1), M),
    "diagonal of stack": (lambda t, x: t.diagonal(x, offset=1, dim1=-2, dim2=-1), X),
    "diagonal outside": (lambda t, x: x.diagonal(9), M),
    "expand_as": (lambda t, x, y: x.expand_as(y), V, np.zeros((2, 5))),
    "broadcast_to": (lambda t, x: t.broadcast_to(x, (2, 5)), V),
    "broadcast_tensors": (lambda t, x, y: t.broadcast_tensors(x, y), V, np.zeros((2, 1))),
    "broadcast misfit": (lambda t, x, y: t.broadcast_tensors(x, y), V, np.zeros((2, 3))),
    "repeat": (lambda t, x: x.repeat(2, 3), M),
    "repeat more": (lambda t, x: x.repeat((2, 1, 1)), M),
    "repeat once": (lambda t, x: x.repeat(1, 1), M),
    "repeat zero": (lambda t, x: x.repeat(0, 2), M),
    "repeat few": (lambda t, x: x.repeat(2), M),
    "tile": (lambda t, x: t.tile(x, (2,)), M),
    "tile dims": (lambda t, x: t.tile(x, dims=(2, 1, 1)), M),
    "repeat_interleave": (lambda t, x: x.repeat_interleave(2), M),
    "repeat_interleave dim": (lambda t, x: t.repeat_interleave(x, 3, dim=1), X),
    "repeat_interleave counts": (
        lambda t, x: t.repeat_interleave(x, tensor_of(t, [2, 0, 1]), dim=0), M),
    "meshgrid": (lambda t, x, y: t.meshgrid(x, y, indexing="ij"), V, V[:3]),
    "meshgrid xy": (lambda t, x, y: t.meshgrid([x, y], indexing="xy"), V, V[:3]),
    "cartesian_prod": (lambda t, x, y: t.cartesian_prod(x, y), V, V[:3]),
    "split": (lambda t, x: t.split(x, 2, dim=1), X),
    "split sizes": (lambda t, x: x.split([1, 3], -1), X),
    "chunk": (lambda t, x: x.chunk(3, dim=-1), X),
    "chunk many": (lambda t, x: t.chunk(x, 7), V),
    "chunk none": (lambda t, x: x.chunk(0), V),
    "chunk uneven": (lambda t, x: t.chunk(x, 4), np.arange(10.0)),
    "tensor_split": (lambda t, x: t.tensor_split(x, 3), V),
    "tensor_split at": (lambda t, x: x.tensor_split((1, 3), dim=0), V),
    "hsplit": (lambda t, x: t.hsplit(x, 2), M),
    "vsplit": (lambda t, x: x.vsplit([1]), M),
    "dsplit": (lambda t, x: x.dsplit(2), X),
    "split_with_sizes": (lambda t, x: x.split_with_sizes([1, 2], dim=1), X),
    "as_strided": (lambda t, x: x.as_strided((2, 2, 3), (4, 1, 1)), M),
    "as_strided outside": (lambda t, x: t.as_strided(x, (4, 4), (4, 1)), M),
    "combinations": (lambda t, x: t.combinations(x), V),
    "combinations with replacement": (lambda t, x: t.combinations(x, 3, True), V),
    "block_diag": (lambda t, x, y: t.block_diag(x, y, x), M, V),
    "row_stack": (lambda t, x, y: t.row_stack((x, y)), V, V),
    "adjoint": (lambda t, x: x.adjoint() + x.mH, X),
    "sum_to_size": (lambda t, x: x.sum_to_size(3, 1), X),
    "sum_to_size misfit": (lambda t, x: x.sum_to_size(2, 1), X),
    "unbind": (lambda t, x: x.unbind(1), X),
    "unbind first": (lambda t, x: t.unbind(x), X),
    "narrow": (lambda t, x: x.narrow(1, 1, 2), X),
    "narrow misfit": (lambda t, x: x.narrow(1, 1, 3), X),
    "select": (lambda t, x: x.select(1, -1), X),
    "select far": (lambda t, x: t.select(x, 1, 3), X),
    "unfold": (lambda t, x: x.unfold(0, 2, 1), V),
    "unfold step": (lambda t, x: x.unfold(1, 2, 2), X),
    "unfold misfit": (lambda t, x: x.unfold(0, 6, 1), V),
    "cat": (lambda t, x, y: t.cat([x, y], dim=1), M, M[:, :2]),
    "cat tuple": (lambda t, x, y: t.cat((x, y)), M, M[:1]),
    "cat of empty": (lambda t, x, y: t.cat([y, x]), M, np.zeros(0, np.float32)),
    "cat of dtypes": (lambda t, x, y: t.cat([x, y]), M, np.ones((2, 4), np.int64)),
    "cat misfit": (lambda t, x, y: t.cat([x, y]), M, M[:, :2]),
    "stack": (lambda t, x, y: t.stack((x, y), dim=-1), M, M),
    "stack misfit": (lambda t, x, y: t.stack((x, y)), M, Q),
    "hstack": (lambda t, x, y: t.hstack([x, y]), V, V),
    "hstack of matrices": (lambda t, x, y: t.hstack([x, y]), M, M),
    "vstack": (lambda t, x, y: t.vstack((x, y)), V, V),
    "dstack": (lambda t, x, y: t.dstack((x, y)), M, M),
    "column_stack": (lambda t, x, y: t.column_stack((x, y)), V, V),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_function_equals_pytorch(name: str, backend: str) -> None:
    shows_layout = hasattr(backends.get(backend).asarray(0.0), "strides")
    if not shows_layout and name in ("stride", "contiguous"):
        pytest.skip("the arrays do not show the layout of their memory")
    function, *arrays = CASES[name]
    compare(function, [np.array(a) for a in arrays], backend)


COPIES = {
    "flip": lambda t, x: x.flip(0),
    "fliplr": lambda t, x: t.fliplr(x),
    "rot90": lambda t, x: t.rot90(x),
    "roll": lambda t, x: x.roll(1),
    "tril": lambda t, x: x.tril(5),
    "repeat": lambda t, x: x.repeat(1, 1),
    "cat of one": lambda t, x: t.cat([x]),
    "pad by nothing": lambda t, x: t.nn.functional.pad(x, (0, 0)),
    "clamp": lambda t, x: x.clamp(min=-1000),
    "index_select": lambda t, x: x.index_select(0, t.tensor([0, 1, 2])),
    "diag": lambda t, x: x.diag(),
}


@pytest.mark.parametrize("name", COPIES)
def test_functions_that_copy_share_no_memory(name: str) -> None:
    import torch

    import tinytorch

    for library in (torch, tinytorch):
        x: Any = library.zeros(3, 4)
        COPIES[name](library, x).fill_(1)
        assert not x.any()


@pytest.mark.parametrize("backend", ["numpy", "strict", "reference"])
def test_the_number_of_elements_is_a_number_in_every_function(backend: str) -> None:
    import tinytorch as t

    x = t.tensor([1.0, 2.0, 3.0], backend=backend)
    results = [x.sum() / x.size, x.size * x, x.add(1, alpha=x.size), x.clamp(max=x.size),
               t.full((2,), x.size, backend=backend), x.long() * x.size]  # fmt: skip
    expected = [2.0, [3.0, 6.0, 9.0], [4.0, 5.0, 6.0], [1.0, 2.0, 3.0], [3, 3], [3, 6, 9]]
    assert [result.tolist() for result in results] == expected
    assert [str(r.dtype).rsplit(".")[-1][:3] for r in results] == ["flo"] * 4 + ["int"] * 2
