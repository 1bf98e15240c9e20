"""Every `>>>` example in the docstrings of the package runs and shows its true output."""

import contextlib
import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import tinytorch
from tinytorch import backends


def names_of_modules_with_examples() -> Iterator[str]:
    for package in (tinytorch, backends):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            is_link = package is tinytorch and parts[0] == "backends"
            if not is_link and ">>> " in path.read_text(encoding="utf-8"):
                yield ".".join((package.__name__, *parts)).removesuffix(".__init__")


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
            yield from (test for test in found if test.examples and is_own(module, test.name))


def is_own(module: ModuleType, name: str) -> bool:
    """Whether a class's attribute is from this module, not one that the class only refers to."""
    value: object = module
    for part in name.removeprefix(f"{module.__name__}.").split("."):
        value = inspect.getattr_static(value, part)
    return getattr(value, "__module__", module.__name__) == module.__name__


@pytest.mark.parametrize("name", list(names_of_modules_with_examples()))
def test_examples_run(
    name: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if ".cupy." in name:
        request.getfixturevalue("fake_cupy")
    module = importlib.import_module(name)
    tests = list(examples(module))
    runner = doctest.DocTestRunner(verbose=False)
    with contextlib.chdir(tmp_path):  # an example may write files
        for test in tests:
            test.globs["__name__"] = "example"  # an op that it declares is not one of the package
            runner.run(test)
    assert runner.failures == 0, capsys.readouterr().out
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert sum(len(test.examples) for test in tests) == source.count(">>> ")
