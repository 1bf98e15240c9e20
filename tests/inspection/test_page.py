"""The page of the glass model in Chromium, with the server of `tito look` behind it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from devtools import Chromium, Page

from tinytorch.autograd import no_grad
from tinytorch.inspection import Session, ablated_heads, probabilities, record
from tinytorch.inspection.server import Server
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]
TEXT = "bad cafe fade"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Chromium, running: Server) -> Iterator[Page]:
    """The page, with `TEXT` in its field, on a phone's screen."""
    page = browser.open(running.address, 375, 700)
    page.wait("document.querySelectorAll('#next .bars li').length")
    page.set("#prompt", TEXT)
    page.wait(f"document.querySelectorAll('#tokens .chip').length === {len(TEXT)}")
    yield page
    assert page.errors == []
    assert all(request.startswith((address(running), "data:")) for request in page.requests)
    page.close()


def address(running: Server) -> str:
    return running.address.partition("#")[0]


def show(page: Page, view: str, ready: str) -> None:
    """Choose a tab, and wait until its view has a certain element."""
    page.click(f"#tab-{view}")
    page.wait(f"document.querySelector('#{view} .view {ready}')")
    settle(page)


def settle(page: Page) -> None:
    page.wait("!document.querySelector('[aria-busy]')")


def shares(page: Page, selector: str) -> list[float]:
    """The numbers behind bars, as percentages."""
    code = f"[...document.querySelectorAll('{selector} .number')].map((e) => e.innerText)"
    return [float(text.strip("<%")) for text in page.evaluate(code)]


@no_grad()
def expected(model: GPT, text: str = TEXT, temperature: float = 1.0, top_k: int | None = None):
    ids = [2 + ord(c) - ord("a") if c != " " else 1 for c in text]
    logits = model(Tensor([ids])).numpy()[0, -1]
    return 100 * np.sort(probabilities(logits, temperature, top_k))[::-1][:12]


def test_the_bars_follow_text_temperature_and_top_k(page: Page, model: GPT) -> None:
    page.set("#temperature", 1)
    page.wait("document.querySelector('#temperature-value').innerText === '1.00'")
    settle(page)
    np.testing.assert_allclose(shares(page, "#next"), expected(model), atol=0.51)
    page.set("#temperature", 0.5)
    page.set("#topk", 3)
    page.wait("document.querySelector('#next .muted').innerText.startsWith('3 tokens')")
    settle(page)
    np.testing.assert_allclose(shares(page, "#next"), expected(model, TEXT, 0.5, 3), atol=0.51)
    page.set("#prompt", "a")
    page.wait("document.querySelectorAll('#tokens .chip').length === 1")
    settle(page)
    np.testing.assert_allclose(shares(page, "#next"), expected(model, "a", 0.5, 3), atol=0.51)


def test_it_writes_what_generate_writes(page: Page, session: Session) -> None:
    page.click("#one")
    page.wait(f"document.querySelectorAll('#tokens .chip').length === {len(TEXT) + 1}")
    page.click("#write")
    page.wait("document.querySelectorAll('#tokens .chip').length === 16")  # the context
    page.wait("!document.querySelector('#error').hidden")
    assert page.text("#error").startswith("the text fills the model's context of 16 tokens")
    assert page.text("#write") == "Write"
    ids = session.tokenizer.encode(TEXT)
    written = session.model.generate(ids, 3, temperature=0.8, seed=1)
    assert page.evaluate("document.querySelector('#prompt').value") == session.tokenizer.decode(
        written.numpy()
    )
    page.click("#back")
    page.wait(f"document.querySelectorAll('#tokens .chip').length === {len(TEXT)}")
    page.wait("document.querySelector('#error').hidden")
    assert page.evaluate("document.querySelector('#prompt').value") == TEXT


