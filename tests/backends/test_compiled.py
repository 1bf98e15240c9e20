"""The C loops of the NumPy backend: equal to NumPy's results, and never needed."""

import ctypes
import functools
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch import Tensor, backends
from tinytorch.backends.numpy import attention, blas, compiled
from tinytorch.embeddings import embedding
from tinytorch.layers import layer_norm
from tinytorch.ops.windows import Window, output_size

COMPILER = compiled.compiler()
needs_compiler = pytest.mark.skipif(
    compiled.load() is None, reason="needs a C compiler that works, and TT_COMPILED not to be 0"
)
CAUSAL = {"mask": np.tril(np.ones((70, 70), bool))}
SPARSE = {"mask": np.random.default_rng(0).random((37, 90)) < 0.1}  # some queries see no key


def conv(
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
) -> Window:
    settings = zip(image, kernel, stride, padding, dilation, strict=True)
    height, width = (output_size(*axis) for axis in settings)
    return Window(image, kernel, stride, padding, dilation, (height, width))


# Ops whose kernels have C loops, with shapes that fill blocks and shapes that do not.
CASES: dict[str, list[tuple[list[tuple[int, ...]], dict[str, Any]]]] = {
    "gelu": [([(5, 3)], {}), ([(130, 1001)], {})],
    "gelu_erf": [([(130, 1001)], {}), ([(2, 3, 7)], {})],
    "silu": [([(130, 1001)], {}), ([(7,)], {})],
    "swiglu": [([(130, 1001), (130, 1001)], {}), ([(7,), (7,)], {})],
    "rms_norm": [([(700, 33), (33,)], {"eps": 1e-5}), ([(9, 1025)], {"eps": 1e-3})],
    "relu": [([(130, 1001)], {}), ([(7,)], {})],
    "softmax": [([(130, 101)], {}), ([(4, 2)], {})],
    "layer_norm": [
        ([(700, 33), (33,), (33,)], {}),
        ([(700, 33), (33,)], {}),
        ([(9, 1025), (1025,), (1025,)], {"eps": 1e-3}),
    ],
    "batch_normalization": [([(6, 5, 7, 9), (5,), (5,)], {"eps": 1e-5})],
    "group_normalization": [([(6, 4, 7, 9), (4,), (4,)], {"num_groups": 2, "eps": 1e-5})],
    "convolution": [
        ([(5, 4, 9, 11), (6, 4, 3, 2), (6,)], {"window": conv((9, 11), (3, 2), padding=(1, 0))}),
        (
            [(3, 4, 9, 11), (6, 2, 3, 3), (6,)],
            {"window": conv((9, 11), (3, 3), (2, 3), (2, 1), (1, 2)), "groups": 2},
        ),
        ([(3, 4, 5, 6), (6, 4, 1, 1)], {"window": conv((5, 6), (1, 1))}),
        (
            [(7, 50, 9, 10), (48, 50, 3, 3), (48,)],
            {"window": conv((9, 10), (3, 3), padding=(1, 1))},
        ),  # Winograd
        (
            [(3, 48, 6, 31), (64, 48, 3, 5)],
            {"window": conv((6, 31), (3, 5), (1, 1), (2, 0), (1, 2))},
        ),
    ],
    "transposed_convolution": [
        ([(3, 6, 5, 4), (6, 4, 3, 2), (4,)], {"window": conv((11, 9), (3, 2), (2, 2), (0, 0))}),
    ],
    "matmul": [([(70, 13), (13, 90)], {}), ([(40, 30, 5), (40, 5, 60)], {})],
    "linear": [([(3, 20, 30), (33, 30), (33,)], {}), ([(64, 51), (33, 51)], {})],
    "fused_attention": [
        ([(2, 3, 70, 16), (2, 3, 70, 16), (2, 3, 70, 16)], {}),
        ([(1, 3, 37, 8), (1, 3, 90, 8), (1, 3, 90, 5)], {}),
        ([(2, 3, 70, 16), (2, 3, 70, 16), (2, 3, 70, 16)], CAUSAL),
        ([(2, 3, 37, 8), (2, 3, 90, 8), (2, 3, 90, 5)], SPARSE),
        ([(1, 2, 400, 8), (1, 2, 400, 8), (1, 2, 400, 8)], {}),  # its weights are not saved
    ],
    "rotary": [([(2, 3, 130, 18), (130, 9), (130, 9)], {}), ([(90, 64), (90, 32), (90, 32)], {})],
}
PARAMETERS = [
    pytest.param(name, *case, id=f"{name}-{number}")
    for name, cases in CASES.items()
    for number, case in enumerate(cases)
]


