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
    to = tmp_path / "www"
    output = look(run, "--to", to)
    assert f"python -m http.server --directory {to}" in output
    written = {path.relative_to(to / "glass") for path in (to / "glass").rglob("*.*")}
    assert written == {p.relative_to(PAGE) for p in PAGE.rglob("*.*")} | {Path(site.MODEL)}
    html = (to / "glass" / "index.html").read_text(encoding="utf-8")
    assert '<meta name="transport" content="worker">' in html
    assert (to / "static" / "python.js").is_file()  # what worker-link.js imports
    assert (to / "site.json").is_file()
    expected, model = load_model(run)[0].state_dict(), load_model(to / "glass" / site.MODEL)[0]
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), expected[name].numpy())


def test_a_site_that_is_there_keeps_its_python(run: Path, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "site.json").write_text("{}", encoding="utf-8")
    look(run, "--to", tmp_path / "www")
    assert (tmp_path / "www" / "site.json").read_text(encoding="utf-8") == "{}"
    assert (tmp_path / "www" / "glass" / "index.html").is_file()


def test_nothing_else_is_overwritten(run: Path, tmp_path: Path) -> None:
    output = look(run, "--to", run, code=1)  # a folder with a checkpoint
    assert "holds something else than a site; choose another folder" in output
    output = look(tmp_path / "nothing", "--to", tmp_path / "www", code=1)
    assert "there is no checkpoint" in output
    assert not (tmp_path / "www").exists()
