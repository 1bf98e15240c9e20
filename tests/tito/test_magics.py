"""Commands of IPython in the cells of exercises neither stop an export nor a test."""

import ast

import pytest

from tinytorch.tito.magics import without_commands

FUNCTION = "def f(x):\n    return x"


@pytest.mark.parametrize(
    "source",
    [
        f"%matplotlib inline\n{FUNCTION}",
        f"{FUNCTION}\n%timeit f(3)",
        f"{FUNCTION}\nf?\n?f\nf??",
        f"!pip install it's\n!echo (\n{FUNCTION}",
        f"%%time\n{FUNCTION}",
        f"\n%%capture out\n{FUNCTION}\n%load_ext autoreload",
        "def f(x):\n    %timeit x\n    !ls\n    return x",
        "def f(x):\n    %timeit x\ny = 1",
        f"%time y = 3\nif y:\n    %time 1\nelse:\n    ?f\n{FUNCTION}",
    ],
)
def test_commands_are_replaced_line_by_line(source: str) -> None:
    python = without_commands(source)
    names = {n.name for n in ast.parse(python).body if isinstance(n, ast.FunctionDef)}
    assert names == {"f"}
    assert len(python.split("\n")) == len(source.split("\n"))


@pytest.mark.parametrize(
    "source",
    [
        FUNCTION,
        'x = """\n%matplotlib inline\n!ls\n"""',
        "x = (5\n% 3)",
        "x = 5 \\\n% 3",
        "files = !ls",
        f"%%bash\n{FUNCTION}",
        f"%%writefile f.py\n{FUNCTION}",
        f"%%timeit\n{FUNCTION}",
        "def f(x:\n    %ls",
        f"{FUNCTION}\n\0",
        "",
        "\n",
        "x = " + "(" * 1000,
    ],
)
def test_other_sources_are_unchanged(source: str) -> None:
    assert without_commands(source) == source
