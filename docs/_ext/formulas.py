"""Formulas as MathML, which browsers show themselves: no script, nothing to download."""

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

# Commands that docutils does not have, or only elsewhere in a formula.
INSTEAD = {r"\textstyle": "", r"\dots": r"\ldots "}


def mathml(formula: str, as_block: bool) -> str:
    for command, other in INSTEAD.items():
        formula = formula.replace(command, other)
    return str(tex2mathml(formula, as_block=as_block))


def inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def block(translator: HTML5Translator, node: nodes.math_block) -> None:
    formula = mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="formula">{formula}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
