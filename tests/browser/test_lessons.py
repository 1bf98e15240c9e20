"""The site of the lessons in headless Chromium, as a student uses it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from devtools import LONG_LIMIT, Chromium, Page, served, wait_until
from helpers import require

from tinytorch.browser import pages
from tinytorch.browser.folder import replacing
from tinytorch.browser.site import write_runtime, write_service_worker
from tinytorch.tito import inline, weave
from tinytorch.tito.lesson import Lesson, find_root, load
from tinytorch.tito.site import build

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]
ROOT = find_root(Path(__file__))
READY = "document.documentElement.dataset.python === 'ready'"

EDITOR = "[aria-label='exercise {}']"
TYPE = """(() => {{
  const area = document.querySelector("{selector}");
  area.value = {text};
  area.dispatchEvent(new Event("input"));
}})()"""
CHECK = (
    """document.querySelector("{selector}").closest(".cell").querySelector(".bar button").click()"""
)
RESULT = """document.querySelector("{selector}").closest(".cell").dataset.result ?? "" """


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    return load(12, ROOT)


@pytest.fixture(scope="module")
def site(pyodide_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("latex2mathml")
    folder = tmp_path_factory.mktemp("site") / "www"
    build(ROOT, folder, pyodide_folder, None, print)
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with served(site) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Chromium) -> Iterator[Page]:
    page = browser.open("about:blank")
    yield page
    page.close()
    assert not page.errors


def write(page: Page, number: str, text: str) -> None:
    page.evaluate(TYPE.format(selector=EDITOR.format(number), text=json.dumps(text)))


def written(page: Page, number: str) -> str:
    selector = EDITOR.format(number)
    return str(page.evaluate(f'document.querySelector("{selector}").value'))


def check(page: Page, number: str) -> str:
    """Press Check, and return what is shown below the test."""
    selector = EDITOR.format(number)
    page.evaluate(CHECK.format(selector=selector))
    page.wait(RESULT.format(selector=selector) + " !== ''")
    return output(page, number)


def output(page: Page, number: str) -> str:
    selector = f"[aria-label='test {number}']"
    return str(page.evaluate(
        f"document.querySelector(\"{selector}\").closest('.cell')"
        ".querySelector('.output').textContent"
    ))  # fmt: skip


def result(page: Page, number: str) -> str:
    return str(page.evaluate(RESULT.format(selector=EDITOR.format(number))))


def upload(page: Page, text: str) -> None:
    """Choose a file with a text, and agree to what is asked."""
    page.evaluate(
        "(() => { window.confirm = () => true; const data = new DataTransfer();"
        f" data.items.add(new File([{json.dumps(text)}], 'mine.ipynb'));"
        " const field = document.getElementById('file'); field.files = data.files;"
        " field.dispatchEvent(new Event('change')); })()"
    )


def wait_for(page: Page, text: str) -> None:
    page.wait(f"document.getElementById('message').innerText.includes({json.dumps(text)})")


def test_a_student_does_lessons_also_without_a_network(
    site: Path, page: Page, lesson: Lesson, tmp_path: Path
) -> None:
    solution = lesson.solution(next(c for c in lesson.cells if c.exercise == "12.1"))
    with served(site) as address:  # of its own, which ends below
        page.go(f"{address}{pages.name(lesson)}")
        page.wait(READY, 300)
        write(page, "12.1", solution.replace(">=", ">"))
        message = check(page, "12.1")
        assert message.startswith("Exercise 12.1, create_causal_mask: the mask of 3 tokens")
        assert "likely cause: row t is True up to and including column t" in message
        assert result(page, "12.1") == "failed"

        write(page, "12.1", solution)
        assert check(page, "12.1") == "Exercise 12.1, create_causal_mask: 8 checks passed\n"
        assert result(page, "12.1") == "passed"
        later = json.dumps(f"{solution}  # later")
        page.evaluate(EDIT_WHILE_IT_RUNS.format(selector=EDITOR.format("12.1"), text=later))
        page.wait("!document.querySelector('.running')")
        assert "checks passed" in output(page, "12.1")
        assert result(page, "12.1") == ""  # another source was tested
        write(page, "12.1", "def create_causal_mask(:")
        assert check(page, "12.1") == ""  # the function of before is not tested
        assert result(page, "12.1") == "failed"
        write(page, "12.1", solution)
        check(page, "12.1")
        assert result(page, "12.1") == "passed"
        missing = page.evaluate("fetch('of-others.json').then((answer) => answer.status)")
        assert missing == 404
        (site / "of-others.json").write_text("{}")
        assert page.evaluate("fetch('of-others.json').then((answer) => answer.status)") == 200
        (site / "of-others.json").unlink()  # of no build: it is always asked for, and not kept
        assert page.evaluate("fetch('of-others.json').then((answer) => answer.status)") == 404
        page.errors.clear()  # the two files that were not there
        notebook = tmp_path / "attention.ipynb"
        notebook.write_text(page.evaluate(DOWNLOADED), encoding="utf-8")

        page.go(f"{address}{pages.name(lesson)}")  # again, before Python is ready
        assert written(page, "12.1") == solution
        assert result(page, "12.1") == "passed"
    # Without the server: from the browser's own copies.
    page.go(f"{address}{pages.name(load(1, ROOT))}")
    do_a_whole_lesson(page, load(1, ROOT))

    outcomes = inline.run(lesson, notebook)
    assert {o.exercise for o in outcomes if o.status == "passed"} == {"12.1"}


# Press Check, and edit the exercise as soon as a cell runs.
EDIT_WHILE_IT_RUNS = """new Promise((done) => {{
  const area = document.querySelector("{selector}"), box = area.closest(".cell");
  new MutationObserver((_, observer) => {{
    observer.disconnect();
    area.value = {text};
    area.dispatchEvent(new Event("input"));
    done();
  }}).observe(box.parentElement, {{ attributeFilter: ["class"], subtree: true }});
  box.querySelector(".bar button").click();
}})"""


# Prints, is silent for two seconds, and prints without an end.
PRINTS = """import time
print("first")
print("second")
end = time.time() + 2
while time.time() < end:
    pass
