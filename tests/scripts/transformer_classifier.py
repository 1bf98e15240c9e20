"""A transformer encoder that classifies sequences, under three learning-rate schedules."""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR, StepLR

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
vocab_size, pad = 12, 0
d_model, nhead, max_len = 16, 4, 10
batch_size = 32


def get_batch(rng):
    """Sequences of different lengths; the class is 1 if there are more 1s than 2s, else 0."""
    tokens = rng.integers(1, 4, (batch_size, max_len))
    lengths = rng.integers(4, max_len + 1, batch_size)
    tokens[np.arange(max_len) >= lengths[:, None]] = pad
    labels = (tokens == 1).sum(axis=1) > (tokens == 2).sum(axis=1)
    return torch.from_numpy(tokens).to(device), torch.from_numpy(labels).long().to(device)


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(1, max_len, d_model)
        pe[0, :, 0::2] = torch.sin(position * div_term)
        pe[0, :, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe, persistent=False)

    def forward(self, x):
        return x + self.pe[:, : x.size(1)]


class Pooling(nn.Module):
    """One learned query attends to all positions that are not padding."""

    def __init__(self):
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, 1, d_model))
        self.attn = nn.MultiheadAttention(d_model, nhead, dropout=0.0, batch_first=True)

    def forward(self, x, mask):
        query = self.query.expand(x.size(0), -1, -1)
        out, weights = self.attn(query, x, x, key_padding_mask=mask, need_weights=True)
        return out.squeeze(1), weights  # (B, C), (B, 1, T)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, d_model, padding_idx=pad)
        self.position = PositionalEncoding(d_model, max_len)
        self.encoder = nn.TransformerEncoderLayer(
            d_model, nhead, dim_feedforward=32, dropout=0.0, activation="gelu", batch_first=True
        )
        self.pool = Pooling()
        self.fc = nn.Linear(d_model, 2)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)

    def forward(self, tokens):
        mask = tokens.eq(pad)  # True where attention must not look
        x = self.position(self.embedding(tokens) * math.sqrt(d_model))
        x = self.encoder(x, src_key_padding_mask=mask)
        x, weights = self.pool(x, mask)
        return F.log_softmax(self.fc(x), dim=-1), weights


SCHEDULES = {
    "one_cycle": lambda opt, steps: OneCycleLR(opt, max_lr=1e-2, total_steps=steps + 1),
    "cosine": lambda opt, steps: CosineAnnealingLR(opt, T_max=steps, eta_min=1e-4),
    "step": lambda opt, steps: StepLR(opt, step_size=20, gamma=0.5),
    "warmup": lambda opt, steps: LambdaLR(opt, lambda t: min(1.0, (t + 1) / 10)),
}


def build():
    torch.manual_seed(29)
    return nn.ModuleDict({name: Classifier() for name in SCHEDULES}).to(device)


def train(model, steps=50):
    criterion = nn.NLLLoss()
    losses = np.zeros(steps)
    for name, net in model.items():
        rng = np.random.default_rng(3)
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3, betas=(0.9, 0.98))
        scheduler = SCHEDULES[name](optimizer, steps)
        rates = []
        net.train()
        for step in range(steps):
            tokens, labels = get_batch(rng)
            output, _ = net(tokens)
            loss = criterion(output, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.append(scheduler.get_last_lr()[0])
            scheduler.step()
            losses[step] += loss.item() / len(model)
        print(
            f"{name:10}", [f"{rate:.5f}" for rate in rates[::10]], optimizer.param_groups[0]["lr"]
        )
    return losses.tolist()


def report(model):
    tokens, labels = get_batch(np.random.default_rng(4))
    for name, net in model.items():
        net.eval()
        with torch.no_grad():
            output, weights = net(tokens)
        correct = (output.argmax(-1) == labels).sum().item()
        on_padding = weights.squeeze(1).masked_select(tokens == pad).sum().item()
        print(f"{name:10} {correct} of {batch_size}, loss {F.nll_loss(output, labels).item():.4f}, "
              f"attention to padding {on_padding:.1f}")  # fmt: skip
    embedding = model["cosine"].embedding
    print("gradient of padding:", embedding.weight.grad[embedding.padding_idx].norm().item())
    print("state:", sorted(k for k in model["cosine"].state_dict() if k.startswith("encoder.self")))


if __name__ == "__main__":
    model = build()
    losses = train(model)
    print(f"{losses[0]:.3f} -> {losses[-1]:.3f}")
    report(model)
