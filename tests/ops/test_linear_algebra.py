"""Products and functions of linear algebra give the same as PyTorch's."""

from typing import Any

import numpy as np
import pytest
from helpers import require
from torch_compare import compare

import tinytorch

torch = require("torch")


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


M, N, V, W = drawn(3, 4), drawn(4, 5), drawn(4), drawn(3)
B, C = drawn(2, 3, 4), drawn(2, 4, 5)
Q = (drawn(3, 3) + np.diag([4, 3, 2])).astype(np.float32)
QS = (drawn(2, 3, 3) + np.diag([4, 3, 2])).astype(np.float32)
S = Q @ Q.T
INTEGERS = np.arange(12).reshape(3, 4)

CASES: dict[str, tuple[Any, ...]] = {
    "mm": (lambda t, x, y: t.mm(x, y), M, N),
    "mm of stacks": (lambda t, x, y: x.mm(y), B, N),
    "mm misfit": (lambda t, x, y: x.mm(y), M, M),
    "bmm": (lambda t, x, y: t.bmm(x, y), B, C),
    "bmm of matrices": (lambda t, x, y: x.bmm(y), M, N),
    "bmm of other stacks": (lambda t, x, y: x.bmm(y), B[:1], C),
    "mv": (lambda t, x, y: x.mv(y), M, V),
    "mv of matrices": (lambda t, x, y: x.mv(y), M, N),
    "dot": (lambda t, x, y: t.dot(x, y), V, V + 1),
    "dot of matrices": (lambda t, x, y: t.dot(x, y), M, M),
    "dot misfit": (lambda t, x, y: t.dot(x, y), V, W),
    "vdot": (lambda t, x, y: x.vdot(y), V, V + 1),
    "inner": (lambda t, x, y: t.inner(x, y), M, B),
    "outer": (lambda t, x, y: t.outer(x, y), V, W),
    "ger": (lambda t, x, y: x.ger(y), V, W),
    "outer of matrices": (lambda t, x, y: t.outer(x, y), M, W),
    "outer of integers": (lambda t, x: t.outer(x, x), np.arange(3)),
    "addmm": (lambda t, x, y, z: t.addmm(x, y, z), N[0], M, N),
    "addmm scaled": (lambda t, x, y, z: x.addmm(y, z, beta=0.5, alpha=2), N[:3], M, N),
    "addmm misfit": (lambda t, x, y, z: t.addmm(x, y, z), W, M, N),
    "addmv": (lambda t, x, y, z: t.addmv(x, y, z), W, M, V),
    "baddbmm": (lambda t, x, y, z: t.baddbmm(x, y, z, alpha=2), drawn(2, 3, 5), B, C),
    "addbmm": (lambda t, x, y, z: x.addbmm(y, z), drawn(3, 5), B, C),
    "kron": (lambda t, x, y: t.kron(x, y), M, Q),
    "kron of axes": (lambda t, x, y: t.kron(x, y), V, Q),
    "trace": (lambda t, x: t.trace(x), M),
    "trace of vector": (lambda t, x: x.trace(), V),
    "cross": (lambda t, x, y: t.cross(x, y, dim=0), Q, M[:, :3]),
    "cross last": (lambda t, x, y: t.linalg.cross(x, y, dim=-1), Q, Q.T),
    "tensordot": (lambda t, x, y: t.tensordot(x, y, dims=1), M, N),
    "tensordot axes": (lambda t, x, y: t.tensordot(x, y, dims=([2, 0], [1, 0])), B, C.mT),
    "tensordot misfit": (lambda t, x, y: t.tensordot(x, y, dims=1), M, M),
    "matrix_power": (lambda t, x: t.matrix_power(x, 5), Q),
    "matrix_power 0": (lambda t, x: x.detach().matrix_power(0), Q),
    "matrix_power -2": (lambda t, x: t.linalg.matrix_power(x, -2), QS),
    "cdist": (lambda t, x, y: t.cdist(x, y), M, drawn(5, 4)),
    "cdist 1": (lambda t, x, y: t.cdist(x, y, p=1), B, drawn(2, 5, 4)),
    "einsum matmul": (lambda t, x, y: t.einsum("ij,jk->ik", x, y), M, N),
    "einsum implicit": (lambda t, x, y: t.einsum("ij,jk", x, y), M, N),
    "einsum list": (lambda t, x, y: t.einsum("ij, jk -> ki", [x, y]), M, N),
    "einsum batch": (lambda t, x, y: t.einsum("bij,bjk->bik", x, y), B, C),
    "einsum attention": (
        lambda t, q, k: t.einsum("bqhd,bkhd->bhqk", q, k), drawn(2, 3, 2, 4), drawn(2, 5, 2, 4)),
    "einsum ellipsis": (lambda t, x, y: t.einsum("...ij,...jk->...ik", x, y), B, N),
    "einsum ellipsis implicit": (lambda t, x, y: t.einsum("...i,...i", x, y), B, B + 1),
    "einsum ellipsis broadcast": (lambda t, x, y: t.einsum("...i,...i->...", x, y), B, M[:1]),
    "einsum trace": (lambda t, x: t.einsum("ii", x), Q),
    "einsum diagonal": (lambda t, x: t.einsum("bii->bi", x), QS),
    "einsum sum": (lambda t, x: t.einsum("ijk->j", x), B),
    "einsum total": (lambda t, x: t.einsum("ij->", x), M),
    "einsum transpose": (lambda t, x: t.einsum("ij->ji", x), M),
    "einsum outer": (lambda t, x, y: t.einsum("i,j->ij", x, y), V, W),
    "einsum elementwise": (lambda t, x, y: t.einsum("ij,ij->ij", x, y), M, M + 1),
    "einsum bilinear": (lambda t, x, a, y: t.einsum("bi,ijk,bk->bj", x, a, y),
                        M, drawn(4, 2, 5), drawn(3, 5)),
    "einsum size 1": (lambda t, x, y: t.einsum("ij,ij->i", x, y), M, M[:, :1]),
    "einsum both size 1": (lambda t, x, y: t.einsum("ij,ij->j", x, y), M[:, :1], M[:, :1]),
    "einsum integers": (lambda t, x: t.einsum("ij,kj->ik", x, x), INTEGERS),
    "einsum misfit": (lambda t, x, y: t.einsum("ij,jk->ik", x, y), M, M),
    "einsum few letters": (lambda t, x: t.einsum("i->i", x), M),
    "einsum few tensors": (lambda t, x: t.einsum("ij,jk->ik", x), M),
    "einsum unknown": (lambda t, x: t.einsum("ij->ik", x), M),
    "einsum twice": (lambda t, x: t.einsum("ij->ii", x), M),
    "inverse": (lambda t, x: t.inverse(x), Q),
    "inv": (lambda t, x: t.linalg.inv(x), QS),
    "inv of rectangle": (lambda t, x: t.linalg.inv(x), M),
    "inv of singular": (lambda t, x: t.linalg.inv(x * 0), Q),
    "det": (lambda t, x: t.det(x), QS),
    "logdet": (lambda t, x: t.logdet(x), S),
    "logdet negative": (lambda t, x: t.logdet(-x.detach()), Q),
    "slogdet": (lambda t, x: t.slogdet(x)[1], Q),
    "solve": (lambda t, x, y: t.linalg.solve(x, y), Q, M),
    "solve vector": (lambda t, x, y: t.linalg.solve(x, y), Q, W),
    "solve vectors": (lambda t, x, y: t.linalg.solve(x, y), QS, drawn(2, 3)),
    "cholesky": (lambda t, x: t.linalg.cholesky(x), S),
    "cholesky of indefinite": (lambda t, x: t.linalg.cholesky(-x), S),
    "eigvalsh": (lambda t, x: t.linalg.eigvalsh((x + x.mT) / 2), Q),
    "eigh": (lambda t, x: abs(t.linalg.eigh((x + x.mT) / 2)[1]), Q),
    "svdvals": (lambda t, x: t.linalg.svdvals(x), M),
    "svd": (lambda t, x: abs(t.linalg.svd(x, full_matrices=False)[0]), M),
    "svd V": (lambda t, x: abs(t.linalg.svd(x, full_matrices=False).Vh), B),
    "qr": (lambda t, x: [abs(y) for y in t.linalg.qr(x.mT)], M),
    "pinv": (lambda t, x: t.linalg.pinv(x), M),
    "matrix_rank": (lambda t, x: t.linalg.matrix_rank(x.detach()[:, [0, 0, 1, 1]]), M),
    "lstsq": (lambda t, x, y: t.linalg.lstsq(x.mT, y).solution, M, N),
    "cond": (lambda t, x: t.linalg.cond(x), Q),
    "multi_dot": (lambda t, x, y, z: t.linalg.multi_dot([x, y, z]), M, N, N.T),
    "norm": (lambda t, x: t.linalg.norm(x), M),
    "norm dim": (lambda t, x: t.linalg.norm(x, dim=1, keepdim=True), M),
    "norm 1": (lambda t, x: t.linalg.norm(x, 1), M),
    "norm 2": (lambda t, x: t.linalg.norm(x, ord=2), M),
    "norm of stack": (lambda t, x: t.linalg.norm(x, "fro", dim=(1, 2)), B),
    "norm inf of vector": (lambda t, x: t.linalg.norm(x, float("inf")), V),
    "matrix_norm": (lambda t, x: t.linalg.matrix_norm(x, float("-inf"), keepdim=True), B),
    "matrix_norm nuc": (lambda t, x: t.linalg.matrix_norm(x, "nuc"), B),
    "vector_norm": (lambda t, x: t.linalg.vector_norm(x, 3, dim=(0, 1)), B),
    "vecdot": (lambda t, x, y: t.linalg.vecdot(x, y, dim=1), B, B + 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_function_equals_pytorch(name: str, backend: str) -> None:
    function, *arrays = CASES[name]
    compare(function, [np.array(a) for a in arrays], backend)


def test_decompositions_multiply_to_their_matrix() -> None:
    x = tinytorch.Tensor(M)
    u, s, vh = tinytorch.linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose(((u * s) @ vh).numpy(), M, rtol=1e-4, atol=1e-5)
    assert tinytorch.linalg.svd(x).Vh.shape == (4, 4)
    q, r = tinytorch.linalg.qr(x)
    np.testing.assert_allclose((q @ r).numpy(), M, rtol=1e-4, atol=1e-5)
    values, vectors = tinytorch.linalg.eigh(tinytorch.Tensor(S))
    np.testing.assert_allclose((vectors * values @ vectors.mT).numpy(), S, rtol=1e-4, atol=1e-4)
