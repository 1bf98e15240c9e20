"""Regression test: the first ten losses of a training run, with values from PyTorch in float64.

After an intended change of the initial weights, update them: print `torch_losses(small_gpt())`.
"""

import numpy as np
import pytest
from helpers import require

from tinytorch import GPT, AdamW, CrossEntropyLoss, Tensor, Trainer, manual_seed

LOSSES = [
    3.4803785718, 3.2196961331, 3.0552679619, 3.0150428139, 2.9455996041,
    2.7382629626, 2.5776218513, 2.2389709811, 2.1616246944, 1.9235919816,
]  # fmt: skip
SETTINGS = {"lr": 1e-2, "betas": (0.9, 0.95), "eps": 1e-6, "weight_decay": 0.1}


def small_gpt() -> GPT:
    manual_seed(1337)
    return GPT(vocab_size=32, embed_dim=48, num_layers=3, num_heads=4, max_seq_len=16)


def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (8, 16) with a rule to learn: each token is a function of the one before it."""
    text = [step]
    while len(text) < 8 * 16 + 1:
        text.append((5 * text[-1] + 7 + (len(text) % 13 == 0)) % 32)
    tokens = np.array(text)
    return tokens[:-1].reshape(8, 16), tokens[1:].reshape(8, 16)


def torch_losses(model: GPT) -> list[float]:
    torch_reference = require("torch_reference")
    reference = torch_reference.gpt(model.to("float64"))
    optimizer = torch_reference.torch.optim.AdamW(reference.parameters(), **SETTINGS)
    losses = []
    for step in range(10):
        loss = reference.loss(*(torch_reference.torch.tensor(a) for a in batch(step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.slow_on("cupy")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-8)])
def test_losses_equal_the_pinned_ones(dtype: str, tolerance: float, backend: str) -> None:
    model = small_gpt().to(dtype).to(backend)
    trainer = Trainer(model, AdamW(model.parameters(), **SETTINGS), CrossEntropyLoss())
    losses = [
        trainer.train_step([tuple(Tensor(a, backend=backend) for a in batch(step))]).item()
        for step in range(10)
    ]
    assert losses == pytest.approx(LOSSES, rel=tolerance)


def test_pinned_losses_equal_pytorch() -> None:
    assert torch_losses(small_gpt()) == pytest.approx(LOSSES, rel=1e-8)
