"""Reference implementations of attention and GPT in idiomatic PyTorch, with the same state names.

For parity tests and benchmarks. Import it inside a test, so that only this test needs PyTorch:

    torch_reference = require("torch_reference")
    reference = torch_reference.gpt(model)  # with the weights and the dtype of the model
"""

from typing import Any

import numpy as np
from helpers import require

from tinytorch import GPT, GPTConfig, Module

torch = require("torch")
nn, F = torch.nn, torch.nn.functional


def sinusoids(positions: int, size: int) -> Any:
    """Angles (T, C/2), position times frequency, in float64."""
    frequencies = 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    return torch.outer(torch.arange(positions, dtype=torch.float64), frequencies)


class Embedding(nn.Module):
    """Token embedding plus learned, sinusoidal or no positional encoding."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.embed_dim)
        self.kind = config.positions
        if self.kind == "learned":
            self.positions = nn.Embedding(config.max_seq_len, config.embed_dim)
        elif self.kind == "sinusoidal":
            angles = sinusoids(config.max_seq_len, config.embed_dim)
            table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
            self.register_buffer("table", table.float(), persistent=False)

    def forward(self, ids: Any) -> Any:
        x = self.tokens(ids)  # (B, T, C)
        if self.kind == "learned":
            return x + self.positions.weight[: ids.shape[1]]
        return x + self.table[: ids.shape[1]] if self.kind == "sinusoidal" else x


class Rotary(nn.Module):
    """Rotary positional encoding, with pairs as in GPT-NeoX."""

    def __init__(self, head_dim: int, max_seq_len: int) -> None:
        super().__init__()
        angles = sinusoids(max_seq_len, head_dim)
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def forward(self, x: Any) -> Any:
        cos, sin = self.cos[: x.shape[-2]], self.sin[: x.shape[-2]]  # (T, hs/2)
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class MultiHeadAttention(nn.Module):
    """Self-attention with one projection for queries, keys and values; causal by default."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        rotary: Any = None,
        causal: bool = True,
    ) -> None:
        super().__init__()
        self.num_heads, self.dropout, self.causal = num_heads, dropout, causal
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=bias)
        self.proj = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.rotary = rotary

    def forward(self, x: Any) -> Any:
        B, T, C = x.shape
        shape = (B, T, self.num_heads, C // self.num_heads)
        q, k, v = (part.view(shape).transpose(1, 2) for part in self.qkv(x).split(C, dim=2))
        if self.rotary is not None:
            q, k = self.rotary(q), self.rotary(k)
        p = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=self.causal)
        y = self.proj(y.transpose(1, 2).contiguous().view(B, T, C))
        return F.dropout(y, self.dropout, self.training)


ACTIVATIONS = {
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_erf": F.gelu,
    "squared_relu": lambda x: F.relu(x).square(),
}


class MLP(nn.Module):
    """Linear, activation, linear, dropout."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.fc = nn.Linear(config.embed_dim, 4 * config.embed_dim, bias=config.bias)
        self.proj = nn.Linear(4 * config.embed_dim, config.embed_dim, bias=config.bias)
        self.activation, self.dropout = ACTIVATIONS[config.activation], config.dropout

    def forward(self, x: Any) -> Any:
        x = self.proj(self.activation(self.fc(x)))
        return F.dropout(x, self.dropout, self.training)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: GPTConfig, rotary: Any = None) -> None:
        super().__init__()
        C, bias = config.embed_dim, config.bias
        self.ln1, self.ln2 = nn.LayerNorm(C, bias=bias), nn.LayerNorm(C, bias=bias)
        self.attention = MultiHeadAttention(C, config.num_heads, config.dropout, bias, rotary)
        self.mlp = MLP(config)

    def forward(self, x: Any) -> Any:
        x = x + self.attention(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class GPTReference(nn.Module):
    """GPT with the given configuration; copy the weights with `copy_weights`."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        rotary = None
        if config.positions == "rotary":
            rotary = Rotary(config.embed_dim // config.num_heads, config.max_seq_len)
        self.embedding = Embedding(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, rotary) for _ in range(config.num_layers))
        self.ln_f = nn.LayerNorm(config.embed_dim, bias=config.bias)
        self.head = nn.Linear(config.embed_dim, config.vocab_size, bias=False)
        if config.tie_weights:
            self.head.weight = self.embedding.tokens.weight

    def forward(self, ids: Any) -> Any:
        """ids (B, T) -> logits (B, T, V)."""
        x = self.dropout(self.embedding(ids))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x))

    def loss(self, ids: Any, targets: Any) -> Any:
        """Mean cross-entropy over targets (B, T)."""
        return F.cross_entropy(self(ids).flatten(0, 1), targets.flatten())


def copy_weights(model: Module, reference: Any) -> Any:
    """Copy the weights of `model` and their dtype to `reference`, which has the same names."""
    state = {name: torch.tensor(t.numpy()) for name, t in model.state_dict().items()}
    reference.to(next(iter(state.values())).dtype).load_state_dict(state)
    return reference


def gpt(model: GPT) -> GPTReference:
    """The reference of `model`, with its weights, dtype and training mode."""
    return copy_weights(model, GPTReference(model.config)).train(model.training)


def gradients(reference: Any) -> dict[str, np.ndarray]:
    """The gradient of each parameter by name, a shared one once."""
    return {name: p.grad.numpy() for name, p in reference.named_parameters()}
