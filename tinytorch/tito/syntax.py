"""Syntax trees of Python source text, in several threads."""

import ast
import threading
from functools import lru_cache

# Python 3.11 and 3.12 keep the depth of the tree that is built per interpreter, not per thread: if
# another thread runs meanwhile, a right text ends in a SystemError (CPython issue 106905).
_LOCK = threading.RLock()


@lru_cache(maxsize=64)  # a command parses the modules of a lesson once for each exercise
def syntax_tree(source: str) -> ast.Module:
    """Parse a source text, as `ast.parse` does; callers must not change the tree."""
    with _LOCK:
        return ast.parse(source)
