"""The files of the site: pages, formulas, the list for offline use, and Pyodide's files."""

import json
import os
import re
from pathlib import Path

import pytest
from helpers import require

from tinytorch.browser import folder as folders
from tinytorch.browser import markdown, pyodide
from tinytorch.tito import site as whole
from tinytorch.tito.lesson import find_root, load

ROOT = find_root(Path(__file__))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the names of Pyodide's files."""
    made = tmp_path / "pyodide"
    made.mkdir()
    packages = {
        "numpy": {"file_name": "numpy.whl", "depends": []},
        "matplotlib": {"file_name": "matplotlib.whl", "depends": ["numpy", "pillow"]},
        "pillow": {"file_name": "pillow.whl", "depends": []},
        "scipy": {"file_name": "scipy.whl", "depends": ["numpy"]},
    }
    lock = {"info": {"version": pyodide.VERSION}, "packages": packages}
    (made / pyodide.LOCK).write_text(json.dumps(lock))
    for name in (*pyodide.CORE, "numpy.whl", "matplotlib.whl", "pillow.whl", "scipy.whl"):
        (made / name).write_text(name)
    return made


def test_formulas_become_mathml_and_code_stays() -> None:
    require("latex2mathml")
    text = markdown.html("Cost $x^2$ and `$5`:\n\n$$ \\frac{a}{b} $$\n\n| a |\n|---|\n| $|x|$ |")
    assert text.count("<math") == 3
    assert "<mo>&#x02212;</mo><mi>&#x0221E;</mi>" in markdown.html(r"$-\infty$")
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in text
    assert 'display="block"' in text
    assert "<code>$5</code>" in text
    assert '<div class="table"><table>' in text


def test_html_in_a_lesson_is_text() -> None:
    require("latex2mathml")
    assert "<script>" not in markdown.html("<script>alert(1)</script> `<b>`")


def test_every_formula_of_the_lessons_is_converted() -> None:
    require("latex2mathml")
    for number in range(1, 14):
        for cell in load(number, ROOT).cells:
            if cell.kind == "markdown":
                text = re.sub(r"<(code|pre)>.*?</\1>", "", markdown.html(cell.source), flags=re.S)
                assert "$" not in text, text[:300]
                assert "\\" not in text, text[:300]


