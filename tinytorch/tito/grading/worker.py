"""The process that runs a student's code: `python -I -S -B worker.py`, started by `sandbox.run`.

Reads a job as JSON from its input, and writes events as JSON, one a line, to its output. Each line
contains the job's nonce. A student's code can neither know the nonce nor write to this output: the
worker keeps the only descriptor of it, and its own variables are in no module that can be imported.

    {"begin": "12.1"}                     a test of an exercise begins
    {"end": "12.1", "error": null}        it has ended; the error, if any, as a text
    {"loaded": null}                      the package was imported; the error, if not
    {"done": true}                        nothing is left to run

A test passes only if its end is reported without an error, so a process that ends early earns
nothing. Integration tests are reported in the same way, by the names that pytest gives them.

The worker loads no code of the package before it is armed, except for `guard`, by its path.
"""

import importlib
import importlib.util
import json
import linecache
import os
import sys
import traceback
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LONGEST = 3000  # characters of an error message
# An exercise may use NumPy's functions, so it is graded with NumPy's arrays only.
NUMPY_ONLY = "not cupy and not strict"
RUNNER = {"pytest", "_pytest"}  # the packages that run the integration tests


class Channel:
    """The output of the worker, which the code of the tests cannot reach."""

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce
        self._file = os.dup(1)
        os.set_inheritable(self._file, False)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        self._write = os.write

    def send(self, **event: Any) -> None:
        data = f"{json.dumps({**event, 'nonce': self._nonce})}\n".encode()
        while data:
            data = data[self._write(self._file, data) :]


class Texts(MetaPathFinder, Loader):
    """Imports the modules of the lesson from texts, as if they were in the files of the copy."""

    def __init__(self, texts: dict[str, str], root: str) -> None:
        self.texts = texts
        self.files = {name: os.path.join(root, *name.split(".")) + ".py" for name in texts}
        for name, text in texts.items():  # lines in messages
            lines = text.splitlines(keepends=True)
            linecache.cache[self.files[name]] = (len(text), None, lines, self.files[name])

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.texts:
            return None
        return importlib.util.spec_from_file_location(name, self.files[name], loader=self)

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        text = self.texts[module.__name__]
        exec(compile(text, self.files[module.__name__], "exec"), vars(module))


def main() -> None:
    job = json.loads(sys.stdin.buffer.read())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    channel = Channel(job["nonce"])
    _limit(job["memory"])
    guard = _load(os.path.join(os.path.dirname(os.path.abspath(__file__)), "guard.py"))
    sys.path[:] = job["path"]
    os.chdir(job["scratch"])
    import numpy  # noqa: F401  before the guard, because it loads shared libraries

    if job["integration"]:
        importlib.import_module("pytest")  # it is in an extra, which type checkers may lack

    finder = Texts(job["texts"], job["root"])
    sys.meta_path.insert(0, finder)
    students = frozenset(finder.files.values())
    refused = guard.arm(students, job["scratch"])
    sys.modules["__main__"] = ModuleType("__main__")
    tests = Tests(job, channel, guard, students, refused)
    if tests.load():
        tests.run_inline(job["inline"])
        if job["integration"]:
            tests.run_integration(job["integration"])
        channel.send(done=True)
    os._exit(0)  # without functions that the tested code has registered for the exit


