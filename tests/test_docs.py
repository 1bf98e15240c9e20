"""README and docs/: their Python blocks run, their links and commands name files that exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tinytorch import backends
from tinytorch.tito import pages

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SLOW = {"README.md"}

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The line number and the text of each block in `language` on a page."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start(2)), found[2])
        for found in BLOCK.finditer(text)
        if found[1] == language
    ]


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def cases() -> list[object]:
    return [
        pytest.param(p, id=page_id(p), marks=[pytest.mark.slow] if p.name in SLOW else [])
        for p in PAGES
        if blocks(p, "python")
    ]


@pytest.mark.parametrize("page", cases())
def test_python_blocks_run_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All blocks of a page share their names, as in a notebook; `my.txt` is a text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.txt").write_text("To be, or not to be, that is the question.\n" * 200)
    names: dict[str, object] = {"__name__": "page"}
    monkeypatch.setitem(sys.modules, "page", type(sys)("page"))
    for line, code in blocks(page, "python"):
        exec(compile("\n" * line + code, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_within_the_project_are_valid(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("#"):
            path, _, heading = target.partition("#")
            assert (page.parent / path).exists(), target
            if heading:
                assert heading in headings(page.parent / path), target


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_files_that_commands_name_exist(page: Path) -> None:
    for _, code in blocks(page, "bash"):
        for path in re.findall(r"(?:python|pytest) ((?:milestones|notebooks|tests)/\S+)", code):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_files_that_the_text_names_exist(page: Path) -> None:
    """A path in backticks under one of the project's folders."""
    text = page.read_text(encoding="utf-8")
    named = r"`((?:tinytorch|backends|tests|docs|milestones|notebooks)/[\w./]*)`"
    for path in (p for p in re.findall(named, text) if "NN_" not in p):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", ["README.md", "docs/course.md"])
def test_the_course_map_is_up_to_date(name: str) -> None:
    """If it is outdated, run `tito nbdev build --no-wheel`."""
    assert (ROOT / name).read_text(encoding="utf-8") == pages.pages(ROOT)[name]


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.slow
def test_the_example_backend_passes_the_tests_of_ops(tmp_path: Path) -> None:
    (code,) = (code for _, code in blocks(ROOT / "docs" / "adding-a-backend.md", "python"))
    code += "\nfrom tinytorch.backends import register\nregister('mine', MyBackend)\n"
    (tmp_path / "my_package.py").write_text(code, encoding="utf-8")
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "PYTEST_ADDOPTS": ""}
    environment["TT_BACKEND"] = "mine"  # its arrays are NumPy's: as the default it gets them
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "my_package",
         "--backend", "mine", "tests/ops/test_ops.py", "tests/01_tensor", "tests/13_transformers"],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert "skipped" not in done.stdout.splitlines()[-1]
    assert int(done.stdout.splitlines()[-1].split()[0]) > 300


def test_the_backend_page_names_everything_that_a_backend_may_define() -> None:
    page = (ROOT / "docs" / "adding-a-backend.md").read_text(encoding="utf-8")
    helpers = {"EXTRAS", "namespace"}
    for name in vars(backends.Backend):
        documented = f"| `{name}" in page
        assert documented or name.startswith("_") or name in helpers, name


def test_the_debugging_page_names_every_numpy_kernel() -> None:
    page = (ROOT / "docs" / "debugging.md").read_text(encoding="utf-8")
    named = next(line for line in page.splitlines() if line.startswith("| `numpy` (default)"))
    assert set(re.findall(r"`(\w+)`", named)) - {"numpy"} == set(backends.get("numpy").kernels)


def test_the_architecture_page_names_every_folder_of_the_package() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for folder in sorted((ROOT / "tinytorch").iterdir()):
        if (folder / "__init__.py").exists() and not folder.is_symlink():
            assert f"| `tinytorch/{folder.name}/`" in page or folder.name == "backends"
