"""TinyGPT: a language model trained on one text. `milestones/tinygpt.py` is its command line.

presets: the recipes. run: training, checkpoints and validation. report: what a class sees.
"""

from .presets import PRESETS, Preset
from .run import Run, RunConfig, load_model

__all__ = ["PRESETS", "Preset", "Run", "RunConfig", "load_model"]
