"""The decode step in C: the logits of the step in NumPy, with any number of threads."""

import threading
from typing import Any

import numpy as np
import pytest

from tinytorch import GPT, manual_seed
from tinytorch.backends.numpy import compiled, compiled_decode, decode_step, threads
from tinytorch.backends.numpy.decode_step import NumpyDecodeStep
from tinytorch.generation.gpt_weights import gpt_weights
from tinytorch.generation.int8 import to_int8
from tinytorch.models import Llama
from tinytorch.models.llama_weights import llama_weights

pytestmark = pytest.mark.skipif(
    compiled.load() is None, reason="needs a C compiler that works, and TT_COMPILED not to be 0"
)
V, C, T = 13, 24, 12
MODELS: dict[str, Any] = {
    "learned": lambda: GPT(V, C, 2, 2, T),
    "rotary": lambda: GPT(V, C, 2, 3, T, positions="rotary", bias=False),
    "squared ReLU": lambda: GPT(V, C, 1, 2, T, activation="squared_relu", tie_weights=True),
    "llama": lambda: Llama(V, C, 2, 6, 2, 40, T),
    "int8": lambda: Llama(V, C, 2, 6, 2, 40, T),
    "int8, long rows": lambda: GPT(V, 80, 1, 2, T),
    "one head of keys": lambda: Llama(V, C, 1, 4, 1, 33, T, rope_base=100.0, norm_eps=1e-3),
}


def weights(name: str) -> Any:
    """The weights of a model, all of them random."""
    manual_seed(3)
    model = MODELS[name]().eval()
    rng = np.random.default_rng(4)
    for p in model.parameters():
        p.data = rng.standard_normal(p.shape).astype(np.float32) * 0.4 + (p.ndim == 1)
    if "int8" in name:
        to_int8(model)
    return (llama_weights if isinstance(model, Llama) else gpt_weights)(model)


def new_caches(w: Any) -> list[tuple[Any, Any]]:
    shape = 1, w.num_kv_heads, T, w.head_dim
    return [(np.zeros(shape, np.float32), np.zeros(shape, np.float32)) for _ in w.blocks]


def text_logits(step: NumpyDecodeStep, w: Any) -> Any:
    """The logits (T, V) of a text, and all keys and values."""
    caches = new_caches(w)
    ids = np.random.default_rng(5).integers(0, V, T)
    logits = [step(ids[t : t + 1], caches, t)[0] for t in range(T)]
    return np.stack(logits), np.stack([np.stack(pair) for pair in caches])


@pytest.fixture(params=[1, 2, 5])
def count(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of threads, that is used for small weights too."""
    count = int(request.param)
    monkeypatch.setattr(compiled_decode, "MIN_PARALLEL_BYTES", 0)
    monkeypatch.setattr(compiled_decode, "num_threads", lambda: count)
    monkeypatch.setattr(threads, "num_threads", lambda: count)
    workers = threads._Workers(count - 1)
    monkeypatch.setattr(threads, "_workers", lambda: workers)
    return count


@pytest.mark.parametrize("name", MODELS)
def test_the_step_in_c_computes_what_numpy_does(
    name: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = weights(name)
    ours = NumpyDecodeStep(w)
    assert ours._compiled is not None
    assert ours._compiled._threads == count
    monkeypatch.setattr(decode_step, "compiled_step", lambda w: None)
    numpys = NumpyDecodeStep(w)
    assert numpys._compiled is None
    for found, expected in zip(text_logits(ours, w), text_logits(numpys, w), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max())


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    w = weights("llama")
    alone = text_logits(NumpyDecodeStep(w), w)
    monkeypatch.setattr(compiled_decode, "MIN_PARALLEL_BYTES", 0)
    monkeypatch.setattr(compiled_decode, "num_threads", lambda: 3)
    monkeypatch.setattr(threads, "num_threads", lambda: 3)
    workers = threads._Workers(2)
    monkeypatch.setattr(threads, "_workers", lambda: workers)
    together = text_logits(NumpyDecodeStep(w), w)
    for found, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_texts_in_several_threads_wait_for_no_thread_of_another(count: int) -> None:
    w = weights("llama")
    expected, _ = text_logits(NumpyDecodeStep(w), w)
    found: list[Any] = []

    def write() -> None:
        step = NumpyDecodeStep(w)
        found.extend(text_logits(step, w)[0] for _ in range(5))

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(found) == 4 * 5
    for logits in found:
        np.testing.assert_array_equal(logits, expected)


def test_an_interrupt_of_one_thread_ends_the_wait_of_the_others(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = weights("llama")
    step = NumpyDecodeStep(w)
    expected, _ = text_logits(step, w)
    assert step._compiled is not None
    call = step._compiled._call

    def interrupted(*arguments: Any) -> None:
        if arguments[-2] == 0:  # the first thread
            raise KeyboardInterrupt
        call(*arguments)

    with monkeypatch.context() as m:
        m.setattr(step._compiled, "_call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            text_logits(step, w)
    np.testing.assert_array_equal(text_logits(step, w)[0], expected)


def test_arrays_that_c_cannot_use_are_left_to_numpy() -> None:
    w = weights("llama")
    step, caches = NumpyDecodeStep(w), new_caches(w)
    expected = step(np.array([3]), caches, 0)
    strided = [(k[..., ::-1][..., ::-1].swapaxes(2, 3).copy().swapaxes(2, 3), v) for k, v in caches]
    assert not strided[0][0].flags.c_contiguous
    np.testing.assert_allclose(step(np.array([3]), strided, 0), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(IndexError):
        step(np.array([3]), [(np.zeros((1, 2, 99, 4), "f"),) * 2] * 2, T)  # no angle there
    narrow = w._replace(head=w.head._replace(weight=w.head.weight[:, ::-1]))
    assert NumpyDecodeStep(narrow)._compiled is None
    assert NumpyDecodeStep(w._replace(norm=w.norm._replace(weight=np.ones(C))))._compiled is None
