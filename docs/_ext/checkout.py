"""Pages that live elsewhere in the checkout, and the links of all pages to files of the checkout.

Each page has one source, where people who read the repository look for it. Sphinx reads only files
under docs/, so the others are copied to docs/pages/ (ignored by git) before each build. A link to
a file becomes a link to the file's page if it has one; otherwise a link to the repository, or, as
long as pyproject.toml names none, a download.
"""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
COPIES = DOCS / "pages"
LINK = re.compile(r"\[([^\[\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
# What other programs put beside the pages, and where.
PARTS = {"lessons": ("lessons",), "model": ("model", "lessons/model")}


def sources() -> dict[Path, Path]:
    """The files to copy, and where: pages, notebooks and the images of pages."""
    copies = {
        ROOT / "README.md": COPIES / "start.md",
        ROOT / "CHANGELOG.md": COPIES / "changelog.md",
        ROOT / "CONTRIBUTING.md": COPIES / "contributing.md",
        ROOT / "tests" / "benchmarks" / "NOTES.md": COPIES / "benchmark-notes.md",
    }
    for path in sorted((ROOT / "tests" / "benchmarks" / "results").glob("*.md")):
        copies[path] = COPIES / "results" / path.name
    for pattern in ("*.md", "*.png", "*/*.md", "*/*.png"):
        for path in sorted((ROOT / "milestones").glob(pattern)):
            copies[path] = COPIES / path.relative_to(ROOT)
    for path in sorted((ROOT / "notebooks").glob("*/*.ipynb")):
        copies[path] = COPIES / "course" / f"{path.parent.name}.ipynb"
    return copies


def copy_pages(app: Sphinx, config: Config) -> None:
    """Bring docs/pages/ up to date; files that have not changed keep their time."""
    copies = sources()
    for source, copy in copies.items():
        if source.suffix == ".png":
            new = source.read_bytes()
        else:
            new = relinked(source, copy, copies).encode()
        if not copy.exists() or copy.read_bytes() != new:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(new)
    for old in {path for path in COPIES.rglob("*") if path.is_file()} - set(copies.values()):
        old.unlink()


def relinked(source: Path, page: Path, copies: dict[Path, Path]) -> str:
    """The text of a Markdown file or notebook with the links that it needs as `page`."""
    text = source.read_text(encoding="utf-8")
    if source.suffix != ".ipynb":
        below = sorted({path.parent.name for path in copies if path.parent.parent == source.parent})
        entries = [
            f"{name}/README" for name in below if source.parent / name / "README.md" in copies
        ]
        if source.name == "README.md" and source.parent != ROOT and entries:
            text += "\n".join(["\n```{toctree}", ":hidden:", "", *entries, "```", ""])
        return relink(text, source, page, copies)
    notebook: dict[str, Any] = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = relink("".join(cell["source"]), source, page, copies)
    return json.dumps(notebook, indent=1)


def relink(text: str, source: Path, page: Path, copies: dict[Path, Path]) -> str:
    def replace(found: re.Match[str]) -> str:
        text, target, heading = found.groups()
        path = Path(os.path.normpath(source.parent / target))
        if "://" in target or not path.exists():
            return found[0]
        link = address(path, page, copies)
        return text if link is None else f"[{text}]({link}{heading or ''})"

    return LINK.sub(replace, text)


def address(target: Path, page: Path, copies: dict[Path, Path]) -> str | None:
    """The link from a page to a file of the checkout; None for a folder without a page."""
    if target == DOCS / "README.md":
        target = DOCS / "index.md"
    if target.is_dir():  # a folder is shown by its page, if it has one
        pages = [path for path in copies if path.parent == target and path.suffix != ".png"]
        target = pages[0] if pages else target
    target = copies.get(target, target)
    if DOCS not in target.parents or target.is_dir():
        repository = repository_address()
        if repository is not None:
            return f"{repository}/blob/main/{target.relative_to(ROOT).as_posix()}"
        if target.is_dir():
            return None
    return Path(os.path.relpath(target, page.parent)).as_posix()


def repository_address() -> str | None:
    """The repository's address, if pyproject.toml has one."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        urls = tomllib.load(file)["project"].get("urls", {})
    return urls["Repository"].rstrip("/") if "Repository" in urls else None


def relink_own_page(app: Sphinx, docname: str, content: list[str]) -> None:
    """The same for the pages of docs/ itself."""
    page = app.env.doc2path(docname)
    if Path(page).suffix == ".md" and COPIES not in Path(page).parents:
        content[0] = relink(content[0], Path(page), Path(page), sources())


def find_parts(app: Sphinx, config: Config) -> None:
    """Note which other parts of the site already are in the folder of the build."""
    found = {
        part: folder
        for part, folders in PARTS.items()
        for folder in reversed(folders)
        if Path(app.outdir, folder, "index.html").is_file()
    }
    config["site_parts"] = found
    config["html_context"] = {**config.html_context, "site_parts": found}
    for part in found:
        app.tags.add(part)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("site_parts", {}, "env")
    app.connect("config-inited", copy_pages)
    app.connect("config-inited", find_parts)
    app.connect("source-read", relink_own_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