def test_attention_is_drawn_for_the_chosen_head_and_token(
    page: Page, session: Session, model: GPT
) -> None:
    show(page, "attention", ".maps button")
    assert page.evaluate("document.querySelectorAll('.maps button').length") == 4
    page.click(".maps button[aria-label='Block 2, head 1']")
    page.evaluate("document.querySelector('#tokens').focus()")
    page.press("ArrowLeft", "ArrowLeft")
    page.wait("document.querySelector('#chosen').innerText.includes('at 11')")
    settle(page)
    attention = record(model, session.tokenizer.encode(TEXT)).attention[1, 0, 10]
    code = "[...document.querySelectorAll('#attention .bars .number')].map((e) => e.innerText)"
    found = [text.split("% at ") for text in page.evaluate(code)]
    best = np.argsort(-attention)[:5]
    np.testing.assert_allclose([float(p.strip("<")) for p, _ in found], 100 * attention[best],
                               atol=0.51)  # fmt: skip
    assert [int(place) - 1 for _, place in found] == best.tolist()
    # The picture: the pixel of a query and a key is as opaque as the root of its weight.
    alpha = page.evaluate(
        "(() => { const c = document.querySelector('canvas.map');"
        " return [...c.getContext('2d').getImageData(0, 10, 13, 1).data]"
        ".filter((_, i) => i % 4 === 3); })()"
    )
    np.testing.assert_allclose(alpha, 255 * np.sqrt(attention), atol=1.5)


def test_the_lens_ends_in_the_models_answer(page: Page, model: GPT) -> None:
    show(page, "lens", "td")
    rows = page.evaluate("[...document.querySelectorAll('.lens tr')].map((r) => r.cells.length)")
    assert rows == [14] * 5  # the text, the embedding, two blocks, what follows
    last = "#lens .card:last-child"
    np.testing.assert_allclose(shares(page, last), expected(model)[:5], atol=0.51)
    page.click(".lens tr td:nth-of-type(3)")
    page.wait("document.querySelector('#chosen').innerText.includes('“d” at 3')")


def test_a_head_is_knocked_out_in_all_views_and_restored(
    page: Page, session: Session, model: GPT
) -> None:
    show(page, "heads", ".card")
    page.click("#heads .controls button")
    page.wait("document.querySelectorAll('#heads small').length === 4")
    page.evaluate("document.querySelector('[data-head=\"1,0\"]').focus()")
    page.press(" ")
    page.wait("document.querySelectorAll('#heads .card').length === 2")
    settle(page)
    assert page.evaluate("document.activeElement.dataset.head") == "1,0"  # the focus stays
    assert page.evaluate("document.activeElement.ariaChecked") == "false"
    with ablated_heads(model, [(1, 0)]):
        without = expected(model)
    np.testing.assert_allclose(shares(page, ".card:last-child"), without[:8], atol=0.51)
    np.testing.assert_allclose(shares(page, ".card:first-child"), expected(model)[:8], atol=0.51)
    page.set("#temperature", 1)
    show(page, "next", ".bars li")
    np.testing.assert_allclose(shares(page, "#next"), without, atol=0.51)
    page.click("#knocked button")
    page.wait("document.querySelector('#knocked').hidden")
    settle(page)
    np.testing.assert_allclose(shares(page, "#next"), expected(model), atol=0.51)


def test_embeddings_show_the_chosen_tokens_neighbours(page: Page, session: Session) -> None:
    show(page, "embeddings", "svg text.here")
    assert page.evaluate("document.querySelector('#embeddings .here').textContent") == "e"
    assert page.evaluate("document.querySelectorAll('#embeddings svg text').length") == 12
    page.set("#token-of-map", 2)
    page.wait("document.querySelector('#embeddings .here').innerHTML === 'a'")
    assert len(shares(page, "#embeddings")) == 10


# Start, and as soon as the first steps are asked for, pause and go on, twice.
PAUSE_AND_GO_ON = """(() => {
  const ask = window.fetch;
  const pause = document.querySelector("#training button.primary").nextElementSibling;
  let waiting = 0, first = true;
  window.mostAtOnce = 0;
  window.fetch = async (address, options) => {
    if (!options?.body?.includes('"train"')) return ask(address, options);
    window.mostAtOnce = Math.max(window.mostAtOnce, (waiting += 1));
    const answer = ask(address, options);
    if (first) {
      first = false;
      for (let i = 0; i < 4; i += 1) setTimeout(() => pause.click());
    }
    await answer;
    waiting -= 1;
    return answer;
  };
  document.querySelector("#training button.primary").click();
})()"""


