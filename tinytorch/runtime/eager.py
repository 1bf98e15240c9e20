"""Training steps run as they are written, in this process."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..modules.hooks import STATEFUL, USED
from ..tensor import Tensor
from ..training import Trainer
from . import loss_scale


class EagerStep:
    """Runs the steps of a trainer op by op."""

    def run(self, trainer: Trainer, batches: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Run one step."""
        loss_scale.settle_if_missed(trainer)
        loss = loss_scale.accumulate(trainer, batches)
        loss_scale.update(trainer, loss.backend)
        loss_scale.finish(trainer, loss.backend)
        return loss


def why_eager(*roots: Any, parameters: Iterable[Tensor] = ()) -> str:
    """Why steps of the modules within `roots` must run op by op in one process, or "".

    A replay of a step would not call hooks, and replicas would keep what they record.

    Args:
        roots: modules; other objects are skipped.
        parameters: the tensors that are trained.
    """
    if any(parameter._hooks for parameter in parameters):
        return "a parameter has hooks"
    if USED or STATEFUL:
        for root in roots:
            for module in root.modules() if hasattr(root, "modules") else ():
                if module._hooks:
                    return "a module has hooks"
                if isinstance(module, tuple(STATEFUL)):
                    return "a module changes its buffers"
    return ""
