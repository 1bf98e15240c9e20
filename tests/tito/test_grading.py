"""`tito grade` gives exactly the points that are due, whatever a submission contains."""

import csv
import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graded_course import Passing, make_course, submission

from tinytorch.tito import weave
from tinytorch.tito.grading import command, console, report
from tinytorch.tito.grading.base import Base
from tinytorch.tito.grading.judge import Grade, Mark, grade
from tinytorch.tito.grading.report import Result
from tinytorch.tito.grading.sandbox import Events, Limits, Sandbox
from tinytorch.tito.grading.submissions import Submission
from tinytorch.tito.lesson import Lesson

# One process grades all submissions at once, on all processors.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("grading")]

LIMITS = Limits(test=6, load=8, total=60, memory=1 << 30)

# What the student writes in place of a function: name, exercise, code, points of 10, message.
COUNTER = """class Counter:
    def __init__(self):
        self.n = 0

    def step(self, by=1):
        {}
"""


def double(body: str) -> str:
    """The function of exercise 77.1 with this body."""
    return f"def double(x):\n    {body}\n"


RIGHT = "self.n += by\n        return self.n"
WAIT = "time.sleep(0.1)"  # in endless loops: others can run meanwhile
BLANK = 'raise NotImplementedError("exercise 77.1: double")'
PATCH = "import tinytorch.tito.checks as c\n{}c.Exercise.__exit__ = lambda *a: True\n"

RULES: dict[str, tuple[str, str, int, str]] = {
    "patched checks": ("77.1", double(PATCH.format("    ") + "    return 1"), 8, "tito"),
    "solution by inspect": (
        "77.1", double("import inspect\n    return inspect.getsource(double)"), 8, "inspect"),
    "solution by importlib": (
        "77.1", double("import importlib\n    return importlib.import_module('x')"), 8,
        "importlib is not allowed"),
    "solution by open": ("77.1", double("return open('x').read()"), 8, "open must not be"),
    "solution by exec": ("77.1", double("exec('y = 6')\n    return 6"), 8, "exec must not"),
    "the fast version": (
        "77.1", double("from tinytorch.text.fast_bpe import learn_merges\n    return 6"), 8,
        "fast_bpe.learn_merges is not allowed"),
    "kernels": (
        "77.1", double("from tinytorch.backends import get\n    return get().kernels"), 8,
        "not allowed"),
    "np.allclose replaced": (
        "77.1", double("np.allclose = lambda *a, **k: True\n    return x"), 8,
        "np is imported and must not be changed"),
    "np.allclose by setattr": (
        "77.1", double("setattr(np, 'allclose', print)\n    return x"), 8, "setattr"),
    "np.allclose by __dict__": (
        "77.1", double("np.__dict__['allclose'] = print\n    return x"), 8, "__dict__"),
    "np.allclose by another name": (
        "77.1", double("a = np\n    a.allclose = print\n    return x"), 8, "allclose"),
    "a tensor's class": (
        "77.1", double("t = type(x)\n    t.numpy = print\n    return x"), 8, "numpy"),
    "getattr with a composed name": (
        "77.1", double("return getattr(np, 'al' + 'l')"), 8, "must be a text"),
    "getattr as a value": (
        "77.1", double("get = getattr\n    return get(np, 'all')"), 8, "called directly"),
    "attributes by a pattern": (
        "77.1", double(
            "match np:\n        case object(__dict__=d):\n            return d"), 8, "__dict__"),
    "attributes by a template": (
        "77.1", double("import string\n    return string.Formatter()"), 8, "Formatter"),
    "attributes by operator": (
        "77.1", double("from operator import attrgetter\n    return attrgetter"), 8,
        "attrgetter"),
    "builtins of a module": (
        "77.1", double("import enum\n    return enum.bltns"), 8, "bltns"),
    "text that is evaluated": (
        "77.1", double("import typing\n    return typing.get_type_hints(x)"), 8,
        "get_type_hints"),
    "a frame of an error": (
        "77.1", double(
            "try:\n        x.y\n    except Exception as e:\n        return e.__traceback__"), 8,
        "__traceback__"),
    "a frame of a generator": (
        "77.1", double("return (i for i in [x]).gi_frame"), 8, "gi_frame"),
    "a lying __eq__": (
        "77.1", "class Liar:\n    def __eq__(self, other):\n        return True\n\n\n"
        + double("return Liar()"), 8, "must not define __eq__"),
    "a kind of ndarray": (
        "77.1", "class Liar(np.ndarray):\n    pass\n\n\n" + double("return Liar(1)"), 8,
        "must not be a kind of np.ndarray"),
    "a kind of tensor": (
        "77.1", "class Liar(Tensor):\n    pass\n\n\n" + double("return Liar(1)"), 8,
        "must not be a kind of Tensor"),
    "a metaclass": (
        "77.1", "class Liar(metaclass=print):\n    pass\n\n\n" + double("return 2 * x"), 8,
        "no metaclass"),
    "os._exit": ("77.1", double("import os\n    os._exit(0)"), 8, "os is not allowed"),
    "os by a module": ("77.1", double("import random\n    random._os._exit(0)"), 8, "_os"),
    "a child process": (
        "77.1", double("import subprocess\n    subprocess.run(['true'])"), 8, "subprocess"),
    "a socket": ("77.1", double("import socket\n    return 6"), 8, "socket"),
    "a pickle": ("77.1", double("return np.load('x', allow_pickle=True)"), 8, "numpy.load"),
    "code in an imported name": (
        "77.1", "from os import _exit as twice\n\n\n" + double("return twice(0)"), 8,
        "os._exit is not allowed"),
    "a format that reads attributes": (
        "77.1", double("return '{0.__init__.__globals__}'.format(Tensor)"), 8, "__globals__"),
    "a format within a format": (
        "77.1", double("text = '{:{0.f_globals[x]}}'\n    return text.format(x)"), 8, "f_globals"),
    "an unused import of a compiler": (
        "77.1", double("import numpy.f2py\n    return x + x"), 8, "numpy.f2py is not allowed"),
    "an unused import of a fast version": (
        "77.1", double("import math, tinytorch.text.fast_bpe\n    return x + x"), 8,
        "tinytorch.text.fast_bpe is not allowed"),
    "code of a default": (
        "77.2", "class Other(type(open)):\n    n = 1\n\n\n" + COUNTER.format(RIGHT),
        7, "open must not be used"),
}  # fmt: skip