def test_a_small_model_is_trained_and_looked_into(page: Page) -> None:
    show(page, "training", "textarea")
    page.click("#training .controls button")  # the example
    page.set("#training input[type=number]", 60)
    page.evaluate(PAUSE_AND_GO_ON)
    page.wait("document.querySelector('#training [role=status]').innerText.endsWith('Done.')")
    page.wait("document.querySelectorAll('.samples li').length === 2")
    heights = page.evaluate(
        "document.querySelector('polyline').getAttribute('points').split(' ')"
        ".map((p) => Number(p.split(',')[1]))"
    )
    assert len(heights) == 60
    assert np.mean(heights[-5:]) > np.mean(heights[:5]) + 20  # downwards
    assert page.evaluate("document.querySelectorAll('circle.validation').length") == 3
    assert page.evaluate("window.mostAtOnce") == 1  # messages to train
    page.evaluate(
        "[...document.querySelectorAll('#training button')]"
        ".find((b) => b.innerText === 'Look into it').click()"
    )
    page.wait("document.querySelector('#about').innerText.startsWith('your text, 60 steps')")
    show(page, "next", ".bars li")


def test_a_checkpoint_is_dropped_and_a_wrong_file_is_a_sentence(page: Page, run: Path) -> None:
    page.evaluate(
        "window.drop = (bytes, name) => { const d = new DataTransfer();"
        " d.items.add(new File([bytes], name));"
        " window.dispatchEvent(new DragEvent('drop', {dataTransfer: d, cancelable: true})); }"
    )
    page.evaluate("drop(new Uint8Array([1, 2, 3]), 'holiday.jpg')")
    page.wait("!document.querySelector('#error').hidden")
    assert page.text("#error").startswith("holiday.jpg is damaged, truncated or not a safetensors")
    assert page.text("#about").startswith(run.name)  # the model is still there
    data = list((run / "checkpoint.safetensors").read_bytes())
    page.evaluate(f"drop(new Uint8Array({data}), 'mine.safetensors')")
    page.wait("document.querySelector('#about').innerText.startsWith('mine.safetensors:')")
    page.wait("document.querySelector('#error').hidden")


def test_what_the_model_cannot_read_is_a_sentence(page: Page) -> None:
    for text, expected in (
        ("café", "the model does not know 'é': its 12 characters are those of"),
        ("a" * 17, "the text has 17 tokens, and the model reads at most 16: shorten it"),
        ("", "the text is empty: type at least one character"),
    ):
        page.set("#prompt", text)
        page.wait(f"document.querySelector('#error').innerText.startsWith({expected!r})")
    page.set("#prompt", "ab")
    page.wait("document.querySelector('#error').hidden")


def test_the_tabs_are_usable_by_keyboard_and_nothing_is_wider_than_a_phone(page: Page) -> None:
    page.evaluate("document.querySelector('#tab-next').focus()")
    for view in ("attention", "lens", "heads", "embeddings", "training", "next"):
        page.press("ArrowRight")
        page.wait(f"document.activeElement.id === 'tab-{view}'")
        settle(page)
        assert page.evaluate("[...document.querySelectorAll('[role=tabpanel]')]"
                             ".filter((p) => !p.hidden).map((p) => p.id)") == [view]  # fmt: skip
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select, textarea')].filter((e) =>"
        " !e.hidden && !(e.innerText || e.ariaLabel || e.labels?.length)).map((e) => e.outerHTML)"
    )
    assert unnamed == []


def test_a_page_without_the_token_says_how_to_open_it(browser: Chromium, running: Server) -> None:
    page = browser.open(address(running))
    page.wait("!document.querySelector('#error').hidden")
    assert "the whole address that tito look has printed" in page.text("#error")
    page.go(running.address)
    page.evaluate("location.reload()")
    page.wait("document.querySelectorAll('#next .bars li').length")  # the token is kept in the tab
    assert "token" not in page.evaluate("location.href")
    page.close()
