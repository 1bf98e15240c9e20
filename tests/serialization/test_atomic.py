"""Atomic writes: the whole new file or the unchanged old one, and no temporary file."""

import os
from pathlib import Path
from typing import Any

import pytest

from tinytorch.serialization.atomic import write_atomically

POSIX = pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes and links")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file that holds b"old", alone in its folder."""
    path = tmp_path / "file.txt"
    path.write_bytes(b"old")
    return path


def assert_holds(path: Path, data: bytes) -> None:
    """The file holds `data`, and its folder holds nothing else."""
    assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("data", [b"", b"new", b"a\r\nb\0" * 100_000])
@pytest.mark.parametrize("exists", [False, True])
def test_writes_exactly_the_bytes(tmp_path: Path, data: bytes, exists: bool) -> None:
    path = tmp_path / "file.txt"
    if exists:
        path.write_bytes(b"old")
    write_atomically(str(path) if exists else path, data)
    assert_holds(path, data)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_no_temporary_file(
    old: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(type(error)) as caught:
            write_atomically(old, b"new")
    assert isinstance(error, KeyboardInterrupt) or str(old) in str(caught.value)
    assert_holds(old, b"old")


def test_data_that_is_not_bytes_leaves_the_old_file(old: Path) -> None:
    with pytest.raises(TypeError):
        write_atomically(old, "text")  # type: ignore[arg-type]
    assert_holds(old, b"old")


def test_the_data_is_synced_before_the_rename_and_the_folder_after_it(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def spy(*args: Any, name: str = name, real: Any = real) -> Any:
            calls.append(name)
            return real(*args)

        monkeypatch.setattr(os, name, spy)
    write_atomically(old, b"new")
    assert calls == ["fsync", "replace", "fsync"][: 3 if os.name == "posix" else 2]


@POSIX
@pytest.mark.parametrize("mode", [0o600, 0o755, 0o444])
def test_an_existing_file_keeps_its_permissions(old: Path, mode: int) -> None:
    old.chmod(mode)
    write_atomically(old, b"new")
    assert old.stat().st_mode & 0o777 == mode
    assert_holds(old, b"new")


@POSIX
def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_atomically(tmp_path / "new", b"new")
    finally:
        os.umask(mask)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


@POSIX
def test_a_link_to_a_file_in_another_folder_stays_a_link(old: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "link"
    link.symlink_to(old)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert old.read_bytes() == b"new"
    assert list(link.parent.iterdir()) == [link]


@POSIX
@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_refused_and_stays_a_pipe(tmp_path: Path, linked: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # stands for a device, which only root can create
    path = tmp_path / "link" if linked else pipe
    if linked:
        path.symlink_to(pipe)
    with pytest.raises(OSError, match="a pipe or a device, not a file"):
        write_atomically(path, b"new")
    assert pipe.is_fifo()
    assert set(tmp_path.iterdir()) == {pipe, path}


@POSIX
def test_a_link_to_a_file_that_does_not_exist_creates_it(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("new")
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "new").read_bytes() == b"new"


def test_errors_are_those_of_writing_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "file.txt", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomically(tmp_path / "folder", b"")
    with pytest.raises(ValueError, match="null"):
        write_atomically("a\0b", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
