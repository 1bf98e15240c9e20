"""What the views show of a text, as replies to messages."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arguments import check_integer
from ..backends.base import NumpyArray
from .ablation import ablated_heads, head_effects
from .distributions import probabilities, text_loss
from .messages import Reply, to_base64, to_heads
from .recording import Recording, logit_lens, read_out, record
from .subject import Subject
from .vectors import nearest_neighbours, principal_plane

MOST_IN_PLANE = 400  # tokens that are drawn; more would cover each other


class Views:
    """The views of a model; each method answers a message."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._last: tuple[Any, Recording] | None = None

    def _recording(self, ids: Sequence[int], heads: Any) -> Recording:
        """What the model computes for a text without some heads; the last one is kept."""
        self._subject.check_ids(ids)
        key = self._subject.model, (*ids,), to_heads(heads)
        if self._last is None or self._last[0] != key:
            with ablated_heads(self._subject.model, key[2]):
                self._last = key, record(self._subject.model, ids)
        return self._last[1]

    def next(
        self,
        ids: list[int],
        heads: list[list[int]] | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        count: int = 12,
    ) -> Reply:
        """The likeliest next tokens of a text, with their probabilities."""
        recording = self._recording(ids, heads)
        logits = read_out(self._subject.model, recording.residual[-1][-1:])[0]  # (V,)
        return self._subject.distribution(logits, temperature, top_k, count)

    def attention(self, ids: list[int], block: int, heads: list[list[int]] | None = None) -> Reply:
        """The attention weights of each head of a block.

        They are (nh, T, T) integers of two bytes, the least significant first: weights times 65535.
        """
        check_integer("block", block, 0, self._subject.model.config.num_layers - 1)
        weights = self._recording(ids, heads).attention[block]
        if not np.isfinite(weights).all():
            raise ValueError(
                "attention weights are not finite: the model is damaged, or has diverged"
            )
        data = np.round(weights * 65535.0).astype("<u2").tobytes()
        return {"tokens": len(ids), "weights": to_base64(data)}

    def lens(self, ids: list[int], heads: list[list[int]] | None = None, count: int = 5) -> Reply:
        """The likeliest next tokens at each position, by the embedding and after each block.

        `target` is the probability of the token that does follow; it is None for the last position.
        """
        check_integer("count", count, 1)
        recording = self._recording(ids, heads)
        layers = []
        for logits in logit_lens(self._subject.model, recording):  # (T, V)
            p = probabilities(logits)
            targets = [float(row[i]) for row, i in zip(p, ids[1:], strict=False)]
            top = [self._subject.top(row, q, count) for row, q in zip(logits, p, strict=True)]
            layers.append({"top": top, "target": [*targets, None]})
        return {"layers": layers}

    def ablation(self, ids: list[int], heads: list[list[int]], count: int = 8) -> Reply:
        """The next token and the loss of a text, with all heads and without some."""
        sides = {}
        for side, off in (("whole", []), ("without", heads)):
            loss = None
            if len(ids) > 1:
                with ablated_heads(self._subject.model, to_heads(off)):
                    loss = text_loss(self._subject.model, ids)
            sides[side] = {**self.next(ids, off, count=count), "loss": loss}
        return sides

    def effects(self, ids: list[int]) -> Reply:
        """How much larger the loss of a text is without each head, (L, nh)."""
        self._subject.check_ids(ids)
        return {"effects": head_effects(self._subject.model, ids).tolist()}

    def neighbours(self, token: int, matrix: str = "embedding", count: int = 10) -> Reply:
        """The tokens whose vectors are nearest to that of a token; see `_vectors`."""
        check_integer("count", count, 1)
        found = nearest_neighbours(self._vectors(matrix), token, count)
        named = [
            {"id": i, "text": self._subject.tokenizer.decode([i]), "cosine": c} for i, c in found
        ]
        return {"text": self._subject.tokenizer.decode([token]), "neighbours": named}

    def plane(self, matrix: str = "embedding") -> Reply:
        """The vectors of the first tokens in the plane in which they differ most."""
        points, share = principal_plane(self._vectors(matrix)[:MOST_IN_PLANE])
        return {
            "points": points.tolist(),
            "tokens": self._subject.texts(range(len(points))),
            "share": share,
        }

    def _vectors(self, matrix: str) -> NumpyArray:
        """A vector for each token, (V, C): from the "embedding", or from the "head"."""
        modules: dict[str, Any] = {
            "embedding": self._subject.model.embedding.tokens,
            "head": self._subject.model.head,
        }
        if matrix not in modules:
            raise ValueError(f"matrix must be one of {', '.join(modules)}, not {matrix!r:.40}")
        vectors: NumpyArray = modules[matrix].weight.numpy()
        if not np.isfinite(vectors).all():
            raise ValueError(f"weights of the {matrix} are not finite: the file is damaged")
        return vectors
