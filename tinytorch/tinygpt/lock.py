"""A lock on a folder that ends with the process that holds it."""

import os
import sys
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

if sys.platform != "win32" and sys.platform != "emscripten":
    import fcntl

_open: "weakref.WeakSet[FolderLock]" = weakref.WeakSet()  # closed in forked processes


class FolderLock:
    """Context manager that keeps other programs from working in the same folder.

    The lock is `flock` on the folder itself: it leaves no file behind, and the system releases it
    when the process ends, even if it is killed. Where there is no `flock` on folders (Windows, a
    browser, some network file systems) nothing is locked, and `held` is False.

    Args:
        folder: the folder; if it does not exist, nothing is locked.

    Attributes:
        held: whether this process holds the lock.

    Raises:
        BlockingIOError: another program holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor: int | None = None
        self._owner = os.getpid()
        self.held = False
        if sys.platform == "win32" or sys.platform == "emscripten":
            return
        try:
            self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise
        except (OSError, ValueError):  # ValueError: a NUL in the path
            self.release()
        else:
            self.held = True
            _open.add(self)

    def replaced(self, folder: Path) -> bool:
        """Whether there is another folder now in the place of the locked one."""
        if not self.held or self._descriptor is None:
            return False
        try:
            return not os.path.samestat(os.stat(folder), os.fstat(self._descriptor))
        except OSError:  # it is deleted or moved, which writing to it reports
            return False

    def release(self) -> None:
        """Release the lock; in a forked process, only close its copy of the descriptor."""
        if self._descriptor is None:
            return
        if sys.platform != "win32" and self.held and self._owner == os.getpid():
            with suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.held = False
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


def _release_in_child() -> None:
    """Close a forked process's copies: otherwise it would hold the lock after its parent's end."""
    for lock in list(_open):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)
