"""Models by their names on the Hugging Face hub: from its cache on this machine, or downloaded."""

import os
import re
from pathlib import Path

from ..data.datasets import is_offline
from .errors import PretrainedError

FILES = ["config.json", "*.safetensors", "model.safetensors.index.json", "tokenizer.json",
         "tokenizer_config.json", "vocab.json", "merges.txt"]  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# Short names of models that have moved.
_MOVED = {name: f"openai-community/{name}"
          for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")}  # fmt: skip


def is_hub_name(name: str) -> bool:
    """Whether a model on the hub can have the name, as "gpt2" and "HuggingFaceTB/SmolLM2-135M"."""
    return _NAME.fullmatch(name) is not None and ".." not in name and "--" not in name


def find_model(name: str) -> Path:
    """The folder of a model's files, in the cache; if they are not there, they are downloaded.

    Raises:
        PretrainedError: they are not in the cache, and `huggingface_hub` is not installed or fails,
            or `TT_OFFLINE` is set.
    """
    for repository in (name, _MOVED.get(name, name)):
        folder = _cached(repository)
        if folder is not None:
            return folder
    if is_offline():
        raise PretrainedError(
            f"there is no file or folder {name}, nor a model of that name in the cache"
            f" {_cache()}, and TT_OFFLINE is set: nothing was fetched"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise PretrainedError(
            f"there is no file or folder {name}, nor a model of that name in the cache"
            f" {_cache()}; to download one, pip install huggingface_hub"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # of several libraries; the first line says what is wrong
        reason = str(error).strip().partition("\n")[0][:300] or type(error).__name__
        raise PretrainedError(
            f"{name} is no file, is not in the cache {_cache()}, and cannot be downloaded: {reason}"
        ) from error


def _cache() -> Path:
    """The cache of `huggingface_hub`, by the same variables."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(home, "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub")).expanduser()


def _cached(repository: str) -> Path | None:
    """The folder of the main revision of a model, if its weights are in the cache."""
    folder = _cache() / f"models--{repository.replace('/', '--')}"
    try:
        revision = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
        found = folder / "snapshots" / Path(revision).name
        complete = (found / "config.json").is_file() and any(found.glob("*.safetensors"))
    except (OSError, ValueError):
        return None
    return found if complete else None
