"""A bigram language model on characters: each character alone predicts the next one."""

import numpy as np
import torch
import torch.nn as nn
from torch.nn import functional as F

batch_size = 16
block_size = 8
learning_rate = 5e-2
eval_iters = 5

text = """
The keeper of the old lighthouse counted ships. In the morning he counted the small ones, with
brown sails and nets; at noon the ferries, white and always late; in the evening the long dark
ships that never stopped. He wrote each number in a book, and under each number he wrote what the
sea was like. "Grey," he wrote. "Grey, with a little green." When the book was full he took it
down to the harbour and gave it to the children, who counted the words.
"""

chars = sorted(set(text))
vocab_size = len(chars)
stoi = {ch: i for i, ch in enumerate(chars)}
itos = dict(enumerate(chars))


def encode(string):
    return [stoi[c] for c in string]


def decode(ids):
    return "".join(itos[i] for i in ids)


data = torch.tensor(encode(text), dtype=torch.long)
n = int(0.9 * len(data))
splits = {"train": data[:n], "val": data[n:]}


def get_batch(split, rng=None):
    """Draw a batch; a NumPy generator makes it the same in every library."""
    source = splits[split]
    if rng is None:
        ix = torch.randint(len(source) - block_size, (batch_size,))
    else:
        ix = torch.from_numpy(rng.integers(0, len(source) - block_size, batch_size))
    x = torch.stack([source[i : i + block_size] for i in ix])
    y = torch.stack([source[i + 1 : i + block_size + 1] for i in ix])
    return x, y


class BigramLanguageModel(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        # row i holds the logits of the character that follows character i
        self.token_embedding_table = nn.Embedding(vocab_size, vocab_size)

    def forward(self, idx, targets=None):
        logits = self.token_embedding_table(idx)  # (B, T, C)
        if targets is None:
            return logits, None
        B, T, C = logits.shape
        loss = F.cross_entropy(logits.view(B * T, C), targets.view(B * T))
        return logits, loss

    def generate(self, idx, max_new_tokens):
        for _ in range(max_new_tokens):
            logits, _ = self(idx)
            probs = F.softmax(logits[:, -1, :], dim=-1)  # (B, C)
            idx_next = torch.multinomial(probs, num_samples=1)  # (B, 1)
            idx = torch.cat((idx, idx_next), dim=1)  # (B, T + 1)
        return idx


@torch.no_grad()
def estimate_loss(model, rng):
    out = {}
    model.eval()
    for split in ("train", "val"):
        losses = torch.zeros(eval_iters)
        for k in range(eval_iters):
            _, loss = model(*get_batch(split, rng))
            losses[k] = loss.item()
        out[split] = losses.mean()
    model.train()
    return out


def build():
    torch.manual_seed(11)
    return BigramLanguageModel(vocab_size)


def train(model, steps=50):
    rng = np.random.default_rng(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    losses = []
    for step in range(steps):
        if step % 20 == 0:
            estimates = estimate_loss(model, rng)
            print(f"step {step}: train {estimates['train']:.4f}, val {estimates['val']:.4f}")
        xb, yb = get_batch("train", rng)
        _, loss = model(xb, yb)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def report(model):
    xb, yb = get_batch("val", np.random.default_rng(2))
    logits, loss = model(xb, yb)
    print(logits.shape, f"{loss.item():.4f}")
    table = model.token_embedding_table.weight.detach()
    vowels = [F.cosine_similarity(table[stoi["a"]], table[stoi[v]], dim=0).item() for v in "eio"]
    print("similarity of a to e, i and o:", [round(v, 3) for v in vowels])
    after_t = table[stoi["t"]]
    best = torch.argmax(after_t).item()
    print(f"after 't': {itos[best]!r}, p = {F.softmax(after_t, dim=0)[best].item():.3f}")


def sample(model):
    x, _ = get_batch("train")
    assert x.shape == (batch_size, block_size)
    start = torch.zeros((1, 1), dtype=torch.long)
    return decode(model.generate(start, max_new_tokens=60)[0].tolist())


if __name__ == "__main__":
    model = build()
    print(f"last loss {train(model)[-1]:.4f}")
    report(model)
    print(sample(model))
