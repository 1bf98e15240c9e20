"""An example lesson, number 77, with a package of one module."""

from pathlib import Path

from tinytorch.tito.lesson import Lesson, load

PACKAGE = '''"""A module."""

import math

LIMIT = 3
NAMES = {
    "a": 1,
}


def double(x):
    """Twice x."""
    # a remark
    y = 2 * x
    return y  # the result


# about the class
@decorated
class Counter:
    """Counts."""

    def __init__(self):
        self.n = 0

    def step(self, by: int = 1) -> int:
        """One more.

        >>> Counter().step()
        """
        self.n += by
        return self.n

    @property
    def bare(self):
        # no docstring
        return self.n
'''

SOURCE = """# %% [markdown]
# # Title

# %% setup=true
import math

# %% exercise="77.1" points=2
from tinytorch.things import Counter, LIMIT, NAMES, double

# double:
#   What is two times x?
#   It is more.
# Counter.step:
#   Add first.
# Counter.bare:
#   Return it.

# %% test="77.1" points=3
print("tested")

# %%
print("worked")
"""


def make(root: Path, source: str = SOURCE, package: str = PACKAGE) -> Lesson:
    """Create a checkout with one lesson, 77."""
    for path, text in {
        "notebooks/77_things/things_dev.py": source,
        "tinytorch/things.py": package,
        "tinytorch/__init__.py": "",
        "pyproject.toml": "[project]\nname = 'x'\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return load(77, root)
