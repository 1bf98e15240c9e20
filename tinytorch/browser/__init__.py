"""TinyTorch in a browser: a static site with the lessons, and what its pages run in Pyodide."""

import json
from typing import Any


def send(value: Any) -> None:
    """Send a value that JSON can represent from Pyodide to the page's `onOutput`."""
    import tinytorch_page

    tinytorch_page.send(json.dumps(value))
