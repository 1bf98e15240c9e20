"""Imports point one way, resolve by path alone, stay lazy, and are fast."""

import ast
import importlib
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from helpers import run_python

import tinytorch
from tinytorch import backends

TINYTORCH = Path(tinytorch.__file__).parent
BACKENDS = Path(backends.__file__).parent
ROOT = TINYTORCH.parent

NO_LESSONS = {"__init__", "accelerator", "amp", "arguments", "cuda", "linalg", "methods", "missing"}
LESSONS = {p.stem for p in TINYTORCH.glob("*.py")} - NO_LESSONS
# From bottom to top: a module imports only modules of its own layer or of lower ones.
LAYERS = [
    {"arguments", "backends", "missing"},
    {"autograd"},
    {"ops"},
    {"functions"},
    {"methods"},
    {"tensor"},
    {"modules"},
    {"data", "serialization", "text"},
    {"generation", *LESSONS} - {"autograd", "tensor"},
    {
        "accelerator",
        "amp",
        "cuda",
        "distributions",
        "linalg",
        "nn",
        "optim",
        "utils",
    },  # names of PyTorch
    {"models"},
    {"pretrained"},
    {"runtime"},
    {"browser", "inspection", "tinygpt", "tito"},
    {"milestones"},
]
# What lessons 03 and 13 teach outside of their own files.
LESSON_MODULES = sorted([*LESSONS, "generation.generate", "modules.module"])
LAZY = ["cupy", "cupyx", "safetensors", "regex", "matplotlib", "rich", "torch"]
LAZY += ["hypothesis", "array_api_strict", "array_api_compat", "threadpoolctl"]
LAZY += ["asyncio", "ssl", "unittest", "urllib.request"]


def files() -> Iterator[tuple[str, Path]]:
    """Every module of the project by its dotted name."""
    for package, folder in (("tinytorch.backends", BACKENDS), ("tinytorch", TINYTORCH)):
        for path in sorted(folder.rglob("*.py")):
            if folder is BACKENDS or BACKENDS not in path.parents:
                yield dotted(package, path.relative_to(folder)), path
    for path in sorted((ROOT / "milestones").rglob("*.py")):
        yield dotted("milestones", path.relative_to(ROOT / "milestones")), path


def dotted(package: str, path: Path) -> str:
    return ".".join([package, *path.with_suffix("").parts]).removesuffix(".__init__")


MODULES = dict(files())


def at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a module's syntax tree, except imports for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from at_run_time(node)


def imported(module: str) -> list[tuple[str, bool]]:
    """All imports in a module: absolute names, and whether they are written as absolute ones."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = []
    for node in at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, True) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                name = f"{origin}.{alias.name}"
                found.append((name if name in MODULES else origin, not node.level))
    return found


@cache
def graph() -> dict[str, set[str]]:
    """Module -> the project's modules that it imports."""
    return {m: {name for name, _ in imported(m) if name in MODULES} - {m} for m in MODULES}


def layer(module: str) -> int:
    """The index in LAYERS of a module's layer."""
    name = module.removeprefix("tinytorch.").split(".")[0]
    return next(index for index, names in enumerate(LAYERS) if name in names)


def test_the_search_finds_the_modules() -> None:
    names = {*LAYERS[0], *LESSON_MODULES, "backends.numpy.backend", "runtime.trainer"}
    assert {f"tinytorch.{name}" for name in names} <= set(MODULES)
    assert "tinytorch" in MODULES
    assert graph()["tinytorch.tensor"] >= {"tinytorch.autograd", "tinytorch.backends"}


def test_there_are_no_cycles() -> None:
    TopologicalSorter(graph()).prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    for other in graph()[module]:
        if module == "tinytorch" or other == "tinytorch":
            assert module == "tinytorch" or module.startswith("milestones"), (
                f"{module} imports tinytorch itself, which imports {module}"
            )
        else:
            assert layer(other) <= layer(module), f"{module} imports {other}, of a higher layer"


@pytest.mark.parametrize("lesson", LESSON_MODULES)
def test_lessons_import_nothing_from_the_runtime(lesson: str) -> None:
    assert not [m for m in graph()[f"tinytorch.{lesson}"] if m.startswith("tinytorch.runtime")]


