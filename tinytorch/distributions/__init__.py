"""The names of `torch.distributions` that policies, VAEs and sampling use."""

from typing import Any

from ..missing import missing_name
from . import bernoulli, categorical, distribution, kl, multinomial, normal
from .bernoulli import Bernoulli
from .categorical import Categorical
from .distribution import Distribution
from .kl import kl_divergence
from .multinomial import Multinomial
from .normal import Normal

__all__ = [
    "Bernoulli",
    "Categorical",
    "Distribution",
    "Multinomial",
    "Normal",
    "bernoulli",
    "categorical",
    "distribution",
    "kl",
    "kl_divergence",
    "multinomial",
    "normal",
]


def __getattr__(name: str) -> Any:
    raise missing_name("torch.distributions", name, globals())
