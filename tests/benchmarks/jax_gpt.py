"""A training step of the GPT in JAX, compiled by XLA, for `versus_torch.py`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tinytorch import GPT, GPTConfig

Weights = dict[str, Any]  # by the names of `GPT.state_dict`


def layer_norm(x: Any, weight: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * weight


def rotated(x: Any) -> Any:
    """Rotary positions of x (B, T, nh, hs)."""
    T, hs = x.shape[1], x.shape[3]
    frequencies = 10000.0 ** (-np.arange(0, hs, 2) / hs)
    angles = np.outer(np.arange(T), frequencies).astype(np.float32)[:, None]  # (T, 1, hs/2)
    first, second = jnp.split(x, 2, axis=-1)
    cos, sin = np.cos(angles), np.sin(angles)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def attention(x: Any, w: Weights, name: str, config: GPTConfig) -> Any:
    B, T, C = x.shape
    shape = (B, T, config.num_heads, C // config.num_heads)
    qkv = jnp.split(x @ w[f"{name}.qkv.weight"].T, 3, axis=-1)
    q, k, v = (part.reshape(shape) for part in qkv)  # (B, T, nh, hs)
    if config.positions == "rotary":
        q, k = rotated(q), rotated(k)
    y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
    return y.reshape(B, T, C) @ w[f"{name}.proj.weight"].T


def activation(x: Any, config: GPTConfig) -> Any:
    return jax.nn.gelu(x) if config.activation == "gelu" else jnp.square(jax.nn.relu(x))


def loss(w: Weights, ids: Any, targets: Any, config: GPTConfig) -> Any:
    """Mean cross-entropy over ids and targets (B, T)."""
    x = w["embedding.tokens.weight"][ids]  # (B, T, C)
    if config.positions == "learned":
        x = x + w["embedding.positions.weight"][: ids.shape[1]]
    for i in range(config.num_layers):
        block = f"blocks.{i}"
        x = x + attention(layer_norm(x, w[f"{block}.ln1.weight"]), w, f"{block}.attention", config)
        hidden = layer_norm(x, w[f"{block}.ln2.weight"]) @ w[f"{block}.mlp.fc.weight"].T
        x = x + activation(hidden, config) @ w[f"{block}.mlp.proj.weight"].T
    head = w["embedding.tokens.weight" if config.tie_weights else "head.weight"]
    logits = layer_norm(x, w["ln_f.weight"]) @ head.T  # (B, T, V)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], axis=-1)
    return -chosen.mean()


def training_step(
    model: GPT, lr: float, betas: tuple[float, float], clip: float
) -> Callable[[Any, Any], float]:
    """Return ``step(ids, targets) -> loss``, with AdamW and clipping, from the model's weights.

    Raises:
        ValueError: the configuration has biases, dropout or sinusoidal positions.
    """
    config = model.config
    if config.bias or config.dropout or config.positions == "sinusoidal":
        raise ValueError("the JAX model has neither biases nor dropout nor sinusoidal positions")
    weights = {name: jnp.array(t.numpy()) for name, t in model.state_dict().items()}
    if config.tie_weights:
        weights.pop("head.weight", None)
    moments = [jax.tree.map(jnp.zeros_like, weights) for _ in range(2)]

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(w: Weights, means: Weights, squares: Weights, count: Any, x: Any, y: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(w, x, y, config)
        norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in gradients.values()))
        scale = jnp.minimum(1.0, clip / (norm + 1e-6))
        for name in w:
            g = gradients[name] * scale
            means[name] = betas[0] * means[name] + (1 - betas[0]) * g
            squares[name] = betas[1] * squares[name] + (1 - betas[1]) * g * g
            mean = means[name] / (1 - betas[0] ** count)
            square = squares[name] / (1 - betas[1] ** count)
            w[name] = w[name] * (1 - lr * 0.01) - lr * mean / (jnp.sqrt(square) + 1e-8)
        return value, w, means, squares

    state: list[Any] = [weights, *moments, 0]

    def step(ids: Any, targets: Any) -> float:
        state[3] += 1
        count = np.float32(state[3])
        value, *state[:3] = update(
            *state[:3], count, ids.astype(np.int32), targets.astype(np.int32)
        )
        return float(value)

    return step
