"""The glass model as a static page: `tito look --to`, `tito site build`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import require
from typer.testing import CliRunner

from tinytorch.inspection import Session, site
from tinytorch.inspection.server import PAGE
from tinytorch.inspection.subject import training_of
from tinytorch.tinygpt import load_model
from tinytorch.tito import cli


def look(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(cli.app, ["look", *map(str, words)], env={"COLUMNS": "300"})
    assert done.exit_code == code, done.output
    return done.output


def site_build(*words: object, code: int = 0) -> str:
    command = ["site", "build", *map(str, words)]
    done = CliRunner().invoke(cli.app, command, env={"COLUMNS": "300"})
    assert done.exit_code == code, done.output
    return done.output


def test_the_page_is_written_with_its_model_and_the_library(run: Path, tmp_path: Path) -> None:
    to = tmp_path / "site" / "model"
    for _ in range(2):  # an earlier one is replaced
        output = look(run, "--to", to)
    assert f"python -m http.server --directory {to}" in output
    assert [path.name for path in to.parent.iterdir()] == ["model"]
    page = {path.relative_to(PAGE) for path in PAGE.rglob("*.*")}
    assert page <= {path.relative_to(to) for path in to.rglob("*.*")}
    html = (to / "index.html").read_text(encoding="utf-8")
    assert '<meta name="transport" content="worker" data-runtime="./">' in html
    assert (to / "static" / "python.js").is_file()  # what worker-link.js imports
    assert (to / "site.json").is_file()
    expected, model = load_model(run)[0].state_dict(), load_model(to / site.MODEL)[0]
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), expected[name].numpy())
    kept = files_kept(to)
    assert {"./", "app.js", "views/lens.js", "static/python.js", "site.json"} <= kept
    assert site.MODEL not in kept  # not before the page is opened


def files_kept(folder: Path) -> set[str]:
    """The files that the service worker keeps from the beginning."""
    first = (folder / "service-worker.js").read_text(encoding="utf-8").splitlines()[0]
    return {*json.loads(first.removeprefix("const SITE = ").rstrip(";"))["files"]}


@pytest.mark.slow
def test_the_site_trains_its_model_and_both_parts_share_what_runs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("latex2mathml")
    text = tmp_path / "tinyshakespeare" / "input.txt"
    text.parent.mkdir()
    text.write_text("A rose by any other name would smell as sweet.\n" * 80)
    monkeypatch.setenv("TT_DATA_HOME", str(tmp_path))
    to = tmp_path / "www"
    output = site_build("--to", to, "--steps", 3)
    sentence = (
        "Trained for 3 steps on tinyshakespeare (not the canonical text), 3,760 characters: loss"
    )
    assert f"\n{sentence}" in output
    assert "15 pages; any web server can serve this folder" in output
    assert (to / "model" / site.MODEL).stat().st_size < 2_000_000
    about = json.loads(Session(to / "model" / site.MODEL).handle('{"do": "about"}'))["result"]
    assert about["training"].startswith(sentence)
    assert about["parameters"] > 400_000
    assert 'href="model/"' in (to / "index.html").read_text(encoding="utf-8")
    html = (to / "model" / "index.html").read_text(encoding="utf-8")
    assert '<meta name="transport" content="worker" data-runtime="../">' in html
    assert {"./", "model/", "model/app.js", "12_attention.html"} <= files_kept(to)
    assert not (to / "model" / "static").exists()
    site_build("--to", to, "--lessons-only")
    assert not (to / "model").exists()
    assert 'href="model/"' not in (to / "index.html").read_text(encoding="utf-8")


def test_a_site_without_a_text_or_a_model_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinytorch.browser.pages.write", lambda *words: [])
    monkeypatch.setenv("TT_DATA_HOME", str(tmp_path))
    text = tmp_path / "tinyshakespeare" / "input.txt"
    text.parent.mkdir()
    text.write_text("too short")
    for words, expected in (
        ([], "the text is too short"),
        (["--model", tmp_path], "there is no checkpoint"),
    ):
        assert expected in site_build("--to", tmp_path / "www", *words, code=1)
        assert not (tmp_path / "www").exists()
    for words, expected in (
        (["--to", tmp_path], "holds something else than a site"),
        (["--to", tmp_path / "www", "--pyodide", tmp_path], "is not Pyodide"),
    ):
        output = site_build(*words, code=1)
        assert expected in output
        assert "Training" not in output  # not before all else is there


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"dataset": "poems.txt", "step": 3000}, "Trained on poems.txt for 3,000 steps"),
        ({"dataset": "poems.txt", "step": "x"}, "Trained on poems.txt"),
        ({"dataset": ["poems"], "step": 1}, ""),
        ({"training": "by hand", "dataset": "poems.txt"}, "by hand"),
        ({"training": 5}, ""),
    ],
)
def test_a_checkpoint_says_how_it_was_trained(metadata: dict[str, Any], expected: str) -> None:
    assert training_of(metadata) == expected


def test_nothing_else_is_overwritten(run: Path, tmp_path: Path) -> None:
    output = look(run, "--to", run, code=1)  # a folder with a checkpoint
    assert "holds something else than a site; choose another folder" in output
    lessons = tmp_path / "lessons"
    lessons.mkdir()
    (lessons / "site.json").touch()
    assert "holds something else" in look(run, "--to", lessons, code=1)
    output = look(tmp_path / "nothing", "--to", tmp_path / "www", code=1)
    assert "there is no checkpoint" in output
    assert not (tmp_path / "www").exists()
