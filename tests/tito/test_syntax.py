"""Source texts are parsed in several threads."""

import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tinytorch.tito import syntax
from tinytorch.tito.syntax import syntax_tree


@pytest.fixture
def busy_collector() -> Iterator[None]:
    """The garbage collector runs often, and Python code whenever it runs, so threads alternate."""

    def count(phase: str, info: dict[str, int]) -> None:
        for _ in range(2000):
            pass

    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(count)
    gc.set_threshold(50)
    sys.setswitchinterval(1e-5)
    yield
    gc.callbacks.remove(count)
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)


def test_threads_parse_at_the_same_time(busy_collector: None) -> None:
    """`ast.parse` raises a SystemError here in Python 3.11 and 3.12."""
    source = Path(syntax.__file__).with_name("lesson.py").read_text(encoding="utf-8")
    with ThreadPoolExecutor(3) as pool:
        trees = list(pool.map(syntax_tree, [source] * 150))
    assert {len(tree.body) for tree in trees} == {len(trees[0].body)}