def forward_and_gradient(name: str, arrays: list[Any], settings: dict[str, Any]) -> list[Any]:
    """All results of a kernel, and its gradients for ones in place of the output's gradient."""
    backend = backends.get("numpy")
    kernel = backend.kernels[name]
    result, saved = kernel.forward(backend.xp, *[a.copy() for a in arrays], **settings)
    outputs = result if isinstance(result, tuple) else (result,)
    rng = np.random.default_rng(1)
    given = [rng.standard_normal(o.shape).astype(o.dtype) for o in outputs]
    assert kernel.gradient is not None
    gradients = kernel.gradient(backend.xp, tuple(given) if len(given) > 1 else given[0], *saved)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    values = [g() if callable(g) else g for g in gradients]
    return [*outputs, *(v for v in values if v is not None)]


@needs_compiler
@pytest.mark.parametrize(("name", "shapes", "settings"), PARAMETERS)
@pytest.mark.parametrize("kind", ["normal", "large mean", "special"])
def test_results_are_those_of_numpy(
    name: str,
    shapes: list[tuple[int, ...]],
    settings: dict[str, Any],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    if kind == "large mean":
        # Weights of attention would be 0 and 1, and their gradients rounding errors only.
        arrays[0] += 2 if name == "fused_attention" else 300
    elif kind == "special":
        flat = arrays[0].reshape(-1)
        flat[:6] = [np.nan, np.inf, -np.inf, 0.0, 90.0, -90.0]
    done: list[bool] = []
    run, divide = compiled.run, compiled.divide

    def recorded(name: str, *values: Any, **block: Any) -> bool:
        done.append(run(name, *values, **block))
        return done[-1]

    def divided(*values: Any) -> None:
        divide(*values)
        done.append(True)

    with monkeypatch.context() as m:
        m.setattr(compiled, "run", recorded)
        m.setattr(compiled, "divide", divided)
        for module in (compiled, blas):
            m.setattr(module, "threads_to_use", lambda: 3)
        m.setattr(blas, "MIN_MULTIPLICATIONS", 2**14)
        m.setattr(blas, "MIN_TOGETHER", 2**14)
        blas._plan.cache_clear()
        with np.errstate(all="ignore"):
            ours = forward_and_gradient(name, arrays, settings)
    blas._plan.cache_clear()
    with monkeypatch.context() as m, np.errstate(all="ignore"):
        m.setattr(compiled, "load", lambda: None)
        numpys = forward_and_gradient(name, arrays, settings)
    assert done
    assert all(done)
    assert len(ours) == len(numpys)
    for mine, other in zip(ours, numpys, strict=True):
        assert mine.dtype == other.dtype
        scale = np.abs(other[np.isfinite(other)]).max(initial=1e-3)
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=2e-6 * scale)


PLAIN, TRANSPOSED = 111, 112  # of sgemm.h


def c_product() -> Any:
    """The function of sgemm.c, with OpenBLAS's as its first argument."""
    assert COMPILER is not None
    product = ctypes.CDLL(str(compiled._path(COMPILER))).product
    whole, real, pointer = ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
    order = [ctypes.c_int] * 2
    matrices = [pointer, whole, pointer, whole, real, pointer, whole]
    product.argtypes, product.restype = [pointer, *order, *[whole] * 3, real, *matrices], None
    return functools.partial(product, blas._sgemm())


def stored(x: Any, order: int) -> Any:
    """A matrix as a part of a larger one, of its rows or its columns, in the midst of NaN."""
    rows = x.T if order == TRANSPOSED else x
    larger = np.full((rows.shape[0] + 1, rows.shape[1] + 3), np.nan, np.float32)
    larger[:-1, 1:-2] = rows
    return larger[:-1, 1:-2]


