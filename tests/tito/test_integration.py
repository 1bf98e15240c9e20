"""The copy of the package on which integration tests run."""

import os
from pathlib import Path

import pytest

from tinytorch.tito.package import copy_package


@pytest.mark.parametrize("link", ["link", "text file", "missing"])
def test_the_copy_contains_the_backends_of_the_checkout(tmp_path: Path, link: str) -> None:
    """Git writes the link tinytorch/backends as a text file where links are not supported."""
    root, copy = tmp_path / "checkout", tmp_path / "copy"
    for package in ("tinytorch", "backends"):
        (root / package / "__pycache__").mkdir(parents=True)
        (root / package / "__init__.py").write_text(f"# {package} of the checkout\n")
    linked = root / "tinytorch" / "backends"
    if link == "link" and os.name == "nt":
        pytest.skip("links need a privilege on Windows")
    if link == "link":
        linked.symlink_to(Path("..", "backends"), target_is_directory=True)
    elif link == "text file":
        linked.write_text("../backends")
    copy_package(root, copy)
    files = {p.relative_to(copy).as_posix(): p.read_text() for p in copy.rglob("*") if p.is_file()}
    assert files == {
        "tinytorch/__init__.py": "# tinytorch of the checkout\n",
        "tinytorch/backends/__init__.py": "# backends of the checkout\n",
    }
    assert not list(copy.rglob("__pycache__"))


def test_without_a_checkout_the_installed_package_is_copied(tmp_path: Path) -> None:
    copy_package(tmp_path / "released lesson", tmp_path / "copy")
    for name in ("tensor.py", "backends/numpy/backend.py", "tito/integration.py"):
        assert (tmp_path / "copy" / "tinytorch" / name).is_file()
