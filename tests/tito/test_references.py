"""What lessons refer to exists, and none uses what a later lesson builds."""

from pathlib import Path
from typing import Any

import pytest
from helpers import load_module, require

from tinytorch.tito.lesson import Lesson, lessons, load

references = load_module(Path(__file__).with_name("references.py"))
LESSONS = [load(number, references.ROOT) for number in lessons(references.ROOT)]
COURSE = references.Course(LESSONS)

SOURCE = """# %% [markdown]
# # Lesson 12: Wrong
#
# {prose}

# %% setup=true
import numpy as np

{code}

# %% exercise="12.1"
from tinytorch.attention import create_causal_mask

# create_causal_mask:
#   {hint}
"""


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_references_of_lessons_are_right(lesson: Lesson) -> None:
    """`python tests/tito/references.py` prints them for all lessons."""
    found = list(COURSE.problems(lesson))
    assert not found, "\n".join(found)


def problems(
    tmp_path: Path, prose: str = "", code: str = "", hint: str = "", number: int = 12
) -> Any:
    """The problems of a lesson with this text, beside the lessons that exist."""
    source = tmp_path / "notebooks" / f"{number:02}_wrong" / "wrong_dev.py"
    source.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "docs").mkdir(exist_ok=True)
    (tmp_path / "docs" / "course.md").touch()
    source.write_text(SOURCE.format(prose=prose, code=code, hint=hint), encoding="utf-8")
    own = Lesson(source, references.ROOT)
    course = references.Course([n for n in LESSONS if n.number != number] + [own])
    return list(course.problems(own))


@pytest.mark.parametrize(
    ("prose", "message"),
    [
        ("See lesson 14.", "there is no lesson 14"),
        ("See lessons 10, 11 and 99.", "there is no lesson 99"),
        ("See lessons 12 to 15.", "there is no lesson 15"),
        ("As in lesson\n# 99.", "there is no lesson 99"),
        ("The loop from lesson 13 is slow.", "lesson 13 comes later"),
        ("A function that you built in lesson 13.", "lesson 13 comes later"),
        ("Repeat exercise 12.9.", "there is no exercise 12.9"),
        ("Repeat exercises 10.1 to 10.12.", "there is no exercise 10.12"),
        ("See [the page](../../docs/nothing.md).", "there is no file ../../docs/nothing.md"),
        ("![A mask](mask.png)", "there is no file mask.png"),
        ("It is in `tinytorch/attentions.py`.", "no file `tinytorch/attentions.py`"),
        ("It is in `attentions.py`.", "no file `attentions.py`"),
        ("Run `tito begin 12`.", "there is no command tito begin"),
        ("Run `tito milestone walk 05`.", "there is no command tito milestone walk"),
        ("Run `tito milestone run 07`.", "there is no milestone 07"),
        ("Run `tito test 21`.", "there is no lesson 21: tito test 21"),
        ("The class `KVCaches` keeps them.", "nothing is called `KVCaches`"),
        ("Use `make_causal_masks`.", "nothing is called `make_causal_masks`"),
        ("Use `tril_or_so(x)`.", "nothing is called `tril_or_so(x)`"),
        ("Use `KVCache.appends`.", "nothing is called `KVCache.appends`"),
        ("Use `np.trilled(x)`.", "nothing is called `np.trilled(x)`"),
        ("In PyTorch: `torch.nn.Attentions`.", "nothing is called `torch.nn.Attentions`"),
    ],
)
def test_wrong_references_in_prose_are_found(tmp_path: Path, prose: str, message: str) -> None:
    if "torch." in prose:
        require("torch")
    assert [p for p in problems(tmp_path, prose) if message in p]
    found = problems(tmp_path, hint=prose.replace("\n#", "\n#   "))
    assert [p for p in found if message in p and p.startswith("lesson 12, exercise 12.1: ")]


@pytest.mark.parametrize(
    "prose",
    [
        "As in lesson 10, and in lesson 13. Lessons 10 and 11 help; exercises 10.1 to 10.3 too.",
        "From lesson 13 on, it is faster.",
        "It is in `tinytorch/attention.py`; [the page](../../docs/course.md#the-course) says more.",
        "Run `tito test 12`, `tito nbdev build` or `tito milestone run 05`.",
        "`x`, `B`, `(B, T)`, `KVCache.append`, `np.tril(x)`, `ValueError`, `len(x)`, `2 * x`.",
        "[A paper](https://arxiv.org/abs/1706.03762).",
    ],
)
def test_right_references_are_accepted(tmp_path: Path, prose: str) -> None:
    assert problems(tmp_path, prose) == []


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("from tinytorch.generation.generate import sample", "sample"),
        ("from tinytorch import Tensor, GPT", "GPT"),
        ("from tinytorch.transformers import TransformerBlock", "TransformerBlock"),
        ("import tinytorch\nmodel = tinytorch.GPT(3)", "GPT"),
        ("def f(model):\n    return model.new_caches(1)", ".new_caches"),
        ("from tinytorch.embeddings import Embedding", None),
    ],
)
def test_code_that_uses_a_later_lesson_is_found(
    tmp_path: Path, code: str, name: str | None
) -> None:
    found = problems(tmp_path, code=code)
    assert all(f": {name} is exercise 13." in p for p in found)
    assert bool(found) == (name is not None)
