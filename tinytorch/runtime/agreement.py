"""What ranks tell each other: facts that must agree, numbers of all, and exceptions of any."""

import math
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy as np

from ..backends.groups import MPIGroup
from ..tensor import Tensor
from ..training import mean_loss
from .division import picklable


class RankError(RuntimeError):
    """Ranks disagree, or one of them has ended or does not answer."""


class Agreement:
    """This process and others that run the same program; all call the same methods.

    Args:
        host: the ranks.

    Attributes:
        host: the same group.
        rank: number of this process, from 0.
        size: number of processes.
    """

    def __init__(self, host: MPIGroup) -> None:
        self.host, self.rank, self.size = host, host.rank, host.size

    # Failures

    def fail(self, message: str, cause: BaseException | None = None) -> NoReturn:
        """Raise RankError with this message, as all ranks do."""
        self.host.shared_error = RankError(message)
        raise self.host.shared_error from cause

    def first_error(self, error: BaseException | None) -> BaseException:
        """The exception of the lowest rank that has one, in all ranks; `error` is that of this."""
        if error is not None:
            lines = traceback.format_exception(error)
            error.add_note(f"In rank {self.rank}:\n{''.join(lines)}")
        errors = self.host.gather(None if error is None else picklable(error))
        first = next(index for index, each in enumerate(errors) if each is not None)
        self.host.shared_error = (
            error if error is not None and first == self.rank else errors[first]
        )
        assert self.host.shared_error is not None
        return self.host.shared_error

    # Agreement

    def agree(self, facts: dict[str, Any]) -> None:
        """Check that all ranks start from the same facts.

        Raises:
            RankError: they do not; raised in all ranks.
        """
        gathered = self.host.gather(facts)
        for name, value in gathered[0].items():
            for rank, other in enumerate(gathered):
                if other[name] != value:
                    self.fail(
                        f"rank 0 and rank {rank} have different {name}:"
                        f" {_short(value, other[name])} and {_short(other[name], value)}"
                    )

    def all(self, value: bool) -> bool:
        """Whether all ranks have this."""
        return all(self.host.gather(value))

    def together(self, action: Callable[[], Any], only_first: bool = False) -> Any:
        """The result of ``action()``; an exception in any rank is raised in all.

        Args:
            action: what every rank does.
            only_first: let rank 0 do it; the others return None.
        """
        error = result = None
        try:
            if not (only_first and self.rank):
                result = action()
        except Exception as caught:
            error = caught
        failed = self.host.gather(error is not None)
        if not any(failed):
            return result
        shared = self.first_error(error)
        if failed[0]:
            raise shared
        self.fail(f"rank {failed.index(True)}: {shared}", shared)

    # Numbers

    def synchronise(self, seconds: float, stop: int) -> tuple[float, int]:
        """The seconds of rank 0, and the largest number of a signal that stops a rank."""
        numbers = np.zeros(self.size + 1)
        numbers[self.rank], numbers[-1] = stop, 0.0 if self.rank else seconds
        self.host.sum([numbers])
        return float(numbers[-1]), int(numbers[:-1].max())

    def total(self, count: Any) -> float:
        """The sum of a number, or of a 0-d tensor, over all ranks."""
        numbers = np.array([count.item() if isinstance(count, Tensor) else count], np.float64)
        self.host.sum([numbers])
        return float(numbers[0])

    def mean_loss(self, losses: Iterable[tuple[Tensor, Any]]) -> float:
        """`training.mean_loss` of the losses of all ranks."""
        own = list(losses)
        count = float(sum(n.item() if isinstance(n, Tensor) else n for _, n in own))
        numbers = np.array([mean_loss(own) * count if count else 0.0, count, len(own)])
        self.host.sum([numbers])
        if not numbers[2]:
            raise ValueError("the loader has no batch")
        return float(numbers[0] / numbers[1]) if numbers[1] else math.nan


def _short(value: Any, other: Any) -> str:
    """A value for a message; of two dicts only what differs."""
    if isinstance(value, dict) and isinstance(other, dict):
        value = {name: v for name, v in value.items() if other.get(name) != v}
    text = str(value)
    return text if len(text) <= 100 else text[:100] + "..."
