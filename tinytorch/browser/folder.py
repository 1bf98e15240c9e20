"""The folder of a site: replaced as a whole when a build succeeds, without files of others.

A build notes what it has written in a file of the folder. The next one replaces these files and
keeps all others, such as the `CNAME` or `robots.txt` of a host.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRITTEN = "site-files.txt"  # what the last build has written, a path a line


@contextmanager
def replacing(to: Path) -> Iterator[Path]:
    """Context manager that gives an empty folder, which then takes the place of `to`.

    After an exception, `to` is as it was.

    Args:
        to: a folder that an earlier build has written, or that does not exist or is empty.

    Raises:
        ValueError: `to` is something else, or holds a file of others in the place of a new one.

    Example::

        with replacing(Path("www")) as folder:
            (folder / "index.html").write_text("<h1>Lessons</h1>")
    """
    kept = _files_of_others(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{to.name}", dir=to.parent) as scratch:
        folder, old = Path(scratch, "new"), Path(scratch, "old")
        folder.mkdir()
        yield folder
        own = _files(folder)
        for name in kept:
            _copy(to / name, folder / name)
        (folder / WRITTEN).write_text("".join(f"{name}\n" for name in own), encoding="utf-8")
        if to.exists():
            to.rename(old)
        try:
            folder.rename(to)
        except OSError:
            old.rename(to)
            raise


def _files_of_others(to: Path) -> list[str]:
    """The files in `to` that no build has written."""
    if not to.exists() or (to.is_dir() and not any(to.iterdir())):
        return []
    if not (to / WRITTEN).is_file():
        raise ValueError(f"{to} holds something else than a site; choose another folder")
    written = {*(to / WRITTEN).read_text(encoding="utf-8").splitlines(), WRITTEN}
    return [name for name in _files(to) if name not in written]


def _files(folder: Path) -> list[str]:
    paths = (p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _copy(file: Path, to: Path) -> None:
    if to.exists() or any(p.is_file() for p in to.parents):
        raise ValueError(f"{file} is not of an earlier build, and in the way: move it elsewhere")
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, to, follow_symlinks=False)
