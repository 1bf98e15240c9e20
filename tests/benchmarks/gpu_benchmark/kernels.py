"""Each kernel's time beside its floor: bytes over bandwidth, or FLOPs over the rate of products."""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .machine import floor, seconds_of
from .modes import Mode, default_mode, set_mode
from .our_side import free_memory
from .report import guarded
from .settings import VOCABULARY, Row, Rows, Settings, random_text
from .timing import Step, array

COLUMNS = ["kernel", "us", "floor, us", "over the floor"]
DROPOUT = 0.2


class Case(NamedTuple):
    """A call, and what it must at least read, write and compute.

    Attributes:
        call: runs the kernels of one op, or of its gradient.
        size: bytes of its inputs, each read once, and outputs.
        flops: of its matrix products.
    """

    name: str
    call: Step
    size: float
    flops: float = 0.0


def kernels(settings: Settings) -> Rows:
    """Elementwise kernels in the default mode, then those with products in each mode."""
    builds = [(default_mode(), elementwise), (default_mode(), tables)]
    builds += [(mode, with_products) for mode in settings.modes]
    builds += [(mode, mixed_precision) for mode in settings.modes if mode.name == "bf16"]
    for mode, build in builds:
        free_memory()
        set_mode(mode)
        for case in build(settings):
            name = case.name + (f", {mode.name}" if case.flops else "")
            yield from guarded(name, _row(name, case, settings, mode))


def _row(name: str, case: Case, settings: Settings, mode: Mode) -> Rows:
    seconds = seconds_of(case.call, settings)
    least = floor(settings, mode, case.size, case.flops)
    value = {"us": 1e6 * seconds, "floor, us": 1e6 * least, "over the floor": seconds / least}
    cells = [f"{1e6 * seconds:.1f}", f"{1e6 * least:.1f}", f"{seconds / least:.2f}"]
    yield Row(name, value, cells)


def op(
    name: str, arguments: tuple[Any, ...], size: float, gradient_size: float | None = None,
    flops: float = 0.0, gradient_flops: float = 0.0, label: str = "", **settings: Any,
) -> Iterator[Case]:  # fmt: skip
    """The cases of an op and of its gradient. A kernel that does not support the arguments fails
    when it is called."""
    import cupy

    from tinytorch.backends.cupy.kernels import KERNELS

    kernel, label = KERNELS[name], label or name

    def forward() -> Any:
        result = kernel.forward(None, *arguments, **settings)
        if result is NotImplemented:
            raise NotImplementedError(f"{name} has no kernel for these arguments")
        return result

    @functools.cache
    def inputs() -> tuple[Any, Any]:
        y, saved = forward()
        return cupy.ones_like(y), saved

    def gradient() -> None:
        g, saved = inputs()
        gradients = kernel.gradient(None, g, *saved)
        for entry in gradients if isinstance(gradients, tuple) else (gradients,):
            entry() if callable(entry) else None  # computed where it is needed

    yield Case(label, forward, size, flops)
    if gradient_size is not None:
        yield Case(f"{label}, gradient", gradient, gradient_size, gradient_flops)


def elementwise(settings: Settings) -> Iterator[Case]:
    """Kernels on activations (B, T, C), hidden activations (B, T, 4 C) and logits (B, T, V)."""
    import cupy

    from tinytorch.backends.cupy import optim
    from tinytorch.backends.cupy.kernels import KERNELS

    B, T, C = settings.baby.batch_size, settings.baby.context, settings.baby.embed_dim
    x, weight, wide = array(B, T, C), array(C), array(B, T, 4 * C)
    yield from op("gelu", (wide,), 2 * wide.nbytes, 3 * wide.nbytes)
    yield from op("layer_norm", (x, weight, None), 2 * x.nbytes, 3 * x.nbytes)
    yield from op("dropout", (x,), 2 * x.nbytes, 2 * x.nbytes, p=DROPOUT, seed=1)
    yield from op("add", (x, x), 3 * x.nbytes)
    logits = array(B, T, VOCABULARY)
    ids = cupy.asarray(random_text(B * T).reshape(B, T))
    yield from op("cross_entropy", (logits, ids), logits.nbytes, 2 * logits.nbytes)
    moments = [array(B, T, 4 * C) for _ in range(3)]
    adam = {"lr": 1e-3, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1, "decoupled": True}
    yield Case("AdamW", lambda: optim.adam_update([(wide, *moments)], step=1, **adam),
               7 * wide.nbytes)  # fmt: skip
    clip = KERNELS["clip_gradients"].forward
    yield Case("clip_gradients", lambda: clip(None, wide, max_norm=1.0), 2 * wide.nbytes)


