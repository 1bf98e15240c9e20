"""The contents of a training checkpoint, checked before anything of it is used."""

from collections.abc import Mapping
from typing import Any

from ..arguments import check_integer, check_number, check_type
from ..backends.base import NumpyArray
from .checkpoint import CheckpointError, strip_prefix
from .optimizer_state import join_state


def read_training_state(
    path: Any, arrays: Mapping[str, NumpyArray], metadata: Mapping[str, Any], count: int
) -> tuple[list[dict[str, Any]], int, dict[str, Any]]:
    """The optimizers' states, the step and the random state in a file's contents.

    Args:
        path: the file, for error messages.
        arrays: its arrays.
        metadata: its metadata.
        count: the number of optimizers.

    Raises:
        CheckpointError: it is not a training checkpoint.
        ValueError: it has another number of optimizers.
    """
    try:
        states, step, rng = (metadata[name] for name in ("optimizers", "step", "random"))
        check_type("optimizers", states, list, "a list")
        check_type("random", rng, dict, "a dict")
        for state in states:
            check_type("the state of an optimizer", state, dict, "a dict")
        step = check_integer("step", step, 0, 2**53)
        _check_loss_scale(metadata.get("loss_scale", {}))
    except KeyError as missing:
        raise CheckpointError(f"{path} has no {missing}: it is not a training checkpoint") from None
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    if len(states) != count:
        raise ValueError(f"{path} has {len(states)} optimizers, not {count}")
    states = [
        join_state(state, strip_prefix(arrays, f"optimizer{index}/"))
        for index, state in enumerate(states)
    ]
    return states, step, rng


def _check_loss_scale(state: Any) -> None:
    """Check the scale of the loss that training in float16 saves; see `runtime.loss_scale`."""
    check_type("loss_scale", state, dict, "a dict")
    if state:
        scale = check_number("loss_scale: scale", state["scale"])
        if not 1 <= scale < float("inf"):
            raise ValueError(f"loss_scale: scale must be finite and at least 1, not {scale}")
        check_integer("loss_scale: _growth_tracker", state["_growth_tracker"], 0, 2**53)
