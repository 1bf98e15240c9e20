"""The site of the lessons in headless Chromium, as a student uses it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from devtools import Chromium, Page, served
from helpers import require

from tinytorch.browser import pages
from tinytorch.tito import inline
from tinytorch.tito.lesson import Lesson, find_root, load

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
    return load(12, find_root(Path(__file__)))


@pytest.fixture(scope="module")
def site(pyodide_folder: Path, lesson: Lesson, tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("latex2mathml")
    folder = tmp_path_factory.mktemp("site") / "www"
    pages.build(lesson.root, folder, pyodide_folder)
    return folder


@pytest.fixture
def browser() -> Iterator[Page]:
    with Chromium() as browser:
        page = browser.open("about:blank")
        yield page
        page.close()


@pytest.mark.slow
@pytest.mark.xdist_group("chromium")
def test_a_student_does_an_exercise(
    site: Path, browser: Page, lesson: Lesson, tmp_path: Path
) -> None:
    solution = lesson.solution(next(c for c in lesson.cells if c.exercise == "12.1"))
    selector = EDITOR.format("12.1")

    def write(text: str) -> str:
        """Write an exercise, press Check, and return what is shown below its test."""
        browser.evaluate(TYPE.format(selector=selector, text=json.dumps(text)))
        browser.evaluate(CHECK.format(selector=selector))
        browser.wait(RESULT.format(selector=selector) + " !== ''")
        return str(browser.evaluate(
            "document.querySelector(\"[aria-label='test 12.1']\")"
            ".closest('.cell').querySelector('.output').textContent"
        ))  # fmt: skip

    with served(site) as address:
        browser.go(f"{address}{pages.name(lesson)}")
        browser.wait("document.documentElement.dataset.python === 'ready'", 300)
        message = write(solution.replace(">=", ">"))
        assert message.startswith("Exercise 12.1, create_causal_mask: the mask of 3 tokens")
        assert "likely cause: row t is True up to and including column t" in message
        assert browser.evaluate(RESULT.format(selector=selector)) == "failed"

        assert write(solution) == "Exercise 12.1, create_causal_mask: 8 checks passed\n"
        assert browser.evaluate(RESULT.format(selector=selector)) == "passed"
        notebook = tmp_path / "attention.ipynb"
        notebook.write_text(browser.evaluate(DOWNLOADED), encoding="utf-8")

        browser.go(f"{address}{pages.name(lesson)}")  # again, before Python is ready
        assert browser.evaluate(f'document.querySelector("{selector}").value') == solution
        assert browser.evaluate(RESULT.format(selector=selector)) == "passed"
        assert not browser.errors
    # Without the server: from the browser's own copies.
    browser.go(f"{address}{pages.name(lesson)}")
    browser.wait("document.documentElement.dataset.python === 'ready'", 300)
    assert not browser.errors

    outcomes = inline.run(lesson, notebook)
    assert {o.exercise for o in outcomes if o.status == "passed"} == {"12.1"}


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
