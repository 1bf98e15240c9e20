"""TinyTorch on swappable backends: a small deep-learning framework to build, read and run.

>>> from tinytorch import GPT, AdamW, CrossEntropyLoss, Trainer
"""

from importlib import import_module as _import_module
from pathlib import Path
from typing import Any as _Any

if not (
    Path(__file__).parent / "backends" / "__init__.py"
).is_file():  # a checkout without symbolic links
    __path__.append(str(Path(__file__).parents[1]))

from .tito import is_running as _tito_is_running

if not _tito_is_running():  # the command `tito` must work even if the lessons cannot be imported
    from . import autograd, backends
    from .activations import (
        GELU,
        ReLU,
        Sigmoid,
        Softmax,
        SquaredReLU,
        Tanh,
        gelu,
    )
    from .attention import (
        KVCache,
        MultiHeadAttention,
        create_causal_mask,
        scaled_dot_product_attention,
    )
    from .autograd import enable_grad, is_grad_enabled, no_grad
    from .backends import device
    from .dataloader import DataLoader, Dataset, TensorDataset, TokenDataset
    from .embeddings import (
        Embedding,
        EmbeddingLayer,
        PositionalEncoding,
        RotaryEmbedding,
        SinusoidalEncoding,
        create_sinusoidal_embeddings,
    )
    from .functions import gradients as _gradients
    from .functions.comparison import *  # noqa: F403
    from .functions.creation import *  # noqa: F403
    from .functions.creation import from_dlpack, ones, tensor, zeros  # tensor hides the module
    from .functions.diagonals import *  # noqa: F403
    from .functions.dtypes import *  # noqa: F403
    from .functions.elementwise import *  # noqa: F403
    from .functions.elementwise import (
        log_softmax,
        maximum,
        minimum,
        relu,
        softmax,
        softplus,
        where,
    )
    from .functions.gradients import *  # noqa: F403
    from .functions.indexing import *  # noqa: F403
    from .functions.joining import *  # noqa: F403
    from .functions.joining import concat, stack
    from .functions.linear_algebra import *  # noqa: F403
    from .functions.linear_algebra import matmul
    from .functions.random import *  # noqa: F403
    from .functions.reductions import *  # noqa: F403
    from .functions.repeating import *  # noqa: F403
    from .functions.sampling import *  # noqa: F403
    from .functions.settings import *  # noqa: F403
    from .functions.shapes import *  # noqa: F403
    from .functions.sorting import *  # noqa: F403
    from .functions.splitting import *  # noqa: F403
    from .generation import gpt_weights as _gpt_weights  # noqa: F401  registers GPT
    from .layers import Dropout, LayerNorm, Linear
    from .losses import (
        BinaryCrossEntropyLoss,
        CrossEntropyLoss,
        MSELoss,
        cross_entropy,
    )
    from .modules.containers import ModuleList, Sequential
    from .modules.module import Module, Parameter
    from .ops import random
    from .ops.random import manual_seed
    from .optimizers import SGD, Adam, AdamW, Muon, Optimizer
    from .runtime.trainer import Trainer
    from .serialization.objects import load, save
    from .tensor import Tensor
    from .tokenization import (
        BPETokenizer,
        CharTokenizer,
        Tokenizer,
        create_tokenizer,
        tokenize_dataset,
    )
    from .training import CosineSchedule, LinearSchedule, Schedule, clip_grad_norm
    from .transformers import GPT, MLP, GPTConfig, TransformerBlock

    # The names of torch.autograd that lesson 06 does not build.
    for _name in ("Function", "backward", "grad", "gradcheck"):
        setattr(autograd, _name, getattr(_gradients, _name))
    setattr(autograd.Variable, "__init__", _gradients.variable)  # noqa: B010

__version__ = "0.1.0"

_SUBMODULES = {"accelerator", "amp", "cuda", "distributions", "linalg", "nn", "optim", "utils"}


def __getattr__(name: str) -> _Any:
    """Import a submodule when it is first used; raise an error for a missing name of PyTorch."""
    if name in _SUBMODULES:
        return _import_module(f".{name}", __name__)
    if name == "autocast":
        return _import_module(".amp", __name__).autocast
    if name == "default_generator":
        return random.generator()
    from .missing import missing_name

    raise missing_name("torch", name, [*globals(), *_SUBMODULES])


__all__ = [
    "GELU",
    "GPT",
    "MLP",
    "SGD",
    "Adam",
    "AdamW",
    "BPETokenizer",
    "BinaryCrossEntropyLoss",
    "CharTokenizer",
    "CosineSchedule",
    "CrossEntropyLoss",
    "DataLoader",
    "Dataset",
    "Dropout",
    "Embedding",
    "EmbeddingLayer",
    "GPTConfig",
    "KVCache",
    "LayerNorm",
    "Linear",
    "LinearSchedule",
    "MSELoss",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Muon",
    "Optimizer",
    "Parameter",
    "PositionalEncoding",
    "ReLU",
    "RotaryEmbedding",
    "Schedule",
    "Sequential",
    "Sigmoid",
    "SinusoidalEncoding",
    "Softmax",
    "SquaredReLU",
    "Tanh",
    "Tensor",
    "TensorDataset",
    "TokenDataset",
    "Tokenizer",
    "Trainer",
    "TransformerBlock",
    "backends",
    "clip_grad_norm",
    "concat",
    "create_causal_mask",
    "create_sinusoidal_embeddings",
    "create_tokenizer",
    "cross_entropy",
    "device",
    "enable_grad",
    "from_dlpack",
    "gelu",
    "is_grad_enabled",
    "load",
    "log_softmax",
    "manual_seed",
    "matmul",
    "maximum",
    "minimum",
    "no_grad",
    "ones",
    "random",
    "relu",
    "save",
    "scaled_dot_product_attention",
    "softmax",
    "softplus",
    "stack",
    "tensor",
    "tokenize_dataset",
    "where",
    "zeros",
]
