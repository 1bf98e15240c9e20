"""The trace shows which code ran for every op: kernel, reference or fallback."""

import os
import re
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from tinytorch import (
    GPT,
    AdamW,
    CrossEntropyLoss,
    Dropout,
    Linear,
    MSELoss,
    Tensor,
    Trainer,
    gelu,
    manual_seed,
)
from tinytorch.attention import attention, scaled_dot_product_attention
from tinytorch.backends import Trace, trace
from tinytorch.ops.op import op


def x(backend: str = "numpy", shape: tuple[int, ...] = (3, 4)) -> Tensor:
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return Tensor(values, requires_grad=True, backend=backend)


def test_the_trace_distinguishes_kernels_from_references() -> None:
    with Trace() as ran:
        gelu(x())
        gelu(x()) + 1.0
        gelu(x("reference"))
    assert ran.ran("gelu") == {"kernel": 2, "reference": 1}
    assert ran.rows["gelu", "numpy", "kernel"].calls == 2
    assert ran.rows["gelu", "reference", "reference"].calls == 1
    assert ran.ran("add") == {"reference": 1}
    assert ran.ran("tanh") == {}


def test_time_is_split_into_forward_and_gradient() -> None:
    with Trace() as ran:
        y = gelu(x())
    row = ran.rows["gelu", "numpy", "kernel"]
    assert row.forward > 0
    assert row.gradient == 0
    with ran:
        y.sum().backward()
    assert row.gradient > 0
    assert row.calls == 1


