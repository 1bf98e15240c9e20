"""The names of `torch.optim`."""

from typing import Any

from ..missing import missing_name
from ..optimizers import SGD, Adam, AdamW, Muon, Optimizer
from . import lr_scheduler, swa_utils
from .adaptive import Adadelta, Adagrad, Adamax, RMSprop

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "Optimizer",
    "RMSprop",
    "lr_scheduler",
    "swa_utils",
]


def __getattr__(name: str) -> Any:
    raise missing_name("torch.optim", name, globals())
