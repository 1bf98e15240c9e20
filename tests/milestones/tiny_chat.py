"""A chat model without knowledge: random weights, a token for each byte, the marks of ChatML."""

from pathlib import Path
from typing import Any

from tinytorch import manual_seed
from tinytorch.models import Llama
from tinytorch.pretrained import save_pretrained
from tinytorch.pretrained.tokenizer import PretrainedTokenizer
from tinytorch.text.gpt2_files import token_name

MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
JINJA = "{{ '<|im_start|>system\nYou are a robot.<|im_end|>\n' }} and so on"


def tiny_tokenizer(chat_template: str | None = JINJA) -> PretrainedTokenizer:
    vocab = {mark: i for i, mark in enumerate(MARKS)}
    vocab |= {token_name(bytes([byte])): len(MARKS) + byte for byte in range(256)}
    added = [{"id": vocab[mark], "content": mark, "special": True} for mark in MARKS]
    description = {
        "version": "1.0", "added_tokens": added, "pre_tokenizer": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    }  # fmt: skip
    description["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False}
    config = {"eos_token": "<|im_end|>", "chat_template": chat_template}
    return PretrainedTokenizer(description, config)


def tiny_chat_model(folder: Path, max_seq_len: int = 256, **changes: Any) -> Path:
    """Write the model to a folder."""
    manual_seed(3)
    tokenizer = tiny_tokenizer(**changes)
    model = Llama(tokenizer.vocab_size, 16, 2, 2, 1, 32, max_seq_len, tie_weights=True)
    save_pretrained(model, tokenizer, folder)
    return folder
