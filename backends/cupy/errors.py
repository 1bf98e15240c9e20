"""Ids out of range: noted by the kernels on the device, told when the host next reads from it.

An id that is wrong cannot stop a kernel, and to look at the ids first would make every step wait
for the device. What is computed from a wrong id is no number, and nothing reaches the host before
this has been told.
"""

from typing import Any

import cupy

MESSAGES = {
    1: "target {0} is outside of the {1} classes",
    2: "token id {0} is outside of the vocabulary [0, {1})",
}

_notes: dict[int, Any] = {}  # device -> three integers: the id, the limit, the kind
_watched: set[int] = set()  # devices on which a kernel may have noted something since last read


def error_flag() -> Any:
    """Where the current device's kernels note a wrong id."""
    number = cupy.cuda.runtime.getDevice()
    _watched.add(number)
    if number not in _notes:
        _notes[number] = cupy.zeros(3, cupy.int64)
    return _notes[number]


def raise_pending_error() -> None:
    """Raise IndexError if a kernel met an id out of range; waits for the device."""
    number = cupy.cuda.runtime.getDevice()
    if number not in _watched:
        return
    _watched.discard(number)
    wrong, limit, kind = _notes[number].get().tolist()
    if kind:
        _notes[number].fill(0)
        raise IndexError(MESSAGES[kind].format(wrong, limit))
