"""The state of all random numbers: the host's generator and the dropout masks."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arguments import shown
from ..ops import random
from .checkpoint import CheckpointError, restore_rng, rng_state


def random_state() -> dict[str, Any]:
    """Return the state of the generator and of the dropout masks as values for JSON.

    >>> from tinytorch.ops import random
    >>> from tinytorch.serialization.random_state import random_state, set_random_state
    >>> state = random_state()
    >>> before = random.next_seed(), random.generator().random()
    >>> set_random_state(state)
    >>> before == (random.next_seed(), random.generator().random())
    True
    """
    return {**rng_state(random.generator()), "masks": list(random.mask_state())}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Continue from a state returned by `random_state`.

    Raises:
        CheckpointError: `state` was not returned by `random_state`; nothing is changed then.
    """
    random.set_generator(*read_random_state(state))


def read_random_state(
    state: Mapping[str, Any],
) -> tuple[np.random.Generator, tuple[int, int] | None]:
    """The generator, and key and offset of the dropout masks, which older states do not have."""
    generator, masks = restore_rng(state), state.get("masks")
    if masks is None:
        return generator, None
    if isinstance(masks, list) and len(masks) == 2 and all(type(n) is int for n in masks):
        return generator, (masks[0], masks[1])
    raise CheckpointError(f"not the state of dropout masks: {shown(masks)}")
