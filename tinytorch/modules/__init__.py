"""Building blocks of networks: Module, Parameter and containers."""
