"""Atomic file replacement: after a crash, a file holds its old bytes or its new ones."""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

_TEMPORARY = re.compile(r"\.tinytorch-[0-9a-f]{16}\.tmp")


def write_atomically(path: str | os.PathLike[str], data: bytes | Iterable[Any]) -> None:
    """Replace the contents of the file at `path` with `data` in one step.

    Large data may be given in parts, an iterable of bytes or of contiguous arrays of bytes, which
    are written one by one.

    The bytes are written to a temporary file in the same folder and flushed to disk; the file is
    then renamed to `path`. A reader, or a machine after a power failure, sees the old bytes or the
    new ones, never a mixture. If anything fails, including by Ctrl-C, the old file stays and the
    temporary one is removed. An existing file keeps its permissions; a symbolic link keeps pointing
    to its target, whose contents are replaced.

    Raises:
        OSError: the file cannot be written (no such folder, a full disk), or `path` is a folder, a
            pipe or a device, which a rename would destroy.
        ValueError: the path contains a NUL.

    Example::

        write_atomically("notes.txt", b"all of it")
    """
    target = Path(os.path.realpath(path))  # the rename would replace a link itself
    with suppress(FileNotFoundError):
        check_regular_file(target)
    # In the same folder, because a rename is atomic only within one file system.
    temporary = target.with_name(f".tinytorch-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            _copy_mode(target, file.fileno())
            parts: Iterable[Any] = [data] if isinstance(data, bytes | bytearray) else data
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())  # the bytes must be on disk before the name points to them
        os.replace(temporary, target)
    except BaseException as error:  # including KeyboardInterrupt: leave no temporary file behind
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = os.fspath(path)  # the one of a full disk has no name
        raise
    _sync_folder(target.parent)


def remove_temporary_files(folder: Path) -> None:
    """Remove what killed calls of `write_atomically` have left in a folder.

    Call it only while no other process writes to the folder.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if _TEMPORARY.fullmatch(path.name):
                with suppress(OSError):
                    path.unlink()


def check_regular_file(path: str | os.PathLike[str]) -> None:
    """Raise an error unless `path` is a regular file.

    Reading a pipe can wait forever, and reading a device such as /dev/zero never ends.

    Raises:
        OSError: there is no such file, or it is a folder, a pipe or a device.
        ValueError: the path contains a NUL.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", os.fspath(path))


def read_regular_file(path: str | os.PathLike[str]) -> bytes:
    """Return the contents of a file; raises as `check_regular_file` does."""
    check_regular_file(path)
    return Path(path).read_bytes()


def _copy_mode(source: Path, descriptor: int) -> None:
    """Give an open file the permissions of `source`, if that file exists."""
    if os.name == "posix":  # Windows only has a read-only flag, and refuses to replace such a file
        with suppress(OSError):
            os.fchmod(descriptor, stat.S_IMODE(os.stat(source).st_mode))


def _sync_folder(folder: Path) -> None:
    """Flush the folder's new entry to disk, if folders can be opened (not on Windows)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
