"""Parts of networks that no lesson owns: Module, Parameter and containers."""