@pytest.mark.parametrize("lesson", LESSON_MODULES)
def test_lessons_do_not_mention_how_a_step_is_run(lesson: str) -> None:
    """CUDA graphs, per-step scalars and processes belong to the runtime and the backends."""
    words = {word for name in identifiers(f"tinytorch.{lesson}") for word in name.split("_")}
    assert not words & {"live", "record", "processes"}


def identifiers(module: str) -> set[str]:
    """Every name that the module's code defines or uses: variables, attributes, arguments."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    fields = ("id", "attr", "arg", "name", "asname")
    found = {getattr(node, field, None) for node in ast.walk(tree) for field in fields}
    return {name for name in found if isinstance(name, str)}


@pytest.mark.parametrize("lesson", LESSON_MODULES)
def test_every_lesson_file_is_in_the_course_table(lesson: str) -> None:
    page = (ROOT / "docs" / "course.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line[:1] == "|"]
    assert [row for row in rows if f"`{lesson.replace('.', '/')}.py`" in row]


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_a_second_copy_of_backends(module: str) -> None:
    for name, absolute in imported(module):
        assert not (absolute and name.split(".")[0] == "backends")
        if module.startswith("tinytorch.backends") and name.startswith("tinytorch"):
            assert not absolute, "within backends/ imports are relative"


@pytest.mark.parametrize("module", MODULES)
def test_only_the_cupy_folder_imports_cupy(module: str) -> None:
    if not module.startswith("tinytorch.backends.cupy."):
        roots = {name.split(".")[0] for name, _ in imported(module)}
        assert not roots & {"cupy", "cupyx", "cupy_backends"}


@pytest.mark.parametrize("module", [m for m in MODULES if not m.startswith("milestones")])
def test_every_module_imports_by_itself(module: str) -> None:
    if not module.startswith("tinytorch.backends.cupy.") and not module.endswith("__main__"):
        importlib.import_module(module)


@pytest.mark.parametrize("module", MODULES)
def test_every_import_is_a_path(module: str) -> None:
    """An editor finds each imported module of the project in the checkout, without an install."""
    if not (TINYTORCH / "backends").is_dir():
        pytest.skip("this checkout has no symbolic link tinytorch/backends")
    for name, _ in imported(module):
        if name.split(".")[0] in ("tinytorch", "milestones"):
            path = ROOT.joinpath(*name.split("."))
            assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), name


def test_import_is_lazy() -> None:
    code = f"import sys, tinytorch; print([m for m in {LAZY} if m in sys.modules])"
    assert run_python(code) == "[]"


def test_all_public_names_exist() -> None:
    names = [a.asname or a.name for node in ast.parse(MODULES["tinytorch"].read_text()).body
             if isinstance(node, ast.ImportFrom) for a in node.names if a.name != "*"]  # fmt: skip
    assert all(hasattr(tinytorch, name) for name in names)
    assert len(names) == len(set(names))


def test_import_loads_few_modules() -> None:
    """A measure of the time of an import that does not depend on the machine."""
    code = "import sys, numpy; n = {*sys.modules}; import tinytorch; print(*{*sys.modules} - n)"
    loaded = {m for m in run_python(code).split() if m.partition(".")[0] != "tinytorch"}
    known = {*sys.stdlib_module_names, "numpy", "__mp_main__"}
    roots = {m.partition(".")[0] for m in loaded if "cython" not in m}  # NumPy's own, by Cython
    assert roots <= known, f"import tinytorch loads {roots - known}"
    assert len(loaded) <= 140, f"besides NumPy's, tinytorch imports {len(loaded)} modules: {loaded}"


def test_ctrl_c_in_the_imports_of_a_program_is_no_traceback() -> None:
    """Slow imports, all but those of the standard library, are in the `try` of each milestone."""
    programs = [*(ROOT / "milestones").glob("*.py"), *(ROOT / "milestones").glob("*/*.py")]
    assert len(programs) >= 8
    for path in programs:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.partition(".")[0] in sys.stdlib_module_names, f"{path.name}: {name}"