# Whole and incomplete tiles, several blocks of depth and breadth, nothing to add
@needs_compiler
@pytest.mark.parametrize(
    ("M", "N", "K"),
    [
        (8, 48, 16), (6, 16, 5), (9, 49, 17), (15, 15, 1), (103, 65, 31), (33, 100, 513),
        (7, 1061, 9), (90, 40, 30), (1, 40, 30), (40, 1, 30), (12, 20, 0), (0, 20, 4), (9, 0, 4),
    ],
)  # fmt: skip
def test_products_are_those_of_numpy(M: int, N: int, K: int) -> None:
    if not blas.is_available():
        pytest.skip("NumPy has another BLAS")
    product, rng = c_product(), np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype(np.float32) for shape in ((M, K), (K, N)))
    exact = x.astype(np.float64) @ y
    for orders in itertools.product((PLAIN, TRANSPOSED), repeat=2):
        for alpha, beta in ((1.0, 0.0), (1.0, 1.0), (0.5, 2.0)):
            a, b = stored(x, orders[0]), stored(y, orders[1])
            whole = rng.standard_normal((M + 2, N + 5)).astype(np.float32)
            out, before = whole[1:-1, 2:-3], whole.copy()
            expected = alpha * exact + beta * out
            if beta == 0:
                out[...] = np.nan  # is not read
            product(
                *orders, M, N, K, alpha, a.ctypes.data, a.strides[0] // 4, b.ctypes.data,
                b.strides[0] // 4, beta, out.ctypes.data, out.strides[0] // 4,
            )  # fmt: skip
            np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6 * (K + 4) ** 0.5)
            out[...] = before[1:-1, 2:-3]
            np.testing.assert_array_equal(whole, before)  # nothing else is written


@needs_compiler
def test_products_of_nan_and_infinity_are_those_of_numpy() -> None:
    if not blas.is_available():
        pytest.skip("NumPy has another BLAS")
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype(np.float32) for shape in ((130, 140), (140, 150)))
    x[3, 5], x[70, 9], y[11, 149], y[139, 20] = np.nan, np.inf, -np.inf, np.nan
    with np.errstate(all="ignore"):
        found, expected = blas.multiply(x, y), x @ y
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@needs_compiler
def test_adam_is_that_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1, "step": 3}

    def update(decoupled: bool) -> list[Any]:
        rng = np.random.default_rng(0)
        row = [rng.standard_normal((33, 7)).astype(np.float32) for _ in range(4)]
        row[3] = np.abs(row[3])
        rows = backends.get("numpy").updates["adam_update"](
            [tuple(row)], decoupled=decoupled, **settings
        )
        return list(rows[0])

    ours = [update(True), update(False)]
    monkeypatch.setattr(compiled, "load", lambda: None)
    numpys = [update(True), update(False)]
    np.testing.assert_allclose(np.stack(ours[0]), np.stack(numpys[0]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.stack(ours[1]), np.stack(numpys[1]), rtol=1e-5, atol=1e-6)


@needs_compiler
def test_exponentials_are_exact_to_a_few_units_in_the_last_place() -> None:
    x = np.linspace(-87.3, 88.3, 100_001, dtype=np.float32)[:, None]
    y, s = np.empty_like(x), np.empty_like(x)  # silu: s = 1 / (1 + exp(-x))
    assert compiled.run("silu", x, y, s, x.size)
    exact = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert np.abs(s / exact - 1).max() < 5e-7


@needs_compiler
def test_weights_of_hidden_positions_are_exactly_zero() -> None:
    x = np.array([[0, 0, -1e9, -88, -np.inf], [-1e9, -1e9, 5, 100, -3e38]], np.float32)
    y = np.empty_like(x)
    assert compiled.run("softmax", x, y, *x.shape)
    np.testing.assert_array_equal(y, [[0.5, 0.5, 0, 0, 0], [0, 0, 0, 1, 0]])


def test_a_weight_that_is_broadcast_gives_what_the_reference_gives() -> None:
    x = np.random.default_rng(0).standard_normal((9, 1000)).astype(np.float32)
    for weight in (Tensor([2.0]), Tensor(2.0), Tensor(x + 1)):
        found = layer_norm(Tensor(x), weight).numpy()
        plain = layer_norm(Tensor(x), Tensor(np.ones(1000, np.float32))).numpy()
        np.testing.assert_allclose(found, plain * weight.numpy(), rtol=1e-4, atol=1e-5)


SETTINGS = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.0, "step": 1}


