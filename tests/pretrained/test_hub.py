"""Names of the hub: its cache is looked into, its package asked, and else it is said what to do."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tinytorch import GPT
from tinytorch.pretrained import PretrainedError, load_pretrained, save_pretrained

REVISION = "607a30d783dfa663caf39e06633721c8d4cfcd7e"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, without `huggingface_hub`."""
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME", "TT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    return tmp_path / "hub"


def store(cache: Path, repository: str, vocab_size: int = 9) -> Path:
    """Put a model into a cache, as links to what has the name of its hash."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / REVISION
    save_pretrained(GPT(vocab_size, 8, 1, 2, max_seq_len=16), None, folder / "blobs")
    snapshot.mkdir(parents=True)
    for blob in (folder / "blobs").iterdir():
        (snapshot / blob.name).symlink_to(blob)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(REVISION)
    return snapshot


@pytest.mark.parametrize("repository", ["gpt2", "openai-community/gpt2"])
def test_gpt2_is_found_in_the_cache_under_both_names(cache: Path, repository: str) -> None:
    store(cache, repository)
    assert load_pretrained("gpt2")[0].config.vocab_size == 9


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "XDG_CACHE_HOME"])
def test_the_cache_is_where_the_environment_says(
    variable: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv(variable, str(tmp_path / "x"))
    inner = "." if variable == "HF_HUB_CACHE" else "huggingface/hub"
    store(tmp_path / "x" / inner, "me/my-model", 11)
    assert load_pretrained("me/my-model")[0].config.vocab_size == 11


def test_a_folder_of_that_name_is_meant_before_the_hub(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(cache, "gpt2")
    monkeypatch.chdir(tmp_path)
    save_pretrained(GPT(12, 8, 1, 2), None, "gpt2")
    assert load_pretrained("gpt2")[0].config.vocab_size == 12


def test_without_the_package_it_is_said_what_to_install(cache: Path) -> None:
    with pytest.raises(
        PretrainedError, match=r"no file or folder gpt2, .*pip install hugg"
    ) as error:
        load_pretrained("gpt2")
    assert str(cache) in str(error.value)


def test_offline_nothing_is_fetched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", ModuleType("huggingface_hub"))
    monkeypatch.setenv("TT_OFFLINE", "1")
    with pytest.raises(PretrainedError, match="TT_OFFLINE is set: nothing was fetched"):
        load_pretrained("gpt2")


def test_a_cache_without_weights_is_not_enough(cache: Path) -> None:
    (store(cache, "gpt2") / "model.safetensors").unlink()
    with pytest.raises(PretrainedError, match="pip install huggingface_hub"):
        load_pretrained("gpt2")


def test_the_package_downloads_only_what_is_read(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, "*.safetensors" in allow_patterns, "*.bin" in allow_patterns))
        return str(store(tmp_path / "downloaded", name))

    package = ModuleType("huggingface_hub")
    package.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", package)
    assert load_pretrained("me/small")[0].config.vocab_size == 9
    assert asked == [("me/small", True, False)]

    def fail(name: str, allow_patterns: list[str]) -> str:
        raise RuntimeError("no network\nand more")

    package.snapshot_download = fail  # type: ignore[attr-defined]
    with pytest.raises(
        PretrainedError, match=r"me/other is no file.* cannot be downloaded: no netw"
    ):
        load_pretrained("me/other")


@pytest.mark.parametrize("path", ["a/b/c", "../gpt2", "x.gguf", "-x", "a b", "", "\0", "x--y", 1])
def test_what_is_no_name_is_not_looked_for(path: Any, cache: Path) -> None:
    with pytest.raises(PretrainedError, match=r"no file or folder|no path"):
        load_pretrained(path)
