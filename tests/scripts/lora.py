"""LoRA: a frozen network learns a new task through low-rank updates of its linear layers."""

import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

rank, alpha = 2, 8.0
batch_size = 32


class LoRALinear(nn.Module):
    """y = x W^T + b + (alpha / r) x A^T B^T, with W and b frozen."""

    def __init__(self, base: nn.Linear, r: int, alpha: float):
        super().__init__()
        self.base = base
        self.base.requires_grad_(False)
        self.scaling = alpha / r
        self.merged = False
        self.register_parameter("lora_A", nn.Parameter(torch.empty(r, base.in_features)))
        self.register_parameter("lora_B", nn.Parameter(torch.empty(base.out_features, r)))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B)

    @property
    def delta(self):
        return self.lora_B @ self.lora_A * self.scaling

    def forward(self, x):
        out = self.base(x)
        if self.merged:
            return out
        return out + F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scaling

    @torch.no_grad
    def merge(self):
        if not self.merged:
            self.base.weight.add_(self.delta)
            self.merged = True

    def unmerge(self):
        if self.merged:
            self.base.weight.data -= self.delta.data
            self.merged = False

    def extra_repr(self):
        return f"rank={self.lora_A.shape[0]}, scaling={self.scaling}"


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        return self.head(self.body(x)).squeeze(-1)


def add_lora(model):
    """Replace every nn.Linear in the body."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name.startswith("body"):
            parent_name, _, child_name = name.rpartition(".")
            parent = model.get_submodule(parent_name)
            setattr(parent, child_name, LoRALinear(module, rank, alpha))
    for name, param in model.named_parameters():
        param.requires_grad = "lora_" in name
    return model


def build():
    torch.manual_seed(17)
    return add_lora(MLP())


def get_batch(rng):
    x = rng.standard_normal((batch_size, 6)).astype(np.float32)
    y = np.tanh(x[:, 0] - x[:, 1]) + 0.5 * x[:, 2]
    return torch.from_numpy(x), torch.from_numpy(y)


def train(model, steps=50):
    rng = np.random.default_rng(2)
    trainable = filter(lambda p: p.requires_grad, model.parameters())
    optimizer = torch.optim.AdamW(trainable, lr=2e-2)
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    losses = []
    for step in range(steps):
        if step == steps // 2:  # train the head too, slowly
            model.head.requires_grad_(True)
            optimizer.add_param_group({"params": model.head.parameters(), "lr": 1e-3})
        x, y = get_batch(rng)

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = F.smooth_l1_loss(model(x), y)
            loss.backward()
            return loss

        losses.append(optimizer.step(closure).item())
    for name, p in model.named_parameters():
        if name in frozen and not name.startswith("head"):
            assert p.grad is None and torch.equal(p, frozen[name]), name
    return losses


def report(model):
    total = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{trained} of {total} parameters are trained ({100 * trained / total:.1f}%)")
    adapters = {k: v for k, v in model.state_dict().items() if "lora_" in k}
    print("adapter:", {k: tuple(v.shape) for k, v in adapters.items()})

    x, y = get_batch(np.random.default_rng(3))
    before = model(x)
    merged = copy.deepcopy(model)
    layers = [m for m in merged.modules() if isinstance(m, LoRALinear)]
    for layer in layers:
        layer.merge()
    print("merged gives the same:", torch.allclose(before, merged(x), atol=1e-5))
    for layer in layers:
        layer.unmerge()
    print("unmerged too:", torch.allclose(before, merged(x), rtol=1e-4, atol=1e-5))
    print("rank of the update:", torch.linalg.matrix_rank(layers[0].delta.detach()).item())

    for layer in layers:
        nn.init.zeros_(layer.lora_B)
    print(f"loss without adapters {F.l1_loss(merged(x), y).item():.4f}")
    missing = merged.load_state_dict(adapters, strict=False)
    print(f"with them {F.l1_loss(merged(x), y).item():.4f}, {len(missing.missing_keys)} keys kept")


if __name__ == "__main__":
    model = build()
    print(model)
    losses = train(model)
    print(f"{losses[0]:.3f} -> {losses[-1]:.3f}")
    report(model)
