"""Functions of tensors: each is also a method, or creates tensors."""