def test_adam_does_not_write_to_read_only_arrays() -> None:
    values = np.frombuffer(bytes(400), np.float32)
    row = values, *(np.ones(100, np.float32) for _ in range(3))
    with pytest.raises(ValueError, match="read-only"):
        backends.get("numpy").updates["adam_update"]([row], decoupled=True, **SETTINGS)
    assert not values.any()


def test_an_infinite_parameter_leaves_the_moments_finite() -> None:
    row = [np.array(v, np.float32) for v in ([np.inf, 1], [0, 1], [0, 0], [0, 0])]
    backends.get("numpy").updates["adam_update"]([tuple(row)], decoupled=True, **SETTINGS)
    assert np.isfinite(row[2]).all()
    assert np.isfinite(row[3]).all()


@needs_compiler
def test_numbers_and_unsuitable_arrays_are_not_taken_for_arrays() -> None:
    x = np.ones(4, np.float32)
    assert not compiled.run("relu", 1, x, 4)
    assert not compiled.run("relu", x, np.frombuffer(bytes(16), np.float32), 4)  # read-only
    unaligned = np.frombuffer(bytearray(17), np.float32, offset=1)
    assert not compiled.run("relu", unaligned, x, 4)


@needs_compiler
@pytest.mark.parametrize("name", ["fused_attention", "rotary"])
def test_heads_may_be_parts_of_a_larger_array(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not blas.is_available():
        pytest.skip("NumPy has another BLAS")
    rng, backend = np.random.default_rng(0), backends.get("numpy")
    joint = rng.standard_normal((2, 70, 9, 16)).astype(np.float32)  # (B, T, nh + 2 nkv, hs)
    q, k, v = np.split(joint.transpose(0, 2, 1, 3), 3, axis=1)
    g = rng.standard_normal((2, 70, 3, 16)).astype(np.float32).transpose(0, 2, 1, 3)
    given = (
        (q, k, v)
        if name == "fused_attention"
        else (q, joint[0, :, 0, :8].copy(), v[0, 0, :, 8:].copy())
    )
    kernel = backend.kernels[name]

    def computed() -> list[Any]:
        y, saved = kernel.forward(backend.xp, *given)
        assert kernel.gradient is not None
        found = kernel.gradient(backend.xp, g, *saved)
        return [y, *(f for f in found if f is not None)]

    with monkeypatch.context() as m:
        m.setattr(np, "matmul", None)  # not needed
        ours = computed()
    monkeypatch.setattr(compiled, "load", lambda: None)
    for mine, other in zip(ours, computed(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


@needs_compiler
@pytest.mark.parametrize("mask", [None, *CAUSAL.values()])
def test_gradients_of_heads_are_written_to_parts_of_an_array_as_by_numpy(
    mask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not blas.is_available():
        pytest.skip("NumPy has another BLAS")
    rng, backend = np.random.default_rng(0), backends.get("numpy")
    joint = rng.standard_normal((2, 70, 9, 16)).astype(np.float32)  # (B, T, 3 nh, hs)
    g = rng.standard_normal((2, 3, 70, 16)).astype(np.float32)

    def heads(x: Any) -> list[Any]:
        return np.split(x.transpose(0, 2, 1, 3), 3, axis=1)  # three of (B, nh, T, hs)

    def computed() -> Any:
        _, saved = attention.fused_attention(backend.xp, *heads(joint), mask)
        found = np.full((2, 70, 10, 16), 7, np.float32)  # what comes after the heads stays
        attention.write_gradients(heads(found[:, :, :9]), g, *saved)
        return found

    with monkeypatch.context() as m:
        m.setattr(np, "matmul", None)  # not needed
        ours = computed()
    _, saved = attention.fused_attention(backend.xp, *heads(joint), mask)
    alone = attention.fused_attention_gradient(backend.xp, g, *saved)
    for part, gradient in zip(heads(ours[:, :, :9]), alone, strict=False):
        np.testing.assert_array_equal(part, gradient)
    assert (ours[:, :, 9] == 7).all()
    monkeypatch.setattr(compiled, "load", lambda: None)
    np.testing.assert_allclose(ours, computed(), rtol=1e-5, atol=1e-6)


def test_addresses_are_those_of_the_first_elements() -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    for array in (x, x[1:, 2:], x.T, x[::-1], np.frombuffer(bytearray(9), np.int8, offset=1)):
        assert compiled.address(array) == array.ctypes.data


ONES = np.ones((4, 8), np.float32)


@needs_compiler
@pytest.mark.parametrize(
    "array", [ONES.astype(np.float64), ONES.astype(">f4"), ONES.T, ONES[:, ::2]]
)
def test_other_arrays_are_left_to_numpy(array: Any) -> None:
    before = array.copy()
    assert not compiled.run("relu", array, array, array.size)
    np.testing.assert_array_equal(array, before)


PROGRAM = """
import numpy as np
from tinytorch import Tensor, gelu
from tinytorch.backends.numpy import compiled
y = gelu(Tensor(np.ones((100, 100), np.float32)))
print("compiled" if compiled.load() else "numpy", round(y.numpy()[0, 0].item(), 5))
"""


IN_PROCESSES = """
import numpy as np
from tinytorch import SGD, MSELoss, Linear, Sequential, Tensor, Trainer, GELU
model = Sequential(Linear(2, 2), GELU())
trainer = Trainer(model, SGD(model.parameters(), 0.1), MSELoss(), processes=3)
x = Tensor(np.ones((6, 2), np.float32))
print("trained" if trainer.train_step([(x, x)]).item() > 0 else "")
"""


def program(cache: Path, text: str = PROGRAM, **environment: str) -> str:
    env = {**os.environ, "TT_COMPILED": "", "XDG_CACHE_HOME": str(cache), **environment}
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, env=env, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def script(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def counting(tmp_path: Path) -> tuple[str, Path]:
    """A compiler, and the file to which it adds a line each time it runs.

    It does not optimize, which takes a quarter of the time.
    """
    log, real = tmp_path / "log", " ".join(COMPILER or [])
    text = f'#!/bin/sh\necho run >> {log}\nsleep 0.2\nexec {real} "$@" -O0\n'
    return script(tmp_path, "counting", text), log


@needs_compiler
def test_the_library_is_compiled_once(counting: tuple[str, Path], tmp_path: Path) -> None:
    compiler, log = counting
    cache = tmp_path / "cache"
    assert [program(cache, CC=compiler) for _ in range(2)] == ["compiled 0.84119"] * 2
    assert log.read_text() == "run\n"
    (library,) = (cache / "tinytorch" / "compiled").iterdir()
    library.write_bytes(b"damaged")
    assert program(cache, CC=compiler) == "compiled 0.84119"
    assert log.read_text() == "run\n" * 2


@needs_compiler
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked on Linux")
def test_processes_of_a_trainer_share_one_compilation(
    counting: tuple[str, Path], tmp_path: Path
) -> None:
    compiler, log = counting
    assert program(tmp_path / "cache", IN_PROCESSES, CC=compiler) == "trained"
    assert log.read_text() == "run\n"


@pytest.mark.parametrize(
    "environment", [{"TT_COMPILED": "0"}, {"TT_COMPILED": "off"}], ids=["0", "off"]
)
def test_it_can_be_switched_off(environment: dict[str, str], tmp_path: Path) -> None:
    assert program(tmp_path, **environment) == "numpy 0.84119"
    assert not list(tmp_path.iterdir())


def test_numpy_computes_without_a_compiler(tmp_path: Path) -> None:
    assert program(tmp_path, PATH=str(tmp_path), CC="") == "numpy 0.84119"


def test_numpy_computes_if_the_compiler_fails(tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = f"#!/bin/sh\necho run >> {log}\necho broken >&2\nexit 1\n"
    failing = script(tmp_path, "failing", text)
    for _ in range(2):  # the second program does not try again
        assert program(tmp_path / "cache", CC=failing) == "numpy 0.84119"
    assert log.read_text() == "run\n" * 3  # with fewer and fewer flags


@needs_compiler
def test_a_library_that_others_could_have_written_is_not_loaded(
    counting: tuple[str, Path], tmp_path: Path
) -> None:
    compiler, log = counting
    cache = tmp_path / "cache"
    assert program(cache, CC=compiler) == "compiled 0.84119"
    (library,) = (cache / "tinytorch" / "compiled").iterdir()
    library.chmod(0o777)
    assert program(cache, CC=compiler) == "compiled 0.84119"
    assert log.read_text() == "run\n" * 2  # compiled again
    assert library.stat().st_mode & 0o777 == 0o700
    library.parent.chmod(0o777)
    assert program(cache, CC=compiler) == "numpy 0.84119"


def test_numpy_computes_if_the_compiler_writes_something_else(tmp_path: Path) -> None:
    text = '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho text > "$2"\n'
    assert program(tmp_path / "cache", CC=script(tmp_path, "odd", text)) == "numpy 0.84119"


def test_numpy_computes_if_the_cache_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert program(tmp_path / "file") == "numpy 0.84119"


@needs_compiler
def test_sources_compile_without_warnings(tmp_path: Path) -> None:
    assert COMPILER is not None
    files = [str(path) for path in compiled.SOURCES.glob("*.c")]
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
    warnings += ["-Wno-unknown-warning-option", "-Wno-pass-failed"]  # clang
    command = [*COMPILER, *compiled.FLAGS, *warnings, "-o", str(tmp_path / "x.so"), *files, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# pytest with the arguments, and a compiler that may take longer than users wait for it.
PATIENT = """
import sys, pytest
from tinytorch.backends.numpy import compiled
compiled.COMPILE_SECONDS = 600
sys.exit(pytest.main(sys.argv[1:]))
"""


@needs_compiler
@pytest.mark.slow
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    """Runs the tests of results in a process with AddressSanitizer, which checks every access."""
    assert COMPILER is not None
    real = " ".join(COMPILER)
    found = subprocess.run(
        [*COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True
    )
    runtime = Path(found.stdout.strip())
    if not runtime.is_absolute():
        pytest.skip("the compiler has no AddressSanitizer library to load before Python")
    checked = script(
        tmp_path, "checked",
        f'#!/bin/sh\nexec {real} "$@" -g1 -O1 -fsanitize=address,undefined -fno-sanitize-recover\n',
    )  # fmt: skip  # with -O3 the compiler works five times as long
    own = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    env = {
        **own, "CC": checked, "XDG_CACHE_HOME": str(tmp_path), "LD_PRELOAD": str(runtime),
        "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [
        sys.executable, "-c", PATIENT, "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist",
        __file__, "-k", "numpy and not computes", "--benchmark-disable",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [40, 1000])
def test_the_gradient_of_an_embedding_adds_rows(rows: int, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    ids, g = rng.integers(0, rows, (7, 300)), rng.standard_normal((7, 300, 33)).astype(dtype)
    for kind, given in ((np.int64, g), (np.int32, np.swapaxes(g, 0, 1).copy().swapaxes(0, 1))):
        expected = np.zeros((rows, 33))
        np.add.at(expected, ids, given)
        weight = Tensor(np.zeros((rows, 33), dtype), requires_grad=True)
        embedding(weight, Tensor(ids.astype(kind))).backward(Tensor(given))
        assert weight.grad is not None
        np.testing.assert_allclose(weight.grad.numpy(), expected, rtol=1e-4, atol=1e-4)
    weight = Tensor(np.zeros((rows, 33), dtype), requires_grad=True)
    y = embedding(weight, Tensor(np.zeros((2, 0), np.int64)))
    y.backward(Tensor(np.zeros(y.shape, dtype)))
    assert weight.grad is not None
    assert not weight.grad.numpy().any()


@needs_compiler
def test_nan_in_the_gradient_of_an_embedding_stays_in_its_row() -> None:
    weight = Tensor(np.zeros((40, 3), np.float32), requires_grad=True)
    g = np.ones((2, 3), np.float32)
    g[1] = np.nan
    embedding(weight, Tensor([4, 7])).backward(Tensor(g))
    assert weight.grad is not None
    assert np.flatnonzero(np.isnan(weight.grad.numpy()).any(axis=1)).tolist() == [7]
