"""A temporary checkout that tests may change."""

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, in a folder with a space in its name, as the current folder."""
    root = tmp_path / "my course"
    for name in ("tinytorch", "backends", "notebooks"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (ROOT / "tests").glob("*.py"):
        _copy(path, root / "tests" / path.name)
    for path in (ROOT / "tests" / "12_attention").glob("*.py"):
        _copy(path, root / "tests" / "12_attention" / path.name)
    _copy(ROOT / "pyproject.toml", root / "pyproject.toml")
    monkeypatch.chdir(root)
    return root


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
