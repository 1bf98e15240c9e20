"""Tensor operations: each op with its gradient, type promotion, and random numbers."""
