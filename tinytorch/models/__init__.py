"""Architectures of published language models, built from the parts of the lessons."""

from . import llama_weights as _llama_weights  # noqa: F401  registers Llama
from .llama import Llama, LlamaConfig
from .rope import RopeScaling

__all__ = ["Llama", "LlamaConfig", "RopeScaling"]
