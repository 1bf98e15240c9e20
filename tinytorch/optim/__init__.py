"""The names of `torch.optim`."""

from typing import Any

from ..missing import missing_name
from ..optimizers import SGD, Adam, AdamW, Muon, Optimizer
from . import lr_scheduler

__all__ = ["SGD", "Adam", "AdamW", "Muon", "Optimizer", "lr_scheduler"]


def __getattr__(name: str) -> Any:
    raise missing_name("torch.optim", name, globals())
