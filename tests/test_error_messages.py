"""A beginner's errors have messages at least as good as PyTorch's, compared side by side.

Each case is a program that is wrong in both libraries. Ours must name every fact in `facts`: the
values that a beginner needs to find the mistake. ``python tests/test_error_messages.py`` prints the
messages of both libraries.
"""

import textwrap
from dataclasses import dataclass
from typing import Any

import pytest
from helpers import require

import tinytorch

torch = require("torch")


@dataclass
class Case:
    """A wrong program and what its message must contain.

    Attributes:
        code: the program; `torch`, `nn`, `F` and `optim` are those of either library.
        facts: what our message must contain.
        also: what PyTorch's message contains of the same facts, shown for comparison only.
    """

    code: str
    facts: tuple[str, ...]


CASES = {
    "matmul of wrong shapes": Case("torch.ones(2, 3) @ torch.ones(2, 3)", ("(2, 3)",)),
    "input of the wrong size for a linear layer": Case(
        "nn.Linear(4, 2)(torch.ones(8, 3))", ("Linear", "4", "(8, 3)")
    ),
    "images with other channels than a convolution": Case(
        "nn.Conv2d(3, 8, 5)(torch.ones(2, 1, 28, 28))", ("conv2d", "(8, 3, 5, 5)", "(2, 1, 28, 28)")
    ),
    "a kernel larger than the image": Case(
        "nn.Conv2d(3, 8, 5)(torch.ones(2, 3, 4, 4))", ("kernel (5, 5)", "(4, 4)", "padding (0, 0)")
    ),
    "images without channels in max pooling": Case(
        "nn.MaxPool2d(2)(torch.ones(28, 28))", ("max_pool2d", "(N, C, H, W)", "(28, 28)")
    ),
    "flattened images in batch norm": Case(
        "nn.BatchNorm2d(8)(torch.ones(2, 8))", ("BatchNorm2d(8)", "(N, 8, H, W)", "(2, 8)")
    ),
    "a linear layer after a convolution without Flatten": Case(
        "nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(72, 10))(torch.ones(4, 1, 8, 8))",
        ("Linear(72, 10)", "72", "(4, 2, 6, 6)"),
    ),
    "shapes that do not broadcast": Case("torch.ones(2, 3) + torch.ones(4)", ("(2, 3)", "(4,)")),
    "view of the wrong size": Case("torch.ones(2, 3).view(4, 2)", ("(2, 3)", "(4, 2)")),
    "two inferred sizes": Case("torch.ones(6).view(-1, -1)", ("-1",)),
    "cat along other sizes": Case(
        "torch.cat([torch.ones(2, 3), torch.ones(2, 4)], dim=0)", ("(2, 3)", "(2, 4)", "0")
    ),
    "stack of other shapes": Case("torch.stack([torch.ones(2), torch.ones(3)])", ("(2,)", "(3,)")),
    "cat without a list": Case("torch.cat(torch.ones(2), torch.ones(2))", ("cat", "list")),
    "an axis that does not exist": Case("torch.ones(2, 3).sum(dim=2)", ("2", "(2, 3)")),
    "an index that does not exist": Case("torch.ones(3)[5]", ("5", "3")),
    "indexing with floats": Case("torch.ones(3)[torch.tensor([0.0, 1.0])]", ("integer", "float")),
    "floating targets of cross-entropy": Case(
        "F.cross_entropy(torch.ones(4, 3), torch.tensor([0.0, 1.0, 2.0, 0.0]))",
        ("target", "float"),
    ),
    "targets with an extra axis": Case(
        "F.cross_entropy(torch.ones(4, 3), torch.ones(4, 1).long())", ("(4, 3)", "(4, 1)")
    ),
    "a target outside of the classes": Case(
        "F.cross_entropy(torch.ones(2, 3), torch.tensor([0, 3]))", ("target", "3")
    ),
    "batches of two sizes": Case(
        "F.cross_entropy(torch.ones(4, 3), torch.tensor([0, 1]))", ("(4, 3)", "(2,)")
    ),
    "BCE of other shapes": Case(
        "nn.BCELoss()(torch.full((4, 1), 0.5), torch.ones(4))", ("(4, 1)", "(4,)")
    ),
    "floating ids of an embedding": Case(
        "nn.Embedding(10, 4)(torch.ones(2, 3))", ("embedding", "integer", "float32")
    ),
    "an id outside of the embedding": Case("nn.Embedding(10, 4)(torch.tensor([3, 10]))", ("10",)),
    "a forgotten super().__init__()": Case(
        """
        class Net(nn.Module):
            def __init__(self):
                self.fc = nn.Linear(2, 2)
            def forward(self, x):
                return self.fc(x)
        net = Net()
        net.eval()
        raise SystemExit  # accepted by TinyTorch, where super().__init__() is not needed
        """,
        (),
    ),
    "forward is not defined": Case(
        """
        class Net(nn.Module):
            pass
        Net()(torch.ones(2))
        """,
        ("Net", "forward"),
    ),
    "backward of several elements": Case(
        "(torch.ones(3, requires_grad=True) * 2).backward()", ("(3,)", "gradient")
    ),
    "backward without requires_grad": Case("torch.ones(3).sum().backward()", ("requires_grad",)),
    "backward twice": Case(
        """
        x = torch.ones(3, requires_grad=True)
        loss = (x * x).sum()
        loss.backward()
        loss.backward()
        """,
        ("retain_graph=True",),
    ),
    "gradients of integers": Case(
        "torch.tensor([1, 2, 3], requires_grad=True)", ("float", "int64")
    ),
    "in-place update of a leaf": Case(
        """
        w = torch.ones(3, requires_grad=True)
        w -= 0.1 * w
        """,
        ("leaf", "no_grad"),
    ),
    "a value that a gradient needs was changed": Case(
        """
        x = torch.ones(3, requires_grad=True)
        y = x * 1
        z = (y * y).sum()
        with torch.no_grad():
            y.add_(1)
        z.backward()
        """,
        ("modified", "in place"),
    ),
    "numpy() of a tensor with a gradient": Case(
        """
        import numpy as np
        np.exp(torch.ones(3, requires_grad=True))
        """,
        ("numpy",),
    ),
    "item() of several elements": Case("torch.ones(3).item()", ("one element", "(3,)")),
    "truth of several elements": Case("bool(torch.ones(3) > 0)", ("(3,)", "any()")),
    "an integer sum of a half-written shape": Case("torch.zeros(2.5)", ("integer", "2.5")),
    "an optimizer without parameters": Case("torch.optim.SGD([], lr=0.1)", ("parameters",)),
    "an optimizer of a computed tensor": Case(
        "torch.optim.SGD([torch.ones(2, requires_grad=True) * 2], lr=0.1)", ("SGD", "computed")
    ),
    "a negative learning rate": Case(
        "torch.optim.Adam([torch.ones(2, requires_grad=True)], lr=-1.0)", ("lr", "-1.0")
    ),
    "a state dict of another model": Case(
        "nn.Linear(4, 2).load_state_dict(nn.Linear(4, 3).state_dict())",
        ("weight", "(3, 4)", "(2, 4)"),
    ),
    "missing and unexpected names": Case(
        "nn.Linear(4, 2).load_state_dict({'w': torch.ones(2, 4)})",
        ("weight", "bias", "w is unexpected"),
    ),
    "a probability of dropout above 1": Case("nn.Dropout(1.5)", ("1.5", "1")),
    "heads that do not divide the width": Case("nn.MultiheadAttention(10, 3)", ("10", "3", "divi")),
    "LayerNorm of another width": Case("nn.LayerNorm(8)(torch.ones(2, 6))", ("8", "(2, 6)")),
    "an unknown device": Case("torch.ones(2, device='gpu')", ("gpu", "cuda")),
    "an irregular list": Case("torch.tensor([[1, 2], [3]])", ("[[1, 2], [3]]",)),
    "text instead of numbers": Case("torch.tensor('hello')", ("hello",)),
    "mse_loss with a number": Case("F.mse_loss(torch.ones(3), 1.0)", ("target", "(3,)", "()")),
    "squeeze of an axis out of range": Case("torch.ones(2).squeeze(3)", ("3", "(2,)")),
    "softmax over a missing axis": Case("F.softmax(torch.ones(2), dim=1)", ("1", "(2,)")),
    "gather of floats": Case(
        "torch.ones(2, 3).gather(1, torch.ones(2, 1))", ("gather", "integer", "float32")
    ),
    "a list given to a module": Case("nn.Linear(2, 1)([1.0, 2.0])", ("Linear", "list")),
    "a module as a tensor": Case(
        "nn.Sequential(nn.Linear(2, 2), torch.ones(2))", ("Sequential", "Tensor")
    ),
    "multinomial of negative probabilities": Case(
        "torch.multinomial(torch.tensor([-1.0, 2.0]), 1)", ("multinomial", "negative")
    ),
    "split into wrong sizes": Case("torch.ones(5).split([2, 2])", ("(2, 2)", "5")),
    "a missing name": Case("torch.fft.fftt(torch.ones(4))", ("torch.fft", "docs/pytorch.md")),
    "a misspelt layer": Case("nn.Linaer(2, 2)", ("nn.Linaer", "Linear")),
}


