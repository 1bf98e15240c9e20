"""Which backends can be used here, and if not, why: ``python -m tinytorch.backends``."""

import os

from .registry import get, names, status


def main() -> None:
    """One line for each backend."""
    chosen = os.environ.get("TT_BACKEND") or "numpy"
    width = max(map(len, names()))
    for name in names():
        problem = status(name)
        said = f"usable: {get(name)}" if problem is None else f"not usable: {problem}"
        print(f"{'*' if name == chosen else ' '} {name:{width}}  {said}")
    print("* is the one that a program uses; TT_BACKEND=NAME chooses another.")


if __name__ == "__main__":
    main()
