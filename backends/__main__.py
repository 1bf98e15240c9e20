"""List the backends and whether this machine can use them: ``python -m tinytorch.backends``."""

import os
import sys

from .registry import get, names, status


def main() -> int:
    """Print one line for each backend; return 1 if TT_BACKEND names none of them."""
    chosen = os.environ.get("TT_BACKEND") or "numpy"
    width = max(map(len, names()))
    for name in names():
        problem = status(name)
        text = f"usable: {get(name)}" if problem is None else f"not usable: {problem}"
        print(f"{'*' if name == chosen else ' '} {name:{width}}  {text}")
    print(f"inner loops of numpy: {_inner_loops()}")
    print("* is the default; TT_BACKEND=NAME selects another.")
    if chosen in names():
        return 0
    print(f"TT_BACKEND={chosen:.60} is not the name of a backend", file=sys.stderr)
    return 1


def _inner_loops() -> str:
    from .numpy import compiled

    command = compiled.compiler()
    if compiled.load() is not None and command is not None:
        return f"compiled from C by {command[0]}"
    return f"NumPy's, because {compiled.why_not()}"


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has ended, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
