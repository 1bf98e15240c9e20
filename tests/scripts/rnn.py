"""Recurrent networks on characters: one by hand, nn.RNN, and a nn.GRU of two layers."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

hidden_size = 32
batch_size = 8
chunk = 10  # steps of truncated backpropagation through time
text = "one and two and three and four and five and six and seven and " * 40

vocab = sorted(set(text))
char_to_ix = {c: i for i, c in enumerate(vocab)}
V = len(vocab)
ids = np.array([char_to_ix[c] for c in text], dtype=np.int64)
length = len(ids) // batch_size
rows = torch.from_numpy(ids[: batch_size * length].reshape(batch_size, length))


class VanillaRNN(nn.Module):
    """h = tanh(W x + U h), written as a loop."""

    def __init__(self):
        super().__init__()
        self.i2h = nn.Linear(V, hidden_size)
        self.h2h = nn.Linear(hidden_size, hidden_size, bias=False)
        self.h2o = nn.Linear(hidden_size, V)
        nn.init.xavier_normal_(self.i2h.weight)
        nn.init.uniform_(self.h2h.weight, -0.1, 0.1)
        nn.init.trunc_normal_(self.h2o.weight, std=0.1)

    def init_hidden(self, batch_size):
        return torch.zeros(batch_size, hidden_size)

    def forward(self, x, h):
        outputs = []
        for t in range(x.size(1)):
            h = torch.tanh(self.i2h(x[:, t]) + self.h2h(h))
            outputs.append(self.h2o(h))
        return torch.stack(outputs, dim=1), h  # (B, T, V), (B, H)


class LibraryRNN(nn.Module):
    def __init__(self, cell, num_layers):
        super().__init__()
        self.num_layers = num_layers
        self.rnn = cell(V, hidden_size, num_layers=num_layers, batch_first=True)
        self.fc = nn.Linear(hidden_size, V)

    def init_hidden(self, batch_size):
        weight = next(self.parameters()).data
        return weight.new_zeros(self.num_layers, batch_size, hidden_size)

    def forward(self, x, h):
        out, h = self.rnn(x, h)
        return self.fc(out), h


def build():
    torch.manual_seed(21)
    return nn.ModuleDict(
        {
            "by_hand": VanillaRNN(),
            "rnn": LibraryRNN(nn.RNN, 1),
            "gru": LibraryRNN(nn.GRU, 2),
        }
    )


def train(model, steps=50):
    optimizers = {
        name: torch.optim.RMSprop(net.parameters(), lr=3e-3) for name, net in model.items()
    }
    hidden = {name: net.init_hidden(batch_size) for name, net in model.items()}
    losses = []
    for step in range(steps):
        start = step * chunk % (length - chunk - 1)
        x = F.one_hot(rows[:, start : start + chunk], num_classes=V).float()
        y = rows[:, start + 1 : start + chunk + 1]
        total = 0.0
        for name, net in model.items():
            h = hidden[name].detach()  # gradients stop here, the state goes on
            logits, hidden[name] = net(x, h)
            loss = F.cross_entropy(logits.reshape(-1, V), y.reshape(-1))
            optimizers[name].zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(net.parameters(), max_norm=0.5)
            optimizers[name].step()
            total += loss.item() / len(model)
        losses.append(total)
        if step % 20 == 0:
            print(f"step {step}: loss {total:.4f}, last norm {norm.item():.4f}")
    return losses


@torch.no_grad()
def report(model):
    seed = torch.tensor([[char_to_ix[c] for c in "one and "]])
    for name, net in model.items():
        logits, h = net(F.one_hot(seed, V).float(), net.init_hidden(1))
        p = nn.Softmax(dim=-1)(logits[0, -1])
        values, indices = p.topk(3)
        print(
            f"{name:8} {h.norm().item():.4f}",
            [round(v, 3) for v in values.tolist()],
            indices.tolist(),
        )


@torch.no_grad()
def sample(model):
    net = model["gru"].eval()
    h = net.init_hidden(1)
    ix = torch.tensor(char_to_ix["o"])
    out = []
    for _ in range(30):
        x = torch.zeros(1, 1, V)
        x[0, 0, ix] = 1.0
        logits, h = net(x, h)
        ix = torch.multinomial(F.softmax(logits.view(-1), dim=0), 1)[0]
        out.append(vocab[ix.item()])
    return "".join(out)


if __name__ == "__main__":
    model = build()
    losses = train(model)
    print(f"{losses[0]:.3f} -> {losses[-1]:.3f}")
    report(model)
    print(sample(model))
