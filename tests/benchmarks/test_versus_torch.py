"""The benchmark beside PyTorch, in a small size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import require

PROGRAM = Path(__file__).with_name("versus_torch.py")

# Two threads on every machine, which `require` reduces to one only for tests.
SMALL = f"""
import importlib.util, json, sys
from dataclasses import replace
spec = importlib.util.spec_from_file_location("versus_torch", {str(PROGRAM)!r})
benchmark = sys.modules["versus_torch"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)
import torch
torch.set_num_threads(benchmark.num_threads())
preset = replace(benchmark.MODELS["nanogpt-cpu"], embed_dim=32, num_heads=2, num_layers=1)
row = benchmark.compare(preset, rounds=1)
print(json.dumps(row | {{"threads": torch.get_num_threads()}}))
"""


@pytest.mark.slow
def test_both_sides_use_all_threads() -> None:
    require("torch")
    environment = {k: v for k, v in os.environ.items() if k != "PYTEST_VERSION"}
    done = subprocess.run(
        [sys.executable, "-c", SMALL],
        env=environment | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row.pop("threads") == 2
    assert set(row) == {"tinytorch_ms", "pytorch_ms", "ratio", "floor_ms", "over_floor"}
    assert min(row.values()) > 0
