"""Export: a student's definitions replace the package's, all of them or none."""

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from example_lesson import PACKAGE, SOURCE, make

from tinytorch.tito import weave
from tinytorch.tito.export import ExportError, export, is_exported, reset
from tinytorch.tito.lesson import Lesson


def notebook(lesson: Lesson, change: Any = None, blank: bool = False) -> Path:
    """Write the solution notebook with a changed exercise."""
    woven = weave.student(lesson) if blank else weave.solution(lesson)
    if change is not None:
        cell = next(c for c in woven.cells if c.metadata.get("tinytorch", {}).get("exercise"))
        cell.source = change(cell.source)
    path = lesson.root / "workspace" / "mine.ipynb"
    weave.write(woven, path)
    return path


def module(lesson: Lesson) -> str:
    return (lesson.root / "tinytorch" / "things.py").read_text(encoding="utf-8")


PLAIN = PACKAGE.replace("@decorated\n", "")


@pytest.fixture
def lesson(tmp_path: Path) -> Lesson:
    return make(tmp_path, package=PLAIN)


def test_exporting_the_solution_changes_nothing(lesson: Lesson) -> None:
    assert export(lesson, notebook(lesson)) == []
    assert module(lesson) == PLAIN
    assert not is_exported(lesson)


def test_only_changed_definitions_are_written_and_reset_restores_them(lesson: Lesson) -> None:
    path = notebook(lesson, lambda s: s.replace("2 * x", "x + x  # ä"))
    assert export(lesson, path) == ["tinytorch/things.py: double"]
    assert module(lesson) == PLAIN.replace("2 * x", "x + x  # ä")
    assert is_exported(lesson)
    again = notebook(lesson, lambda s: s.replace("x + x  # ä", "x * 2"))
    assert export(lesson, again) == ["tinytorch/things.py: double"]
    assert reset(lesson) == ["tinytorch/things.py"]
    assert module(lesson) == PLAIN
    assert not is_exported(lesson)
    assert reset(lesson) == []


def test_added_functions_are_exported_once(lesson: Lesson) -> None:
    helped = "def helper(x):\n    return x\n\n\nprint('only here')\n\n\n"
    path = notebook(lesson, lambda s: helped + s.replace("2 * x", "2 * helper(x)"))
    written = export(lesson, path)
    assert sorted(written) == ["tinytorch/things.py: double", "tinytorch/things.py: helper"]
    text = module(lesson)
    assert export(lesson, path) == []
    assert module(lesson) == text
    assert "only here" not in text
    names: dict[str, Any] = {}
    exec(text, names)
    assert names["double"](4) == 8


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_only_line_feeds_end_a_line(lesson: Lesson, character: str) -> None:
    """Unlike str.splitlines, Python ends no line at these characters."""
    helper = f"def helper(x):\n    # a{character}b\n    return x, 'a{character}b'\n\n\n"
    path = notebook(lesson, lambda s: helper + s.replace("2 * x", f"2 * x  # a{character}b"))
    assert export(lesson, path) == ["tinytorch/things.py: helper", "tinytorch/things.py: double"]
    assert helper in module(lesson)
    assert export(lesson, path) == []
    reset(lesson)
    assert module(lesson) == PLAIN


def test_a_longer_helper_and_a_new_one_are_exported_together(lesson: Lesson) -> None:
    first = "def first(x):\n    return x\n\n\n"
    export(lesson, notebook(lesson, lambda s: first + s))
    first = "def first(x):\n    y = x\n    z = y\n    return z\n\n\n"
    second = "async def second(x):\n    return x\n\n\n"
    export(lesson, notebook(lesson, lambda s: first + second + s))
    assert module(lesson) == PLAIN.replace("LIMIT = 3", first + second + "LIMIT = 3")


def test_names_that_a_module_has_may_be_imported_again(lesson: Lesson) -> None:
    imports = "import math\nfrom math import floor\n__all__ = [__name__]\n"
    helper = "class Helper:\n    name = __qualname__\n\n\ndef f(): return super\n\n\n"
    export(lesson, notebook(lesson, lambda s: imports + helper + s))
    assert module(lesson) == PLAIN.replace("LIMIT = 3", helper + "LIMIT = 3")


