"""Attention whose Q, K, V and mask broadcast, against PyTorch: output and all gradients."""

import math
from typing import Any

import numpy as np
import pytest
from helpers import require
from op_checks import REFERENCE

from tinytorch import MultiHeadAttention, Tensor, backends
from tinytorch.attention import attention, scaled_dot_product_attention

# Leading axes of Q, K, V and the mask; None: no mask.
LEADS: list[tuple[tuple[int, ...] | None, ...]] = [
    ((1,), (1,), (1,), (2,)),
    ((), (), (), (3,)),
    ((1,), (1,), (1,), (4, 1)),
    ((2,), (2,), (2,), (3, 1)),
    ((2, 4), (2, 4), (2, 4), (2, 1)),
    ((2, 4), (2, 1), (2, 1), ()),  # one head of keys for all heads of queries
    ((2, 1), (2, 4), (2, 4), None),
    ((4,), (2, 1), (2, 4), (2, 1)),
    ((2, 4), (), (4,), (1, 4)),
    ((), (2, 4), (1,), (4,)),
    ((2, 4), (2, 4), (1, 4), ()),
    ((2, 4), (2, 4), (2, 4), (2, 2, 4)),
]


def random_leads(rng: np.random.Generator) -> tuple[tuple[int, ...] | None, ...]:
    """Leading axes that broadcast to a common shape: each is missing, 1 or full."""
    full = tuple(int(n) for n in rng.integers(1, 4, rng.integers(1, 4)))

    def part() -> tuple[int, ...]:
        kept = full[int(rng.integers(0, len(full) + 1)) :]
        return tuple(n if rng.random() < 0.6 else 1 for n in kept)

    return part(), part(), part(), None if rng.random() < 0.2 else part()


def draw(
    leads: tuple[Any, ...], T: int, S: int, hs: int, boolean: bool, seed: int = 0
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Q, K, V and the mask, in float64."""
    rng = np.random.default_rng(seed)
    q, k, v, m = leads
    shapes = ((*q, T, hs), (*k, S, hs), (*v, S, hs + 1))
    mask = None if m is None else rng.standard_normal((*m, T, S))
    if mask is not None and boolean:
        mask = mask < 0.5
        mask[..., 0] = True  # PyTorch gives NaN for a query that sees no key
    return [rng.standard_normal(shape) for shape in shapes], mask


def ours(arrays: list[np.ndarray], mask: Any, backend: Any, function: Any) -> list[np.ndarray]:
    """The output, and the gradients of Q, K, V and a floating mask."""
    given = [Tensor(a, True, backend=backend) for a in arrays]
    if mask is not None:
        mask = Tensor(mask, mask.dtype.kind == "f", backend=backend)
    y = function(*given, mask)
    factor = np.random.default_rng(1).standard_normal(y.shape)
    (y * Tensor(factor, backend=backend)).sum().backward()
    leaves = [t for t in (*given, mask) if t is not None and t.requires_grad]
    return [y.numpy(), *(t.grad.numpy() for t in leaves)]


def pytorch(arrays: list[np.ndarray], mask: Any) -> list[np.ndarray]:
    torch = require("torch")
    Q, K, V = (torch.from_numpy(a).requires_grad_() for a in arrays)
    scores = Q @ K.transpose(-1, -2) / math.sqrt(Q.shape[-1])
    leaves = [Q, K, V]
    if mask is not None and mask.dtype == bool:
        scores = scores.masked_fill(~torch.from_numpy(mask), -math.inf)
    elif mask is not None:
        leaves.append(torch.from_numpy(mask).requires_grad_())
        scores = scores + leaves[-1]
    y = scores.softmax(-1) @ V
    factor = np.random.default_rng(1).standard_normal(tuple(y.shape))
    gradients = torch.autograd.grad((y * torch.from_numpy(factor)).sum(), leaves)
    return [y.detach().numpy(), *(g.numpy() for g in gradients)]


def output_only(*arguments: Any) -> Tensor:
    return scaled_dot_product_attention(*arguments)[0]


@pytest.fixture(params=["one thread", "three threads"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run once with small arrays in one piece, and once with all arrays cut over threads."""
    from tinytorch.backends.numpy import threads

    if request.param == "three threads":
        monkeypatch.setattr(threads, "num_threads", lambda: 3)
        monkeypatch.setattr(threads, "MIN_PARALLEL_BYTES", 0)
        threads._workers.cache_clear()
        yield
        threads._workers.cache_clear()
    else:
        yield


@pytest.mark.parametrize("function", [output_only, attention])
@pytest.mark.parametrize("boolean", [True, False], ids=["boolean", "additive"])
@pytest.mark.parametrize("sizes", [(2, 2, 4), (1, 7, 3), (40, 70, 8)], ids=str)
def test_broadcast_attention_equals_pytorch(
    sizes: tuple[int, int, int], boolean: bool, function: Any, threads: None
) -> None:
    rng = np.random.default_rng(3)
    for seed, leads in enumerate([*LEADS, *(random_leads(rng) for _ in range(20))]):
        arrays, mask = draw(leads, *sizes, boolean, seed)
        expected = pytorch(arrays, mask)
        for found, wanted in zip(ours(arrays, mask, "numpy", function), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10, err_msg=str(leads))


@pytest.mark.parametrize("boolean", [True, False], ids=["boolean", "additive"])
@pytest.mark.parametrize("leads", LEADS, ids=str)
def test_every_backend_computes_broadcast_attention(
    leads: tuple[Any, ...], boolean: bool, backend: str
) -> None:
    arrays, mask = draw(leads, 3, 5, 4, boolean)
    expected = pytorch(arrays, mask)
    for found, wanted in zip(ours(arrays, mask, backend, attention), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("B", "T", "lead"), [(1, 300, 2), (1, 600, 4)])
def test_a_mask_with_a_larger_batch_has_the_reference_gradients(B: int, T: int, lead: int) -> None:
    arrays, mask = draw(((B,), (B,), (B,), (lead,)), T, T, 8, boolean=True)
    expected = ours(arrays, mask, REFERENCE, attention)
    for found, wanted in zip(ours(arrays, mask, "numpy", attention), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10)


def test_multi_head_attention_with_one_mask_per_text_of_a_larger_batch() -> None:
    layer, results = MultiHeadAttention(8, 2), []
    rng = np.random.default_rng(0)
    x, mask = rng.standard_normal((1, 200, 8)).astype("f"), rng.random((4, 1, 200, 200)) < 0.5
    for name in ("numpy", "reference"):
        home = backends.get(name)
        given = Tensor(x, True, backend=home)
        y = layer.to(home).attend(given, Tensor(mask, backend=home))[0]
        (y * y).sum().backward()
        results.append([y.numpy(), given.grad.numpy()])
    for found, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)
