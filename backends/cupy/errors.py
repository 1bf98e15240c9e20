"""Ids out of range: recorded on the device by kernels, raised at the next device-to-host copy.

A kernel cannot raise an exception, and checking the ids first would make every step wait for the
device. Results computed from a wrong id are NaN, and no result reaches the host before the error
has been raised. Until then optimizers change no weights.
"""

from typing import Any

import cupy

MESSAGES = {
    1: "target {0} is outside of the {1} classes",
    2: "token id {0} is outside of the vocabulary [0, {1})",
    3: "index {0} is out of bounds for an axis with size {1}",
}

SKIP = -1  # in place of a key of MESSAGES, during a step that is skipped: see loss_scale.cu

_flags: dict[int, Any] = {}  # device -> int64 array (3,): id, limit, key of MESSAGES or 0 or SKIP
_watched: set[int] = set()  # devices whose flag may have been set since it was last read


def error_flag() -> Any:
    """Return the array in which kernels on the current device record a wrong id."""
    device = cupy.cuda.runtime.getDevice()
    _watched.add(device)
    if device not in _flags:
        _flags[device] = cupy.zeros(3, cupy.int64)
    return _flags[device]


def raise_pending_error() -> None:
    """Raise IndexError if a kernel met an id out of range; waits for the device."""
    device = cupy.cuda.runtime.getDevice()
    if device not in _watched:
        return
    _watched.discard(device)
    wrong_id, limit, kind = _flags[device].get().tolist()
    if kind not in (0, SKIP):
        _flags[device].fill(0)
        raise IndexError(MESSAGES[kind].format(wrong_id, limit))