def message(code: str, library: Any) -> str:
    """The type and the text of the error that a program raises with a library."""
    names = {
        "torch": library,
        "nn": library.nn,
        "F": library.nn.functional,
        "optim": library.optim,
    }
    try:
        exec(textwrap.dedent(code), names)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    except SystemExit:
        return "accepted"
    return "no error"


def side_by_side() -> str:
    """The messages of both libraries for every case."""
    lines = []
    for name, case in CASES.items():
        lines += [f"{name}: {textwrap.dedent(case.code).strip()}"]
        lines += [f"    PyTorch    {message(case.code, torch)}"]
        lines += [f"    TinyTorch  {message(case.code, tinytorch)}", ""]
    return "\n".join(lines)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize("name", CASES)
def test_pytorch_raises_an_error(name: str) -> None:
    assert message(CASES[name].code, torch) not in ("no error", "accepted")


@pytest.mark.parametrize("name", CASES)
def test_our_error_names_the_facts(name: str) -> None:
    ours, case = message(CASES[name].code, tinytorch), CASES[name]
    theirs = message(case.code, torch)
    assert ours != "no error", f"PyTorch: {theirs}"
    missing = [fact for fact in case.facts if fact not in ours]
    assert not missing, f"{missing} not in\n{ours}\nPyTorch: {theirs}"
    assert len(ours) < 400, ours


if __name__ == "__main__":
    print(side_by_side())
