"""Every `>>>` example in the docstrings of the package runs and shows its true output."""

import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import tinytorch

ROOT = Path(tinytorch.__file__).parent
MODULES = [
    ".".join(("tinytorch", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def examples(module: ModuleType) -> Iterator[doctest.DocTest]:
    """The docstrings with examples of a module; those of decorated functions and ops too."""
    names = vars(module)
    if ">>> " in (module.__doc__ or ""):
        parser, name = doctest.DocTestParser(), module.__name__
        yield parser.get_doctest(module.__doc__ or "", dict(names), name, module.__file__, 0)
    for name, value in list(names.items()):
        target = inspect.unwrap(value) if hasattr(value, "__wrapped__") else value
        if getattr(target, "__module__", None) == module.__name__ and hasattr(target, "__name__"):
            finder = doctest.DocTestFinder(exclude_empty=True)
            # module=False: the finder's own test of where an object is from misses ops.
            found = finder.find(target, f"{module.__name__}.{name}", module=False, globs=names)
            yield from (test for test in found if test.examples)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(name)
    tests = list(examples(module))
    runner = doctest.DocTestRunner(verbose=False)
    for test in tests:
        runner.run(test)
    assert runner.failures == 0, capsys.readouterr().out
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert sum(len(test.examples) for test in tests) == source.count(">>> ")
