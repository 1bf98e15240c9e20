"""The glass model as a static page in Chromium: Pyodide, the library and the model in a worker."""

from pathlib import Path

import numpy as np
import pytest
from devtools import Chromium, Page, served
from helpers import pyodide_folder

from tinytorch.inspection import probabilities, site
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT

IDS = [2, 5, 1, 7, 7, 3]  # "ad ffb"
CHIPS = "document.querySelectorAll('#tokens .chip').length"
QUIET = "!document.querySelector('[aria-busy]')"
BARS = "document.querySelectorAll('#next .bars li').length"


@pytest.mark.slow
@pytest.mark.xdist_group("chromium")
def test_the_model_answers_in_the_browser_alone(run: Path, tmp_path: Path, model: GPT) -> None:
    site.write(tmp_path / "www", run, pyodide_folder())
    with Chromium() as browser:
        with served(tmp_path / "www") as address:
            page = browser.open(address, 375, 700)
            page.wait(BARS, 120)
            loaded = len(page.requests)
            use_every_view(page, model)
            drop(page, run / "checkpoint.safetensors")
            assert page.errors == []
            assert page.evaluate("document.querySelector('#error').hidden")
            assert len(page.requests) == loaded  # nothing is asked for after loading
            assert all(r.startswith((address, f"blob:{address}")) for r in page.requests)
        page.go(address)  # without the server: from the browser's own copies
        page.wait(BARS, 120)
        assert page.text("#about").startswith("tinygpt")
        assert page.errors == []
        page.close()


def use_every_view(page: Page, model: GPT) -> None:
    """Type, write, and go through the views with the keyboard; train a model."""
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
    page.evaluate("document.querySelector('#tab-next').focus()")
    for view, ready in (("attention", ".maps button"), ("lens", "td"), ("heads", ".card"),
                        ("embeddings", "svg text.here"), ("training", "textarea")):  # fmt: skip
        page.press("ArrowRight")
        page.wait(f"document.querySelector('#{view} .view {ready}') && {QUIET}")
    page.click("#training .controls button")
    page.set("#training input[type=number]", 10)
    page.evaluate("document.querySelector('#training button.primary').focus()")
    page.press("Enter")
    page.wait("document.querySelector('#training [role=status]').innerText.endsWith('Done.')")


def drop(page: Page, file: Path) -> None:
    """Drop a checkpoint on the page."""
    page.evaluate(
        "(() => { const data = new DataTransfer();"
        f" data.items.add(new File([new Uint8Array({[*file.read_bytes()]})], 'mine.safetensors'));"
        " dispatchEvent(new DragEvent('drop', {dataTransfer: data, cancelable: true})); })()"
    )
    page.wait("document.querySelector('#about').innerText.startsWith('mine.safetensors:')")
