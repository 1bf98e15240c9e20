"""CUDA kernels on the CPU under sanitizers: no race, no out-of-bounds access, no overflow."""

import mmap
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from op_checks import draw, run
from op_table import OP_INFOS

from tinytorch import GPT, Dropout, Tensor, backends, create_causal_mask
from tinytorch.attention import attention
from tinytorch.backends.cupy import cuda_source
from tinytorch.embeddings import RotaryEmbedding
from tinytorch.ops.op import COMPOSITES, OPS
from tinytorch.runtime.fused_blocks import fuse_blocks
from tinytorch.transformers import TransformerBlock

pytestmark = pytest.mark.slow

MAX_REPLAYED = 2  # launches of each kernel with aligned arrays, and as many with others
SANITIZERS = {"races": "-fsanitize=thread", "memory": "-fsanitize=address,undefined"}


@pytest.fixture
def recorded(fake_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Recorded launches of every kernel: the largest that still fit the sanitizers' budget."""
    backend = backends.get("cupy")
    launches: list[Any] = []
    monkeypatch.setattr(fake_cupy.kernels, "records", launches)
    for name in set(backend.kernels) - set(COMPOSITES):
        for sample in OP_INFOS[name].samples:
            run(OPS[name], draw(sample, "float32"), sample.settings, "cupy")
    launch_updates(backend)
    launch_loss_scaling(backend)
    launch_attention(backend, monkeypatch)
    launch_mixed_precision(monkeypatch)
    backend.xp.random_bits(3, (300,))
    launch_sampling(backend)
    launch_decoding()
    embedding = "tinytorch.backends.cupy.embedding"
    with monkeypatch.context() as patch:  # parts of few ids
        patch.setattr(f"{embedding}.MAX_UNDIVIDED", 0)
        patch.setattr(f"{embedding}.MIN_PART", 40)
        g, ids = np.ones((150, 33), np.float32), np.arange(150) % 2
        backend.xp.segment_sum(backend.asarray(g), backend.asarray(ids), 2)
    monkeypatch.setattr(f"{embedding}.SCAN_LIMIT", 0)
    for count, size in ((4, 33), (600, 1)):
        values, ids = np.ones((count, size), np.float32), np.arange(count) % 2
        backend.xp.segment_sum(backend.asarray(values), backend.asarray(ids), 2)
    backend.xp.take_rows(backend.asarray(np.ones((4, 3))), backend.asarray(np.arange(600) % 4))
    launch_residual(backend)
    launch_unaligned(backend)
    few = [r for r in launches if np.prod(r.grid) * np.prod(r.block) <= 2048]
    few.sort(key=lambda r: -np.prod(r.grid))
    groups: dict[Any, list[Any]] = {}
    for record in few:
        groups.setdefault((record.kernel.name, record.kernel.module.code), []).append(record)
    return [r for group in groups.values() for r in selected(group)]


def launch_updates(backend: Any) -> None:
    """Launch the multi-tensor updates of the optimizers."""
    for name in backend.updates:
        for sample in OP_INFOS[name].samples:
            rows = [tuple(map(backend.asarray, draw(sample, "float32")))]
            scale = backend.clip_factor([row[1] for row in rows], 1.0)
            backend.updates[name](rows, **sample.settings, scale=scale)
    backend.write_update(*(backend.asarray(np.ones(300, np.float32)) for _ in range(2)))


def launch_loss_scaling(backend: Any) -> None:
    from tinytorch.backends.cupy.loss_scaler import CupyLossScaler

    scaler = CupyLossScaler()
    for value in (1.0, np.inf):  # the second is skipped
        scaler.unscale([backend.asarray(np.full(5000, value, np.float32))])
        scaler.update()


def launch_attention(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Launch the kernels of attention.cu, which need rounded products."""
    rng = np.random.default_rng(1)
    for precision in cuda_source.PRECISIONS:
        with monkeypatch.context() as patch:
            patch.setattr("tinytorch.backends.cupy.gemm.matmul_mode", lambda p=precision: p)
            for T, S, mask in ((70, 70, True), (5, 40, False)):
                given = (
                    Tensor(rng.standard_normal((1, 2, n, 16)).astype("f4"), True, backend="cupy")
                    for n in (T, S, S)
                )
                causal = create_causal_mask(T, S - T, "cupy") if mask else None
                attention(*given, causal, Dropout(0.5)).sum().backward()


def launch_mixed_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launch the kernels of mixed_precision.cu, and those of attention.cu on bfloat16 arrays."""
    with monkeypatch.context() as patch:
        patch.setattr("tinytorch.backends.cupy.gemm.matmul_mode", lambda: "bf16")
        for activation, rows in (("gelu", 60), ("squared_relu", 3)):
            block = TransformerBlock(32, 2, 1, 0.3, True, RotaryEmbedding(16, 60), activation).to(
                "cupy"
            )
            x = Tensor(np.ones((1, rows, 32), np.float32), True, backend="cupy")
            fuse_blocks(block)(x, create_causal_mask(rows, backend="cupy")).sum().backward()


def launch_sampling(backend: Any) -> None:
    """Launch the sampling kernel, by all its branches."""
    logits = np.random.default_rng(1).standard_normal((9, 70)).astype(np.float32)
    logits[:4, ::3] = 1.0  # equal ones
    logits[8] = np.nan
    uniforms = np.linspace(0, 0.99, 9)
    backend.sample(backend.asarray(logits), 1.0, uniforms, 20, 0.7)
    backend.sample(backend.asarray(logits), 0.0, None)


def launch_decoding() -> None:
    """Launch the kernels of decode.cu: 16-byte loads for 20 numbers a token, single ones for 18."""
    for size, batch in ((20, 8), (18, 9)):  # 9 texts are two blocks of the linear layers
        model = GPT(40, size, 1, 1, 50, positions="rotary", backend="cupy")
        model.generate(np.ones((batch, 37), np.int64), 3)


def launch_residual(backend: Any) -> None:
    """Launch the kernels of residual branches, on aligned arrays and others."""
    for first in (0, 1):
        rows, weight, bias = (
            backend.asarray(np.ones(first + n * 132, "f4"))[first:] for n in (9, 1, 1)
        )
        x = rows.reshape(9, 132)
        norm, add = (backend.kernels[name] for name in ("fork_layer_norm", "dropout_add"))
        _, saved = norm.forward(backend.xp, x, weight, bias, eps=1e-5)
        assert norm.gradient is not None
        norm.gradient(backend.xp, (x, x), *saved)
        add.forward(backend.xp, x, x, p=0.5, seed=1)


def launch_unaligned(backend: Any) -> None:
    """Launch the kernels with 16-byte loads on arrays that do not start at a multiple of 16."""
    rows, row = (backend.asarray(np.ones(n, np.float32))[1:] for n in (1 + 9 * 132, 1 + 132))
    x = rows.reshape(9, 132)
    for name, given in {
        "gelu": (x,),
        "squared_relu": (x,),
        "dropout": (x,),
        "add": (x, x),
        "layer_norm": (x, row, row),
        "linear": (x, x, row[:9]),
    }.items():
        settings = {"p": 0.5, "seed": 1} if name == "dropout" else {}
        y, saved = backend.kernels[name].forward(backend.xp, *given, **settings)
        gradients = backend.kernels[name].gradient(backend.xp, y, *saved)
        for gradient in gradients if isinstance(gradients, tuple) else ():
            gradient() if callable(gradient) else None


def selected(records: list[Any]) -> list[Any]:
    """The first launches with only 16-byte aligned arrays, and the first others."""
    by_alignment: dict[bool, list[Any]] = {True: [], False: []}
    for r in records:
        aligned = all(a.data.ptr % 16 == 0 for a in r.args if hasattr(a, "bytes"))
        by_alignment[aligned].append(r)
    return by_alignment[True][:MAX_REPLAYED] + by_alignment[False][:MAX_REPLAYED]


def test_launches_of_every_kernel_are_recorded(recorded: list[Any]) -> None:
    assert {r.kernel.name for r in recorded} == set(cuda_source.signatures())
    assert sum(np.prod(r.grid) > 1 for r in recorded) > len(recorded) / 3, (
        "too few launches have several blocks"
    )


def with_shared_memory() -> set[str]:
    """The kernels in files that use shared memory, directly or through functions of
    reductions.cuh: only there can threads race."""
    texts = [path.read_text(encoding="utf-8") for path in cuda_source.FOLDER.glob("*.cu")]
    uses = re.compile("__shared__|sum_rows<|store_sum_of_warps")
    return {name for text in texts if uses.search(text) for name in cuda_source.names(text)}


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_sanitizers_report_nothing(
    sanitizer: str, recorded: list[Any], fake_cupy: Any, tmp_path: Path
) -> None:
    if sanitizer == "races":
        recorded = [r for r in recorded if r.kernel.name in with_shared_memory()]
    program, launches = tmp_path / "replay", tmp_path / "launches"
    for code in {r.kernel.module.code for r in recorded}:
        parts = [r.encoded() for r in recorded if r.kernel.module.code == code]
        launches.write_bytes(np.uint64(len(parts)).tobytes() + b"".join(parts))
        fake_cupy.kernels.compile_replay(code, program, SANITIZERS[sanitizer])
        done = subprocess.run([program, launches], capture_output=True, text=True, timeout=300)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_barrier_that_not_all_threads_reach_raises(fake_cupy: Any) -> None:
    code = """typedef float T;
extern "C" __global__ void lonely(T* x) { if (threadIdx.x < 3) __syncthreads(); x[0] = 1; }
"""
    kernel = fake_cupy.RawModule(code).get_function("lonely")
    with pytest.raises(RuntimeError, match="lonely: a barrier that not all threads"):
        kernel((1,), (32,), (fake_cupy.zeros(1, fake_cupy.float32),))


HUGE = 9 * 2**28  # elements: more than 2**31, the last in the last block of a full grid
HUGE_VECTORIZED = 2**32  # the same for kernels whose threads process two packs of four elements


def huge(module: Any, count: int) -> Any:
    """A float32 array of `count` elements; only the pages that are accessed are allocated."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE of Linux
    try:
        memory = mmap.mmap(-1, 4 * count, flags=flags)
    except OSError as error:
        pytest.skip(f"no address space for {count} numbers: {error}")
    return module.ndarray(np.frombuffer(memory, np.float32))


def seed(number: int) -> tuple[Any, int, int]:
    """The kernel arguments for a seed."""
    from tinytorch.backends.cupy.seeds import seed_arguments

    return seed_arguments(number, (1,))


# Kernel -> function from x, y and their number of elements n to the arguments.
LARGE = {
    "gelu": lambda x, y, n: (x, y, n),
    "dropout": lambda x, y, n: (x, y, n, *seed(1), 2**31, 2.0),
    "add": lambda x, y, n: (x, x, y, n),
    "softmax": lambda x, y, n: (x, y, n // 16, 16),
    "merge_heads": lambda x, y, n: (x, y, n // 64, 2, 2, 16),
}


def check_gelu(x: np.ndarray, y: np.ndarray) -> None:
    expected = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(y, expected, atol=1e-5)


def check_dropout(x: np.ndarray, y: np.ndarray) -> None:
    assert set(np.unique(y / x)) == {0, 2}


def check_add(x: np.ndarray, y: np.ndarray) -> None:
    np.testing.assert_array_equal(y, x + x)


def check_softmax(x: np.ndarray, y: np.ndarray) -> None:
    expected = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def check_last_row(x: np.ndarray, y: np.ndarray) -> None:
    np.testing.assert_array_equal(y[-1], x[-1])


CHECKS = {
    "gelu": check_gelu,
    "dropout": check_dropout,
    "add": check_add,
    "softmax": check_softmax,
    "merge_heads": check_last_row,
}


@pytest.mark.parametrize("name", LARGE)
def test_arrays_with_more_than_2_to_the_31_elements(name: str, fake_cupy: Any) -> None:
    """The grid-stride loop of the last block of a full grid reaches the end of a large array."""
    from tinytorch.backends.cupy import launch

    kernel = fake_cupy.RawModule(cuda_source.source("float32")).get_function(name)
    rows = name not in ("gelu", "dropout", "add")
    block = (32, launch.WARPS) if rows else (launch.THREADS,)
    size = HUGE if rows else HUGE_VECTORIZED
    x, y = huge(fake_cupy, size), huge(fake_cupy, size)
    unit = 16 if rows else 1
    # The elements that the last block processes in its last iteration.
    tail = 8 * 16 if rows else launch.THREADS * launch.ITEMS_PER_THREAD * 4
    x[size - tail :] = fake_cupy.asarray(np.linspace(-3, 3, tail, dtype=np.float32))
    given = cuda_source.check_arguments(name, "float32", LARGE[name](x, y, size))
    kernel.first_block = launch.MAX_BLOCKS - 1
    kernel((launch.MAX_BLOCKS,), block, tuple(given))
    end = x[size - tail :].get().reshape(-1, unit)
    found = y[size - tail :].get().reshape(-1, unit)
    CHECKS[name](end, found)
