"""A small GPT, trained on a text a few steps at a time.

`LiveTraining` trains it, `Training` answers the messages of a page with it.
"""

import hashlib
import tempfile
from dataclasses import replace
from pathlib import Path

from ..arguments import check_integer, check_type
from ..data.datasets import Corpus
from ..ops import random
from ..tinygpt.presets import PRESETS, Preset, fit_steps
from ..tinygpt.run import CHECKPOINT, Run, RunConfig
from ..tokenization import CharTokenizer
from .messages import Reply, to_base64
from .subject import Subject

LONGEST = 2_000_000  # characters of a text
MOST_STEPS = 10_000
VALIDATE_EVERY = 20  # steps

_BASE = replace(PRESETS["default"], context_doublings=0)
SIZES: dict[str, Preset] = {
    # In a browser, 0.1 and 0.4 seconds a step on one core.
    "small": replace(_BASE, embed_dim=32, num_layers=2, num_heads=2, context=32, batch_size=8),
    "medium": replace(_BASE, embed_dim=64, num_layers=3, num_heads=4, context=64, batch_size=8),
}


class LiveTraining:
    """Training of a new model on the characters of a text, the first 90% of it.

    Args:
        text: the text.
        size: a key of `SIZES`.
        steps: number of steps of the whole training.
        seed: of weights and batches.

    Raises:
        ValueError: the text is too short for the model, or too long.
    """

    def __init__(self, text: str, size: str = "small", steps: int = 300, seed: int = 1) -> None:
        if size not in SIZES:
            raise ValueError(f"size must be one of {', '.join(SIZES)}, not {size!r:.40}")
        check_integer("steps", steps, 10, MOST_STEPS)
        check_integer("seed", seed, 0, 2**32)
        if len(text) > LONGEST:
            raise ValueError(f"the text has {len(text):,} characters, more than {LONGEST:,}")
        data = text.encode()
        corpus = Corpus("pasted", text, hashlib.sha256(data).hexdigest(), "pasted into the page")
        random.manual_seed(seed)
        tokenizer = CharTokenizer(sorted(set(text)))
        config = RunConfig(fit_steps(SIZES[size], steps=steps), "pasted", seed=seed)
        self.run = Run(config, corpus, tokenizer, Path(), processes=1)

    def advance(self, steps: int = 1) -> tuple[list[float], float | None]:
        """Run some steps, at most up to the end.

        Returns:
            the loss of each step, and the loss on the last 10% of the text, or None if that is not
            due yet; in nats per character.

        Raises:
            DivergedError: a loss is not finite.
        """
        check_integer("steps", steps, 1)
        run, losses, validated = self.run, list[float](), None
        while len(losses) < steps and not run.finished:
            losses.append(run.read(run.step()))
            run.check_loss(losses[-1])
            if run.finished or run.trainer.step % VALIDATE_EVERY == 0:
                validated = run.validate()
        return losses, validated

    def checkpoint(self) -> bytes:
        """The bytes of a checkpoint, as in the folder of a run."""
        with tempfile.TemporaryDirectory() as folder:
            self.run.out = Path(folder)
            self.run.save()
            return (self.run.out / CHECKPOINT).read_bytes()


class Training:
    """A model in training, which may become that of `subject`."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._training: LiveTraining | None = None

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
        return {"name": CHECKPOINT, "data": to_base64(self._started().checkpoint())}

    def look_into_trained(self) -> Reply:
        """Look into the model in training, as it is now. See `about`."""
        training = self._started()
        name = f"your text, {training.run.trainer.step} steps"
        self._subject.load_bytes(name, training.checkpoint())
        return self._subject.about()

    def _started(self) -> LiveTraining:
        if self._training is None:
            raise ValueError("no training has been started")
        return self._training
