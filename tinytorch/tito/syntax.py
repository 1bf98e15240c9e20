"""Syntax trees of Python source text, in several threads."""

import ast
import threading

# Python 3.11 and 3.12 keep the depth of the tree that is built per interpreter, not per thread: if
# another thread runs meanwhile, a right text ends in a SystemError (CPython issue 106905).
_LOCK = threading.RLock()


def syntax_tree(source: str) -> ast.Module:
    """Parse a source text, as `ast.parse` does."""
    with _LOCK:
        return ast.parse(source)
