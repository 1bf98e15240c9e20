"""The functions of `Backend` give the same results on every backend."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch import Tensor, backends
from tinytorch.attention import fused_attention
from tinytorch.backends import BackendError
from tinytorch.backends.base import host_array
from tinytorch.layers import dropout


def test_host_array() -> None:
    for data, dtype in [(1.5, "float32"), ([1], "int64"), (np.float64(1), "float64"), ([], "f4")]:
        assert host_array(data).dtype == dtype
    source = np.zeros(2)
    assert not np.shares_memory(host_array(source), source)
    assert host_array([1.7], "int16").dtype == "int16"
    for wrong in ("a", None, [1, "a"], [[1], [1, 2]], np.array(["a"]), [2**70], [object()]):
        with pytest.raises(TypeError, match="expected numbers in regular nested lists, got"):
            host_array(wrong)


def test_arrays_survive_a_round_trip_and_asarray_copies(backend: str) -> None:
    loaded = backends.get(backend)
    for dtype in ("bool", "uint8", "int64", "float32", "float64"):
        array = loaded.asarray(np.array([[0, 1], [1, 0]]), getattr(loaded.xp, dtype))
        assert type(array) is loaded.array_type
        assert loaded.to_numpy(array).dtype == dtype
        copied = loaded.asarray(array)
        loaded.xp.index_set(copied, (0, 0), True)
        assert loaded.to_numpy(array)[0, 0] == 0
    loaded.synchronize()
    assert isinstance(loaded.memory(), dict)


# Extra -> a call on a backend, and the result that plain NumPy gives

A = np.arange(24.0).reshape(4, 6)
IDS = np.array([3, 0, 3, 3, 1])


def scattered(a: np.ndarray, key: Any, values: Any, add: bool = False) -> np.ndarray:
    out = a.copy()
    np.add.at(out, key, values) if add else out.__setitem__(key, values)
    return out


def padded(a: np.ndarray, value: float) -> np.ndarray:
    out = np.full((a.shape[0] + 1, a.shape[1] + 5), value)
    out[1:, 2:-3] = a
    return out


def put_along(a: np.ndarray, ids: np.ndarray, axis: int) -> np.ndarray:
    out = a.copy()
    np.put_along_axis(out, ids, -1.0, axis)
    return out


EXTRAS: dict[str, tuple[Callable[..., Any], np.ndarray]] = {
    "index": (lambda xp, a, ids: xp.index(a, (ids, slice(1, None))), A[IDS, 1:]),
    "index mask": (lambda xp, a, ids: xp.index(a, a > 7), A[A > 7]),
    "index element": (lambda xp, a, ids: xp.index(a, (1, -1)), A[1, -1]),
    "index_add slice": (
        lambda xp, a, ids: xp.index_add(a, (..., slice(2)), a[:, :2]),
        scattered(A, (..., slice(2)), A[:, :2], add=True),
    ),
    "index_add repeated": (
        lambda xp, a, ids: xp.index_add(a, ids, xp.ones((5, 6), dtype=a.dtype)),
        scattered(A, IDS, 1.0, add=True),
    ),
    "index_set number": (lambda xp, a, ids: xp.index_set(a, a > 7, 5.0), scattered(A, A > 7, 5.0)),
    "index_set array": (
        lambda xp, a, ids: xp.index_set(a, (slice(None), 0), a[:, 1]),
        scattered(A, (slice(None), 0), A[:, 1]),
    ),
    "take_rows": (lambda xp, a, ids: xp.take_rows(a, xp.reshape(ids, (5, 1))), A[IDS[:, None]]),
    "segment_sum": (
        lambda xp, a, ids: xp.segment_sum(xp.ones((5, 2), dtype=a.dtype), ids, 7),
        scattered(np.zeros((7, 2)), IDS, 1.0, add=True),
    ),
    "segment_sum many rows": (
        lambda xp, a, ids: xp.segment_sum(xp.ones((5, 2), dtype=a.dtype), ids * 90, 300),
        scattered(np.zeros((300, 2)), IDS * 90, 1.0, add=True),
    ),
    "segment_sum empty": (
        lambda xp, a, ids: xp.segment_sum(a[:0, :], ids[:0], 300),
        np.zeros((300, 6)),
    ),
    "put_along_axis": (
        lambda xp, a, ids: xp.put_along_axis(a, xp.reshape(ids[:4], (4, 1)), -1.0, 1),
        put_along(A, IDS[:4, None], 1),
    ),
    "pad": (lambda xp, a, ids: xp.pad(a, ((1, 0), (2, 3))), padded(A, 0)),
    "pad with value": (lambda xp, a, ids: xp.pad(a, ((1, 0), (2, 3)), 7.0), padded(A, 7)),
}


@pytest.mark.parametrize(("call", "expected"), EXTRAS.values(), ids=EXTRAS)
def test_extras_equal_plain_numpy(call: Any, expected: np.ndarray, backend: str) -> None:
    loaded = backends.get(backend)
    result = loaded.to_numpy(call(loaded.xp, loaded.asarray(A), loaded.asarray(IDS)))
    assert result.dtype == A.dtype
    np.testing.assert_array_equal(result, expected)


def test_only_index_add_and_index_set_write_in_place(backend: str) -> None:
    loaded = backends.get(backend)
    a, ids = loaded.asarray(A), loaded.asarray(IDS[:4, None])
    loaded.xp.put_along_axis(a, ids, 1.0, 1)
    loaded.xp.pad(a, ((1, 1), (1, 1)))
    np.testing.assert_array_equal(loaded.to_numpy(a), A)
    written = loaded.xp.index_set(a, 0, 1.0)
    added = loaded.xp.index_add(written, 0, written[1, :])
    assert not loaded.mutable or (written is a and added is a)
    np.testing.assert_array_equal(loaded.to_numpy(added)[0], 1 + A[1])


def test_all_views_share_one_storage(backend: str) -> None:
    loaded = backends.get(backend)
    if not loaded.mutable:
        pytest.skip("immutable arrays: there are no writes to detect")
    xp, a = loaded.xp, loaded.asarray(A)
    assert xp.storage(xp.broadcast_to(a[1:, :], (2, 3, 6))) is xp.storage(a)
    for view in (
        a,
        a[1:, :],
        xp.reshape(a, (6, 4)),
        xp.index(a, 0),
        xp.matrix_transpose(a[1:, :])[2:, :],
    ):
        assert xp.storage(view) is xp.storage(a)
    assert xp.storage(a + 0) is not xp.storage(a)


def test_random_bits_are_equal_on_all_backends() -> None:
    numpy, strict = backends.get("numpy"), backends.get("strict")
    for seed, shape in [(0, (5,)), (2**63 - 1, (3, 4)), (-1, ()), (2**40, (0, 2))]:
        bits = numpy.xp.random_bits(seed, shape)
        assert (bits.dtype, bits.shape) == (np.uint32, shape)
        np.testing.assert_array_equal(bits, strict.to_numpy(strict.xp.random_bits(seed, shape)))


@pytest.mark.parametrize("name", ["numpy", "cupy"])
def test_masks_of_a_part_of_a_batch_are_those_of_the_batch(
    name: str, request: pytest.FixtureRequest
) -> None:
    """With `set_row_offset`, so that several processes can share a batch; with attention's kernels
    too, whose products are rounded."""
    if name == "cupy":
        request.getfixturevalue("cupy")
    backend, rng = backends.get(name), np.random.default_rng(2)
    x, qkv = rng.random((6, 5, 32), np.float32), rng.random((3, 6, 2, 7, 16), np.float32)

    def results(first: int) -> list[np.ndarray]:
        own = [Tensor(a, True, backend=name) for a in (x[first:], *qkv[:, first:])]
        dropped = dropout(own[0], p=0.5, seed=7)
        attended = fused_attention(*own[1:], p=0.5, seed=8)
        (attended * attended).sum().backward()
        bits = backend.to_numpy(backend.xp.random_bits(9, x[first:].shape))
        gradients = [t.grad.numpy() for t in own[1:] if t.grad is not None]
        return [bits, dropped.numpy(), attended.numpy(), *gradients]

    whole = results(0)
    backend.set_row_offset(2)
    try:
        part = results(2)
    finally:
        backend.set_row_offset(0)
    np.testing.assert_array_equal(part[0], whole[0][2:])
    np.testing.assert_array_equal(part[1], whole[1][2:])
    for found, expected in zip(part[2:], whole[2:], strict=True):
        np.testing.assert_allclose(found, expected[2:], rtol=1e-5, atol=1e-6)


def test_random_bits_are_balanced_and_uncorrelated() -> None:
    bits = backends.get("numpy").xp.random_bits
    seeds = [0, 1, 2, 2**32, 2**33, 2**40 + 1]
    columns = [np.unpackbits(bits(s, (4096,)).view(np.uint8)).reshape(4096, 32) for s in seeds]
    six_sigma = 6 * 0.5 / np.sqrt(4096)
    for i, one in enumerate(columns):
        assert np.abs(one.mean(axis=0) - 0.5).max() < six_sigma  # each bit is 1 half of the time
        assert (
            np.abs((one[1:] ^ one[:-1]).mean(axis=0) - 0.5).max() < six_sigma
        )  # neighbours are uncorrelated
        for other in columns[:i]:
            assert np.abs((one ^ other).mean(axis=0) - 0.5).max() < six_sigma  # and so are seeds
    assert len(np.unique(bits(3, (4096,)))) == 4096  # a bijection of the counter


def test_random_bits_reject_more_elements_than_the_counter_has(backend: str) -> None:
    with pytest.raises(ValueError, match=r"at most 2\*\*32"):  # not MemoryError
        backends.get(backend).xp.random_bits(0, (2**20, 2**20))


def test_strict_rejects_host_arrays(strict: str) -> None:
    loaded = backends.get(strict)
    with pytest.raises(BackendError, match="strict backend's device, got a NumPy array"):
        loaded.xp.index(loaded.asarray(A), IDS)
    with pytest.raises((TypeError, ValueError)):
        loaded.asarray(A) + A
