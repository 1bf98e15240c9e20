"""Scripts for PyTorch train to the same losses in TinyTorch, with only their imports exchanged.

Each script defines

- ``build()``: a module, or a dict or list of modules and tensors;
- ``train(model, steps)``: the losses, a list of numbers;
- ``report(model)``: prints results, which are compared;
- ``sample(model)``, optional: random results, of which only the size is compared.
"""

import contextlib
import functools
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch_names
from helpers import require

import tinytorch
from tinytorch.backends import registry

torch = require("torch")

FOLDER = Path(__file__).parent
SCRIPTS = {p.stem: p for p in sorted(FOLDER.glob("*.py")) if p != Path(__file__)}
STEPS = 50
# Changing the initial weights by one part in a million changes no loss by more than 1.1e-5.
TOLERANCE = 2e-4
# These name no device, so that the default backend runs them.
ON_DEFAULT_BACKEND = ["bigram", "autoencoder", "linear_regression", "lora", "softmax_regression"]
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass
class Result:
    weights: Any  # before training
    losses: list[float]
    printed: str
    sample_shape: tuple[int, ...]


def exchange_imports(source: str) -> str:
    """Return a script for PyTorch with its import lines changed to import TinyTorch."""
    source = re.sub(r"^import torch$", "import tinytorch as torch", source, flags=re.MULTILINE)
    return re.sub(r"^(import|from) torch\b", r"\1 tinytorch", source, flags=re.MULTILINE)


def load(path: Path, exchange: Callable[[str], str] = str) -> ModuleType:
    """Run a script's definitions, with its source changed by `exchange`."""
    module = ModuleType(path.stem)
    exec(compile(exchange(path.read_text("utf-8")), str(path), "exec"), module.__dict__)
    return module


def weights_of(model: Any) -> Any:
    """A PyTorch model's tensors as NumPy arrays, in the same dicts and lists."""
    if hasattr(model, "state_dict"):
        return {name: value.numpy().copy() for name, value in model.state_dict().items()}
    if isinstance(model, dict):
        return {name: weights_of(part) for name, part in model.items()}
    if isinstance(model, list):
        return [weights_of(part) for part in model]
    return model.detach().numpy().copy()


def set_weights(model: Any, values: Any) -> None:
    """Write what `weights_of` returned to a model of TinyTorch."""
    if hasattr(model, "state_dict"):
        model.load_state_dict({name: tinytorch.Tensor(value) for name, value in values.items()})
    elif isinstance(model, dict):
        for name, part in model.items():
            set_weights(part, values[name])
    elif isinstance(model, list):
        for part, value in zip(model, values, strict=True):
            set_weights(part, value)
    else:
        with tinytorch.no_grad():
            model[...] = values


def run(script: ModuleType, weights: Any = None) -> Result:
    """Build, train and report, from the given weights or from the script's own."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        model = script.build()
        if weights is None:
            weights = weights_of(model)
        else:
            set_weights(model, weights)
        losses = script.train(model, STEPS)
        script.report(model)
    sample = script.sample(model) if hasattr(script, "sample") else ""
    shape = (len(sample),) if isinstance(sample, str) else np.shape(sample)
    return Result(weights, losses, printed.getvalue(), tuple(shape))


@functools.cache
def expected(name: str) -> Result:
    """What a script computes with PyTorch on the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        return run(load(SCRIPTS[name]))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A function that sets the default backend, and whether scripts find a GPU."""

    def choose(name: str, cuda: bool = False) -> None:
        monkeypatch.setenv("TT_BACKEND", name)
        registry._named_by_environment.cache_clear()
        if hasattr(tinytorch, "cuda"):
            monkeypatch.setattr(tinytorch.cuda, "is_available", lambda: cuda)

    yield choose
    registry._named_by_environment.cache_clear()


def check(actual: Result, wanted: Result) -> None:
    assert len(actual.losses) == len(wanted.losses)
    np.testing.assert_allclose(actual.losses, wanted.losses, rtol=TOLERANCE)
    check_printed(actual.printed, wanted.printed)
    assert actual.sample_shape == wanted.sample_shape


def check_printed(actual: str, wanted: str) -> None:
    """Compare the text exactly, except how a shape is printed, and the numbers approximately."""
    actual, wanted = (re.sub(r"torch\.Size\(\[(.*?)\]\)", r"(\1)", t) for t in (actual, wanted))
    assert NUMBER.sub("#", actual) == NUMBER.sub("#", wanted), f"{actual}\n-- PyTorch:\n{wanted}"
    numbers = [[float(n) for n in NUMBER.findall(text)] for text in (actual, wanted)]
    np.testing.assert_allclose(*numbers, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", SCRIPTS)
def test_loss_falls_in_pytorch(name: str) -> None:
    losses = expected(name).losses
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_computes_the_same_as_in_pytorch(name: str, use: Callable[[str], None]) -> None:
    wanted = expected(name)
    use("numpy")
    check(run(load(SCRIPTS[name], exchange_imports), wanted.weights), wanted)


@pytest.mark.parametrize("name", ON_DEFAULT_BACKEND)
def test_script_runs_on_the_strict_backend(
    name: str, use: Callable[[str], None], strict: str
) -> None:
    wanted = expected(name)
    use(strict)
    check(run(load(SCRIPTS[name], exchange_imports), wanted.weights), wanted)


@pytest.mark.parametrize("name", [*ON_DEFAULT_BACKEND, "digits_mlp", "gpt_heads"])
def test_script_runs_on_cupy(name: str, use: Callable[..., None], cupy_fp32: str) -> None:
    wanted = expected(name)
    if name in ON_DEFAULT_BACKEND:
        use(cupy_fp32)
    else:
        use("numpy", cuda=True)
    check(run(load(SCRIPTS[name], exchange_imports), wanted.weights), wanted)


def test_only_import_lines_are_exchanged() -> None:
    for path in SCRIPTS.values():
        before = path.read_text("utf-8").splitlines()
        after = exchange_imports("\n".join(before)).splitlines()
        changed = [b for a, b in zip(before, after, strict=True) if a != b]
        assert changed
        assert all(line.startswith(("import tinytorch", "from tinytorch")) for line in changed)


def test_names_that_the_scripts_use_are_in_tinytorch() -> None:
    names = torch_names.count(SCRIPTS.values())
    table = torch_names.summary(names)
    print(table)
    present = sum(map(torch_names.in_tinytorch, names))
    assert present >= 0.9 * len(names), table
