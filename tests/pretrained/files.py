"""Small models of transformers with random weights, and their files."""

from pathlib import Path
from typing import Any

import numpy as np
from helpers import require

V, C, L, T = 50, 32, 2, 24
IDS = np.random.default_rng(0).integers(0, V, (2, T))

GPT2 = {"vocab_size": V, "n_embd": C, "n_layer": L, "n_head": 4, "n_positions": T,
        "bos_token_id": None, "eos_token_id": None}  # fmt: skip
LLAMA = {"vocab_size": V, "hidden_size": C, "num_hidden_layers": L, "num_attention_heads": 4,
         "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": T,
         "bos_token_id": None, "eos_token_id": None}  # fmt: skip
# Of its four pairs, one keeps its angle, one has it in part, and two are slowed down.
LLAMA3 = {"rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 32}  # fmt: skip


def build(family: str, dtype: str = "float32", seed: int = 0, **changes: Any) -> Any:
    """A model of transformers with random weights, also where transformers has zeros and ones."""
    torch, transformers = require("torch"), require("transformers")
    if family == "gpt2":
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**GPT2, **changes}))
    else:
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**LLAMA, **changes}))
    torch.manual_seed(seed)
    for parameter in model.parameters():
        mean = 1.0 if parameter.ndim == 1 else 0.0
        torch.nn.init.normal_(parameter, mean, 0.2)
    return model.to(getattr(torch, dtype)).eval()


def saved(model: Any, folder: Path, **settings: Any) -> Path:
    """The folder to which transformers has saved a model."""
    model.save_pretrained(folder, **settings)
    return folder


def slowed(step: float, rope: dict[str, Any]) -> float:
    """The angle of a pair per position, after the scaling."""
    if rope["rope_type"] == "default":
        return step
    if rope["rope_type"] == "linear":
        return step / rope["factor"]
    context = rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    wavelength = 2 * np.pi / step
    if wavelength < context / high:
        return step
    if wavelength > context / low:
        return step / rope["factor"]
    smooth = (context / wavelength - low) / (high - low)
    return (1 - smooth) * step / rope["factor"] + smooth * step


def exact_llama(model: Any) -> Any:
    """Let transformers' Llama compute angles and norms in its dtype, float64, not in float32."""
    torch = require("torch")
    config = model.config
    hs = config.head_dim
    steps = config.rope_parameters["rope_theta"] ** (-np.arange(0, hs, 2) / hs)
    steps = np.array([slowed(step, config.rope_parameters) for step in steps])
    angles = np.tile(np.arange(T)[:, None] * steps, 2)[None]  # (1, T, hs)
    # `RotaryEmbedding` rounds its tables to float32.
    tables = [torch.from_numpy(f(angles).astype(np.float32)).double() for f in (np.cos, np.sin)]
    model.model.rotary_emb.forward = lambda x, position_ids: tables

    def norm(module: Any) -> Any:
        return lambda x: torch.nn.functional.rms_norm(
            x, module.weight.shape, module.weight, module.variance_epsilon
        )

    for module in model.modules():
        if type(module).__name__ == "LlamaRMSNorm":
            module.forward = norm(module)
    return model


def logits(model: Any) -> Any:
    """The logits (B, T, V) of a model of transformers, as an array."""
    torch = require("torch")
    with torch.no_grad():
        return model(torch.from_numpy(IDS)).logits.numpy()


def our_logits(model: Any) -> Any:
    from tinytorch import Tensor, no_grad

    with no_grad():
        return model(Tensor(IDS, backend=model.backend)).numpy()
