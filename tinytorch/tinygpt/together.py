"""Runs that several ranks train: how they start and resume as one, and what they must agree on."""

import json
import platform
import sys
import tempfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ..backends import default
from ..runtime.launch import World
from ..runtime.ranks import Ranks
from .run import CHECKPOINT, Run, RunConfig, open_folder, prepare_folder


def start(world: World, config: RunConfig, out: Path, stack: ExitStack) -> Run:
    """Start a run in all ranks; rank 0 prepares its folder.

    Raises:
        RankError: the ranks disagree.
        Exception: an exception of any rank, in all of them.
    """
    ranks = Ranks(world.group)

    def create() -> Run:
        world.use_device(default())
        return Run.start(config, out, 1, world.group)

    run: Run = ranks.together(create)
    ranks.agree(facts(run))
    run.lock = ranks.together(lambda: stack.enter_context(prepare_folder(out)), only_first=True)
    return run


def resume(world: World, out: Path, stack: ExitStack) -> Run:
    """Resume a run in all ranks; only rank 0 needs its folder, and sends the others the checkpoint.

    Raises:
        RankError: the ranks disagree.
        Exception: an exception of any rank, in all of them.
    """
    ranks = Ranks(world.group)
    lock = ranks.together(lambda: stack.enter_context(open_folder(out)), only_first=True)
    path = out / CHECKPOINT
    data = world.group.first(path.read_bytes() if not ranks.rank and path.is_file() else b"")
    folder = out
    if ranks.rank and data:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / CHECKPOINT).write_bytes(data)

    def create() -> Run:
        world.use_device(default())
        return Run.resume(folder, 1, world.group)

    run: Run = ranks.together(create)
    ranks.agree(facts(run))
    run.lock = lock
    return run


def facts(run: Run) -> dict[str, Any]:
    """What must be the same in all ranks, by the name that a message gives it."""
    tokenizer = json.dumps(run.tokenizer.to_dict(), sort_keys=True).encode()
    return {
        "versions of tinytorch": sys.modules["tinytorch"].__version__,
        "versions of Python": ".".join(platform.python_version_tuple()[:2]),
        "versions of NumPy": np.__version__,
        "source code of tinytorch": f"{_checksum_of_source():08x}",
        "backends": str(default()),
        "texts": run.corpus.sha256,
        "tokenizers": f"{zlib.crc32(tokenizer):08x}",
        # The paths of the text may differ.
        "settings": {**run.config.preset.to_dict(), **run.config.to_dict(), "data": 0, "preset": 0},
        "steps": run.trainer.step,
    }


def _checksum_of_source() -> int:
    """Of all modules, which a class may have written itself."""
    total = 0
    for name in sorted(n for n in sys.modules if n.split(".")[0] == "tinytorch"):
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_file():
            total = zlib.crc32(Path(file).read_bytes(), total)
    return total
