"""Tensor operations: each op with its gradient, and the rules that operators follow."""
