"""Cells run as in Jupyter: variables, values, figures, and messages for students."""

import sys
from typing import Any

import pytest
from helpers import require

from tinytorch.browser.session import Session


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A session, with the list of its outputs."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setenv("MPLBACKEND", "agg")  # as the session would set it for all later programs
    outputs: list[dict[str, Any]] = []
    made: Any = Session(outputs.append)
    made.outputs = outputs
    return made


def test_cells_share_variables_and_show_the_last_value(session: Any) -> None:
    assert session.run("x = 2\n")
    assert session.run("print(x)\nx + 1")
    assert session.run("x + 2;")
    assert session.run("# nothing")
    assert session.run("None")
    assert session.outputs == [{"type": "text", "text": "3"}]


def test_commands_of_ipython_are_left_out(session: Any) -> None:
    assert session.run("%matplotlib inline\n!ls\n4")
    assert session.outputs == [{"type": "text", "text": "4"}]


def test_an_error_shows_the_lines_of_the_cell_only(session: Any) -> None:
    assert session.run("def f():\n    return 1 / 0\n")
    assert not session.run("y = 1\nf()")
    (output,) = session.outputs
    assert output["error"]
    assert output["text"].splitlines() == [
        "Traceback (most recent call last):",
        '  File "<cell 2>", line 2, in <module>',
        "    f()",
        '  File "<cell 1>", line 2, in f',
        "    return 1 / 0",
        *(["           ~~^~~"] if sys.version_info >= (3, 11) else []),
        "ZeroDivisionError: division by zero",
    ]
    assert session.run("y")  # what ran before the error is kept


def test_a_syntax_error_shows_its_line(session: Any) -> None:
    assert not session.run("x = 1\nif x\n    pass")
    text = session.outputs[0]["text"]
    assert text.startswith('  File "<cell 1>", line 2\n    if x\n')
    assert text.endswith("SyntaxError: expected ':'")


def test_a_check_shows_its_message_alone(session: Any) -> None:
    session.run("from tinytorch.tito.checks import Exercise\ndef double(x):\n    return x + 1")
    test = (
        'with Exercise("1.1", "double") as check:\n'
        '    check.equal(lambda: double(2), 4, "double(2)", cause="add x, not 1")'
    )
    assert not session.run(test)
    assert session.outputs.pop()["text"] == (
        "Exercise 1.1, double: double(2)\n  expected: 4\n  got:      3\n"
        "  likely cause: add x, not 1"
    )
    session.run("def double(x):\n    return x / 0")
    assert not session.run(test)
    assert "at:       return x / 0  (line 2, in double)" in session.outputs.pop()["text"]
    session.run("def double(x):\n    return x + x")
    assert session.run(test)


def test_exits_and_interrupts_are_errors_of_the_cell(session: Any) -> None:
    assert not session.run("raise SystemExit(3)")
    assert session.outputs[0]["text"].endswith("SystemExit: 3")


@pytest.mark.slow
def test_figures_are_sent_as_pictures(session: Any) -> None:
    matplotlib = require("matplotlib")
    matplotlib.use("agg")
    assert session.run("import matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    (output,) = session.outputs
    assert output["type"] == "image"
    assert output["png"].startswith("iVBOR")
    assert session.run("1")
    assert len(session.outputs) == 2  # the figure is closed