class Tests:
    """The tests of a lesson, on the code of the job."""

    def __init__(
        self,
        job: dict[str, Any],
        channel: Channel,
        guard: Any,
        students: frozenset[str],
        refused: list[str],
    ) -> None:
        self.job, self.channel, self.guard = job, channel, guard
        self.students, self.refused = students, refused
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.integrity: Any = None
        self.runner: Any = None

    def load(self) -> bool:
        """Import the package and run the cells that come before the tests."""
        self.channel.send(begin="the import of the package")
        try:
            backends = importlib.import_module("tinytorch").backends

            warnings.simplefilter("ignore")  # printing one would read a file
            # Loading a backend uses what is forbidden later.
            for name in ("numpy", "reference", "strict"):
                backends.status(name)
            backends.get().asarray([0.0])
            for module in self.job["texts"]:
                importlib.import_module(module)
            for source in self.job["setup"]:
                exec(compile(source, "<setup>", "exec"), self.names)
        except BaseException as error:
            self.channel.send(loaded=self._message(error))
            return False
        self.channel.send(loaded=None)
        return True

    def watch(self) -> None:
        """From now on, notice changes of functions and classes of others."""
        packages = {"builtins", "math", "numpy", "random", "tinytorch"}
        self.integrity = self.guard.Integrity(self.job["texts"], packages)
        self.runner = self.guard.Integrity(self.job["texts"], RUNNER)
        names = packages | RUNNER
        watched = [m for n, m in list(sys.modules.items()) if n.partition(".")[0] in names]
        self.guard.freeze(watched, self.students)

    def verify(self, within: bool = False) -> None:
        """Raise an error if the tested code has used or changed what it must not.

        Args:
            within: whether a test is running; inline tests do not use pytest.
        """
        if self.refused:
            raise AssertionError(self.refused[0])
        for integrity in [self.integrity] if within else [self.integrity, self.runner]:
            changed = next(integrity.changes(), None)
            if changed is not None:
                raise AssertionError(f"the code has changed {changed}, which is not its own")

    def run_inline(self, tests: list[tuple[str, str]]) -> None:
        """Run the tests of exercises: number and source."""
        checks = sys.modules.pop("tinytorch.tito.checks", None)
        if checks is not None:
            del sys.modules["tinytorch.tito"].checks
            exercise = checks.Exercise
            result = exercise._result

            def verified(*args: Any) -> Any:
                """Verify after each call of the student's code, before its result is compared."""
                try:
                    return result(*args)
                finally:
                    self.verify(within=True)

            exercise._result = verified
        programs = [
            (number, compile(source, f"<test {number}>", "exec")) for number, source in tests
        ]
        self.watch()
        self.names.setdefault("__failed_exercises__", {})
        for number, program in programs:
            self.channel.send(begin=number)
            try:
                exec(program, dict(self.names))
                self.verify()
            except BaseException as error:
                self.channel.send(end=number, error=self._message(error))
            else:
                self.channel.send(end=number, error=None)
            self.refused.clear()

    def run_integration(self, tests: list[str]) -> None:
        """Run files of pytest, or single tests in them."""
        pytest: Any = sys.modules["pytest"]
        outer = self

        class Plugin:
            """Reports each test; only one that has passed in all its phases has passed."""

            def __init__(self) -> None:
                self.errors: dict[str, str | None] = {}

            def pytest_collection_finish(self, session: Any) -> None:
                outer.watch()
                outer.channel.send(collected=[item.nodeid for item in session.items])

            def pytest_runtest_logstart(self, nodeid: str) -> None:
                outer.channel.send(begin=nodeid)
                self.errors[nodeid] = "it has not run"

            def pytest_runtest_logreport(self, report: Any) -> None:
                if (report.when, report.outcome) in (("call", "passed"), ("setup", "skipped")):
                    self.errors[report.nodeid] = None
                elif report.outcome != "passed":
                    self.errors[report.nodeid] = str(report.longrepr)[-LONGEST:]

            def pytest_runtest_logfinish(self, nodeid: str) -> None:
                try:
                    outer.verify()
                except AssertionError as error:
                    self.errors[nodeid] = str(error)
                outer.refused.clear()
                outer.channel.send(end=nodeid, error=self.errors[nodeid])

            def pytest_collectreport(self, report: Any) -> None:
                if report.failed:
                    outer.channel.send(end="collection", error=str(report.longrepr)[-LONGEST:])

        arguments = ["-q", "--tb=short", "--capture=no", "-p", "no:cacheprovider", "-k", NUMPY_ONLY]
        arguments += ["--import-mode=importlib", "--rootdir", os.path.dirname(tests[0])]
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        pytest.main([*arguments, *tests], plugins=[Plugin()])

    def _message(self, error: BaseException) -> str:
        """Format an error: the checker's message, or type and text, with the student's line."""
        if type(error).__name__ in ("ExerciseError", "AssertionError") and str(error):
            text = str(error)
        elif isinstance(error, SystemExit | KeyboardInterrupt):
            text = f"{type(error).__name__}: the code has tried to end the tests"
        else:
            try:
                text = f"{type(error).__name__}: {error}"
            except Exception:
                text = type(error).__name__
        place = self._place(error)
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
        return f"{text}\n  at:       {place}" if place and "\n  at: " not in text else text

    def _place(self, error: BaseException | None) -> str:
        """Return the innermost line of the student's code that an error has passed through."""
        while error is not None:
            for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
                code = frame.f_code
                if code.co_filename in self.students:
                    text = linecache.getline(code.co_filename, line).strip()
                    return f"{text:.200}  (in {code.co_name:.100})"
            error = error.__cause__ or error.__context__
        return ""


def _limit(memory: int) -> None:
    """Limit memory and the size of files; the limits hold for child processes, too."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, value in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_FSIZE, 1 << 24),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (limit, limit))


def _load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("guard", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
