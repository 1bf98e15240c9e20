"""Completion of held-out Python functions: how many of them can be parsed."""

import ast
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.python_modules import Module
from ..generation.generate import generate
from ..text.ngram import NGramModel
from ..tokenization import Tokenizer
from ..transformers import GPT

BATCH = 50  # prompts that are continued at once
TEMPERATURE = 0.8
Continue = Callable[[list[list[int]], int], list[list[int]]]  # prompts (N, P), tokens -> new ones


@dataclass(frozen=True)
class Task:
    """A function of a module, cut where its code begins.

    Attributes:
        before: the module's text up to the function.
        head: its signature, and its docstring if it has one, without the newline at the end.
        rest: the module's text after that.
    """

    before: str
    head: str
    rest: str


def tasks(module: Module) -> Iterator[Task]:
    """Yield the functions of a module in the order of their lines.

    Those whose code begins in the line of the signature are left out, those with a comment before
    their code, and those without code after their docstring.
    """
    lines = module.text.split("\n")
    nodes = [n for n in ast.walk(_parse(module.text)) if isinstance(n, ast.FunctionDef)]
    for node in sorted(nodes, key=lambda node: node.lineno):
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        if not body:
            continue
        decorators = [d.lineno for d in getattr(body[0], "decorator_list", [])]
        first = min([body[0].lineno, *decorators]) - 1  # index of the first line of code
        head = "\n".join(lines[node.lineno - 1 : first]).rstrip()
        # A comment may come between, and a line may hold more than one statement.
        if head.endswith((":", '"', "'")) and is_function(head, f"\n{_depth(lines[first]) * ' '}0"):
            before = "".join(line + "\n" for line in lines[: node.lineno - 1])
            rest = module.text[len(before) + len(head) :]
            yield Task(before, head, rest)


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on "\d" in a string
        return ast.parse(text)


def parses(text: str) -> bool:
    """Whether a text is the source code of a module, for this version of Python."""
    try:
        _parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a NUL, or nested too deeply
        return False
    return True


def cut(head: str, continuation: str) -> tuple[str, bool]:
    r"""Cut a continuation where the function ends, or else after its last whole line.

    A function ends before a line that is indented no more than its signature; closing brackets
    may belong to the signature.

    Returns:
        the code of the function after its head, and whether it has ended.

    >>> cut("    def f(self):", "\n        return 1\n\n    def g(self):\n        retu")
    ('\n        return 1\n', True)
    >>> cut("def f():", "\n    a = 1\n    return a")
    ('\n    a = 1', False)
    """
    depth = _depth(head.partition("\n")[0])
    lines = continuation.split("\n")
    for number, line in enumerate(lines[1:], 1):
        if line.strip() and _depth(line) <= depth and line.lstrip()[0] not in ")]}":
            return "\n".join(lines[:number]), True
    return "\n".join(lines[:-1]), False


def _depth(line: str) -> int:
    expanded = line.expandtabs()
    return len(expanded) - len(expanded.lstrip())


def is_function(head: str, code: str) -> bool:
    """Whether the head of a function and its code parse, at any indentation."""
    if not code.strip():
        return False
    block = "if 1:\n" if _depth(head) else ""  # a method is indented
    return parses(f"{block}{head}{code}\n")


@dataclass(frozen=True)
class Share:
    """How many of a number of completions parse.

    Attributes:
        parsed, ended, total: completions that parse, that come to the function's end, and all.
        lines: mean number of their lines that are not blank.
    """

    parsed: int
    ended: int
    total: int
    lines: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% confidence interval of the share that parses.

        Source: E. B. Wilson, "Probable inference, the law of succession, and statistical
        inference" (1927).

        >>> [round(x, 3) for x in Share(parsed=81, ended=0, total=263, lines=1.0).interval]
        [0.255, 0.366]
        """
        z, n, p = 1.959964, self.total, self.parsed / self.total
        centre, width = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (centre - width) / (1 + z * z / n), (centre + width) / (1 + z * z / n)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, the share and its interval as values that JSON can represent."""
        low, high = self.interval
        share = {"share": self.parsed / self.total, "low": low, "high": high}
        counts = {"parsed": self.parsed, "ended": self.ended, "total": self.total}
        return {**share, **counts, "lines": self.lines}


class Benchmark:
    """Functions of held-out modules, to be completed by a model.

    Each prompt has the same number of tokens: the function's head, and as much of the module before
    it as fits. A completion has `new` tokens, and is cut by `cut`.

    Args:
        modules: held-out modules.
        tokenizer: of the models.
        prompt: tokens of a prompt; functions with fewer before their code are left out.
        new: tokens of a completion.
        most: largest number of functions, drawn in an order that depends on nothing else.
    """

    def __init__(
        self, modules: Sequence[Module], tokenizer: Tokenizer, prompt: int, new: int, most: int
    ) -> None:
        self.tokenizer, self.new = tokenizer, new
        self.tasks: list[Task] = []
        self.prompts: list[list[int]] = []
        everything = [task for module in modules for task in tasks(module)]
        for place in np.random.default_rng(0).permutation(len(everything)):
            task = everything[place]
            # Enough characters for any prompt; encoding a whole module would take longer.
            ids = tokenizer.encode((task.before + task.head)[-16 * prompt :])[-prompt:]
            if len(ids) == prompt and len(self.tasks) < most:
                self.tasks.append(task)
                self.prompts.append(ids)

    def measure(self, continue_: Continue) -> Share:
        """Return how many of the completions of a model parse."""
        ids = continue_(self.prompts, self.new)
        return self._share([self.tokenizer.decode(new) for new in ids])

    def measure_real(self) -> Share:
        """Return how many of the functions themselves parse, cut after as many tokens."""
        rests = (self.tokenizer.encode(task.rest[: 16 * self.new]) for task in self.tasks)
        return self._share([self.tokenizer.decode(ids[: self.new]) for ids in rests])

    def _share(self, continuations: list[str]) -> Share:
        heads = [task.head for task in self.tasks]
        codes = [cut(*pair) for pair in zip(heads, continuations, strict=True)]
        parsed = [is_function(head, code) for head, (code, _) in zip(heads, codes, strict=True)]
        lines = [sum(bool(line.strip()) for line in code.split("\n")) for code, _ in codes]
        ended = sum(end for _, end in codes)
        return Share(sum(parsed), ended, len(parsed), float(np.mean(lines)))


def by_model(model: GPT, seed: int = 0) -> Continue:
    """Return the function that continues prompts by sampling from a GPT."""
    rng = np.random.default_rng(seed)

    def complete(prompts: list[list[int]], new: int) -> list[list[int]]:
        completed: list[list[int]] = []
        for start in range(0, len(prompts), BATCH):
            batch = prompts[start : start + BATCH]
            ids = generate(model, batch, new, temperature=TEMPERATURE, seed=rng).numpy()
            completed += ids[:, len(batch[0]) :].tolist()
        return completed

    return complete


def by_ngrams(model: NGramModel, seed: int = 0) -> Continue:
    """Return the function that continues prompts by sampling from an n-gram model."""
    rng = np.random.default_rng(seed)
    return lambda prompts, new: [model.sample(ids, new, rng, TEMPERATURE) for ids in prompts]
