"""The names of `torch.optim.swa_utils`: averages of a model's weights over training."""

import copy
from collections.abc import Callable
from typing import Any

from ..autograd import no_grad
from ..functions.creation import tensor
from ..missing import missing_name
from ..modules.module import Module
from ..tensor import Tensor

__all__ = ["AveragedModel", "get_ema_avg_fn"]

# From the average, the new value and the number of values so far to the new average.
AverageFunction = Callable[[Tensor, Tensor, int], Tensor]


def get_ema_avg_fn(decay: float = 0.999) -> AverageFunction:
    """The exponential moving average: ``decay * average + (1 - decay) * value``."""

    def average_of(average: Tensor, value: Tensor, count: int) -> Tensor:
        return average * decay + value * (1 - decay)

    return average_of


def _mean(average: Tensor, value: Tensor, count: int) -> Tensor:
    return average + (value - average) / (count + 1)


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's.

    Args:
        model: the model; the copy is `module`.
        device: of the copy.
        avg_fn: the average; by default the mean of all values.
        use_buffers: average the buffers too, which are otherwise those of the model.

    >>> from tinytorch import nn
    >>> from tinytorch.optim.swa_utils import AveragedModel, get_ema_avg_fn
    >>> model = nn.Linear(2, 1)
    >>> average = AveragedModel(model, avg_fn=get_ema_avg_fn(0.9))
    >>> average.update_parameters(model)  # after each step of the optimizer
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: AverageFunction | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, device=device))
        self.avg_fn, self.use_buffers = avg_fn or _mean, use_buffers

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        return self.module(*inputs, **keywords)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Add the present parameters of the model to the average."""
        count = int(self.n_averaged)
        pairs: list[tuple[Tensor, Tensor]] = []
        pairs += zip(self.module.parameters(), model.parameters(), strict=True)
        buffers = list(zip(self.module.buffers(), model.buffers(), strict=True))
        if self.use_buffers:
            pairs += [pair for pair in buffers if pair[0].is_floating_point()]
        for average, value in pairs:
            value = value.detach().to(average.backend)
            average.copy_(self.avg_fn(average.detach(), value, count) if count else value)
        for average, value in () if self.use_buffers else buffers:
            average.copy_(value)
        self.n_averaged += 1


def __getattr__(name: str) -> Any:
    raise missing_name("torch.optim.swa_utils", name, globals())
