"""A network of residual blocks, deep enough that plain layers would hardly learn."""

from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

num_classes = 3
batch_size = 48


def spirals(count, rng):
    """Points on three arms of a spiral, lifted to an 'image' of 4 x 4."""
    labels = rng.integers(0, num_classes, count)
    radius = rng.uniform(0.2, 1.0, count)
    angle = 3.0 * radius + 2 * np.pi * labels / num_classes + 0.1 * rng.standard_normal(count)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    powers = [x[:, :1] ** i * x[:, 1:] ** j for i in range(4) for j in range(4)]
    return np.concatenate(powers, axis=1).reshape(count, 4, 4).astype(np.float32), labels


class ResidualBlock(nn.Module):
    """y = shortcut(x) + F(x), with a projection as the shortcut where the widths differ."""

    expansion: int = 2

    def __init__(self, in_features: int, out_features: int, norm: bool = True) -> None:
        super().__init__()
        inner = out_features * self.expansion
        self.norm1 = nn.LayerNorm(in_features) if norm else nn.Identity()
        self.fc1 = nn.Linear(in_features, inner)
        self.act = nn.SiLU()
        self.fc2 = nn.Linear(inner, out_features)
        self.shortcut: nn.Module
        if in_features != out_features:
            self.shortcut = nn.Linear(in_features, out_features, bias=False)
        else:
            self.shortcut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        identity = self.shortcut(x)
        out = self.act(self.fc1(self.norm1(x)))
        out = self.fc2(out)
        out += identity
        return out


class ResNet(nn.Module):
    def __init__(self, widths=(16, 24, 24), blocks=(1, 2, 2), num_classes=num_classes):
        super().__init__()
        self.in_features = widths[0]
        self.stem = nn.Sequential(
            OrderedDict([("flatten", nn.Flatten(1)), ("fc", nn.Linear(16, widths[0]))])
        )
        self.layers = nn.Sequential()
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            self.layers.add_module(f"layer{i + 1}", self._make_layer(width, count, norm=i > 0))
        self.norm = nn.GroupNorm(4, widths[-1])
        self.fc = nn.Linear(widths[-1], num_classes)

        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
            elif isinstance(m, nn.LayerNorm | nn.GroupNorm):
                nn.init.ones_(m.weight)
        for m in self.modules():  # each block begins as the identity
            if isinstance(m, ResidualBlock):
                nn.init.zeros_(m.fc2.weight)

    def _make_layer(self, width, count, norm):
        layers = []
        for _ in range(count):
            layers.append(ResidualBlock(self.in_features, width, norm))
            self.in_features = width
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(self.stem(x))
        x = F.silu(self.norm(x))
        return self.fc(x)


def build():
    torch.manual_seed(13)
    return ResNet()


def train(model, steps=50):
    rng = np.random.default_rng(4)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05, weight=torch.tensor([1.0, 1.2, 0.8]))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    losses = []
    for _ in range(steps):
        x, y = spirals(batch_size, rng)
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def report(model):
    print("children:", [name for name, _ in model.named_children()])
    blocks = [m for m in model.modules() if isinstance(m, ResidualBlock)]
    projections = sum(not isinstance(b.shortcut, nn.Identity) for b in blocks)
    print(f"{len(blocks)} blocks, {projections} with a projection")
    print("trainable:", sum(p.numel() for p in model.parameters() if p.requires_grad))
    x, y = spirals(300, np.random.default_rng(5))
    model.eval()
    flat = nn.utils.parameters_to_vector(model.parameters())
    print(
        f"norm of all parameters {torch.norm(flat).item():.3f}, {len(list(model.children()))} parts"
    )
    with torch.set_grad_enabled(False):
        logits = model(torch.from_numpy(x))
        predictions = logits.argmax(dim=1)
    hits = predictions.eq(torch.from_numpy(y))
    per_class = [hits[torch.from_numpy(y == c)].float().mean().item() for c in range(num_classes)]
    print(f"accuracy {hits.float().mean().item():.3f}", [round(a, 2) for a in per_class])
    entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
    print(f"entropy {entropy.mean():.3f} +- {entropy.std():.3f}")


if __name__ == "__main__":
    model = build()
    losses = train(model)
    print(f"{losses[0]:.3f} -> {losses[-1]:.3f}")
    report(model)
