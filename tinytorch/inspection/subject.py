"""The model that is looked into: opened from a file, with texts as it reads them."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import check_integer, check_type
from ..backends.base import NumpyArray
from ..serialization import checkpoint
from ..tinygpt.run import CHECKPOINT, read_model
from ..tokenization import CharVocabulary, Tokenizer
from ..transformers import GPT
from .distributions import probabilities
from .messages import Reply, to_bytes

PROSE, CODE = "ROMEO:\nWhat is my ", "def main():\n    for "  # texts to begin with


class Subject:
    """A model and its tokenizer, or none yet.

    Args:
        path: a checkpoint, or the folder of a run; None to wait for `open`.

    Raises:
        CheckpointError, RunError: it is not a checkpoint of TinyGPT.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._model: GPT | None = None
        self._tokenizer: Tokenizer | None = None
        self._name = self._training = ""
        if path is not None:
            self._load(path, path.name)

    @property
    def model(self) -> GPT:
        """The model.

        Raises:
            ValueError: there is none yet.
        """
        if self._model is None:
            raise ValueError(f"no model is loaded yet: open a {CHECKPOINT}")
        return self._model

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the model."""
        assert self.model is not None
        assert self._tokenizer is not None
        return self._tokenizer

    def _load(self, path: Path, name: str) -> None:
        self._model, self._tokenizer, metadata = read_model(path)
        self._name, self._training = name, training_of(metadata)

    def about(self) -> Reply:
        """The model's name, training, sizes and backend."""
        config = self.model.config
        return {
            "name": self._name,
            "training": self._training,
            "parameters": self.model.num_parameters(),
            "blocks": config.num_layers,
            "heads": config.num_heads,
            "width": config.embed_dim,
            "vocabulary": config.vocab_size,
            "context": config.max_seq_len,
            "characters": isinstance(self.tokenizer, CharVocabulary),
            "backend": self.model.backend.name,
            "example": self._example(),
        }

    def _example(self) -> str:
        """A text to begin with, in characters that the model knows."""
        if not isinstance(self.tokenizer, CharVocabulary):
            return CODE if self.tokenizer.kind == "code" else PROSE
        known = "".join(c for c in PROSE if c in self.tokenizer.char_to_id)
        return known[: self.model.config.max_seq_len - 1] or self.tokenizer.decode([0])

    def open(self, name: str, data: str) -> Reply:
        """Load a checkpoint: its file's name, and its bytes in base64. See `about`."""
        check_type("name", name, str, "the name of a file")
        self.load_bytes(name, to_bytes(data))
        return self.about()

    def load_bytes(self, name: str, data: bytes) -> None:
        """Load a checkpoint from the bytes of a file; errors mention its name only."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / CHECKPOINT
            path.write_bytes(data)
            try:
                self._load(path, name)
            except ValueError as error:
                raise ValueError(str(error).replace(str(path), name)) from None

    # A text

    def encode(self, text: str) -> Reply:
        """The tokens of a text: their ids, and the text of each."""
        check_type("text", text, str, "a text")
        self._check_characters(text)
        ids = self.tokenizer.encode(text)
        self.check_ids(ids)
        return {"ids": ids, "tokens": self.texts(ids)}

    def _check_characters(self, text: str) -> None:
        tokenizer = self.tokenizer
        if isinstance(tokenizer, CharVocabulary) and tokenizer.unknown is None:
            unknown = sorted({*text} - {*tokenizer.vocab})
            if unknown:
                names = ", ".join(map(repr, unknown[:5])) + (", ..." if unknown[5:] else "")
                raise ValueError(
                    f"the model does not know {names}: its {tokenizer.vocab_size} characters are"
                    " those of the text that it was trained on"
                )

    def check_ids(self, ids: Sequence[int]) -> None:
        """Raise an error unless the ids are a text that the model can read."""
        check_type("ids", ids, list, "a list of tokens")
        if not ids:
            raise ValueError("the text is empty: type at least one character")
        limit = self.model.config.max_seq_len
        if len(ids) > limit:
            raise ValueError(
                f"the text has {len(ids)} tokens, and the model reads at most {limit}: shorten it"
            )
        for i in ids:
            check_integer("a token", i, 0, self.model.config.vocab_size - 1)

    def texts(self, ids: Sequence[int]) -> list[str]:
        """The text of each token."""
        return [self.tokenizer.decode([i]) for i in ids]

    # Its next token

    def distribution(
        self, logits: NumpyArray, temperature: float, top_k: int | None, count: int
    ) -> Reply:
        """The likeliest tokens by logits (V,), and the entropy of all of them in bits."""
        check_integer("count", count, 1)
        p = probabilities(logits, temperature, top_k)
        positive = p[p > 0]
        return {
            "top": self.top(logits, p, count),
            "choices": len(positive),
            "entropy": abs(float(-(positive * np.log2(positive)).sum())),
        }

    def top(self, logits: NumpyArray, p: NumpyArray, count: int) -> list[Reply]:
        """The first tokens by logits (V,), with their probabilities."""
        return [
            {"id": int(i), "text": self.tokenizer.decode([int(i)]), "p": float(p[i])}
            for i in np.argsort(-logits, kind="stable")[:count]
        ]


def training_of(metadata: dict[str, Any]) -> str:
    """How a model was trained, by the metadata of its checkpoint, or ""."""
    text, step = metadata.get("dataset"), metadata.get("step")
    if isinstance(metadata.get("training"), str):
        return str(metadata["training"])[:300]
    if not isinstance(text, str):
        return ""
    steps = f" for {step:,} steps" if isinstance(step, int) else ""
    return f"Trained on {text:.100}{steps}"


def save_weights(path: Path, model: GPT, tokenizer: Tokenizer, training: str) -> None:
    """Write a checkpoint without the states of optimizers: a quarter of that of a run.

    Args:
        path: the file.
        model: its weights are written.
        tokenizer: its tokenizer.
        training: a sentence on how it was trained.

    Raises:
        CheckpointError: it cannot be written.
    """
    arrays = {f"model/{name}": tensor.numpy() for name, tensor in model.state_dict().items()}
    metadata = {
        "model": model.config.to_dict(), "tokenizer": tokenizer.to_dict(), "training": training,
    }  # fmt: skip
    checkpoint.save(path, arrays, metadata)