def test_notebooks_are_woven_from_the_original_code_after_an_export(lesson: Lesson) -> None:
    woven = weave.as_bytes(weave.student(lesson)), weave.as_bytes(weave.solution(lesson))
    export(lesson, notebook(lesson, lambda s: s.replace("2 * x", "x + x").replace("Twice", "2 x")))
    assert (weave.as_bytes(weave.student(lesson)), weave.as_bytes(weave.solution(lesson))) == woven


def test_two_exports_at_once_keep_the_original(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one finds no backup yet, but the first one's code when it reads the file."""
    mine = notebook(lesson, lambda s: s.replace("2 * x", "x + x"))
    copy = lesson.root / "workspace" / "other.ipynb"
    copy.write_bytes(mine.read_bytes())
    mkdir = Path.mkdir

    def meanwhile(path: Path, *args: Any, **kwargs: Any) -> None:
        if path.name == "tinytorch" and ".backup" in path.parts:
            monkeypatch.setattr(Path, "mkdir", mkdir)
            export(lesson, copy)
        mkdir(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", meanwhile)
    export(lesson, mine)
    reset(lesson)
    assert module(lesson) == PLAIN


def test_line_endings_are_kept(lesson: Lesson) -> None:
    path = lesson.root / "tinytorch" / "things.py"
    path.write_bytes(PLAIN.replace("\n", "\r\n").encode())
    export(lesson, notebook(lesson, lambda s: s.replace("2 * x", "x + x")))
    assert path.read_bytes() == PLAIN.replace("2 * x", "x + x").replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def double(x):", "def double(x:", "does not parse"),
        (
            "def double(x):",
            "def double(x, y):",
            r"double\(x, y\) must have the signature double\(x\)",
        ),
        ("by: int = 1", "by: int = 2", r"signature Counter.step\(self, by=1\)"),
        ("def double", "def doubled", "double is not defined"),
        ("def step", "def steps", "Counter.step is not defined"),
        ("    @property\n", "", "decorators"),
        (
            "class Counter:",
            "class Counter(dict):",
            "base classes of Counter must be none, not dict",
        ),
        ("2 * x", "2 * other(x)", "double uses other, which is not defined in things.py"),
        ("2 * x", "LIMITS * x", "uses LIMITS.*define it there"),
        ("def double", "def len(x): pass\n\n\ndef double", "len is a function of Python"),
        ("def double", "def math(x): pass\n\n\ndef double", "math has another meaning"),
        ("def double", "import numpy as math\n\n\ndef double", "math has another meaning"),
        ("def double", "math = 3\n\n\ndef double", "math has another meaning"),
        (
            "class Counter:",
            "class Helper:\n    def f(self): __double(1)\n\n\nclass Counter:",
            "f uses _Helper__double, which is not defined",
        ),
    ],
)
def test_code_that_would_break_the_package_is_rejected(
    lesson: Lesson, old: str, new: str, message: str
) -> None:
    path = notebook(lesson, lambda s: s.replace(old, new))
    with pytest.raises(ExportError, match=message):
        export(lesson, path)
    assert module(lesson) == PLAIN
    assert not is_exported(lesson)


def test_annotations_may_be_omitted(lesson: Lesson) -> None:
    path = notebook(lesson, lambda s: s.replace("by: int = 1) -> int", "by=1)"))
    assert export(lesson, path) == ["tinytorch/things.py: Counter"]


def test_a_blank_notebook_is_rejected(lesson: Lesson) -> None:
    with pytest.raises(ExportError, match=r"exercise 77.1: .* is still blank"):
        export(lesson, notebook(lesson, blank=True))


def test_files_that_are_not_notebooks_are_rejected(lesson: Lesson, tmp_path: Path) -> None:
    for text in ("", "print(1)", "{}", '{"cells": 3}'):
        (tmp_path / "bad.ipynb").write_text(text)
        with pytest.raises(ExportError, match=r"is not a notebook|has no cell"):
            export(lesson, tmp_path / "bad.ipynb")
    with pytest.raises(ExportError, match="No such file"):
        export(lesson, tmp_path / "gone.ipynb")


def test_two_lessons_in_one_file_are_reset_in_reverse_order(lesson: Lesson) -> None:
    """In any other order, resetting the later lesson would restore the earlier lesson's export."""
    source = lesson.source.read_text().replace("77.1", "78.1")
    other = lesson.root / "notebooks" / "78_more" / "more_dev.py"
    other.parent.mkdir()
    other.write_text(source)
    later = Lesson(other, lesson.root)
    export(lesson, notebook(lesson, lambda s: s.replace("2 * x", "x + x")))
    first = lesson.root / "workspace" / ".backup" / "77_things" / "tinytorch" / "things.py"
    os.utime(first, ns=(1, 1))  # a coarse clock could give both the same time
    export(later, notebook(later, lambda s: s.replace("x + x", "x * 2")))
    with pytest.raises(ExportError, match="also contains 78_more: reset that lesson first"):
        reset(lesson)
    reset(later)
    assert "x + x" in module(lesson)
    reset(lesson)
    assert module(lesson) == PLAIN


BREAKS = {
    "an unknown annotation": ("def double(x):", "def double(x) -> nowhere.Array:", "nowhere"),
    "an unknown decorator": (None, "@cached\ndef helper(x):\n    return x\n\n\n", "cached"),
    "an unknown default of a helper": (None, "def helper(x=nowhere.pi): pass\n\n\n", "nowhere"),
    "an unknown base class": (None, "class Helper(Base):\n    pass\n\n\n", "Base"),
    "a name of a class body": (None, "class Helper:\n    x = nowhere\n\n\n", "nowhere"),
    "an error in a class body": (None, "class Helper:\n    x = 1 / 0\n\n\n", "ZeroDivisionError"),
    "an error in a decorator": (None, "@int\ndef helper(): pass\n\n\n", "TypeError"),
    "an error in a default": (None, "def helper(x=[][0]): pass\n\n\n", "IndexError"),
    "an error in an annotation": (None, "def helper(x: {}['k']): pass\n\n\n", "KeyError"),
    "sys.exit": (None, "import sys\ndef helper(x=sys.exit(0)): pass\n\n\n", "SystemExit"),
    "os._exit": (None, "import os\ndef helper(x=os._exit(0)): pass\n\n\n", "Python ended"),
    "a module that is changed": (
        None, "class Helper:\n    import json; json.dump = None\n\n\n", "Python ended during",
    ),
    "an endless loop": (
        None, "class Helper:\n    while True: pass\n\n\n", "longer than 2 seconds",
    ),
    "a use before the definition": (
        None, "def helper(x=double): pass\n\n\n", "name 'double' is not defined",
    ),
    "a missing package": (
        None, "import nowhere\n\ndef helper(): nowhere.f()\n\n\n", "ModuleNotFoundError",
    ),
    "a circular import": (
        None, "from tinytorch.things import double as d\ndef helper(): d(2)\n\n\n", "circular",
    ),
    "return outside of a function": (None, "class Helper:\n    return 1\n\n\n", "'return' outside"),
    "too deep": (None, "def helper(): " + "-" * 100_000 + "1\n\n\n", "does not parse"),
    "a deep expression": (
        None, "def helper(): return " + "1+" * 9_000 + "1\n\n\n", "too deeply|does not parse",
    ),
    "a compiler's error": (None, "def helper():\n    nonlocal x\n\n\n", "does not compile"),
    "an argument twice": (None, "def helper(x, x): pass\n\n\n", "does not compile"),
    "a NUL": (None, "def helper(): '\0'\n\n\n", "does not parse"),
    "the result of a magic": (None, "x = !ls\n", "does not parse.*move commands of IPython"),
    "a cell of the shell": (None, "%%bash\n", "does not parse.*move commands of IPython"),
}  # fmt: skip


@pytest.mark.parametrize("how", BREAKS)
def test_code_that_would_break_the_import_of_the_package_is_rejected(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinytorch.tito.package.TIMEOUT", 2)
    lesson = make(tmp_path, package=PLAIN)
    old, new, message = BREAKS[how]
    path = notebook(lesson, lambda s: new + s if old is None else s.replace(old, new))
    with pytest.raises(ExportError, match=message) as caught:
        export(lesson, path)
    assert len(str(caught.value)) < 500
    assert module(lesson) == PLAIN
    assert not is_exported(lesson)


def test_the_error_of_an_import_names_file_and_line(lesson: Lesson) -> None:
    helper = "class Helper:\n    x = 1 / 0  # mine\n\n\n"
    with pytest.raises(
        ExportError, match=r"division by zero, tinytorch/things.py, line \d+: x = 1"
    ):
        export(lesson, notebook(lesson, lambda s: helper + s))


def test_modules_that_a_student_uses_are_imported_as_in_the_notebook(tmp_path: Path) -> None:
    """The notebook's setup imports numpy as np; the exported module does not."""
    source = SOURCE.replace("import math", "import math\nimport numpy as np")
    lesson = make(tmp_path, source, PLAIN)
    helper = "from functools import lru_cache\n\n\n@lru_cache\ndef helper(x):\n    return x\n\n\n"
    path = notebook(
        lesson, lambda s: helper + s.replace("double(x):", "double(x: np.ndarray) -> np.ndarray:")
    )
    written = export(lesson, path)
    for line in ("import numpy as np", "from functools import lru_cache"):
        assert f"tinytorch/things.py: {line}" in written
        assert module(lesson).count(f"\n{line}\n") == 1
    assert module(lesson).startswith('"""A module."""\n\nimport math\n')
    assert export(lesson, path) == []
    reset(lesson)
    assert module(lesson) == PLAIN


def test_code_of_other_modules_is_imported_where_an_exercise_uses_it(tmp_path: Path) -> None:
    """In the notebook, the code of another exercise and of a given cell is in the cells above."""
    given = '# %% given="77.1"\nfrom tinytorch.others import halve\n\n'
    first = '# %% exercise="77.9"\nfrom tinytorch.others import twice\n\n# twice:\n#   Add.\n\n'
    start = SOURCE.index('# %% exercise="77.1"')
    lesson = make(tmp_path, SOURCE[:start] + first + given + SOURCE[start:], PLAIN)
    others = "def twice(x):\n    return x + x\n\n\ndef halve(x):\n    return x / 2\n"
    (tmp_path / "tinytorch" / "others.py").write_text(others)
    woven = weave.solution(lesson)
    for cell in woven.cells:
        cell.source = cell.source.replace("2 * x", "halve(twice(twice(x)))")
    weave.write(woven, tmp_path / "mine.ipynb")
    assert export(lesson, tmp_path / "mine.ipynb") == [
        "tinytorch/things.py: double",
        "tinytorch/things.py: from tinytorch.others import halve",
        "tinytorch/things.py: from tinytorch.others import twice",
    ]
    assert export(lesson, tmp_path / "mine.ipynb") == []


@pytest.mark.parametrize("command", ["%matplotlib inline\n", "%%time\n", "!ls (\n", "double?\n"])
def test_commands_of_ipython_are_left_out(lesson: Lesson, command: str) -> None:
    path = notebook(lesson, lambda s: command + s.replace("2 * x", "x * 2"))
    assert export(lesson, path) == ["tinytorch/things.py: double"]
    assert module(lesson) == PLAIN.replace("2 * x", "x * 2")


CONSTANTS = {
    "a number": ("BASE = 2\n", "BASE * x"),
    "a number with its type": ("BASE: int = 2  # twice\n", "BASE * x"),
    "another module's name": ("import numpy as N\n\nBASE = -N.pi\n", "N.abs(-2) * x + 0 * BASE"),
    "a module imported under another name": ("import numpy as N\n", "N.add(x, x)"),
    "a module of a package": ("import os.path as P\n", "len(P.join('', 'ab')) * x"),
    "constants of constants": ("ONE = 1\nTWO = (ONE + ONE, 'text')\n", "TWO[0] * x"),
    "a constant of the module": ("MORE = {'a': LIMIT - 1}\n", "MORE['a'] * x"),
    "two on a line": ("print(1); BASE = 2; print(3)\n", "BASE * x"),
    "several lines": ("BASE = [\n    1,\n    2,\n]\n", "BASE[1] * x"),
    "used by a helper": ("BASE = 2\n\n\ndef helper(x): return BASE * x\n\n\n", "helper(x)"),
    "a default": ("BASE = 2\n\n\ndef helper(x, by=BASE): return by * x\n\n\n", "helper(x)"),
}


@pytest.mark.parametrize("what", CONSTANTS)
def test_constants_and_imports_of_an_exercise_are_exported_with_it(
    tmp_path: Path, what: str
) -> None:
    lesson = make(tmp_path, SOURCE.replace("LIMIT, ", ""), PLAIN)
    added, used = CONSTANTS[what]
    first = "UNUSED = 3\nprint(UNUSED)\n"

    def change(source: str) -> str:  # after the module's own constants, as in the module
        source = source.replace("2 * x", used)
        return first + source.replace("def double", added + "\n\ndef double")

    path = notebook(lesson, change)
    assert "tinytorch/things.py: double" in export(lesson, path)
    names: dict[str, Any] = {}
    exec(module(lesson), names)
    assert names["double"](4) == 8
    assert "UNUSED" not in module(lesson)
    assert "print" not in module(lesson)
    text = module(lesson)
    assert export(lesson, path) == []
    assert module(lesson) == text
    changed = notebook(lesson, lambda s: change(s).replace("2", "(1 + 1)"))
    export(lesson, changed)  # also a second time, with other values
    exec(module(lesson), names)
    assert names["double"](4) == 8
    reset(lesson)
    assert module(lesson) == PLAIN


@pytest.mark.parametrize(
    "value", ["print(2)", "[x for x in range(3)]", "(lambda: 2)", "f'{2}'", "open", "other.pi"]
)
def test_variables_that_need_a_call_or_another_name_are_not_exported(
    lesson: Lesson, value: str
) -> None:
    added = f"BASE = {value}\n\n\n"
    path = notebook(lesson, lambda s: added + s.replace("2 * x", "BASE * x"))
    if value == "open":
        assert "tinytorch/things.py: BASE" in export(lesson, path)
        return
    with pytest.raises(
        ExportError, match=r"uses (BASE|other), which is not defined.*within the function"
    ):
        export(lesson, path)
    assert module(lesson) == PLAIN


def test_imports_are_added_after_the_docstring_of_a_module_without_imports(tmp_path: Path) -> None:
    package = PLAIN.replace("import math\n", "")
    lesson = make(tmp_path, package=package)
    export(lesson, notebook(lesson, lambda s: s.replace("2 * x", "math.floor(2 * x)")))
    assert module(lesson).startswith('"""A module."""\nimport math\n')


def test_an_export_that_cannot_be_written_changes_nothing(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tinytorch.tito.export.write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        export(lesson, notebook(lesson, lambda s: s.replace("2 * x", "x + x")))
    assert module(lesson) == PLAIN
    assert not (lesson.root / "workspace" / ".backup" / "77_things").exists()
    assert not is_exported(lesson)
    assert reset(lesson) == []


def test_split_copied_and_merged_cells_are_exported(lesson: Lesson) -> None:
    """Jupyter copies the metadata of a cell that is split; a converter may lose all of it."""
    path = notebook(lesson, lambda s: s.replace("2 * x", "x + x"))
    woven = nbformat.read(path, as_version=4)
    index = next(i for i, c in enumerate(woven.cells) if "def double" in c.source)
    cell = woven.cells[index]
    at = cell.source.index("class Counter")
    second = nbformat.from_dict({**cell, "source": cell.source[at:], "id": "new"})
    cell.source = cell.source[:at]
    woven.cells.insert(index + 1, second)
    weave.write(woven, path)
    assert export(lesson, path) == ["tinytorch/things.py: double"]
    woven.cells[index].source += "\n\n" + woven.cells.pop(index + 1).source
    for c in woven.cells:
        c.metadata = {}
    weave.write(woven, path)
    assert export(lesson, path) == []
