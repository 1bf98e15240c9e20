"""Linear regression by hand: tensors that require gradients, updated in place."""

import numpy as np
import torch

learning_rate = 0.1
rng = np.random.default_rng(12)
true_w = np.array([[2.0], [-3.4], [0.5]], dtype=np.float32)
true_b = 4.2

X = torch.from_numpy(rng.normal(0, 1, (200, 3)).astype(np.float32))
noise = torch.from_numpy(rng.normal(0, 0.1, (200, 1)).astype(np.float32))
y = X @ torch.tensor(true_w) + true_b + noise


def build():
    torch.manual_seed(0)
    w = torch.normal(0.0, 0.01, size=(3, 1), requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    return [w, b]


def model(params, X):
    w, b = params
    return torch.matmul(X, w) + b


def squared_loss(y_hat, y):
    return (y_hat - y.reshape(y_hat.shape)) ** 2 / 2


def train(params, steps=50):
    w, b = params
    order = np.random.default_rng(1)
    losses = []
    for step in range(steps):
        idx = torch.tensor(order.choice(len(X), 20, replace=False))
        loss = squared_loss(model(params, X[idx]), y[idx]).mean()
        loss.backward()
        with torch.no_grad():
            w -= learning_rate * w.grad
            b -= learning_rate * b.grad
            w.grad.zero_()
            b.grad.zero_()
        losses.append(loss.item())
        if step % 10 == 0:
            print(f"step {step}, w {w.view(-1).tolist()}, b {b.item():.4f}")
    return losses


def closed_form():
    """Solve the normal equations."""
    A = torch.hstack([X, torch.ones(X.shape[0], 1)])
    return torch.linalg.solve(A.T @ A, A.T @ y).squeeze()


def report(params):
    w, b = params
    print("error of w:", (w.detach() - torch.tensor(true_w)).abs().max().item())
    print("b:", b.detach().numpy())
    best = closed_form()
    print("closed form:", best.tolist())
    found = torch.cat([w.detach().flatten(), b.detach()])
    close = torch.allclose(found, best, atol=0.1)
    print(f"distance {torch.dist(found, best).item():.5f}, close: {close}")
    total = torch.tensor(0.0)
    for batch in torch.randperm(len(X)).split(64):  # an epoch, in any order
        total += squared_loss(model(params, X[batch]), y[batch]).detach().sum()
    print(f"mean loss {total / len(X):.5f}")
    residuals = y - model(params, X).detach()
    r2 = 1 - residuals.var() / y.var()
    print(f"R^2 = {r2:.4f}, std of residuals {residuals.std().item():.4f}")


if __name__ == "__main__":
    params = build()
    losses = train(params)
    print(f"{losses[0]:.3f} -> {losses[-1]:.3f}")
    report(params)
