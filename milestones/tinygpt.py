"""Train TinyGPT on Shakespeare, or on any text: `python milestones/tinygpt.py`.

The command line, the model, training and plots are in the package `tinytorch`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

# This checkout's package takes precedence over an installed one.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

try:
    from tinytorch.tinygpt.program import Program
except KeyboardInterrupt:  # Ctrl-C during the imports, which take a second
    sys.exit(130)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code, as `Program.main` does."""
    return Program("tinygpt", "Train TinyGPT on Shakespeare or any text.").main(argv)


if __name__ == "__main__":
    sys.exit(main())
