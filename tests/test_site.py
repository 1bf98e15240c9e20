"""The documentation site: it builds without a warning, and its links and names are complete.

The parts that draw and rewrite pages (docs/_ext/) are tested on small texts, the site as a whole.
"""

import inspect
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urldefrag

import pytest
from helpers import require

import tinytorch

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NAMESPACES = (
    "tinytorch", "tinytorch.nn", "tinytorch.nn.functional", "tinytorch.nn.init", "tinytorch.optim",
    "tinytorch.optim.lr_scheduler", "tinytorch.utils.data", "tinytorch.linalg", "tinytorch.cuda",
    "tinytorch.distributions", "tinytorch.pretrained", "tinytorch.models", "tinytorch.backends",
)  # fmt: skip


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`import_module`, for the modules of docs/_ext."""
    require("sphinx")
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    return import_module


class Page(HTMLParser):
    """The ids of a page, its links, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = {""}
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.ids.add(values.get("id", ""))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in ("script", "img", "link", "iframe"):
            self.loads += [values[name] for name in ("src", "href") if name in values]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("sphinx", "myst_nb", "furo"):
        require(name)
    folder = tmp_path_factory.mktemp("site")
    for part in ("lessons", "lessons/model"):
        (folder / part).mkdir()
        (folder / part / "index.html").write_text("a part that is there before the pages")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "auto", "docs", folder],
        cwd=ROOT, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_every_link_of_the_site_leads_to_a_page_and_a_place_on_it(pages: dict[Path, Page]) -> None:
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            address, place = urldefrag(link)
            if "://" in link or link.startswith("mailto:"):
                continue
            target = (path.parent / unquote(address)).resolve() if address else path
            assert target.exists(), (path.name, link)
            if target.suffix == ".html":
                assert unquote(place) in pages[target].ids, (path.name, link)
            checked += 1
    assert checked > 5000


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_pages_load_nothing_from_other_hosts(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for address in page.loads:
            assert not address.startswith(("http", "//")), (path.name, address)
            assert (path.parent / unquote(address.partition("?")[0].partition("#")[0])).exists()


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_every_public_name_is_on_a_page(site: Path, pages: dict[Path, Page]) -> None:
    text = {path.name: path.read_text(encoding="utf-8") for path in (site / "api").glob("*.html")}
    ids = set().union(*(page.ids for path, page in pages.items() if path.parent.name == "api"))
    targets = {identity.rpartition(".")[2] for identity in ids}
    for namespace in NAMESPACES:
        module = import_module(namespace)
        for name in getattr(module, "__all__", [n for n in vars(module) if n[0] != "_"]):
            value = getattr(module, name)
            if not inspect.ismodule(value):
                assert name in targets, f"{namespace}.{name} is not in docs/api/"
    methods = {name for name in dir(tinytorch.Tensor) if hasattr(tinytorch.Tensor, name)}
    for name in methods:
        assert name.startswith("_") or f">{name}<" in text["tensor.html"], name


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_the_site_has_the_notebooks_formulas_and_commands(site: Path) -> None:
    notebooks = {path.stem for path in (site / "pages" / "course").glob("*.html")}
    assert notebooks == {path.parent.name for path in (ROOT / "notebooks").glob("*/*.ipynb")}
    attention = (site / "pages" / "course" / "12_attention.html").read_text(encoding="utf-8")
    assert "<math" in attention
    assert "$" not in attention.partition("12.1 The causal mask")[0].rpartition("You will learn")[2]
    commands = (site / "api" / "tito.html").read_text(encoding="utf-8")
    assert "tito milestone run NAME" in re.sub("<[^>]*>", "", commands)


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_the_navigation_has_the_parts_that_are_in_the_folder(site: Path) -> None:
    for page, link in (("index.html", "lessons/"), ("api/layers.html", "../lessons/")):
        text = (site / page).read_text(encoding="utf-8")
        assert f'href="{link}index.html"' in text
        assert f'href="{link}model/index.html"' in text


def test_docstrings_are_text_with_code(extension: ModuleType) -> None:
    docstrings = extension("docstrings")
    docstring = """`a`s of |x|, *args, h_ and `b
    c` for ``d_``:

    >>> "`kept`, *as it is*"
    x_

    As here::

        `kept` *too*

    and `last`.""".splitlines()
    assert (
        docstrings.to_rest(docstring)
        == r"""``a``\ s of \|x\|, \*args, h\_ and ``b
    c`` for ``d_``:

    >>> "`kept`, *as it is*"
    x_

    As here::

        `kept` *too*

    and ``last``.""".splitlines()
    )
    assert docstrings.first_sentence("Sum of x, e.g. 1.5. And more.\n\nNot this.") == (
        "Sum of x, e.g. 1.5."
    )


def test_links_follow_the_pages(extension: ModuleType) -> None:
    checkout = extension("checkout")
    copies = checkout.sources()
    page = DOCS / "course.md"

    def link(text: str) -> str:
        return str(checkout.relink(text, page, page, copies))

    assert link("[a](../notebooks/12_attention/)") == "[a](pages/course/12_attention.ipynb)"
    assert link("[a](../CONTRIBUTING.md#style)") == "[a](pages/contributing.md#style)"
    assert link("[a](README.md)") == "[a](index.md)"
    assert link("`f[i](x)` [b](https://a.b/c)") == "`f[i](x)` [b](https://a.b/c)"
    readme = ROOT / "README.md"
    text = checkout.relink("[a](docs/gpu.md)", readme, copies[readme], copies)
    assert text == "[a](../gpu.md)"


def test_links_to_code_lead_to_the_repository_once_it_has_an_address(
    extension: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = extension("checkout")
    page = DOCS / "course.md"

    def link(text: str) -> str:
        return str(checkout.relink(text, page, page, {}))

    assert link("[the code](../tinytorch/tito)") == "the code"
    assert link("[a](../tinytorch/tensor.py)") == "[a](../tinytorch/tensor.py)"
    monkeypatch.setattr(checkout, "repository_address", lambda: "https://host/us/it")
    assert link("[a](../tinytorch/tito)") == "[a](https://host/us/it/blob/main/tinytorch/tito)"


def test_charts_show_the_numbers_of_the_file_and_of_the_table(extension: ModuleType) -> None:
    charts = extension("charts")
    name = "2026-11-26-h200.json"
    results = json.loads((ROOT / "tests" / "benchmarks" / "results" / name).read_text("utf-8"))
    drawn = charts.draw(f"<!-- chart: file={name}; section=training step; field=ms; title=T -->\n")
    for mode in results["training step"].values():
        for value in mode["ms"].values():
            assert f"<b>{charts.rounded(value)} " in drawn
    table = "| | us | them |\n|---|---|---|\n| a `b` | 5 ms | 20 ms |\n| c | 1, 2 ms | 3 ms |\n"
    page = f"<!-- chart: table=next; columns=1,2; unit=ms; title=Time -->\n\n{table}"
    drawn = charts.draw(page)
    assert drawn.endswith(table)
    assert "a <code>b</code>" in drawn
    assert drawn.count('class="bar') == 2
    assert "--length:0.2500" in drawn
    with pytest.raises(Exception, match="no figures for the chart 'Time'"):
        charts.draw(page.replace("columns=1,2", "columns=0,1"))


def test_diagrams_place_what_is_pointed_to_below(extension: ModuleType) -> None:
    flowchart, diagrams = extension("flowchart"), extension("diagrams")
    lines = ['subgraph s["S"]', 'a["one<br>two"] --> b["B"]', "end", 'b <--> c["C"]', "a --> c"]
    root, edges = flowchart.parse(lines)
    flowchart.arrange(root, edges)
    items = {item.name: item for item in root.all()}
    assert items["a"].y + items["a"].height < items["b"].y < items["c"].y
    assert items["s"].y + items["s"].height < items["c"].y
    drawn = diagrams.draw("\n".join(["flowchart TD", *lines]))
    assert drawn.count('class="edge') == 3
    assert all(f">{text}</tspan>" in drawn for text in ("one", "two", "B", "C", "S"))
    with pytest.raises(ValueError, match="not a line of a flowchart"):
        diagrams.draw("flowchart TD\nstyle a fill:red")
    with pytest.raises(ValueError, match="without a text: a, b"):
        diagrams.draw("flowchart TD\na --> b")


def test_sequences_have_room_for_their_texts(extension: ModuleType) -> None:
    diagrams, sequence, svg = map(extension, ("diagrams", "sequence", "svg"))
    messages = [("A", False, "B", "a text of some length"), ("B", True, "A", "word " * 20)]
    places = sequence.columns(["A", "B"], {"A": "A", "B": "B"}, messages)
    widest = svg.size(["a text of some length"])[0]
    assert widest < places["B"] - places["A"] < 2 * widest  # a longer text is wrapped
    lines = ["participant A as first", "participant B as second", "A->>B: go", "B->>B: think"]
    drawn = diagrams.draw("\n".join(["sequenceDiagram", *lines]))
    assert all(f">{text}</tspan>" in drawn for text in ("first", "second", "go", "think"))
    with pytest.raises(ValueError, match="not a line of a sequence diagram"):
        diagrams.draw("sequenceDiagram\nloop every step")
