"""The glass model as a static page: `tito look --to`."""

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from tinytorch.inspection import site
from tinytorch.inspection.server import PAGE
from tinytorch.tinygpt import load_model
from tinytorch.tito import cli


def look(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(cli.app, ["look", *map(str, words)], env={"COLUMNS": "300"})
    assert done.exit_code == code, done.output
    return done.output


def test_the_page_is_written_with_its_model_and_the_library(run: Path, tmp_path: Path) -> None:
    to = tmp_path / "site" / "model"
    for _ in range(2):  # an earlier one is replaced
        output = look(run, "--to", to)
        assert not (to / "old.html").exists()
        (to / "old.html").touch()
    assert f"python -m http.server --directory {to}" in output
    assert [path.name for path in to.parent.iterdir()] == ["model"]
    page = {path.relative_to(PAGE) for path in PAGE.rglob("*.*")}
    assert page <= {path.relative_to(to) for path in to.rglob("*.*")}
    html = (to / "index.html").read_text(encoding="utf-8")
    assert '<meta name="transport" content="worker">' in html
    assert (to / "static" / "python.js").is_file()  # what worker-link.js imports
    assert (to / "site.json").is_file()
    expected, model = load_model(run)[0].state_dict(), load_model(to / site.MODEL)[0]
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), expected[name].numpy())


def test_nothing_else_is_overwritten(run: Path, tmp_path: Path) -> None:
    output = look(run, "--to", run, code=1)  # a folder with a checkpoint
    assert "holds something else; choose another folder" in output
    lessons = tmp_path / "lessons"
    lessons.mkdir()
    (lessons / "site.json").touch()
    assert "holds something else" in look(run, "--to", lessons, code=1)
    output = look(tmp_path / "nothing", "--to", tmp_path / "www", code=1)
    assert "there is no checkpoint" in output
    assert not (tmp_path / "www").exists()
