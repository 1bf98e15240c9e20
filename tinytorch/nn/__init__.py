"""The names of `torch.nn`, imported from the lessons and from the files of this folder."""

from typing import Any

from ..missing import missing_name
from ..modules.containers import (
    ModuleDict,
    ModuleList,
    ParameterDict,
    ParameterList,
    Sequential,
)
from ..modules.module import Module, Parameter
from . import functional, init, parameter, utils
from .activations import *  # noqa: F403
from .attention import *  # noqa: F403
from .convolution import *  # noqa: F403
from .layers import *  # noqa: F403
from .lazy import *  # noqa: F403
from .losses import *  # noqa: F403
from .normalization import *  # noqa: F403
from .pooling import *  # noqa: F403
from .rnn import *  # noqa: F403
from .shapes import *  # noqa: F403
from .transformer import *  # noqa: F403

__all__ = [
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "Sequential",
    "functional",
    "init",
    "parameter",
    "utils",
]


def __getattr__(name: str) -> Any:
    raise missing_name("torch.nn", name, globals())
