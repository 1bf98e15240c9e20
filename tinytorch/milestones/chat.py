"""A conversation in the terminal: finding the model, asking it, and what it thought."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..activations import softmax
from ..autograd import no_grad
from ..generation.growing import GrowingText
from ..pretrained import load_pretrained
from ..pretrained.chat_templates import Conversation
from ..pretrained.smollm2 import find_smollm2
from ..pretrained.tokenizer import PretrainedTokenizer
from ..tensor import Tensor
from ..tinygpt.cli import standard_input, valid
from ..tinygpt.interrupt import Interrupt
from ..tinygpt.run import RunError

TOP_P = 0.9


def load_chat_model(
    path: Path | str | None = None, say: Callable[[str], None] | None = None
) -> tuple[Any, Conversation]:
    """Return a model and the beginning of a conversation with it.

    Args:
        path: of the model, or its name on the hub; by default SmolLM2, which is fetched if it is
            not on this machine.
        say: is told what is fetched.

    Raises:
        RunError: the model cannot be read, or was not trained for conversations.
    """
    try:
        path = find_smollm2(say) if path is None else path
        model, tokenizer = load_pretrained(path)
    except ValueError as error:
        raise RunError(str(error)) from None
    if not isinstance(tokenizer, PretrainedTokenizer):
        raise RunError(f"{path} has no tokenizer with a chat template, so one cannot talk to it")
    try:
        return model, Conversation(tokenizer)
    except ValueError as error:
        raise RunError(f"{path}: {error}") from None


@dataclass
class Chat:
    """A conversation with a model.

    Args:
        model: the model.
        talk: how a conversation is written for it.
        tokens: the largest number of tokens of an answer.
        temperature: divides the logits; 0 selects the most likely token.
        rng: draws the tokens.

    Attributes:
        answers, written, seconds: how many answers and tokens the model has given, and how long
            it took.
    """

    model: Any
    talk: Conversation
    tokens: int
    temperature: float
    rng: np.random.Generator
    answers: int = 0
    written: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        begin = self.talk.begin()
        limit = self.model.config.max_seq_len
        self.text = GrowingText(self.model, kept=min(len(begin), limit // 4))
        self.text.append(begin)
        self._last: list[int] = []  # the ids of the last answer

    def answer(self, question: str, write: Callable[[str], None]) -> str:
        """Ask a question, write the answer as it comes, and return it.

        Ctrl-C ends the answer; a second one raises `Stop`.
        """
        if self._last:
            self.text.append(self.talk.end(self._last))
        self.text.append(self.talk.ask(question))
        self._last = []
        begin, pieces = time.perf_counter(), []
        with Interrupt() as interrupt, sampling():
            for piece in self.talk.tokenizer.decode_stream(self._new_ids(interrupt)):
                pieces.append(printable(piece))
                write(pieces[-1])
        self.answers += 1
        self.seconds += time.perf_counter() - begin
        return "".join(pieces)

    def _new_ids(self, interrupt: Interrupt) -> Iterator[int]:
        """The ids of the answer, without special tokens."""
        special = set(self.talk.tokenizer.special_tokens.values())
        settings: dict[str, Any] = {"temperature": self.temperature, "top_p": TOP_P}
        stop = self.talk.stop_ids
        for token in self.text.write(self.tokens, stop=stop, seed=self.rng, **settings):
            self._last.append(token)
            self.written += 1
            if token not in special:
                yield token
            if interrupt.requested:
                return


@contextmanager
def sampling() -> Iterator[None]:
    """Logits of which none can be chosen are an error of the model's file: RunError."""
    try:
        yield
    except NotImplementedError:  # a blank exercise
        raise
    except RuntimeError as error:
        raise RunError(str(error)) from error


def printable(text: str) -> str:
    """Return text without characters that control a terminal."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")


def questions(quiet: bool) -> Iterator[str]:
    """Yield the lines that a user types, or that are piped in, until they end."""
    asks = standard_input().isatty()
    if asks:
        with suppress(ImportError):
            import readline  # noqa: F401, lets the user edit lines
    while True:
        try:
            line = input("\nYou: " if asks else "")
        except EOFError:
            return
        except KeyboardInterrupt:
            print()  # the shell goes on in a new line
            raise
        line = valid(line)
        if not line.strip():
            continue
        if not asks and not quiet:
            print(f"\nYou: {line}")
        yield line


class Thoughts(NamedTuple):
    """What a model computed for a question and its answer.

    Attributes:
        labels: the text of each token (T,).
        first: position of the answer's first token.
        likeliest: for each token of the answer, the likeliest texts and their probabilities.
        attention: weights (L, T) with which each block looks back from the last token of the
            question, the mean of its heads.
    """

    labels: list[str]
    first: int
    likeliest: list[list[tuple[str, float]]]
    attention: np.ndarray[Any, Any]


@no_grad()
def think(model: Any, talk: Conversation, question: str, tokens: int, most: int = 5) -> Thoughts:
    """Answer a question with the likeliest tokens; return what was computed."""
    text = GrowingText(model)
    text.append([*talk.begin(), *talk.ask(question)])
    asked = len(text.ids)
    if asked + tokens > model.config.max_seq_len:
        raise RunError(f"a question of {asked} tokens is too long for pictures")
    with sampling():
        list(text.write(tokens, temperature=0, stop=talk.stop_ids))
    ids = Tensor([text.ids], backend=model.backend)
    probabilities = softmax(model(ids)).numpy()[0]  # (T, V)
    likeliest = []
    for row in probabilities[asked - 1 : -1]:
        order = np.argsort(-row, kind="stable")[:most]
        likeliest.append([(talk.tokenizer.decode([int(i)]), float(row[i])) for i in order])
    weights = model.attention_weights(ids)
    rows = [layer.numpy()[0, :, asked - 1, :asked].mean(axis=0) for layer in weights]
    labels = [talk.tokenizer.decode([i]) for i in text.ids]
    return Thoughts(labels, asked, likeliest, np.array(rows))
