"""Path is import: checkouts without an install, several checkouts side by side, and the wheel."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from helpers import require

import tinytorch

ROOT = Path(__file__).parents[1]
BUILD = ("LICENSE", "README.md", "pyproject.toml")
# How git leaves the symbolic link tinytorch/backends, with and without support for links.
LINKS = ["link", "text file", "missing"]

# Neither the installed package nor a .pth file is used (-S), third-party packages are.
THIRD_PARTY = [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]
PREAMBLE = f"import sys; sys.path += {THIRD_PARTY}\n"

TRAIN = """
import numpy as np
from tinytorch import GPT, AdamW, CrossEntropyLoss, Tensor, Trainer, backends, manual_seed

manual_seed(0)
model = GPT(vocab_size=5, embed_dim=8, num_layers=1, num_heads=2, max_seq_len=4)
trainer = Trainer(model, AdamW(model.parameters(), lr=0.01), CrossEntropyLoss())
x = Tensor(np.arange(8).reshape(2, 4) % 4)
losses = [trainer.train_step([(x, x + 1)]).item() for _ in range(20)]
assert losses[-1] < 0.8 * losses[0], losses
"""


def copy_checkout(folder: Path, link: str = "link") -> Path:
    """A copy of the package as a clone has it, with the link to backends in one of three states."""
    for name in ("tinytorch", "backends"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
    for name in BUILD:
        shutil.copyfile(ROOT / name, folder / name)
    linked = folder / "tinytorch" / "backends"
    if link != "link" and linked.is_symlink():
        linked.unlink()
    if link == "text file" and not linked.exists():
        linked.write_text("../backends", encoding="utf-8")
    return folder


def run(code: str, folder: Path, *flags: str) -> str:
    """Output of `code` in a new interpreter in `folder`, without the installed package."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TT_BACKEND"))}
    done = subprocess.run(
        [sys.executable, "-S", *flags, "-c", PREAMBLE + code],
        cwd=folder, env=variables, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("link", LINKS)
def test_a_clone_trains_without_an_install(link: str, tmp_path: Path) -> None:
    clone = copy_checkout(tmp_path / "clone", link)
    found = run(TRAIN + "print(backends.__file__)", clone)
    assert Path(found).resolve() == (clone / "backends" / "__init__.py").resolve()


def mark(checkout: Path, name: str) -> Path:
    """Write the checkout's name into tinytorch/ and backends/."""
    for half in ("tinytorch", "backends"):
        with open(checkout / half / "__init__.py", "a", encoding="utf-8") as file:
            file.write(f"\nCHECKOUT = {name!r}\n")
    return checkout


def editable_install(checkout: Path, site: Path) -> None:
    """Install the checkout into the folder `site` as ``pip install -e`` does."""
    code = f"from setuptools import build_meta; build_meta.build_editable({str(site)!r})"
    subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, check=True, capture_output=True, timeout=120
    )
    for wheel in site.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)


SHOW = "import tinytorch, tinytorch.backends.numpy.backend as b\n"
SHOW += "print(tinytorch.CHECKOUT, tinytorch.backends.CHECKOUT, b.__file__)"


@pytest.mark.slow
@pytest.mark.parametrize("link", LINKS)
def test_two_checkouts_each_use_their_own_backends(link: str, tmp_path: Path) -> None:
    """One checkout is installed, another is the current directory."""
    require("setuptools")
    site = tmp_path / "site"
    site.mkdir()
    first = mark(copy_checkout(tmp_path / "first", link), "first")
    second = mark(copy_checkout(tmp_path / "second", link), "second")
    editable_install(first, site)
    # Before third-party packages, where the finder of another checkout may be installed.
    show = f"import site; sys.path.insert(1, {str(site)!r}); site.addsitedir({str(site)!r})\n"
    for folder, expected in ((second, second), (first, first), (tmp_path, first)):
        mine, its_backends, file = run(show + SHOW, folder).split(maxsplit=2)
        assert mine == its_backends == expected.name
        assert expected in Path(file).parents


@pytest.mark.parametrize("link", LINKS)
def test_the_first_checkout_on_the_path_is_used_whole(link: str, tmp_path: Path) -> None:
    first = mark(copy_checkout(tmp_path / "first", link), "first")
    second = mark(copy_checkout(tmp_path / "second", link), "second")
    for order in ([first, second], [second, first]):
        paths = [str(path) for path in order]
        code = f"sys.path[:0] = {paths}\n{SHOW}"
        assert run(code, tmp_path, "-P").split()[:2] == [order[0].name] * 2


# What is distributed


def configuration() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def modules() -> set[str]:
    """Every module of the package as a path within `tinytorch/`, the link resolved."""
    found = set()
    for package, folder in (("tinytorch/backends", "backends"), ("tinytorch", "tinytorch")):
        for path in (ROOT / folder).rglob("*.py"):
            inside = path.relative_to(ROOT / folder)
            if folder == "backends" or inside.parts[0] != "backends":
                found.add(f"{package}/{inside.as_posix()}")
    return found


def test_every_package_on_disk_is_listed() -> None:
    on_disk = {path.rpartition("/")[0].replace("/", ".") for path in modules()}
    assert sorted(on_disk) == sorted(configuration()["tool"]["setuptools"]["packages"])


def test_every_folder_is_a_package() -> None:
    """A folder without __init__.py would be missing from the wheel."""
    folders = {path.rpartition("/")[0] for path in modules()}
    assert {f"{folder}/__init__.py" for folder in folders} <= modules()


@pytest.mark.slow
def test_the_wheel_holds_all_modules_and_no_link(tmp_path: Path) -> None:
    require("setuptools")
    checkout = copy_checkout(tmp_path / "checkout")
    code = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, check=True, capture_output=True, timeout=120
    )
    (wheel,) = (checkout / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        entries = {e.filename: e for e in archive.infolist()}
    sources = [p for s in ("cu", "cuh", "c", "h") for p in (ROOT / "backends").rglob(f"*.{s}")]
    expected = modules() | {"tinytorch/py.typed"}
    expected |= {f"tinytorch/{p.relative_to(ROOT).as_posix()}" for p in sources}
    pages = [ROOT / "tinytorch" / name for name in ("browser/static", "inspection/page")]
    expected |= {p.relative_to(ROOT).as_posix() for page in pages for p in page.rglob("*.*")}
    assert {name for name in entries if ".dist-info/" not in name} == expected
    assert any(name.endswith("licenses/LICENSE") for name in entries)
    is_link = [name for name, e in entries.items() if (e.external_attr >> 28) == 0o12]
    assert not is_link


@pytest.mark.slow
def test_types_hold_on_the_checkout() -> None:
    """The command that README gives, run in the checkout."""
    require("mypy")
    assert "\nmypy -p tinytorch\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "-p", "tinytorch"],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


# Files for hosts and tools


@pytest.mark.parametrize(
    "name", ["CITATION.cff", ".pre-commit-config.yaml", ".github/workflows/ci.yml"]
)
def test_yaml_files_parse(name: str) -> None:
    assert isinstance(require("yaml").safe_load((ROOT / name).read_text(encoding="utf-8")), dict)


def test_citation_and_package_have_one_version() -> None:
    citation = require("yaml").safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == configuration()["project"]["version"] == tinytorch.__version__


def test_the_workflow_calls_stages_that_exist() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (known,) = re.findall(r"^# Stages: ([\w ]+)\.", gate, re.MULTILINE)
    called = re.findall(r"run: \.ci/run ?([\w ]*)$", workflow, re.MULTILINE)
    assert called
    assert {stage for line in called for stage in line.split()} <= set(known.split())
