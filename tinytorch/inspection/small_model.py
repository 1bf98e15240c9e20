"""The model that a site brings along: a small GPT, trained while the site is built."""

from collections.abc import Callable
from pathlib import Path

from ..tinygpt.presets import PRESETS, fit_steps
from ..tinygpt.run import Run, RunConfig
from .subject import save_weights

STEPS = 1000
REPORTS = 5  # lines of progress
EVAL_STRIDE = 4  # every 4th block of the validation text is read for the loss


def train(path: Path, steps: int = STEPS, show: Callable[[str], None] = print) -> str:
    """Train a GPT on Tiny Shakespeare, and write its weights to a file, 1.8 MB.

    It has the sizes and learning rates of the preset "default", in fewer steps.

    Args:
        path: the file to write.
        steps: number of training steps.
        show: called with a line now and then.

    Returns:
        a sentence on the training, which is in the file, too.

    Raises:
        DataError: the text is not on this machine, and cannot be downloaded.
        DivergedError: a loss is not finite.
    """
    run = Run.start(RunConfig(fit_steps(PRESETS["default"], steps=steps)), path.parent)
    while not run.finished:
        loss = run.step()
        if run.trainer.step * REPORTS % steps < REPORTS:
            value = run.read(loss)
            run.check_loss(value)
            show(f"step {run.trainer.step:,} of {steps:,}: loss {value:.2f}, {run.seconds:.0f} s")
    text, validated = run.corpus, run.validate(EVAL_STRIDE)
    sentence = (
        f"Trained for {steps:,} steps on {text.name}, {len(text.text):,} characters: loss"
        f" {validated:.2f} on the last tenth, which it has not read"
    )
    save_weights(path, run.model, run.tokenizer, sentence)
    return sentence
