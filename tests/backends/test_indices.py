"""Indices out of range raise an IndexError on every backend, and choose no other element."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch import Tensor
from tinytorch.nn import functional as F  # noqa: N812

# Calls with x (3, 4) and ids, and the least id that is an index
LOOKUPS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int]] = {
    "embedding": (lambda x, ids: F.embedding(ids, x), 0),
    "cross entropy": (lambda x, ids: F.cross_entropy(x.T[:1], ids), 0),
    "nll_loss": (lambda x, ids: F.nll_loss(x.T[:1], ids), 0),
    "x[ids]": (lambda x, ids: x[ids], -3),
    "x[:, ids]": (lambda x, ids: x.T[:, ids], -3),
    "x[..., ids]": (lambda x, ids: x.T[..., ids], -3),
    "x[mask, ids]": (lambda x, ids: x.T[x.T[:, 0] == 1, ids], -3),
    "gather": (lambda x, ids: x.gather(0, ids.reshape(1, 1)), 0),
    "index_select": (lambda x, ids: x.index_select(0, ids), -3),
    "take": (lambda x, ids: x[:, 0].take(ids), -3),
    "take_along_dim": (lambda x, ids: x.take_along_dim(ids.reshape(1, 1), 0), 0),
    "scatter": (lambda x, ids: x.scatter(0, ids.reshape(1, 1), 1.0), 0),
    "scatter_add": (lambda x, ids: x.scatter_add(0, ids.reshape(1, 1), x), 0),
    "index_add": (lambda x, ids: x.index_add(0, ids, x[:1]), -3),
    "index_copy": (lambda x, ids: x.index_copy(0, ids, x[:1]), -3),
    "index_put": (lambda x, ids: x.index_put((ids,), x[0]), -3),
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_ids_out_of_range_raise_an_index_error(name: str, backend: str) -> None:
    lookup, least = LOOKUPS[name]

    def look_up(index: int, where: str) -> Any:
        x = Tensor([[0.0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], backend=where)
        return lookup(x, Tensor([index], backend=where)).numpy()  # a GPU reports errors here

    for right in (least, 2):
        np.testing.assert_allclose(look_up(right, backend), look_up(right, "numpy"), rtol=1e-5)
    for wrong in (3, least - 1, 2**40, -(2**40)):
        with pytest.raises(IndexError) as expected:
            look_up(wrong, "reference")
        with pytest.raises(IndexError) as raised:
            look_up(wrong, backend)
        if backend in ("numpy", "cupy"):  # kernels name the id, and not always the axis
            assert str(wrong) in str(raised.value) or "outside" in str(raised.value)
        else:
            assert str(raised.value) == str(expected.value)
