"""Decoding in PyTorch with a static key-value cache, as one CUDA graph for each token."""

from typing import Any

from . import torch_side


class StaticDecoder:
    """Samples a token for each of B texts from a `GPTReference`, with all state on the device.

    Args:
        reference: the model, in evaluation mode; its dtype is the decoder's.
        batch: B.
        compiled: whether torch.compile fuses the step.
    """

    def __init__(
        self, reference: Any, batch: int, temperature: float, compiled: bool = False
    ) -> None:
        torch = self._torch = torch_side.module()
        config = reference.config
        self._model, self._temperature = reference, temperature
        self._heads, limit = config.num_heads, config.max_seq_len
        weight = reference.head.weight
        shape = (batch, self._heads, limit, config.embed_dim // self._heads)
        self._caches = [
            (weight.new_zeros(shape), weight.new_zeros(shape)) for _ in reference.blocks
        ]
        self._places = torch.arange(limit, device=weight.device)
        self.position = torch.zeros(1, dtype=torch.int64, device=weight.device)
        self.ids = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        self.tokens = torch.zeros((limit, batch), dtype=torch.int64, device=weight.device)
        self.logits = torch.compile(self._logits) if compiled else self._logits
        self._launch = self._step

    def capture(self) -> None:
        """Capture a step as a CUDA graph."""
        self.position.zero_()  # the warm-up takes some steps
        self._launch = torch_side.captured(self._step)

    def write(self, count: int) -> Any:
        """Start from token 0 in each text; returns the next tokens (count, B) on the host."""
        self.position.zero_()
        self.ids.zero_()
        for _ in range(count):
            self._launch()
        return self.tokens[:count].cpu()

    def _step(self) -> None:
        with self._torch.no_grad():
            logits = self.logits()
            weights = (logits.float() / self._temperature).softmax(-1)
            # The largest quotient by an exponential number is a sample, without a wait.
            chosen = (weights / self._torch.empty_like(weights).exponential_(1)).argmax(-1)
            self.ids.copy_(chosen)
            self.tokens.index_copy_(0, self.position, chosen[None])
            self.position.add_(1)

    def _logits(self) -> Any:
        """The logits (B, V) that follow the ids."""
        model, position = self._model, self.position
        x = model.embedding.tokens(self.ids)[:, None]  # (B, 1, C)
        if model.config.positions == "learned":
            x = x + model.embedding.positions(position)
        visible = (self._places <= position)[None, None, None]  # (1, 1, 1, limit)
        for block, caches in zip(model.blocks, self._caches, strict=True):
            x = x + self._attention(block.attention, block.ln1(x), caches, visible)
            x = x + block.mlp(block.ln2(x))
        return model.head(model.ln_f(x))[:, 0]

    def _attention(self, attention: Any, x: Any, caches: tuple[Any, Any], visible: Any) -> Any:
        """x (B, 1, C) -> (B, 1, C); writes the new key and value to the caches."""
        B, _, C = x.shape
        q, k, v = (part.view(B, 1, self._heads, -1).transpose(1, 2)  # (B, nh, 1, hs)
                   for part in attention.qkv(x).split(C, dim=2))  # fmt: skip
        if attention.rotary is not None:
            q, k = (self._rotated(attention.rotary, part) for part in (q, k))
        keys, values = caches
        keys.index_copy_(2, self.position, k)
        values.index_copy_(2, self.position, v)
        y = self._torch.nn.functional.scaled_dot_product_attention(q, keys, values, visible)
        return attention.proj(y.transpose(1, 2).reshape(B, 1, C))

    def _rotated(self, rotary: Any, x: Any) -> Any:
        cos, sin = (table[self.position].to(x.dtype) for table in (rotary.cos, rotary.sin))
        first, second = x.chunk(2, dim=-1)
        return self._torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
