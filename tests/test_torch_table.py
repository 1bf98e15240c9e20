"""The page of PyTorch's names agrees with the code."""

import re
from pathlib import Path

import pytest
import torch_table
from helpers import require, run_python

TESTS = Path(__file__).parent

torch = require("torch")


def version_of_the_page() -> str:
    found = re.search(r"PyTorch (\d[\d.]*)", torch_table.PAGE.read_text(encoding="utf-8"))
    assert found
    return found[1]


def test_the_page_is_up_to_date() -> None:
    """Otherwise run ``python tests/torch_table.py``."""
    if version_of_the_page() != torch.__version__.split("+")[0]:
        pytest.skip(f"the page is of PyTorch {version_of_the_page()}, not {torch.__version__}")
    # In a process of its own: transformers adds a method to torch.nn.Module.
    page = run_python("import torch_table; print(torch_table.page())", PYTHONPATH=str(TESTS))
    assert torch_table.PAGE.read_text(encoding="utf-8").strip() == page.strip()


def test_missing_and_lacking_names_are_found() -> None:
    rows = {row.name: row for row in torch_table.rows("torch.nn")}
    assert rows["Linear"].status == "same"
    assert rows["Conv3d"].status == "missing"
    assert "without" in torch_table.lacking(lambda x, beta: x, lambda x: x)
    assert torch_table.lacking(lambda input, dim=None: input, lambda x, axis=None: x) == ""