while True:
    print("again")"""
# All texts that the output of a cell has after another.
TEXTS = """(() => {{
  const output = document.querySelector("{selector}").closest(".cell").querySelector(".output");
  window.texts = [];
  new MutationObserver(() => {{
    if (window.texts.length < 10) window.texts.push(output.textContent);
  }}).observe(output, {{ childList: true, subtree: true }});
}})()"""


def do_a_whole_lesson(page: Page, lesson: Lesson) -> None:
    """First nothing, then an endless loop that prints, then all exercises."""
    numbers = [c.exercise for c in lesson.cells if c.kind == "exercise"]
    page.wait(READY, 300)
    page.click("#all")
    failed = "document.querySelectorAll('.exercise[data-result=failed]').length"
    page.wait(f"{failed} === {len(numbers)}", LONG_LIMIT)
    for number in numbers:
        assert output(page, number).startswith(f"Exercise {number}, "), number

    write(page, numbers[0], PRINTS)
    page.evaluate(TEXTS.format(selector=EDITOR.format(numbers[0])))
    page.evaluate(CHECK.format(selector=EDITOR.format(numbers[0])))
    page.wait("document.querySelector('.running .output')?.textContent.includes('left out')")
    printed = page.evaluate("document.querySelector('.running .output').textContent.length")
    assert 100_000 <= printed < 100_100
    assert "first\nsecond\n" in page.evaluate("window.texts")  # before the loops
    page.evaluate("delete document.documentElement.dataset.python")
    page.click("#stop")
    page.wait(READY, 300)
    assert not page.evaluate("document.querySelector('.running')")
    assert result(page, numbers[0]) == ""

    for cell in lesson.cells:
        if cell.kind == "exercise":
            write(page, cell.exercise, lesson.solution(cell))
    assert "checks passed" in check(page, numbers[-1])  # runs the exercises above it
    page.click("#all")
    done = f"{len(numbers)} of {len(numbers)} exercises passed"
    page.wait(f"document.getElementById('progress').innerText === {done!r}", LONG_LIMIT)


def test_work_is_uploaded_and_kept_unless_a_tab_is_old_or_the_storage_is_full(
    address: str, page: Page, browser: Chromium, lesson: Lesson
) -> None:
    """Without Python, which these need not wait for."""
    notebook: Any = weave.student(lesson)
    for cell in notebook.cells:
        if cell.metadata.get("tinytorch", {}).get("exercise") == "12.2" and (
            cell.metadata["tinytorch"]["kind"] == "exercise"
        ):
            cell.source = "# mine"
    page.go(f"{address}{pages.name(lesson)}")
    write(page, "12.1", "# lost")
    upload(page, "{")
    wait_for(page, "mine.ipynb: this file is not a notebook")
    upload(page, json.dumps(weave.student(load(1, ROOT))))
    wait_for(page, "mine.ipynb: this is the notebook of lesson 1, not of lesson 12")
    damaged = {"cells": [notebook.cells[0], None]}
    upload(page, json.dumps(damaged))
    wait_for(page, "mine.ipynb: this file is not a notebook: cell 2 is not a cell with a text")
    assert written(page, "12.1") == "# lost"
    split(notebook)
    upload(page, json.dumps(notebook))
    wait_for(page, "mine.ipynb is loaded")
    assert written(page, "12.2") == "# mine\n\n\n# the other half"
    assert written(page, "12.1") != "# lost"
    assert page.evaluate(OWN) == ["first = 1", "second = 2"]
    assert not page.evaluate(ASKS)

    other = browser.open(f"{address}{pages.name(lesson)}")
    assert written(other, "12.2").startswith("# mine")
    write(other, "12.2", "# newer")
    wait_for(page, "changed in another tab")
    write(page, "12.2", "# older")
    wait_for(page, "not kept in this browser: another tab has newer work")
    assert page.evaluate(ASKS)
    assert "# newer" in other.evaluate(STORED)

    other.evaluate(FILL)
    write(other, "12.2", "# " + "long " * 1000)
    wait_for(other, "Your work is not kept in this browser")
    assert "# newer" in other.evaluate(STORED)  # what was kept is still there
    other.evaluate("localStorage.removeItem('fill0')")
    write(other, "12.2", "# " + "long " * 1001)
    wait_for(other, "Your work is kept again")
    assert "long long" in other.evaluate(STORED)
    assert other.evaluate(DAMAGED) == "cell 1 is not a cell with a text"
    other.close()


def split(notebook: Any) -> None:
    """Split the cell of exercise 12.2 as Jupyter does, and add two cells with the same id."""
    place = next(n for n, cell in enumerate(notebook.cells) if cell.source == "# mine")
    half = {**notebook.cells[place], "id": "half", "source": "# the other half"}
    own = {"cell_type": "code", "id": "own", "metadata": {}, "outputs": []}
    notebook.cells[place + 1 : place + 1] = [
        half, {**own, "source": "first = 1"}, {**own, "source": "second = 2"},
    ]  # fmt: skip


OWN = "[...document.querySelectorAll('[aria-label=\"your cell\"]')].map((area) => area.value)"
ASKS = "!dispatchEvent(new Event('beforeunload', { cancelable: true }))"  # before it closes
DAMAGED = """(async () => {
  const { Kept } = await import("./static/notebook.js");
  const kept = new Kept("12_attention");
  const text = '{"cells": [null], "passed": []}';
  localStorage.setItem(kept.key, text);
  const { damage } = kept.read();
  const isKept = kept.setAside() && localStorage.getItem(kept.damagedKey) === text;
  return damage + (isKept ? "" : ", and lost");
})()"""

# The work in the storage, under a key with the address of this site.
STORED = "localStorage.getItem(`tinytorch${location.pathname.replace(/[^/]*$/, '')}12_attention`)"
FILL = """(() => {
  for (let size = 1 << 20, i = 0; size >= 1; ) {
    try { localStorage.setItem(`fill${i}`, "x".repeat(size)); i += 1; } catch { size >>= 1; }
  }
})()"""


def test_a_new_version_of_the_site_replaces_the_copies_as_a_whole(
    page: Page, tmp_path: Path
) -> None:
    to = tmp_path / "www"
    worker = to / "service-worker.js"

    def publish(version: str) -> None:
        with replacing(to) as folder:
            write_runtime(folder)
            (folder / "index.html").write_text(
                f"<!doctype html><link rel=icon href=static/icon.svg><p>{version}</p>"
                "<script type=module src=static/index.js></script>"
            )
            write_service_worker(folder)

    publish("first")
    with served(to) as address:
        page.go(address)
        page.wait("navigator.serviceWorker.controller")
        first = tmp_path / "first.js"
        first.write_bytes(worker.read_bytes())
        publish("half")
        whole = (to / "static" / "style.css").read_text()
        (to / "static" / "style.css").write_text(whole + "/* older */")
        assert page.evaluate(UPDATED) == "redundant"  # a mix is not kept
        publish("second")
        second = worker.rename(tmp_path / "second.js")
        first.rename(worker)  # Chromium looks for a new worker at any time after a navigation
        page.go(address)
        assert page.text("p") == "first"  # whole, and without waiting for the network
        second.rename(worker)
        wait_until(lambda: page.evaluate(WAITING), "the new version to wait")
        assert "first" in page.evaluate("fetch('./').then((found) => found.text())")
        page.go(address)
        page.wait("document.querySelector('p').innerText === 'second'")
        assert len(page.evaluate("caches.keys()")) == 1  # the copies of the first are gone
    page.go(address)
    assert page.text("p") == "second"


UPDATED = """(async () => {
  const registration = await navigator.serviceWorker.getRegistration();
  const found = new Promise((done) => {
    registration.addEventListener("updatefound", () => done(registration.installing));
  });
  await registration.update();
  const worker = await found;
  while (worker.state === "installing") await new Promise((done) => setTimeout(done, 20));
  return worker.state;
})()"""
WAITING = """(async () => {
  const registration = await navigator.serviceWorker.getRegistration();
  if (!registration.waiting) await registration.update();
  return !!registration.waiting;
})()"""


# What the button Download writes, without a file dialog.
DOWNLOADED = """(async () => {
  const { promise, resolve } = (() => {
    let resolve;
    const promise = new Promise((done) => { resolve = done; });
    return { promise, resolve };
  })();
  const create = URL.createObjectURL;
  URL.createObjectURL = (blob) => { blob.text().then(resolve); return create(blob); };
  document.getElementById("download").click();
  URL.createObjectURL = create;
  return promise;
})()"""
