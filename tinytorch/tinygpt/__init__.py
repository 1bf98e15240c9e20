"""TinyGPT: a GPT trained on one text. `milestones/tinygpt.py` is its command line.

presets: hyperparameters. run: training, validation and checkpoints. report: progress and plots.
"""

from .presets import PRESETS, Preset
from .run import Run, RunConfig, load_model

__all__ = ["PRESETS", "Preset", "Run", "RunConfig", "load_model"]
