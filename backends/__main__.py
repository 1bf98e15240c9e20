"""List the backends and whether this machine can use them: ``python -m tinytorch.backends``."""

import os

from .registry import get, names, status


def main() -> None:
    """Print one line for each backend."""
    chosen = os.environ.get("TT_BACKEND") or "numpy"
    width = max(map(len, names()))
    for name in names():
        problem = status(name)
        text = f"usable: {get(name)}" if problem is None else f"not usable: {problem}"
        print(f"{'*' if name == chosen else ' '} {name:{width}}  {text}")
    print("* is the default; TT_BACKEND=NAME selects another.")


if __name__ == "__main__":
    main()
