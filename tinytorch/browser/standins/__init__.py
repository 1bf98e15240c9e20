"""Modules with the part of compiled packages that TinyTorch uses, for Pyodide without them."""
