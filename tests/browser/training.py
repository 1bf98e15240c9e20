"""Train a small GPT for 20 steps, and print its losses: the same on every platform.

It uses batches of rows, products that are large enough for OpenBLAS, and dropout.
"""

import json

import numpy as np

import tinytorch as tt
from tinytorch.backends.numpy import wasm

tt.manual_seed(0)
model = tt.GPT(vocab_size=65, embed_dim=48, num_layers=2, num_heads=4, max_seq_len=32, dropout=0.1)
optimizer = tt.AdamW(model.parameters(), lr=3e-3)
tokens = np.random.default_rng(0).integers(0, 65, (20, 4, 33)) % np.arange(1, 34)

losses = []
for batch in tt.tensor(tokens):
    logits = model(batch[:, :-1])  # (B, T) -> (B, T, V)
    loss = tt.cross_entropy(logits.reshape(-1, 65), batch[:, 1:].reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
large, xp = np.array([2**32 - 1, 1], np.uint32), tt.backends.default().xp
generated = model.generate(tokens[0, 0, :4].tolist(), 12, seed=0)
print(json.dumps({
    "losses": losses,
    "generated": np.asarray(generated).tolist(),
    "dtypes": [str(tt.tensor(values).dtype) for values in (1, [2, 3], True, 0.5)]
    + [str(x.dtype) for x in (tt.arange(3), tt.tensor([3, 1]).sum(), tt.tensor([0.5, 2]).argmax(),
                              tt.tensor([3, 1]).cumsum(0), tt.tensor([2.0, 1]).argsort(),
                              tt.bincount(tt.tensor([0, 2])), tt.tensor([0, 2]).nonzero())],
    "repeated": tt.repeat_interleave(tt.tensor([1, 2]), tt.tensor([1, 2])).tolist(),
    "unsigned": [int(xp.sum(large)), tt.tensor(large).sum().item(), str(xp.prod(large).dtype)],
    "openblas": wasm.IS_WASM and wasm._sgemm() is not None,
}))  # fmt: skip
