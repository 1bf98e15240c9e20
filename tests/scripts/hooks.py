"""Hooks that record activations and gradients of a deep network while it trains."""

from collections import defaultdict
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

depth, width = 4, 20


class DeepNet(nn.Module):
    def __init__(self, activation=nn.Tanh):
        super().__init__()
        self.inp = nn.Linear(5, width)
        self.hidden = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.acts = nn.ModuleList([activation() for _ in range(depth)])
        self.gains = nn.ParameterList([nn.Parameter(torch.ones(width)) for _ in range(depth)])
        self.out = nn.Linear(width, 1)
        self.register_buffer("calls", torch.zeros(1, dtype=torch.long))

    def forward(self, x):
        self.calls += 1
        x = torch.tanh(self.inp(x))
        for lin, act, gain in zip(self.hidden, self.acts, self.gains, strict=True):
            x = act(lin(x) * gain)
        return self.out(x).squeeze(1)


class Recorder:
    """Statistics of the outputs and of their gradients, by the module's name."""

    def __init__(self, model, kinds):
        self.means, self.stds, self.grads = defaultdict(list), defaultdict(list), defaultdict(list)
        self.handles = []
        for name, module in model.named_modules():
            if isinstance(module, kinds):
                self.handles.append(module.register_forward_hook(partial(self.forward, name)))
                self.handles.append(
                    module.register_full_backward_hook(partial(self.backward, name))
                )

    def forward(self, name, module, inputs, output):
        values = output.detach().cpu()
        self.means[name].append(values.mean().item())
        self.stds[name].append(values.std().item())

    def backward(self, name, module, grad_input, grad_output):
        self.grads[name].append(grad_output[0].norm().item())

    def remove(self):
        for handle in self.handles:
            handle.remove()
        self.handles.clear()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.remove()


def build():
    torch.manual_seed(23)
    return DeepNet()


def get_batch(rng):
    x = rng.uniform(-1, 1, (32, 5)).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(np.sin(2 * x[:, 0]) * x[:, 1] + x[:, 2])


def train(model, steps=50):
    rng = np.random.default_rng(1)
    opt = torch.optim.Adagrad(model.parameters(), lr=0.05)
    losses = []
    with Recorder(model, nn.Tanh) as recorder:
        for _ in range(steps):
            x, y = get_batch(rng)
            loss = F.mse_loss(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
    for name, stds in recorder.stds.items():
        means, grads = recorder.means[name], recorder.grads[name]
        print(f"{name}: std {stds[0]:.3f} -> {stds[-1]:.3f}, mean {means[-1]:.3f}")
        print(f"    gradient {grads[0]:.4f} -> {grads[-1]:.4f}")
    model(x)  # no hook is left
    assert all(len(values) == steps for values in recorder.means.values())
    return losses


def report(model):
    model.zero_grad()
    x, y = get_batch(np.random.default_rng(2))

    # a forward hook that keeps the activations themselves
    activation = {}

    def get_activation(name):
        def hook(model, input, output):
            activation[name] = output
            output.retain_grad()

        return hook

    handles = [
        act.register_forward_hook(get_activation(f"act{i}")) for i, act in enumerate(model.acts)
    ]
    F.mse_loss(model(x), y).backward()
    for name, a in activation.items():
        saturated = (a.abs() > 0.97).float().mean().item()
        largest = a.grad.abs().max().item()
        print(f"{name}: {tuple(a.shape)}, saturated {saturated:.3f}, grad {largest:.2e}")
    for handle in handles:
        handle.remove()

    # a pre-hook that changes the input, a hook that changes the output, one on a parameter
    pre = model.inp.register_forward_pre_hook(lambda module, args: (args[0] * 0.0,))
    print("zeroed inputs give one value:", model(x).std().item() < 1e-6)
    pre.remove()
    post = model.out.register_forward_hook(lambda module, args, output: output + 10.0)
    print(f"shifted mean {model(x).mean().item():.3f}")
    post.remove()

    model.zero_grad(set_to_none=True)
    seen = []
    h = model.out.weight.register_hook(lambda grad: seen.append(grad.norm().item()))
    clamp = model.inp.weight.register_hook(lambda grad: grad.clamp(-1e-3, 1e-3))
    F.mse_loss(model(x), y).backward()
    h.remove()
    clamp.remove()
    print(f"norm {seen[0]:.4f}, clamped {model.inp.weight.grad.abs().max().item():.4f}")
    ratios = {
        n: (p.grad.std() / p.std()).item() for n, p in model.named_parameters() if p.ndim == 2
    }
    print("gradient to data:", {name: round(ratio, 4) for name, ratio in ratios.items()})
    print("calls:", model.calls.item(), "buffers:", [name for name, _ in model.named_buffers()])


if __name__ == "__main__":
    model = build()
    losses = train(model)
    print(f"{losses[0]:.3f} -> {losses[-1]:.3f}")
    report(model)
