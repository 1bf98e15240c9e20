"""A folder is locked by one process, until that process ends."""

import os
import signal
import time
from pathlib import Path

import pytest

from tinytorch.tinygpt.lock import FolderLock

POSIX = pytest.mark.skipif(os.name != "posix", reason="Windows has no locks on folders")


@POSIX
def test_a_folder_is_locked_once_until_the_lock_is_released(tmp_path: Path) -> None:
    with FolderLock(tmp_path) as lock:
        assert lock.held
        with pytest.raises(BlockingIOError):
            FolderLock(tmp_path)
    assert not lock.held
    with FolderLock(tmp_path) as lock:
        assert lock.held


@POSIX
def test_a_folder_in_the_place_of_the_locked_one_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with FolderLock(folder) as lock:
        assert not lock.replaced(folder)
        folder.rename(tmp_path / "moved")
        assert not lock.replaced(folder)  # writing reports that it is missing
        folder.mkdir()
        assert lock.replaced(folder)
    assert not lock.replaced(folder)


@pytest.mark.parametrize("name", ["missing", "file", "a\0b"])
def test_what_is_no_folder_is_not_locked(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with FolderLock(tmp_path / name) as lock:
        assert not lock.held
        assert not lock.replaced(tmp_path / name)


@POSIX
def test_the_lock_leaves_no_file_and_ends_with_its_process(tmp_path: Path) -> None:
    """Also if the process is killed, and a replica that it has forked is still alive."""
    (tmp_path / "folder").mkdir()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        held = FolderLock(tmp_path / "folder")
        assert held.held
        replica = os.fork()
        if not replica:
            os.write(write, str(os.getpid()).encode())
            time.sleep(300)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    replica = int(os.read(read, 20))
    try:
        with FolderLock(tmp_path / "folder") as lock:
            assert lock.held
    finally:
        os.kill(replica, signal.SIGKILL)
        os.close(read)
        os.close(write)
    assert not list((tmp_path / "folder").iterdir())
