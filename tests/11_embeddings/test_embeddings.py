"""Lesson 11 compared with PyTorch; all other tests are in test_embeddings_integration.py."""

import numpy as np
from helpers import require

from tinytorch import Embedding, Tensor


def test_gradients_of_repeated_tokens_add_up_as_in_pytorch() -> None:
    torch = require("torch")
    table, ids = Embedding(5, 3), np.array([[1, 1, 4], [0, 1, 4]])
    factor = np.random.default_rng(0).standard_normal((2, 3, 3)).astype(np.float32)
    (table(Tensor(ids)) * Tensor(factor)).sum().backward()
    reference = torch.nn.Embedding.from_pretrained(torch.tensor(table.weight.numpy()), freeze=False)
    (reference(torch.tensor(ids)) * torch.tensor(factor)).sum().backward()
    assert table.weight.grad is not None
    np.testing.assert_allclose(table.weight.grad.numpy(), reference.weight.grad.numpy(), rtol=1e-6)
