"""Architectures of published language models, built from the parts of the lessons."""

from .llama import Llama, LlamaConfig

__all__ = ["Llama", "LlamaConfig"]
