"""What a page asks about a model, as JSON messages: the same through a web worker or a server.

A message is ``{"do": NAME, ...arguments}``, where NAME is a key of `COMMANDS`; the reply is
``{"result": ...}``, or ``{"error": SENTENCE}`` if the message cannot be answered. Bytes are in
base64.
"""

import base64
import binascii
import inspect
import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import check_integer, check_type, shown
from ..backends.base import NumpyArray
from ..tinygpt.run import CHECKPOINT, load_model
from ..tokenization import CharVocabulary, Tokenizer
from ..transformers import GPT
from .ablation import Head, ablated_heads, head_effects
from .distributions import probabilities, text_loss
from .live_training import LiveTraining
from .recording import Recording, logit_lens, read_out, record
from .vectors import nearest_neighbours, principal_plane
from .writing import Writer

# What bad arguments and damaged files raise; the message of each is a sentence.
MISTAKES = (ValueError, TypeError, IndexError, RuntimeError, MemoryError, OSError)
PROSE, CODE = "ROMEO:\nWhat is my ", "def main():\n    for "  # texts to begin with
MOST_IN_PLANE = 400  # tokens that are drawn; more would cover each other

Reply = dict[str, Any]


class Session:
    """A model that is looked into, and one that is trained meanwhile.

    Args:
        path: a checkpoint, or the folder of a run; None to wait for the message "open".

    Raises:
        CheckpointError, RunError: it is not a checkpoint of TinyGPT.

    >>> from tinytorch.inspection import Session
    >>> Session().handle('{"do": "encode", "text": "ROMEO:"}')
    '{"error": "no model is loaded yet: open a checkpoint.safetensors"}'
    """

    def __init__(self, path: Path | None = None) -> None:
        self._model: GPT | None = None
        self._tokenizer: Tokenizer | None = None
        self._name = ""
        self._last: tuple[Any, Recording] | None = None
        self._writer: Writer | None = None
        self._writers_key: Any = None
        self._training: LiveTraining | None = None
        if path is not None:
            self._load(path, path.name)

    def handle(self, message: str) -> str:
        """Answer a message with a reply; both are JSON. Nothing is raised."""
        try:
            return json.dumps({"result": self._answer(message)}, allow_nan=False)
        except MISTAKES as error:
            text = str(error) or type(error).__name__
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            text = f"an error of TinyTorch: {type(error).__name__}: {error!s:.200}"
        return json.dumps({"error": text})

    def _answer(self, message: str) -> Reply:
        try:
            arguments = json.loads(message)
            name = arguments.pop("do")
            command = COMMANDS[name]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError(f"not a message of this page: {shown(message)}") from None
        try:
            inspect.signature(command).bind(self, **arguments)
        except TypeError as error:
            raise ValueError(f"the message {name!r} has other arguments: {error}") from None
        return command(self, **arguments)

    # The model

    @property
    def model(self) -> GPT:
        """The model that is looked into."""
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
        self._model, self._tokenizer = load_model(path)
        self._name, self._last, self._writer = name, None, None

    def about(self) -> Reply:
        """The model's name, sizes and backend."""
        config = self.model.config
        return {
            "name": self._name,
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
        self._open(name, _bytes(data))
        return self.about()

    def _open(self, name: str, data: bytes) -> None:
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
        self._check_ids(ids)
        return {"ids": ids, "tokens": self._texts(ids)}

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

    def _check_ids(self, ids: Sequence[int]) -> None:
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

    def _texts(self, ids: Sequence[int]) -> list[str]:
        return [self.tokenizer.decode([i]) for i in ids]

    def _recording(self, ids: Sequence[int], heads: Any) -> Recording:
        """What the model computes for a text without some heads; the last one is kept."""
        self._check_ids(ids)
        key = (*ids,), _heads(heads)
        if self._last is None or self._last[0] != key:
            with ablated_heads(self.model, key[1]):
                self._last = key, record(self.model, ids)
        return self._last[1]

    # The views

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
        logits = read_out(self.model, recording.residual[-1][-1:])[0]  # (V,)
        return self._distribution(logits, temperature, top_k, count)

    def _distribution(
        self, logits: NumpyArray, temperature: float, top_k: int | None, count: int
    ) -> Reply:
        """The likeliest tokens by logits (V,), and the entropy of all of them in bits."""
        check_integer("count", count, 1)
        p = probabilities(logits, temperature, top_k)
        positive = p[p > 0]
        return {
            "top": self._top(logits, p, count),
            "choices": len(positive),
            "entropy": abs(float(-(positive * np.log2(positive)).sum())),
        }

    def _top(self, logits: NumpyArray, p: NumpyArray, count: int) -> list[Reply]:
        return [
            {"id": int(i), "text": self.tokenizer.decode([int(i)]), "p": float(p[i])}
            for i in np.argsort(-logits, kind="stable")[:count]
        ]

    def attention(self, ids: list[int], block: int, heads: list[list[int]] | None = None) -> Reply:
        """The attention weights of each head of a block.

        They are (nh, T, T) integers of two bytes, the least significant first: weights times 65535.
        """
        check_integer("block", block, 0, self.model.config.num_layers - 1)
        weights = self._recording(ids, heads).attention[block]
        data = np.round(weights * 65535.0).astype("<u2").tobytes()
        return {"tokens": len(ids), "weights": _base64(data)}

    def lens(self, ids: list[int], heads: list[list[int]] | None = None, count: int = 5) -> Reply:
        """The likeliest next tokens at each position, by the embedding and after each block.

        `target` is the probability of the token that does follow; it is None for the last position.
        """
        check_integer("count", count, 1)
        recording = self._recording(ids, heads)
        layers = []
        for logits in logit_lens(self.model, recording):  # (T, V)
            p = probabilities(logits)
            targets = [float(row[i]) for row, i in zip(p, ids[1:], strict=False)]
            top = [self._top(row, q, count) for row, q in zip(logits, p, strict=True)]
            layers.append({"top": top, "target": [*targets, None]})
        return {"layers": layers}

    def ablation(self, ids: list[int], heads: list[list[int]], count: int = 8) -> Reply:
        """The next token and the loss of a text, with all heads and without some."""
        sides = {}
        for side, off in (("whole", []), ("without", heads)):
            loss = None
            if len(ids) > 1:
                with ablated_heads(self.model, _heads(off)):
                    loss = text_loss(self.model, ids)
            sides[side] = {**self.next(ids, off, count=count), "loss": loss}
        return sides

    def effects(self, ids: list[int]) -> Reply:
        """How much larger the loss of a text is without each head, (L, nh)."""
        self._check_ids(ids)
        return {"effects": head_effects(self.model, ids).tolist()}

    def neighbours(self, token: int, matrix: str = "embedding", count: int = 10) -> Reply:
        """The tokens whose vectors are nearest to that of a token; see `_vectors`."""
        check_integer("count", count, 1)
        found = nearest_neighbours(self._vectors(matrix), token, count)
        named = [{"id": i, "text": self.tokenizer.decode([i]), "cosine": c} for i, c in found]
        return {"text": self.tokenizer.decode([token]), "neighbours": named}

    def plane(self, matrix: str = "embedding") -> Reply:
        """The vectors of the first tokens in the plane in which they differ most."""
        points, share = principal_plane(self._vectors(matrix)[:MOST_IN_PLANE])
        return {
            "points": points.tolist(),
            "tokens": self._texts(range(len(points))),
            "share": share,
        }

    def _vectors(self, matrix: str) -> NumpyArray:
        """A vector for each token, (V, C): from the "embedding", or from the "head"."""
        modules: dict[str, Any] = {
            "embedding": self.model.embedding.tokens,
            "head": self.model.head,
        }
        if matrix not in modules:
            raise ValueError(f"matrix must be one of {', '.join(modules)}, not {matrix!r:.40}")
        vectors: NumpyArray = modules[matrix].weight.numpy()
        return vectors

    # Writing

    def write(
        self,
        ids: list[int],
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int | None = None,
        heads: list[list[int]] | None = None,
        count: int = 12,
    ) -> Reply:
        """Append one token to a text, as `generate` does.

        With a seed, the random numbers start again; without one, those of the last message go on.
        """
        self._check_ids(ids)
        if len(ids) >= self.model.config.max_seq_len:
            raise ValueError(
                f"the text fills the model's context of {len(ids)} tokens: shorten it to go on"
            )
        key = temperature, top_k, _heads(heads)
        if seed is not None or self._writer is None:
            self._rng = np.random.default_rng(check_integer("seed", seed or 0))
        if seed is not None or self._writer is None or self._writers_key != (*key, ids):
            self._writer = Writer(
                self.model, ids, key[2], temperature=temperature, top_k=top_k, seed=self._rng
            )
        token, logits = next(self._writer)
        self._writers_key = (*key, [*ids, token])
        p = probabilities(logits, temperature, top_k)
        return {
            "id": token,
            "token": self.tokenizer.decode([token]),
            "text": self.tokenizer.decode([*ids, token]),
            "p": float(p[token]),
            **self._distribution(logits, temperature, top_k, count),
        }

    # Training

    def start_training(
        self, text: str, size: str = "small", steps: int = 300, seed: int = 1
    ) -> Reply:
        """Start to train a new model on a text; an earlier training is given up."""
        check_type("text", text, str, "a text")
        self._training = training = LiveTraining(text, size, steps, seed)
        return {
            "parameters": training.run.model.num_parameters(),
            "vocabulary": training.run.tokenizer.vocab_size,
            "steps": training.run.steps,
        }

    def train(self, steps: int = 1) -> Reply:
        """Run some training steps: their losses, and now and then the validation loss."""
        training = self._started()
        losses, validated = training.advance(steps)
        run = training.run
        return {
            "step": run.trainer.step,
            "losses": losses,
            "validation": validated,
            "finished": run.finished,
        }

    def sample(self, length: int = 120, seed: int = 1) -> Reply:
        """A text by the model in training."""
        run = self._started().run
        ids = run.val_ids[:1].tolist()
        settings = {"temperature": 0.8, "seed": seed}
        text = run.model.generate(ids, check_integer("length", length, 1, 1000), **settings)
        return {"text": run.tokenizer.decode(text.numpy())}

    def trained(self) -> Reply:
        """The checkpoint of the model in training, in base64."""
        return {"name": CHECKPOINT, "data": _base64(self._started().checkpoint())}

    def look_into_trained(self) -> Reply:
        """Look into the model in training, as it is now. See `about`."""
        training = self._started()
        self._open(f"your text, {training.run.trainer.step} steps", training.checkpoint())
        return self.about()

    def _started(self) -> LiveTraining:
        if self._training is None:
            raise ValueError("no training has been started")
        return self._training


COMMANDS: dict[str, Callable[..., Reply]] = {
    function.__name__: function
    for function in (
        Session.about, Session.open, Session.encode, Session.next, Session.attention, Session.lens,
        Session.ablation, Session.effects, Session.neighbours, Session.plane, Session.write,
        Session.start_training, Session.train, Session.sample, Session.trained,
        Session.look_into_trained,
    )
}  # fmt: skip


def _heads(heads: Any) -> tuple[Head, ...]:
    """The pairs (block, head) of a message, sorted."""
    pairs: Collection[Any] = heads or []
    if not isinstance(pairs, list) or not all(isinstance(h, list) and len(h) == 2 for h in pairs):
        raise ValueError(f"heads must be pairs [block, head], not {shown(heads)}")
    return tuple(sorted((check_integer("block", b), check_integer("head", h)) for b, h in pairs))


def _bytes(data: Any) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ValueError("the file's bytes are not in base64") from None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
