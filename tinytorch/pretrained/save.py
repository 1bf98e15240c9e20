"""Save a model and its tokenizer as a folder that transformers loads."""

import json
import os
from pathlib import Path

from ..models import Llama
from ..serialization.atomic import write_atomically
from ..text.tokenizer import Tokenizer
from ..transformers import GPT
from . import gpt2, llama
from .errors import PretrainedError
from .keys import arrays_of, keys_of
from .safetensors_file import write_safetensors
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
    arrays = {
        name if name.startswith("lm_head") else layout.prefix + name: array
        for name, array in arrays_of(model, keys_of(rows, layout.sizes(model.config)))
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