def tables(settings: Settings) -> Iterator[Case]:
    """Embeddings: ids of a text, uniform ids, and larger vocabularies."""
    import cupy

    B, T, C = settings.baby.batch_size, settings.baby.context, settings.baby.embed_dim
    size = B * T * C * 4
    rng = np.random.default_rng(0)
    cases = [("text", VOCABULARY, random_text(B * T)),
             ("uniform ids", VOCABULARY, rng.integers(0, VOCABULARY, B * T)),
             *((f"vocabulary {V}", V, rng.integers(0, V, B * T))
               for V in settings.vocabularies)]  # fmt: skip
    for label, V, ids in cases:
        table, written = array(V, C), V * C * 4
        yield from op(
            "embedding",
            (table, cupy.asarray(ids.reshape(B, T))),
            size + min(size, written),
            size + written,
            label=f"embedding, {label}",
        )


def with_products(settings: Settings) -> Iterator[Case]:
    """Attention, and Muon's updates of all matrices of two presets."""
    q, k, v = (_activations(settings, heads=True) for _ in range(3))
    product = _attention_flops(settings)
    yield from op("fused_attention", (q, k, v, _mask(settings)), 4 * q.nbytes, 8 * q.nbytes,
                  2 * product, 5 * product, label="attention", p=DROPOUT, seed=1)  # fmt: skip
    for name in ("best-gpu", "default"):
        yield muon(settings, name)


def mixed_precision(settings: Settings) -> Iterator[Case]:
    """The halves of a transformer block in bf16, with their products."""
    x, C = _activations(settings), settings.baby.embed_dim
    product = 2 * x.size * C  # FLOPs of a product with C x C weights
    dropout = DROPOUT, 1
    mlp = x, array(C), None, array(4 * C, C), None, array(C, 4 * C), None
    yield from op("residual_mlp", mlp, 2 * x.nbytes, 3 * x.nbytes, 8 * product, 16 * product,
                  eps=1e-5, activation="gelu", dropout=dropout)  # fmt: skip
    attention = x, array(C), None, array(3 * C, C), None, array(C, C), None, _mask(settings)
    own = _attention_flops(settings)
    yield from op("residual_attention", attention, 2 * x.nbytes, 3 * x.nbytes,
                  4 * product + 2 * own, 8 * product + 5 * own, eps=1e-5,
                  num_heads=settings.baby.num_heads, weights_dropout=dropout,
                  output_dropout=dropout)  # fmt: skip


def _activations(settings: Settings, heads: bool = False) -> Any:
    """Activations (B, T, C), or their heads (B, nh, T, hs)."""
    baby = settings.baby
    x = array(baby.batch_size, baby.context, baby.embed_dim)
    shape = (*x.shape[:2], baby.num_heads, baby.embed_dim // baby.num_heads)
    return x.reshape(shape).transpose(0, 2, 1, 3) if heads else x


def _mask(settings: Settings) -> Any:
    """The causal mask (T, T)."""
    import cupy

    return cupy.asarray(np.tril(np.ones((settings.baby.context,) * 2, bool)))


def _attention_flops(settings: Settings) -> float:
    """FLOPs of one of attention's products, for the visible pairs of tokens only."""
    baby = settings.baby
    return float(baby.batch_size * baby.context**2 * baby.embed_dim)


def muon(settings: Settings, name: str) -> Case:
    """An update of a preset's matrices; FLOPs of iterating on the smaller side."""
    from tinytorch.backends.cupy import optim

    preset = settings.presets[name]
    C = preset.embed_dim
    shapes = [(3 * C, C), (C, C), (4 * C, C), (C, 4 * C)] * preset.num_layers
    rows = [tuple(array(*shape) for _ in range(3)) for shape in shapes]
    flops = sum(4 * C * M * N + 34 * C**3 for M, N in shapes)
    chosen = {"lr": 1e-3, "momentum": 0.95, "nesterov": True, "weight_decay": 0.1}
    return Case(f"Muon, {name}", lambda: optim.muon_update(rows, **chosen),
                5 * sum(row[0].nbytes for row in rows), flops)  # fmt: skip
