"""Training steps run as they are written, in this process."""

from collections.abc import Sequence

from ..tensor import Tensor
from ..training import Trainer


class EagerStep:
    """Runs the steps of a trainer op by op."""

    def run(self, trainer: Trainer, batches: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Run one step."""
        loss = trainer.accumulate(batches)
        trainer.update()
        return loss
