"""``python -m tinytorch.tito``: the command `tito`."""

from .cli import main

if __name__ == "__main__":
    main()
