"""The percent format: cells of a notebook in a Python file."""

import pytest

from tinytorch.tito import percent

TEXT = '''# ---
# jupyter:
#   kernelspec:
#     name: python3
# ---

# %% [markdown]
# # A title
#
# A line with `#`, and
#   an indented one.

# %% [markdown] instructor=true points=2
# An answer.
# %% exercise="12.1" name="a \\"b\\" = c"
#: a comment
x = """
# %no cell

    """


# %%
'''


def test_cells_have_types_sources_and_metadata() -> None:
    assert [(c.type, c.source, c.metadata) for c in percent.read(TEXT)] == [
        ("markdown", "# A title\n\nA line with `#`, and\n  an indented one.", {}),
        ("markdown", "An answer.", {"instructor": True, "points": 2}),
        ("code", '#: a comment\nx = """\n# %no cell\n\n    """',
         {"exercise": "12.1", "name": 'a "b" = c'}),
        ("code", "", {}),
    ]  # fmt: skip


def test_code_before_the_first_cell_is_a_cell() -> None:
    cells = percent.read("\nimport math\n\n# %% [markdown]\n# Text.\n")
    assert [(c.type, c.source) for c in cells] == [("code", "import math"), ("markdown", "Text.")]
    assert percent.read("") == percent.read("\n \n") == []


@pytest.mark.parametrize(
    "line", ["exercise=", "exercise 12.1", 'exercise="12.1', "points=two", "points", "= 1", "a=b=c"]
)
def test_metadata_that_are_not_names_with_values_are_errors(line: str) -> None:
    with pytest.raises(ValueError, match=r"# %%|JSON"):
        percent.read(f"# %% {line}\nx = 1\n")
