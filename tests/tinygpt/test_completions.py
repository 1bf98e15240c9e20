"""Completed functions: how they are found, cut, and judged."""

import inspect
import json

import numpy as np
import pytest

import tinytorch
from tinytorch import GPT
from tinytorch.data.python_modules import Module
from tinytorch.text.ngram import NGramModel
from tinytorch.tinygpt import completions
from tinytorch.tinygpt.code_tokenizer import CodeTokenizer
from tinytorch.tinygpt.completions import (
    Benchmark,
    Share,
    by_model,
    by_ngrams,
    cut,
    is_function,
    parses,
    tasks,
)

SOURCE = '''import os


def plain(x):
    return x


def documented(x,
               y=(1, 2)):
    """Text
with a line at the margin.
    """
    if x:
        return y
    return "é"


class A:
    @property
    def method(self): # comment
        return 1

    def long(
        self,
    ) -> int:
        @wraps
        def inner(): return 2
        return inner()

    def one_line(self): return 3

    def only_text(self):
        """Nothing else."""

    def commented(self):
        # why
        return 4

    def two(self):
        "text"; x = 1
        return x


last = plain(1)
'''


def test_functions_are_cut_where_their_code_begins() -> None:
    found = list(tasks(Module("a.py", SOURCE)))
    assert [(task.head.split("(")[0].strip(), task.rest.split("\n")[1]) for task in found] == [
        ("def plain", "    return x"),
        ("def documented", "    if x:"),
        ("def long", "        @wraps"),
        ("def two", '        "text"; x = 1'),  # the text shares its line with code
    ]
    for task in found:
        assert task.before + task.head + task.rest == SOURCE
        code, ended = cut(task.head, task.rest)
        assert ended
        assert is_function(task.head, code)
        assert "class" not in code
        assert "def one_line" not in code


@pytest.mark.parametrize("module", [json.decoder, completions])
def test_real_functions_come_to_their_end_and_parse(module: object) -> None:
    """All but those with a line at the margin inside of a text."""
    text = inspect.getsource(module)  # type: ignore[arg-type]
    found = list(tasks(Module("m.py", text)))
    assert found
    good = [is_function(task.head, cut(task.head, task.rest)[0]) for task in found]
    assert sum(good) >= 0.97 * len(good)


@pytest.mark.parametrize(
    ("head", "text", "code", "ended"),
    [
        ("def f():", "\n    a\n\n\nb", "\n    a\n\n", True),
        ("def f():", "\n    a\n    b", "\n    a", False),
        ("def f():", " a", "", False),
        ("def f():", "\nb\n", "", True),
        ("  def f():", "\n    a\n  ", "\n    a", False),
        ("  def f():", "\n    a\n  b", "\n    a", True),
        ("\tdef f():", "\n\t\ta\n\tb", "\n\t\ta", True),
        ("def f():\n    'text'", "\n    a\nb", "\n    a", True),
        ("def f(", "\n    a,\n):\n    b\nc", "\n    a,\n):\n    b", True),
    ],
)
def test_a_function_ends_before_a_line_at_its_own_depth(
    head: str, text: str, code: str, ended: bool
) -> None:
    assert cut(head, text) == (code, ended)


@pytest.mark.parametrize(
    ("code", "good"),
    [
        ("\n        return x", True),
        ("\n        if x:\n            return", True),
        ("\n        return (x", False),
        ("\n        if x:", False),
        ("\n      x\n        y", False),
        ("\n    return x", False),
        ("", False),
        ("\n\n", False),
        ("\n        # only a comment", False),
        ("\n        x = '\\d'", True),
        ("\n        x = '\0'", False),
    ],
)
@pytest.mark.filterwarnings("error")
def test_code_is_judged_by_the_parser_at_any_depth(code: str, good: bool) -> None:
    assert is_function("    def f(self, x):", code) == good
    assert is_function("def f(self, x):", code.replace("\n    ", "\n")) == good


def test_text_that_is_nested_too_deeply_does_not_parse() -> None:
    assert not parses("(" * 100_000)
    assert not parses("-" * 1_000_000 + "1")


