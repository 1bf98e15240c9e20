"""The folder of a site: its files are replaced when a build succeeds, and files of others stay.

A build notes what it has written in a file of the folder. The next one replaces these files and
touches no others, such as the `CNAME` of a host, or the `.git` of a checkout.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..serialization.atomic import write_atomically

WRITTEN = "site-files.txt"  # what the last build has written, a path a line
LAST = ("index.html", "service-worker.js")  # lead to all others, so they are replaced last


@contextmanager
def replacing(to: Path) -> Iterator[Path]:
    """Context manager that gives an empty folder, whose files then replace a build's in `to`.

    After an exception in the `with` block, `to` is as it was. Whatever ends the program while the
    files are moved, files of others are untouched, and another build replaces the site.

    Args:
        to: a folder that an earlier build has written, or that does not exist or is empty.

    Raises:
        ValueError: `to` is something else, or holds a file of others in the place of a new one.

    Example::

        with replacing(Path("www")) as folder:
            (folder / "index.html").write_text("<h1>Lessons</h1>")
    """
    to = to.resolve()  # through links
    old = _written(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    inside = to if to.exists() else to.parent  # in the same file system as what is replaced
    with tempfile.TemporaryDirectory(prefix=f".{to.name}-", dir=inside) as scratch:
        folder = Path(scratch)
        yield folder
        new = _files(folder)
        for name in new:
            _check(to, name, old)
        to.mkdir(exist_ok=True)
        _note(to, {*old, *new})
        for name in old - {*new}:
            _remove(to, name)
        for name in sorted(new, key=lambda name: (_rank(name), name)):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(folder / name, to / name)
        _note(to, set(new))


def _written(to: Path) -> set[str]:
    """Return the names of the files that the last build has written into `to`."""
    if not to.exists() or (to.is_dir() and not any(to.iterdir())):
        return set()
    if not (to / WRITTEN).is_file():
        raise ValueError(f"{to} holds something else than a site; choose another folder")
    return {*(to / WRITTEN).read_text(encoding="utf-8").splitlines()}


def _note(to: Path, names: set[str]) -> None:
    write_atomically(to / WRITTEN, "".join(f"{name}\n" for name in sorted(names)).encode())


def _files(folder: Path) -> list[str]:
    """Return the names of all files and links below a folder."""
    paths = (path for path in folder.rglob("*") if not _is_folder(path))
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _check(to: Path, name: str, old: set[str]) -> None:
    """Check that nothing of others is where a new file will be."""
    for part in (*Path(name).parents, Path(name)):
        path, inner = to / part, part.as_posix()
        if _is_folder(path):
            below = [f"{inner}/{file}" for file in _files(path)]
            is_free = inner != name or (below and old.issuperset(below))
        else:
            is_free = inner in old or not os.path.lexists(path)
        if not is_free:
            raise ValueError(
                f"{path} is not of an earlier build, and in the way: move it elsewhere"
            )


def _remove(to: Path, name: str) -> None:
    """Remove a file that an earlier build has written, and folders that are empty then."""
    path = to / name
    is_inside = path.is_relative_to(to) and path.parent.resolve() == path.parent
    if not is_inside or _is_folder(path):
        return  # something else is there now
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == to or not folder.is_dir() or any(folder.iterdir()):
            break
        folder.rmdir()


def _rank(name: str) -> int:
    """Return when a file is moved: 0 first."""
    return 1 + LAST.index(Path(name).name) if Path(name).name in LAST else 0
