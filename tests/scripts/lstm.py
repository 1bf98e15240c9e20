"""An LSTM from its equations, checked against nn.LSTM, that continues sums of two sine waves."""

import numpy as np
import torch
import torch.nn as nn

input_size, hidden_size = 1, 24
seq_len, batch_size = 20, 16


class LSTMCell(nn.Module):
    """One step: the gates of input, forget, candidate and output from one matrix product."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.x2h = nn.Linear(input_size, 4 * hidden_size)
        self.h2h = nn.Linear(hidden_size, 4 * hidden_size)
        self.reset_parameters()

    def reset_parameters(self):
        bound = 1.0 / np.sqrt(self.hidden_size)
        for weight in self.parameters():
            weight.data.uniform_(-bound, bound)

    def forward(self, x, state):
        h, c = state
        gates = self.x2h(x) + self.h2h(h)  # (B, 4H)
        i, f, g, o = gates.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h, (h, c)


class MyLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = LSTMCell(input_size, hidden_size)
        self.readout = nn.Linear(hidden_size, 1)

    def forward(self, x):  # (B, T, 1)
        state = (x.new_zeros(x.size(0), hidden_size), x.new_zeros(x.size(0), hidden_size))
        hs = []
        for x_t in x.unbind(dim=1):
            h, state = self.cell(x_t, state)
            hs.append(h.unsqueeze(1))
        return self.readout(torch.cat(hs, dim=1))


class TorchLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.readout = nn.Linear(hidden_size, 1)
        for name, param in self.lstm.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(param)
            elif "bias" in name:
                nn.init.constant_(param, 0.0)

    def forward(self, x):
        out, (h_n, c_n) = self.lstm(x)
        assert h_n.shape == c_n.shape == (1, x.size(0), hidden_size)
        return self.readout(out)


def get_batch(rng):
    t = np.arange(seq_len + 1) / 3.0
    phase = rng.uniform(0, 2 * np.pi, (2, batch_size, 1))
    wave = (np.sin(t + phase[0]) + np.sin(0.5 * t + phase[1])) / 2
    wave = torch.from_numpy(wave).float().unsqueeze(-1)  # (B, T + 1, 1)
    return wave[:, :-1], wave[:, 1:]


def build():
    torch.manual_seed(2)
    return nn.ModuleList([MyLSTM(), TorchLSTM()])


def train(model, steps=50):
    rng = np.random.default_rng(9)
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        x, y = get_batch(rng)
        optimizer.zero_grad()
        loss = sum(loss_fn(net(x), y) for net in model)
        loss.backward()
        torch.nn.utils.clip_grad_value_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    return losses


def report(model):
    mine, library = model
    cell, lstm = mine.cell, nn.LSTM(input_size, hidden_size, batch_first=True)
    with torch.no_grad():  # the same weights give the same numbers
        lstm.weight_ih_l0.copy_(cell.x2h.weight)
        lstm.weight_hh_l0.copy_(cell.h2h.weight)
        lstm.bias_ih_l0.copy_(cell.x2h.bias)
        lstm.bias_hh_l0.copy_(cell.h2h.bias)
        x, y = get_batch(np.random.default_rng(10))
        same = torch.allclose(mine.readout(lstm(x)[0]), mine(x), atol=1e-5)
        print("same as nn.LSTM:", same)
        for name, net in (("mine", mine), ("nn.LSTM", library)):
            print(f"{name:8} error {(net(x) - y).pow(2).mean().sqrt().item():.4f}")
    _, (h, c) = lstm(x)
    print("last states:", h.squeeze(0).shape, f"{h.mean().item():.4f} {c.mean().item():.4f}")


def sample(model):
    """Continue a wave with the model's own predictions."""
    wave = torch.sin(torch.arange(0, 5, 0.5)).reshape(1, -1, 1)
    with torch.no_grad():
        for _ in range(10):
            wave = torch.cat([wave, model[1](wave)[:, -1:]], dim=1)
    return wave.squeeze()


if __name__ == "__main__":
    model = build()
    losses = train(model)
    print(f"{losses[0]:.4f} -> {losses[-1]:.4f}")
    report(model)
    print(sample(model))