@pytest.mark.slow
def test_a_site_has_all_pages_and_needed_files_only(folder: Path, tmp_path: Path) -> None:
    require("latex2mathml")
    site = tmp_path / "www"
    said: list[str] = []
    whole.build(ROOT, site, folder, None, said.append)
    assert said[0].startswith(f"{site}: 14 pages; any web server")
    settings = json.loads((site / "site.json").read_text())
    assert settings["pyodide"]["url"] == "pyodide/"
    assert set(settings["pyodide"]["hashes"]) == {*pyodide.CORE, pyodide.LOCK}
    assert {p.name for p in (site / "pyodide").iterdir()} == {
        *pyodide.CORE, pyodide.LOCK, "numpy.whl", "matplotlib.whl", "pillow.whl",
    }  # fmt: skip
    text = (site / "12_attention.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json" id="lesson">(.*?)</script>', text, re.S)
    lesson = json.loads(data)
    committed = json.loads((ROOT / "notebooks/12_attention/attention.ipynb").read_text("utf-8"))
    sources = ["".join(cell["source"]) for cell in committed["cells"]]
    assert [cell["source"] for cell in lesson["notebook"]["cells"]] == sources
    for address in re.findall(r'(?:href|src)="([^"#]+)"', text):
        assert (site / address).exists(), address

    worker = (site / "service-worker.js").read_text()
    known = json.loads(worker.splitlines()[0].removeprefix("const SITE = ").rstrip(";"))
    assert {"./", "index.html", "static/lesson.js", "site.json"} <= set(known["files"])
    assert all((site / name).exists() for name in known["files"])
    assert not [name for name in known["files"] if name.startswith("pyodide/")]
    assert known["files"]["./"] == pyodide.integrity(site / "index.html")


def build(to: Path, *names: str) -> None:
    with folders.replacing(to) as made:
        for name in names:
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_text(f"of the site: {name}")


def names(to: Path) -> set[str]:
    return {path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file()}


def test_a_new_site_replaces_the_old_one_and_keeps_files_of_others(tmp_path: Path) -> None:
    to = tmp_path / "www"
    build(to, "index.html", "old.html", "static/old.js")
    (to / "CNAME").write_text("school.example")
    (to / "static" / "mine.css").write_text("p {}")
    (to / "link").symlink_to("CNAME")
    build(to, "index.html", "new/new.html")
    own = {"index.html", "new/new.html", folders.WRITTEN}
    assert names(to) == {*own, "CNAME", "link", "static/mine.css"}
    assert (to / "link").is_symlink()
    assert (to / "CNAME").read_text() == "school.example"
    build(to, "index.html")  # files of others are still theirs
    assert names(to) == {"index.html", folders.WRITTEN, "CNAME", "link", "static/mine.css"}
    assert [path.name for path in tmp_path.iterdir()] == ["www"]


def test_a_checkout_behind_a_link_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, link = tmp_path / "checkout", tmp_path / "www"
    build(to, "index.html", "old/old.html")
    (to / ".git" / "refs").mkdir(parents=True)  # git needs empty folders, too
    (to / ".git" / "hook").write_text("#!/bin/sh")
    (to / ".git" / "hook").chmod(0o755)
    link.symlink_to(to)
    number = (to / ".git").stat().st_ino
    build(link, "index.html")
    monkeypatch.chdir(to)
    build(Path("."), "index.html", "new.html")
    assert link.is_symlink()
    assert (to / ".git").stat().st_ino == number
    assert (to / ".git" / "refs").is_dir()
    assert (to / ".git" / "hook").stat().st_mode & 0o777 == 0o755
    assert {path.name for path in to.iterdir()} == {
        ".git", "index.html", "new.html", folders.WRITTEN,
    }  # fmt: skip


def test_after_an_interrupted_build_another_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "www"
    build(to, "index.html", "old.html")
    (to / "CNAME").write_text("school.example")
    replace, moved = os.replace, []

    def interrupted(source: Path, target: Path) -> None:
        if Path(target).name == "index.html":
            raise KeyboardInterrupt
        moved.append(Path(target).name)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(to, "index.html", "a.html", "z.html")
    assert moved[-2:] == ["a.html", "z.html"]  # before the page that leads to them
    assert names(to) == {"index.html", "a.html", "z.html", folders.WRITTEN, "CNAME"}
    build(to, "index.html")
    assert names(to) == {"index.html", folders.WRITTEN, "CNAME"}


def test_names_that_lead_elsewhere_are_not_removed(tmp_path: Path) -> None:
    to, other = tmp_path / "www", tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    build(to, "index.html")
    (to / "link").symlink_to(other)
    with (to / folders.WRITTEN).open("a") as file:
        file.write(f"../other/mine.txt\nlink/mine.txt\n{other / 'mine.txt'}\n")
    build(to, "index.html")
    assert (other / "mine.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="link is not of an earlier build, and in the way"):
        build(to, "link/index.html")


def test_a_site_that_cannot_be_built_changes_nothing(tmp_path: Path) -> None:
    to = tmp_path / "www"
    build(to, "index.html")
    with pytest.raises(ValueError, match="null"):
        build(to, "index.html", "name\0")
    (to / "12.html").write_text("my own")
    with pytest.raises(ValueError, match=r"12\.html is not of an earlier build, and in the way"):
        build(to, "12.html")
    (to / "12.html").rename(to / "12")
    with pytest.raises(ValueError, match="12 is not of an earlier build, and in the way"):
        build(to, "12/index.html")
    assert (to / "index.html").read_text() == "of the site: index.html"
    assert (to / "12").read_text() == "my own"
    assert [path.name for path in tmp_path.iterdir()] == ["www"]


def test_a_folder_with_something_else_is_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("!")
    for path in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(ValueError, match="holds something else than a site"):
            build(path, "index.html")
    assert names(tmp_path) == {"thesis.txt"}


def test_what_a_folder_of_pyodide_lacks_is_named(folder: Path, tmp_path: Path) -> None:
    def problem() -> str:
        with pytest.raises(pyodide.PyodideError) as caught:
            pyodide.settings(folder, tmp_path / "site")
        return str(caught.value)

    (folder / "pillow.whl").unlink()
    assert problem().endswith("no pillow.whl")
    lock = json.loads((folder / pyodide.LOCK).read_text())
    (folder / pyodide.LOCK).write_text(json.dumps({**lock, "packages": {}}))
    assert problem().endswith("lacks the package numpy")
    (folder / pyodide.LOCK).write_text(json.dumps({**lock, "info": {"version": "0.20.0"}}))
    assert problem().endswith(f"is Pyodide 0.20.0; the site needs {pyodide.VERSION}")
    (folder / pyodide.LOCK).unlink()
    assert problem().endswith(f"it has no {pyodide.LOCK}")
    assert not (tmp_path / "site").exists()


def test_the_public_cdn_is_pinned(pyodide_folder: Path, tmp_path: Path) -> None:
    settings = pyodide.settings(None, tmp_path)
    assert settings["url"].startswith("https://")
    assert f"v{pyodide.VERSION}/" in settings["url"]
    for name in pyodide.CORE:  # the package for tests carries the same files
        assert settings["hashes"][name] == pyodide.integrity(pyodide_folder / name)
    assert pyodide.LOCK in settings["hashes"]
