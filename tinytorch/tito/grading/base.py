"""The package in which submissions are graded: a copy with all exercises of the lesson blank."""

import ast
import compileall
import shutil
import sys
import tempfile
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..export import (
    ExportError,
    add_imports,
    check_names,
    imports_of,
    insert,
    is_constant,
    notebook_imports,
)
from ..lesson import PACKAGE, Exercise, Lesson, LessonError, definitions, parsed, replaced
from ..package import copy_package, without_fast_versions
from ..syntax import syntax_tree
from . import policy

HERE = Path(__file__).resolve().parents[3]  # the folder with the package that grades


class Base:
    """A copy of the package without the lesson's solutions, and the lesson's tests.

    Its files never change; the code of a submission is in the texts of its `job`. So any
    number of submissions can use it at the same time.

    Args:
        lesson: the lesson, from a source that students cannot change.
        tests: the folder with its integration tests and conftest.py; None if it has none.
        package: the folder that contains the package.
    """

    def __init__(self, lesson: Lesson, tests: Path | None, package: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tito-")
        try:
            self.root = Path(self._folder.name).resolve()
            copy_package(package, self.root)
            self.lesson = Lesson(lesson.source, self.root)
            self.number, self.name = lesson.number, lesson.name
            original = Lesson(lesson.source, package)  # without an export to the checkout
            cells = [cell for cell in original.cells if cell.kind == "exercise"]
            self.solution = {cell.exercise: original.solution(cell) for cell in cells}
            modules = dict.fromkeys(e.module for e in self.lesson.exercises)
            self.solutions = {m: original.original(m) for m in modules}
            for module, text in self.solutions.items():
                self.lesson.module_path(module).write_text(text, encoding="utf-8")
            self.blanks = self._blanked()
            for module, text in self.blanks.items():
                self.lesson.module_path(module).write_text(text, encoding="utf-8")
            without_fast_versions(self.root / PACKAGE)
            compileall.compile_dir(self.root / PACKAGE, quiet=2)
            self.integration = self._copy_tests(tests) if tests else []
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    @property
    def exercises(self) -> list[Exercise]:
        return self.lesson.exercises

    @cached_property
    def points(self) -> dict[str, int]:
        """The points of each exercise: those of its test."""
        return {cell.exercise: cell.points for cell in self.lesson.cells if cell.kind == "test"}

    def insert(self, exercise: Exercise, texts: dict[str, str], source: str,
               known: Mapping[str, str]) -> dict[str, str]:  # fmt: skip
        """Return the modules with a submission's definitions of one exercise.

        Args:
            exercise: the exercise.
            texts: the modules as they are.
            source: the submission's code of the exercise.
            known: the import statement behind each name of the notebook.

        Raises:
            ExportError: the code cannot be inserted.
        """
        module = exercise.module
        others = {name for e in self.exercises for name in e.names}
        new = insert(exercise, texts[module], source, self.solutions[module], others)
        new, _ = add_imports(new, dict(known))
        check_names(self.lesson.module_path(module), new)
        return {**texts, module: new}

    def with_solutions(self, texts: Mapping[str, str], keep: Collection[str]) -> dict[str, str]:
        """Return the modules with the lesson's solutions of all exercises but those to keep."""
        result = dict(texts)
        for exercise in self.exercises:
            if exercise.number not in keep:
                source = self.solution[exercise.number]
                result[exercise.module] = replaced(result[exercise.module], source)
        return result

    def violations(self, exercise: Exercise, source: str,
                   known: Mapping[str, str]) -> list[policy.Violation]:  # fmt: skip
        """Return where the code of an exercise breaks the rules of `policy`."""
        tree = parsed(source, f"exercise {exercise.number}")
        others = {n for e in self.exercises for n in e.names} - {*exercise.names}
        used = {
            id(d.node): d.node
            for name, d in definitions(source).items()
            if name not in others
            and (
                isinstance(d.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                or name in exercise.names
                or is_constant(d.node)
            )
        }
        nodes = [node for node in tree.body if _at(node) in {_at(n) for n in used.values()}]
        solution = policy.Solution(
            self.solution[exercise.number],
            {**self.notebook_imports, **self._module_imports(exercise.module)},
            self._public,
            self.solutions.keys(),
        )
        return policy.violations(nodes, known, solution)

    @cached_property
    def notebook_imports(self) -> dict[str, str]:
        """The import statement behind each name that the cells of the notebook can use."""
        return notebook_imports(self.lesson)

    def job(self, texts: Mapping[str, str], inline: list[str], integration: list[str]
            ) -> dict[str, Any]:  # fmt: skip
        """Return a job for a worker.

        Args:
            texts: the modules with the code to test.
            inline: the exercises to test.
            integration: files of integration tests, or single tests.
        """
        cells = self.lesson.cells
        before = [c.source for c in cells if c.kind in ("setup", "given", "exercise")]
        return {
            "root": str(self.root),
            "path": [str(self.root), *_search_path()],
            "texts": dict(texts),
            "setup": before if inline else [],
            "inline": [(c.exercise, c.source) for c in cells
                       if c.kind == "test" and c.exercise in inline],
            "integration": integration,
        }  # fmt: skip

    def _blanked(self) -> dict[str, str]:
        result = dict(self.solutions)
        cells = [cell for cell in self.lesson.cells if cell.kind == "exercise"]
        for exercise, cell in zip(self.exercises, cells, strict=True):
            result[exercise.module] = replaced(result[exercise.module], self.lesson.blank(cell))
        return result

    def _copy_tests(self, folder: Path) -> list[str]:
        """Copy the integration tests, and return their paths."""
        target = self.root / "tests"
        target.mkdir()
        found = []
        for name in ("conftest.py", f"test_{self.name}_integration.py"):
            places = [p for p in (folder / name, folder.parent / name) if p.is_file()]
            if places:
                shutil.copyfile(places[0], target / name)
                found.append(str(target / name))
        return found[-1:] if found and found[-1].endswith("_integration.py") else []

    def _module_imports(self, module: str) -> dict[str, str]:
        """Return the import statements of a module, with absolute names."""
        found = {}
        for name, statement in imports_of([self.solutions[module]]).items():
            node = syntax_tree(statement).body[0]
            if isinstance(node, ast.ImportFrom) and node.level:
                parts = module.split(".")[: -node.level]
                absolute = ".".join([*parts, *filter(None, [node.module])])
                statement = ast.unparse(ast.ImportFrom(absolute, node.names, 0))
            found[name] = statement
        return found

    @cached_property
    def _public(self) -> dict[str, str]:
        """The module behind each name that `tinytorch` exports."""
        found: dict[str, str] = {}
        init = self.root / PACKAGE / "__init__.py"
        for node in ast.walk(syntax_tree(init.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
                module = f"{PACKAGE}.{node.module}"
                for alias in node.names:
                    names = [alias.asname or alias.name]
                    if alias.name == "*":
                        names = list(
                            definitions(self.lesson.module_path(module).read_text("utf-8"))
                        )
                    found |= dict.fromkeys(names, module)
        return found


def _at(node: ast.stmt) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _search_path() -> list[str]:
    """Return the folders of sys.path, without those of another checkout of the package."""
    found = []
    for entry in sys.path:
        installed = Path(entry).name in ("site-packages", "dist-packages")
        if entry and (installed or not (Path(entry) / PACKAGE / "__init__.py").is_file()):
            found.append(entry)
    return found


__all__ = ["Base", "ExportError", "LessonError"]
