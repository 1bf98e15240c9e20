"""What a page asks about a model, as JSON messages: the same through a web worker or a server.

A message is ``{"do": NAME, ...arguments}``, where NAME is a command of `Session`; the reply is
``{"result": ...}``, or ``{"error": SENTENCE}`` if the message cannot be answered. Bytes are in
base64.
"""

import inspect
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from ..arguments import shown
from ..tokenization import Tokenizer
from ..transformers import GPT
from .live_training import Training
from .messages import Reply
from .subject import Subject
from .views import Views
from .writing import Writing

# What bad arguments and damaged files raise; the message of each is a sentence.
MISTAKES = (ValueError, TypeError, IndexError, RuntimeError, MemoryError, OSError)


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
        self._subject = subject = Subject(path)
        views, writing, training = Views(subject), Writing(subject), Training(subject)
        self._commands: dict[str, Callable[..., Reply]] = {
            command.__name__: command
            for command in (
                subject.about, subject.open, subject.encode,
                views.next, views.attention, views.lens, views.ablation, views.effects,
                views.neighbours, views.plane, writing.write,
                training.start_training, training.train, training.sample, training.trained,
                training.look_into_trained,
            )
        }  # fmt: skip

    @property
    def model(self) -> GPT:
        """The model that is looked into."""
        return self._subject.model

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the model."""
        return self._subject.tokenizer

    def handle(self, message: str) -> str:
        """Answer a message with a reply; both are JSON. Nothing is raised."""
        try:
            return _to_json({"result": self._answer(message)})
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
            command = self._commands[name]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError(f"not a message of this page: {shown(message)}") from None
        try:
            inspect.signature(command).bind(**arguments)
        except TypeError as error:
            raise ValueError(f"the message {name!r} has other arguments: {error}") from None
        return command(**arguments)


def _to_json(reply: Reply) -> str:
    try:
        return json.dumps(reply, allow_nan=False)
    except ValueError:
        raise ValueError(
            "the model computes values that are not finite: its weights are too large, or damaged"
        ) from None
