"""Course tools, the command `tito`: weave lessons into notebooks, test and export them."""

import sys


def is_running() -> bool:
    """Whether this process is the command `tito` or ``python -m tinytorch.tito``.

    Such a process must not import the lessons: it repairs a package whose lessons cannot be
    imported.
    """
    program = getattr(sys, "argv", None) or [""]
    if program[0] == "-m":  # the value while Python imports the package of the module to run
        return any(a.removeprefix("-m") == __name__ for a in sys.orig_argv)
    return program[0].replace("\\", "/").rpartition("/")[2] in ("tito", "tito.exe")
