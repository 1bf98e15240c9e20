"""A generator of names: counts of pairs, then an MLP on raw tensors, then a small transformer."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

block_size = 3  # letters that predict the next one
emb, hidden = 8, 32
lr = 0.1


def make_names(count):
    """Invented names of two or three syllables."""
    rng = np.random.default_rng(42)
    first = ["ka", "lo", "mi", "ra", "sen", "tor", "vi", "be", "an", "el"]
    last = ["na", "ris", "do", "lin", "mar", "ya", "th", "es"]
    middle = ["", "", "li", "ra", "no"]
    return ["".join(rng.choice(part) for part in (first, middle, last)) for _ in range(count)]


words = make_names(120)
chars = sorted(set("".join(words)))
stoi = {s: i + 1 for i, s in enumerate(chars)}
stoi["."] = 0
itos = {i: s for s, i in stoi.items()}
V = len(stoi)


def build_dataset(words):
    X, Y = [], []
    for w in words:
        context = [0] * block_size
        for ch in w + ".":
            X.append(context)
            Y.append(stoi[ch])
            context = [*context[1:], stoi[ch]]
    return torch.tensor(X), torch.tensor(Y)


X, Y = build_dataset(words)


def bigram_counts():
    N = torch.zeros((V, V), dtype=torch.int32)
    for w in words:
        chs = ["."] + list(w) + ["."]
        for a, b in zip(chs, chs[1:]):
            N[stoi[a], stoi[b]] += 1
    return N


class Transformer(nn.Module):
    """One block of attention over the context; attention sees all letters of the context."""

    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(V, 16)
        self.wpe = nn.Parameter(torch.zeros(1, block_size, 16))
        self.attn = nn.Linear(16, 48)
        self.mlp = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16))
        self.norms = nn.ModuleList([nn.LayerNorm(16), nn.LayerNorm(16), nn.RMSNorm(16)])
        self.head = nn.Linear(16 * block_size, V)

    def forward(self, idx):
        x = self.wte(idx) + self.wpe  # (B, T, 16)
        q, k, v = self.attn(self.norms[0](x)).chunk(3, dim=-1)
        weights = torch.softmax(torch.einsum("btc,bsc->bts", q, k) / 4.0, dim=-1)
        x = x + torch.bmm(weights, v)
        x = x + self.mlp(self.norms[1](x))
        return self.head(self.norms[2](x).flatten(1))


def build():
    g = torch.Generator().manual_seed(2026)
    mlp = {
        "C": torch.randn((V, emb), generator=g),
        "W1": torch.randn((emb * block_size, hidden), generator=g)
        * (5 / 3)
        / (emb * block_size) ** 0.5,
        "bngain": torch.ones((1, hidden)),
        "bnbias": torch.zeros((1, hidden)),
        "W2": torch.randn((hidden, V), generator=g) * 0.01,
        "b2": torch.zeros(V),
    }
    for p in mlp.values():
        p.requires_grad = True
    running = {"mean": torch.zeros((1, hidden)), "std": torch.ones((1, hidden))}
    torch.manual_seed(8)
    return {"mlp": mlp, "running": running, "transformer": Transformer()}


def mlp_loss(mlp, running, xb, yb, training=True):
    embcat = mlp["C"][xb].view(xb.shape[0], -1)  # concatenate the letters' vectors
    hpreact = embcat @ mlp["W1"]
    if training:  # batch norm by hand
        mean, std = hpreact.mean(0, keepdim=True), hpreact.std(0, keepdim=True)
        with torch.no_grad():
            running["mean"].mul_(0.9).add_(0.1 * mean)
            running["std"].mul_(0.9).add_(0.1 * std)
    else:
        mean, std = running["mean"], running["std"]
    h = torch.tanh(mlp["bngain"] * (hpreact - mean) / std + mlp["bnbias"])
    return F.cross_entropy(h @ mlp["W2"] + mlp["b2"], yb)


def train(model, steps=50):
    rng = np.random.default_rng(3)
    mlp, net = model["mlp"], model["transformer"]
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3, weight_decay=0.01)
    losses = []
    for _ in range(steps):
        ix = torch.from_numpy(rng.integers(0, X.shape[0], 32))
        loss = mlp_loss(mlp, model["running"], X[ix], Y[ix])
        for p in mlp.values():
            p.grad = None
        loss.backward()
        for p in mlp.values():
            p.data += -lr * p.grad

        loss2 = F.cross_entropy(net(X[ix]), Y[ix])
        optimizer.zero_grad()
        loss2.backward()
        optimizer.step()
        losses.append(loss.item() + loss2.item())
    return losses


def report(model):
    parameters = list(model["mlp"].values())
    print(sum(p.nelement() for p in parameters), "numbers in the MLP")
    P = (bigram_counts() + 1).float()
    P /= P.sum(1, keepdim=True)
    nll = 0.0
    for w in words[:20]:
        for a, b in zip("." + w, w + "."):
            nll -= torch.log(P[stoi[a], stoi[b]])
    print(f"bigram: {nll.item() / sum(len(w) + 1 for w in words[:20]):.4f}")
    with torch.no_grad():
        print(f"MLP: {mlp_loss(model['mlp'], model['running'], X, Y, training=False).item():.4f}")
        print(f"transformer: {F.cross_entropy(model['transformer'](X), Y).item():.4f}")


@torch.no_grad()
def sample(model):
    g = torch.Generator().manual_seed(5)
    out, context = [], [0] * block_size
    while len(out) < 12:
        probs = F.softmax(model["transformer"](torch.tensor([context])), dim=1)
        ix = torch.multinomial(probs, num_samples=1, replacement=True, generator=g).item()
        context = [*context[1:], ix]
        out.append(itos[ix])
    return "".join(out)


if __name__ == "__main__":
    model = build()
    losses = train(model)
    print(f"{losses[0]:.3f} -> {losses[-1]:.3f}")
    report(model)
    print(sample(model))