PLAIN: dict[str, tuple[str, str, int, str]] = {
    "right": ("77.1", double("return x + x"), 10, ""),
    "right with a helper": (
        "77.1", "import itertools\n\nFACTOR = 2\n\n\ndef times(a, b):\n"
        "    return next(itertools.islice([a * b], 1))\n\n\n"
        + double("return times(FACTOR, x)"), 10, ""),
    "right with an experiment": (
        "77.1", "import os\n\n" + double("return x + x") + "\nprint(double(4), os.getcwd())",
        10, ""),
    "right with an unused import": (
        "77.1", "import numpy.f2py\n\n\n" + double("return x + x"), 10, ""),
    "right with a format": (
        "77.1", double("'{0.ndim:.2f} {{0}} {1[a]!r}'\n    return x + x"), 10, ""),
    "wrong": ("77.2", COUNTER.format("self.n += 1\n        return self.n"), 7, "cause: add by"),
    "wrong where only integration looks": (
        "77.1", double("return abs(x) * 2 if isinstance(x, int) else 2 * x"), 8,
        "test_a_negative_number"),
    "blank": ("77.1", double(BLANK), 8, "still blank"),
    "blank with patched checks": (
        "77.1", PATCH.format("") + double(BLANK), 8, "still blank"),
    "blank with its own Exercise": (
        "77.1", "class Exercise:\n    def __exit__(self, *a):\n        return True\n\n\n"
        + double(BLANK), 8, "still blank"),
    "blank and bound again": (
        "77.1", "import tinytorch.things\n" + double(BLANK)
        + "double = tinytorch.things.double\n", 8, "must be a function"),
    "imported": ("77.1", "from tinytorch.things import double\n", 8, "double is not defined"),
    "imported in the function": (
        "77.1", double("from tinytorch.things import double as d\n    return d(x)"), 8,
        "RecursionError"),
    "with another exercise": ("77.1", double("return Counter().step() * 2 * x"), 10, ""),
    "syntax error": ("77.1", "def double(x)\n    return 2 * x\n", 8, "does not parse"),
    "another signature": ("77.1", "def double(x, y):\n    return 2 * x\n", 8, "must have the sign"),
    "nested too deeply": ("77.1", double("return " + "(" * 300 + "x" + ")" * 300), 8, "pars"),
    "50,000 minus signs": ("77.1", double(f"return {'-' * 50_000}x"), 8, "not parse"),
    "50,000 terms": ("77.1", double(f"return {'x + ' * 50_000}x"), 8, "not parse"),
    "nulls in the code": ("77.1", double("return 2 * x\0"), 8, "does not parse"),
    "endless loop": (
        "77.1", double("while True:\n        try:\n            while True:\n"
        "                pass\n        except BaseException:\n            pass"), 8,
        "endless loop"),
    "endless loop in the integration tests": (
        "77.1", double(
            f"import time\n    while isinstance(x, int) and x < 0:\n        {WAIT}\n"
            "    return 2 * x"), 8,
        "endless loop"),
    "endless loop at the import": (
        "77.2", COUNTER.format(RIGHT).replace("    def __init__",
        f"    import time\n\n    while True:\n        {WAIT}\n\n"
        "    def __init__"), 7, "cannot be imported"),
    "error at the import": (
        "77.2", COUNTER.format(RIGHT).replace("    def __init__",
        "    m = 1 / 0\n\n    def __init__"),
        7, "ZeroDivisionError"),
    "recursion": ("77.1", double("return double(x)"), 8, "RecursionError"),
    "exit": ("77.1", double("raise SystemExit(0)"), 8, "has tried to end"),
    "interrupt": ("77.1", double("raise KeyboardInterrupt"), 8, "has tried to end"),
    "memory bomb": ("77.1", double("return np.zeros(1 << 40)"), 8, "MemoryError"),
    "growing memory": (
        "77.1", double("a = [0]\n    while True:\n        a = a * 2"), 8, "MemoryError"),
    "a gigabyte of output": (
        "77.1", double("for _ in range(1000):\n        print('x' * (1 << 20), end='')\n"
        "    return 2 * x"), 10, ""),
    "a long error": ("77.1", double("raise ValueError('x' * (1 << 24))"), 8, "ValueError: xx"),
    "an error in a long line": (
        "77.1", double(f"raise ValueError('{'x' * 200_000}')"), 8, "ValueError: xx"),
    "an error in a function with a long name": (
        "77.1", f"def {'f' * 200_000}(x):\n    raise ValueError('x' * 5000)\n\n\n"
        + double(f"return {'f' * 200_000}(x)"), 8, "ValueError: xx"),
}  # fmt: skip

