"""Logistic and softmax regression by hand: log-sum-exp, one-hot targets, manual gradients."""

import numpy as np
import torch
import torch.nn.functional as F

classes, features = 4, 2
lr = 0.5


def make_blobs(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    angle = 2 * np.pi * labels / classes
    centres = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (centres + 0.6 * rng.standard_normal((count, features))).astype(np.float32), labels


points, labels = make_blobs(240, seed=0)
X, y = torch.from_numpy(points), torch.from_numpy(labels).long()


def log_softmax(logits):
    """Subtract the largest logit first, so that exp does not overflow."""
    m = logits.max(dim=1, keepdim=True).values
    shifted = logits - m
    return shifted - shifted.exp().sum(dim=1, keepdim=True).log()


def one_hot(y):
    return torch.zeros(y.shape[0], classes).scatter_(1, y.unsqueeze(1), 1.0)


def nll(logits, y):
    return -log_softmax(logits).gather(1, y.view(-1, 1)).mean()


def accuracy(logits, y):
    return (logits.argmax(dim=1) == y).float().mean()


def build():
    torch.manual_seed(5)
    return {
        "W": (0.1 * torch.randn(features, classes)).requires_grad_(),
        "b": torch.zeros(classes, requires_grad=True),
        "w_binary": torch.zeros(features, requires_grad=True),  # is it class 0?
        "b_binary": torch.tensor(0.0, requires_grad=True),
    }


def binary_loss(p, X, y):
    z = torch.einsum("nd,d->n", X, p["w_binary"]) + p["b_binary"]
    target = (y == 0).to(torch.float32)
    prob = torch.clamp(1 / (1 + torch.exp(-z)), 1e-7, 1 - 1e-7)
    return -(target * torch.log(prob) + (1 - target) * torch.log1p(-prob)).mean()


def train(p, steps=50):
    rng = np.random.default_rng(1)
    losses = []
    for _ in range(steps):
        batch = torch.tensor(rng.permutation(len(X))[:40])
        logits = X[batch] @ p["W"] + p["b"]
        loss = nll(logits, y[batch]) + 1e-3 * p["W"].square().sum()
        loss = loss + binary_loss(p, X[batch], y[batch])
        loss.backward()
        with torch.no_grad():
            for tensor in p.values():
                tensor.sub_(lr * tensor.grad)
                tensor.grad = None
        losses.append(loss.item())
    return losses


def report(p):
    logits = X @ p["W"] + p["b"]
    print(f"accuracy {accuracy(logits, y):.3f}")
    print(f"by hand {nll(logits, y).item():.5f}, library {F.cross_entropy(logits, y).item():.5f}")
    lse = torch.logsumexp(logits, dim=1)
    print(f"log-sum-exp {lse.mean().item():.4f}")
    print("one-hot:", torch.equal(one_hot(y).long(), F.one_hot(y, num_classes=classes)))
    print("rows of the identity:", torch.equal(one_hot(y), torch.eye(classes)[y]))

    # the gradient of softmax regression in closed form: X^T (p - t) / N
    probs = torch.softmax(logits, dim=1)
    by_hand = X.t().mm(probs - one_hot(y)) / X.size(0)
    (by_autograd,) = torch.autograd.grad(F.cross_entropy(logits, y), p["W"])
    print("gradients agree:", bool(torch.isclose(by_hand, by_autograd, atol=1e-6).all()))

    counts = torch.bincount(y, minlength=classes)
    means = torch.stack([X[y == c].mean(0) for c in range(classes)])
    print("counts:", counts.tolist(), "means:", means.round(decimals=2).tolist())
    values, how_many = torch.unique(y, return_counts=True)
    print("unique:", dict(zip(values.tolist(), how_many.tolist())))
    confident = torch.where(probs.max(1)[0] > 0.9, 1.0, 0.0).sum()
    print(
        "confident:",
        int(confident),
        "wrong:",
        torch.nonzero(probs.argmax(1) != y).flatten().tolist(),
    )

    # a map of the decision regions
    xx, yy = torch.meshgrid(torch.linspace(-3, 3, 9), torch.linspace(-3, 3, 9), indexing="ij")
    grid = torch.stack([xx.reshape(-1), yy.reshape(-1)], dim=1)  # (81, 2)
    regions = (grid @ p["W"] + p["b"]).argmax(dim=1).view(xx.shape)
    for row in regions.flip(0):
        print(" ".join(str(c.item()) for c in row))


if __name__ == "__main__":
    parameters = build()
    losses = train(parameters)
    print(f"{losses[0]:.3f} -> {losses[-1]:.3f}")
    report(parameters)