def test_gradients_that_are_computed_on_demand_are_timed_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each entry of this gradient is a function, which another part of the package calls."""
    ticks = iter(range(100))
    monkeypatch.setattr(trace, "perf_counter", lambda: next(ticks))

    @op
    def double(xp: Any, x: Any) -> Any:
        return 2 * x, ()

    @double.gradient
    def double_gradient(xp: Any, g: Any) -> Any:
        return lambda: 2 * g

    with Trace() as ran:
        double(x()).backward(x())
    row = ran.rows[f"{__name__}.double", "numpy", "reference"]
    assert (row.calls, row.forward, row.gradient) == (1, 1, 2)


@pytest.mark.parametrize("shape", [(3, 4), (600, 700)])  # small, and products in threads
def test_a_trace_changes_no_result(shape: tuple[int, ...]) -> None:
    def loss_and_gradients() -> list[Any]:
        manual_seed(0)
        layer, given = Linear(shape[1], 512), x(shape=shape)
        loss = gelu(layer(given)).sum()
        loss.backward()
        return [loss.numpy(), *(t.grad.numpy() for t in (given, *layer.parameters()))]

    plain = loss_and_gradients()
    with Trace():
        traced = loss_and_gradients()
    for a, b in zip(plain, traced, strict=True):
        np.testing.assert_array_equal(a, b)


def test_nothing_is_counted_before_and_after() -> None:
    gelu(x())
    with Trace() as ran:
        pass
    gelu(x())
    trace.fallback("a fast path", "no reason")
    assert not ran.rows
    assert not trace.active


def test_traces_may_be_nested() -> None:
    with Trace() as outer:
        gelu(x())
        with Trace() as inner:
            gelu(x())
        gelu(x())
    assert (outer.ran("gelu"), inner.ran("gelu")) == ({"kernel": 3}, {"kernel": 1})


def test_a_trace_that_is_opened_twice_counts_once() -> None:
    with Trace() as ran, ran:
        gelu(x())
    gelu(x())
    assert ran.ran("gelu") == {"kernel": 1}
    assert not trace.active


def test_an_error_ends_the_trace() -> None:
    with pytest.raises(ZeroDivisionError), Trace() as ran:
        gelu(x()), 1 / 0
    assert ran.ran("gelu") == {"kernel": 1}
    assert not trace.active


def test_every_thread_is_counted() -> None:
    def work() -> None:
        for _ in range(50):
            gelu(x())

    with Trace() as ran:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ran.ran("gelu") == {"kernel": 200}


def test_the_trace_shows_kernel_fallback_or_reference_of_a_composite() -> None:
    def attend(backend: str, dropout: Dropout | None = None) -> None:
        q = x(backend, (2, 2, 40, 8))
        attention(q, q, q, None, dropout)

    with Trace() as ran:
        attend("numpy")
    assert ran.ran("fused_attention") == {"kernel": 1}
    with Trace() as ran:
        attend("numpy", Dropout(0.5))
    (how,) = ran.ran("fused_attention")
    assert re.match("fallback: .*kernel.*NotImplemented", how)
    assert ran.ran("attention_weights") == {"kernel": 1}
    with Trace() as ran:
        attend("reference")
    assert ran.ran("fused_attention") == ran.ran("attention_weights") == {"reference": 1}


def test_all_ops_of_training_on_the_reference_backend_run_their_references() -> None:
    def ran_in_training(backend: str) -> set[str]:
        manual_seed(0)
        model = GPT(13, 16, 2, 2, 8, dropout=0.1, backend=backend)
        trainer = Trainer(model, AdamW(model.parameters()), CrossEntropyLoss(), grad_clip_norm=1.0)
        ids = np.random.default_rng(0).integers(0, 13, (2, 9))
        batch = Tensor(ids[:, :-1], backend=backend), Tensor(ids[:, 1:], backend=backend)
        with Trace() as ran:
            trainer.train_step([batch])
            model.generate([1], 3)
        return {how for what, _, how in ran.rows if what != "decode step"}

    assert ran_in_training("reference") == {"reference"}
    assert "kernel" in ran_in_training("numpy")


def train_step(backend: str, **settings: Any) -> Trace:
    manual_seed(0)
    layer = Linear(4, 4, backend=backend)
    trainer = Trainer(layer, AdamW(layer.parameters()), MSELoss(), **settings)
    with Trace() as ran:
        for _ in range(3):
            trainer.train_step([(x(backend).detach(), x(backend).detach())])
    return ran


def test_multi_tensor_updates_are_one_call_and_references_one_for_each_parameter() -> None:
    assert train_step("numpy").ran("adam_update") == {"kernel": 3}
    assert train_step("reference").ran("adam_update") == {"reference": 6}


def test_the_trace_shows_graphed_steps_and_why_they_fell_back(cupy: str) -> None:
    ran = train_step(cupy, cuda_graph=True)
    first = "fallback: the first call with this key and shapes"
    assert ran.ran("graphed step") == {first: 2, "captured": 1}
    assert train_step("numpy", cuda_graph=True).ran("graphed step") == {
        "fallback: the backend has no graphs": 3
    }
    assert not train_step("numpy").ran("graphed step")


def test_an_op_of_a_notebook_is_named_with_its_module() -> None:
    @op
    def gelu(xp: Any, x: Any) -> Any:
        return x, ()

    with Trace() as ran:
        gelu(x())
    assert ran.ran(f"{__name__}.gelu") == {"reference": 1}


def test_the_trace_shows_why_a_fast_path_was_not_taken() -> None:
    with Trace() as ran:
        for _ in range(3):
            trace.fallback("graphed step", "a batch is on another backend", "cupy")
        trace.fallback("graphed step", "no reason")
    assert ran.ran("graphed step") == {
        "fallback: a batch is on another backend": 3, "fallback: no reason": 1
    }  # fmt: skip


def test_the_table_has_a_row_for_each_kind_of_call_the_slowest_first() -> None:
    ran = Trace()
    assert str(ran) == "no op has run"
    with ran:
        trace.count("gelu", "numpy", "kernel", 0.25)
        trace.count("gelu", "numpy", "kernel", 0.25)
        trace.count("linear", "numpy", "kernel", 1.0)
        trace.fallback("decode step", "the cupy backend has none", "cupy")
    assert str(ran).splitlines() == [
        "calls  forward ms  gradient ms  op           backend  ran",
        "    1     1,000.0            -  linear       numpy    kernel",
        "    2       500.0            -  gelu         numpy    kernel",
        "    1           -            -  decode step  cupy     fallback: the cupy backend has none",
    ]


PROGRAM = """
from tinytorch import Tensor
(Tensor([1.0], requires_grad=True) * 2.0).backward()
"""


@pytest.mark.parametrize("value", ["", "0", "false", "False", "no", "off", "1", "true"])
def test_tt_debug_prints_the_table_when_the_program_ends(value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "TT_DEBUG": value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    if value in ("1", "true"):
        title, head, row = done.stderr.splitlines()
        assert title.startswith("TT_DEBUG")
        assert head.split()[0] == "calls"
        assert re.fullmatch(r" +1 +[\d.]+ +[\d.]+  multiply  numpy    reference", row)
    else:
        assert done.stderr == ""


def test_attention_and_its_weights_agree_under_a_trace() -> None:
    q = x(shape=(2, 2, 40, 8))
    with Trace():
        one, (other, _) = attention(q, q, q), scaled_dot_product_attention(q, q, q)
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-5)