# Code that the rules refuse; with the rules switched off, the process itself must be safe.
BYPASSED: dict[str, tuple[str, str, int, str]] = {
    "exit with 0": ("77.1", double("import os\n    os._exit(0)"), 8, "exit code 0"),
    "killed": ("77.1", double("import os\n    os.kill(os.getpid(), 9)"), 8, ""),
    "fork": ("77.1", double("import os\n    while True:\n        os.fork()"), 8, "os.fork"),
    "process": (
        "77.1", double("import subprocess\n    subprocess.run(['touch', 'x'])\n    return 2 * x"),
        8, "subprocess"),
    "mode of a file": (
        "77.1", double("import os, tinytorch.things\n"
        "    os.chmod(tinytorch.things.__file__, 0)\n    return 2 * x"), 8, "os.chmod"),
    "source": (
        "77.1", double("import tinytorch.things\n"
        "    return 2 * x if open(tinytorch.things.__file__).read() else 0"), 8, "open"),
    "a file is replaced": (
        "77.1", double("import os\n    os.replace('/tmp/none', 'x')\n    return 2 * x"), 8,
        "os.rename"),
    "a file is moved away": (
        "77.1", double("import os\n    open('x', 'w').close()\n    os.rename('x', '/tmp/x')\n"
        "    return 2 * x"), 8, "os.rename"),
    "a file is removed": (
        "77.1", double("import os\n    os.remove('/tmp/none')\n    return 2 * x"), 8, "os.remove"),
    "a file of another folder is removed": (
        "77.1", double("import os\n    os.remove('x', dir_fd=0)\n    return 2 * x"), 8,
        "os.remove"),
    "caught": (
        "77.1", double("try:\n        open('/etc/passwd')\n    except OSError:\n        pass\n"
        "    return 2 * x"), 8, "/etc/passwd"),
    "patched checks": (
        "77.1", double("import tinytorch.tito.checks as c\n"
        "    c.Exercise.__exit__ = lambda *a: True\n    return 1"), 8, "twice 3"),
    "patched NumPy": (
        "77.1", double("np.allclose = lambda *a, **k: True\n    return x * 2"), 8, "must not"),
    "patched NumPy by __dict__": (
        "77.1", double("np.__dict__['allclose'] = lambda *a, **k: True\n    return x * 2"), 0,
        "has changed numpy"),
    "patched builtins": (
        "77.1", double("__builtins__['abs'] = lambda x: 3\n    return x * 2"), 0,
        "has changed builtins.abs"),
    "patched tensor": (
        "77.1", double("Tensor.numpy = lambda self: np.array([3.0])\n    return x * 2"), 0,
        "has changed tinytorch.tensor.Tensor.numpy"),
    "frames": (
        "77.1", double("import sys\n    sys._getframe(1).f_globals.clear()\n    return x"), 8,
        "sys._getframe"),
    "objects": (
        "77.1", double("import gc\n    gc.get_objects()\n    return x * 2"), 8, "gc.get_ob"),
    "forged results": (
        "77.1", double("import os\n    for f in range(3, 20):\n        try:\n"
        "            os.write(f, b'{\"end\": \"77.1\", \"error\": null}\\n')\n"
        "        except OSError:\n            pass\n    return 1"), 8, "twice 3"),
    "worker": (
        "77.1", double("import __main__\n    return vars(__main__)"), 8, "twice 3"),
}  # fmt: skip


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lesson]:
    """The example course, as the one that grades."""
    lesson = make_course(tmp_path_factory.mktemp("course"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "HERE", lesson.root)
        yield lesson


def graded(folder: Path, **options: Any) -> dict[str, Result]:
    results, complete = command.run([folder], limits=LIMITS, **options)
    assert complete
    return {result.submission.student: result for result in results}


def message(result: Result) -> str:
    return "\n".join([result.grade.problem, *(mark.message for mark in result.grade.marks)])


@pytest.fixture(scope="module")
def base(course: Lesson) -> Iterator[Base]:
    with Base(course, None, course.root) as base:
        yield base


@pytest.fixture(scope="module")
def results(course: Lesson, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """The grades of all submissions, from one command."""
    folder = tmp_path_factory.mktemp("class")
    for name, (exercise, code, _, _) in PLAIN.items():
        weave.write(submission(course, exercise, code), folder / name / "things.ipynb")
    for name, write in FILES.items():
        write(course, folder / name)
    return graded(folder)


@pytest.fixture(scope="module")
def bypassed(course: Lesson, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """The grades of submissions that break the rules, without the rules."""
    folder = tmp_path_factory.mktemp("bypassed")
    for name, (exercise, code, _, _) in BYPASSED.items():
        weave.write(submission(course, exercise, code), folder / name / "things.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Base, "violations", lambda *arguments: [])
        return graded(folder)


@pytest.mark.parametrize("name", PLAIN)
def test_points_are_those_of_the_exercises_that_pass(results: dict[str, Result], name: str) -> None:
    _, _, points, text = PLAIN[name]
    result = results[name]
    assert (result.grade.points, result.grade.of) == (points, 10), message(result)
    assert result.status == ("passed" if points == 10 else "partly passed")
    assert text in message(result)
    assert len(message(result)) < 10_000


@pytest.mark.parametrize("name", RULES)
def test_code_that_breaks_a_rule_earns_nothing(
    base: Base, course: Lesson, tmp_path: Path, name: str
) -> None:
    exercise, code, points, text = RULES[name]
    weave.write(submission(course, exercise, code), tmp_path / "things.ipynb")
    result = grade(base, tmp_path / "things.ipynb", Passing(LIMITS))
    mark = next(m for m in result.marks if m.exercise == exercise)
    assert result.points == points, mark.message
    assert mark.status == "refused"
    assert mark.message.startswith("line ")
    assert text in mark.message


def test_an_exercise_whose_result_is_lost_has_not_passed(
    base: Base, course: Lesson, tmp_path: Path
) -> None:
    class Losing(Passing):
        def run(self, job: dict[str, Any], seconds: float) -> Events:
            events = super().run(job, seconds)
            events.ended.pop("77.1", None)
            events.running = "77.1"
            return events

    weave.write(submission(course), tmp_path / "things.ipynb")
    result = grade(base, tmp_path / "things.ipynb", Losing(LIMITS))
    assert [mark.status for mark in result.marks] == ["failed", "passed", "passed"]


def test_a_library_may_write_a_file_atomically_in_the_scratch_folder(
    base: Base, course: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Base, "violations", lambda *arguments: [])
    code = double(
        "from tinytorch.serialization.atomic import write_atomically\n"
        "    import os\n"
        "    write_atomically('x', b'1')\n    write_atomically('x', b'2')\n"
        "    os.remove('x')\n    return 2 * x"
    )
    weave.write(submission(course, "77.1", code), tmp_path / "things.ipynb")
    result = grade(base, tmp_path / "things.ipynb", Sandbox(LIMITS))
    assert result.points == result.of, [mark.message for mark in result.marks]


@pytest.mark.skipif(os.name == "nt", reason="needs signals and fork")
@pytest.mark.parametrize("name", BYPASSED)
def test_the_process_is_safe_without_the_rules(bypassed: dict[str, Result], name: str) -> None:
    _, _, points, text = BYPASSED[name]
    result = bypassed[name]
    assert result.grade.points == points, message(result)
    assert text in message(result)


def whole(lesson: Lesson) -> bytes:
    return weave.as_bytes(submission(lesson))


def edited(lesson: Lesson, change: Any) -> Any:
    """A function that writes a notebook whose content `change` has changed."""
    content = json.loads(whole(lesson))
    change(content)
    return content


def _write(path: Path, data: bytes | str, name: str = "things.ipynb") -> None:
    path.mkdir(exist_ok=True)
    (path / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def _without_tests(content: dict[str, Any]) -> None:
    for cell in content["cells"]:
        if cell["metadata"].get("tinytorch", {}).get("kind") == "test":
            cell["source"] = "pass"


def _without_metadata(content: dict[str, Any]) -> None:
    content["metadata"] = {}
    for cell in content["cells"]:
        cell["metadata"] = {}


def _other_lesson(content: dict[str, Any]) -> None:
    content["metadata"]["tinytorch"]["lesson"] = 78


def _old_format(content: dict[str, Any]) -> None:
    content["nbformat_minor"] = 4
    for cell in content["cells"]:
        del cell["id"]


def _link(lesson: Lesson, path: Path) -> None:
    path.mkdir()
    weave.write(weave.solution(lesson), path.parent.parent / "solution.ipynb")
    (path / "things.ipynb").symlink_to(path.parent.parent / "solution.ipynb")


def _linked_folder(lesson: Lesson, path: Path) -> None:
    _write(path.parent.parent / "elsewhere", whole(lesson))
    path.symlink_to(path.parent.parent / "elsewhere", target_is_directory=True)


def _json(lesson: Lesson, change: Any) -> str:
    return json.dumps(edited(lesson, change))


FILES: dict[str, Any] = {
    "half saved": lambda x, path: _write(path, whole(x)[:300]),
    "empty file": lambda x, path: _write(path, b""),
    "not JSON": lambda x, path: _write(path, b"\x00\xff" * 100),
    "not a notebook": lambda x, path: _write(path, b"[1, 2]"),
    "too deep": lambda x, path: _write(path, b"[" * 100_000),
    "Latin-1": lambda x, path: _write(path, whole(x).replace(b"Twice", b"Tw\xefce")),
    "other lesson": lambda x, path: _write(path, _json(x, _other_lesson)),
    "no notebook": lambda x, path: _write(path, b"", "notes.txt"),
    "a folder": lambda x, path: (path / "things.ipynb").mkdir(parents=True),
    "empty folder": lambda x, path: path.mkdir(),
    "folder.ipynb": lambda x, path: path.mkdir(),
    "link": _link,
    "linked folder": _linked_folder,
    "with BOM": lambda x, path: _write(path, b"\xef\xbb\xbf" + whole(x)),
    "UTF-16": lambda x, path: _write(path, whole(x).decode().encode("utf-16")),
    "CRLF": lambda x, path: _write(path, whole(x).replace(b"\n", b"\r\n")),
    "old format": lambda x, path: _write(path, _json(x, _old_format)),
    "no metadata": lambda x, path: _write(path, _json(x, _without_metadata)),
    "no tests": lambda x, path: _write(path, _json(x, _without_tests)),
    "Größe 空 [x] 'a' `b`": lambda x, path: _write(path, whole(x), "my things (1).ipynb"),
    "deep": lambda x, path: (path.mkdir(), _write(path / "77_things", whole(x))),
    "with checkpoints": lambda x, path: (
        _write(path, whole(x)), _write(path / ".ipynb_checkpoints", b"{")),
    "with another notebook": lambda x, path: (
        _write(path, whole(x)), _write(path, b'{"cells": []}', "scratch.ipynb")),
    "blank, with patched checks in a cell": lambda x, path: weave.write(
        submission(x, "77.1", double(BLANK), added=PATCH.format("")), path / "things.ipynb"),
    "one file.ipynb": lambda x, path: weave.write(submission(x), path),
    ".hidden": lambda x, path: _write(path, b"{"),
}  # fmt: skip
WHOLE = [
    "with BOM", "UTF-16", "CRLF", "old format", "no metadata", "no tests", "Größe 空 [x] 'a' `b`",
    "deep", "with checkpoints", "with another notebook", "one file",
]  # fmt: skip
BROKEN = {
    "half saved": "half saved", "empty file": "empty", "not JSON": "not", "not a notebook": "cells",
    "too deep": "nested too deeply", "Latin-1": "UTF-8", "other lesson": "lesson 78",
    "no notebook": "no notebook", "a folder": "is a folder", "empty folder": "no notebook",
    "folder": "is a folder", "link": "is a link", "linked folder": "is a link",
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_a_notebook_is_graded_however_it_was_saved(results: dict[str, Result], name: str) -> None:
    assert results[name].grade.points == 10, message(results[name])


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_notebook_has_no_points_and_a_reason(
    results: dict[str, Result], name: str
) -> None:
    assert results[name].status == "not graded"
    assert results[name].grade.points == 0
    assert BROKEN[name] in results[name].grade.problem


def test_every_submission_has_a_result(results: dict[str, Result]) -> None:
    files = {name.removesuffix(".ipynb") for name in FILES} - {".hidden"}
    assert results.keys() == {*PLAIN, *files}
    added = results["blank, with patched checks in a cell"]
    assert added.grade.points == 8


def test_results_are_written_as_csv_json_and_reports(course: Lesson, tmp_path: Path) -> None:
    """Also for students whose names are formulas or paths, or differ only in case."""
    names = ["=cmd()", "Ann", "ann", "a|b`c`", "zoe 空"]
    for name in names:
        weave.write(submission(course, "77.1", double("return x")),
                    tmp_path / "class" / name / "things.ipynb")  # fmt: skip
    reports = tmp_path / "out" / "reports"
    graded(tmp_path / "class", table=tmp_path / "t.csv", details=tmp_path / "d.json",
           reports=reports, jobs=3)  # fmt: skip
    rows = list(csv.reader((tmp_path / "t.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert rows[0][:9] == [
        "student", "lesson", "points", "of", "status", "integration", "77.1", "77.2", "77.3"
    ]  # fmt: skip
    assert sorted(row[0] for row in rows[1:]) == sorted(["'=cmd()", *names[1:]])
    assert {tuple(row[1:9]) for row in rows[1:]} == {
        ("77 things", "8", "10", "partly passed", "passed", "0", "3", "5")
    }
    details = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))
    assert sorted(d["student"] for d in details) == sorted(names)
    assert [e["points"] for e in details[0]["exercises"]] == [0, 3, 5]
    written = sorted(path.name for path in reports.iterdir())
    assert len({name.casefold() for name in written}) == len(names)
    text = (reports / "zoe 空 77 things.md").read_text(encoding="utf-8")
    assert "**8 of 10 points**" in text
    assert "likely cause: 2 * x" in text


@pytest.mark.skipif(os.name == "nt", reason="names of files are Unicode on Windows")
def test_names_that_are_no_text_or_have_several_lines_stop_nothing(
    course: Lesson, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["ann\n2/2 bob: 10 of 10 points", "not utf-8 \udc80", "turned \u202e"]
    for name in names:
        folder = tmp_path / "class" / name.replace("/", ":")
        weave.write(submission(course), folder / "things.ipynb")
    results, _ = command.run([tmp_path / "class"], limits=LIMITS, details=tmp_path / "d.json",
                             table=tmp_path / "t.csv", reports=tmp_path / "reports",
                             progress=console.progress)  # fmt: skip
    assert len(capsys.readouterr().out.splitlines()) == len(names)
    console.show(results)
    assert "\u202e" not in capsys.readouterr().out
    details = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))
    assert [d["student"] for d in details] == [r.submission.student for r in results]
    for path in (tmp_path / "reports").iterdir():
        assert sum(line.startswith("#") for line in path.read_text("utf-8").splitlines()) == 1
        assert not any(line.startswith("2") for line in path.read_text("utf-8").splitlines())


def test_tables_and_reports_contain_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    """Escape codes, other controls, the writing direction and halves of characters."""
    hostile = "\x1b[2Jann\u202e\u2066\u200f\u061c\u2028\x9b\r\b\udc80\t|\nlast"
    marks = [Mark("77.1", ("double",), 2, "failed", hostile)]
    for number, problem in enumerate(("", hostile)):
        result = Result(
            Submission(hostile, tmp_path / hostile), "77 things", Grade(marks, problem=problem),
            hostile,
        )  # fmt: skip
        report.write([result], tmp_path / "t.csv", None)
        own = report.write_report(result, tmp_path / str(number), set())
        texts = [(tmp_path / "t.csv").read_bytes().decode("utf-8-sig"), own.read_bytes().decode()]
        for text in [*texts, own.stem]:
            bad = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl")}
            assert bad <= {"\n", "\t"}, bad
        assert texts[1].startswith("# ?\\[2Jann?????????\t\\| last\n")
        assert "\t|\nlast\n```" in texts[1]  # a tab and lines of code are kept


def test_a_fault_of_the_grader_costs_one_submission_and_is_named(
    course: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(base: Base, notebook: Path, sandbox: Sandbox) -> Grade:
        if notebook.parent.name == "ann":
            raise KeyError("x")
        return grade(base, notebook, Passing(LIMITS))

    monkeypatch.setattr(command, "grade", faulty)
    for name in ("ann", "bob"):
        weave.write(submission(course), tmp_path / name / "things.ipynb")
    results = graded(tmp_path)
    assert results["ann"].status == "not graded"
    assert (results["ann"].grade.points, results["ann"].grade.of) == (0, 10)
    assert results["ann"].grade.problem == "the grader itself has failed: KeyError: 'x'"
    assert results["bob"].grade.points == 10


def test_an_interruption_keeps_the_results_so_far(course: Lesson, tmp_path: Path) -> None:
    for name in "abc":
        weave.write(submission(course), tmp_path / "class" / name / "things.ipynb")

    def interrupt(done: int, of: int, result: Result) -> None:
        os.kill(os.getpid(), 15)

    results, complete = command.run([tmp_path / "class"], limits=LIMITS, jobs=1,
                                    table=tmp_path / "t.csv", progress=interrupt)  # fmt: skip
    assert not complete
    assert 1 <= len(results) < 3
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 1 + len(results)
