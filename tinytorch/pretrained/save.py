"""Save a model and its tokenizer as a folder that transformers loads."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from ..generation.int8 import Int8Embedding, Int8Linear
from ..models import Llama
from ..nn.lora import LoRALinear
from ..serialization.atomic import write_atomically
from ..text.tokenizer import Tokenizer
from ..transformers import GPT
from . import gpt2, llama
from .errors import PretrainedError
from .keys import Key, arrays_of, check_model, keys_of
from .safetensors_file import WRITABLE, write_safetensors
from .tokenizer_files import ends, tokenizer_files


def save_pretrained(
    model: GPT, tokenizer: Tokenizer | None, folder: str | os.PathLike[str]
) -> None:
    """Write a model and its tokenizer to a folder, as Hugging Face's transformers reads them.

    Each file is replaced in one step; config.json, without which the others are no model, is the
    last. A model without biases is written with biases of zero, which GPT-2 has.

    Args:
        model: a `GPT` with learned positions, or a `Llama`.
        tokenizer: a byte-pair tokenizer, or None.
        folder: created if it is not there.

    Raises:
        PretrainedError: transformers has no such model or tokenizer, which is found before anything
            is written; or a file cannot be written.

    >>> import tempfile
    >>> from tinytorch import GPT
    >>> from tinytorch.pretrained import load_pretrained, save_pretrained
    >>> model = GPT(65, 32, num_layers=2, num_heads=4, max_seq_len=64)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_pretrained(model, None, folder)
    ...     again, _ = load_pretrained(folder)
    >>> again.config == model.config
    True
    """
    family = llama if isinstance(model, Llama) else gpt2
    if not isinstance(model, GPT):
        raise PretrainedError(f"only a GPT or a Llama can be saved, not {type(model).__name__}")
    layout, config = family.HUGGING_FACE, family.config_to(model.config)
    files = {} if tokenizer is None else tokenizer_files(tokenizer)
    rows = [
        row for row in layout.rows if row.ours != "head.weight" or not config["tie_word_embeddings"]
    ]
    keys = keys_of(rows, layout.sizes(model.config))
    _check(model, keys)
    arrays = {
        name if name.startswith("lm_head") else layout.prefix + name: array
        for name, array in arrays_of(model, keys)
    }
    config |= ends(tokenizer)
    config["dtype"] = next(iter(arrays.values())).dtype.name
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_safetensors(folder / "model.safetensors", arrays, {"format": "pt"})
        for name, values in {**files, "config.json": config}.items():
            text = json.dumps(values, indent=2, ensure_ascii=False)
            write_atomically(folder / name, text.encode())
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise PretrainedError(f"{folder} was not written: {reason}") from error


def _check(model: GPT, keys: Sequence[Key]) -> None:
    """Check that a model is what its configuration says, in numbers that can be written."""
    if any(isinstance(module, LoRALinear) for module in model.modules()):
        raise PretrainedError("the model has LoRA layers: merge_lora(model) before saving it")
    if any(isinstance(module, Int8Linear | Int8Embedding) for module in model.modules()):
        raise PretrainedError("the model was rounded by to_int8: save it before that")
    check_model(model, keys)
    dtypes = sorted({str(p.dtype).rpartition(".")[2] for p in model.parameters()})
    if len(dtypes) > 1 or dtypes[0] not in WRITABLE:
        raise PretrainedError(
            f"weights of {' and '.join(dtypes)} cannot be saved, but one of {', '.join(WRITABLE)}"
        )