MODULES = [
    Module(f"m{n}.py", f"x{n} = 1\n\n\n" + "".join(
        f"def name{k}(value, key):\n    if value > {k}:\n        return key\n    return {n}\n\n\n"
        for k in range(12)
    ))
    for n in range(3)
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> CodeTokenizer:
    tokenizer = CodeTokenizer(330)
    tokenizer.train([module.text for module in MODULES])
    return tokenizer


def test_prompts_are_equally_long_and_end_at_the_functions_head(tokenizer: CodeTokenizer) -> None:
    benchmark = Benchmark(MODULES, tokenizer, prompt=30, new=20, most=17)
    assert len(benchmark.tasks) == len(benchmark.prompts) == 17
    for task, ids in zip(benchmark.tasks, benchmark.prompts, strict=True):
        assert len(ids) == 30
        assert (task.before + task.head).endswith(tokenizer.decode(ids))
    again = Benchmark(MODULES, tokenizer, prompt=30, new=20, most=17)
    assert again.tasks == benchmark.tasks
    assert len({task.before for task in benchmark.tasks}) == 17
    everything = Benchmark(MODULES, tokenizer, prompt=30, new=20, most=1000)
    assert 17 < len(everything.tasks) < 36  # the first functions have too short a prompt


def test_shares_count_what_parses_and_what_ends(tokenizer: CodeTokenizer) -> None:
    benchmark = Benchmark(MODULES, tokenizer, prompt=20, new=60, most=20)
    rests = [tokenizer.encode(task.rest)[:60] for task in benchmark.tasks]

    def copy(prompts: list[list[int]], new: int) -> list[list[int]]:
        assert new == 60
        assert prompts == benchmark.prompts
        return [tokenizer.encode("\n    x(\n" * 30)[:60] if n % 4 else rest
                for n, rest in enumerate(rests)]  # fmt: skip

    # Nothing follows the last function of a module, so it does not come to its end.
    last_excluded = sum("def " in task.rest for task in benchmark.tasks)
    real = benchmark.measure_real()
    assert (real.parsed, real.ended, real.total, real.lines) == (20, last_excluded, 20, 3)
    found = benchmark.measure(copy)
    assert (found.parsed, found.total) == (5, 20)
    assert found.ended == sum("def " in task.rest for task in benchmark.tasks[::4])
    assert found.to_dict()["share"] == 0.25
    assert found.lines > 3


def test_a_cut_in_the_middle_of_the_real_code_counts_like_one_of_a_model(
    tokenizer: CodeTokenizer,
) -> None:
    head = len(tokenizer.encode("\n    if value > 1:\n        return "))
    real = Benchmark(MODULES, tokenizer, prompt=20, new=head, most=20).measure_real()
    assert (real.parsed, real.ended) == (0, 0)  # "if value > 1:" is left


def test_models_and_ngrams_continue_their_prompts(tokenizer: CodeTokenizer) -> None:
    benchmark = Benchmark(MODULES, tokenizer, prompt=20, new=8, most=60)
    tinytorch.manual_seed(0)
    model = GPT(tokenizer.vocab_size, embed_dim=8, num_layers=1, num_heads=1, max_seq_len=28)
    ids = np.concatenate([tokenizer.encode_array(module.text) for module in MODULES])
    for function in (by_model, by_ngrams):
        source = model if function is by_model else NGramModel(ids, tokenizer.vocab_size, 3)
        new = function(source, seed=3)(benchmark.prompts, 8)  # type: ignore[operator]
        assert np.shape(new) == (len(benchmark.prompts), 8)
        assert new == function(source, seed=3)(benchmark.prompts, 8)  # type: ignore[operator]
        assert new != function(source, seed=4)(benchmark.prompts, 8)  # type: ignore[operator]


def test_the_interval_is_within_0_and_1_and_narrows() -> None:
    assert Share(0, 0, 10, 1.0).interval[0] == pytest.approx(0, abs=1e-12)
    assert Share(10, 0, 10, 1.0).interval[1] == pytest.approx(1)
    widths = [np.diff(Share(n // 2, 0, n, 1.0).interval)[0] for n in (10, 100, 1000)]
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] == pytest.approx(2 * 1.96 * 0.5 / 1000**0.5, rel=0.01)
