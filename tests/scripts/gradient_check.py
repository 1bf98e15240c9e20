"""Gradients of a small network, by autograd and by finite differences, in double precision."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import autograd

rng = np.random.default_rng(0)
inputs = torch.from_numpy(rng.standard_normal((12, 3)))  # NumPy's float64 stays double
targets = torch.tensor(rng.integers(0, 4, 12))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin1 = nn.Linear(3, 6, dtype=torch.float64)
        self.lin2 = nn.Linear(6, 4).double()
        self.affine = nn.ParameterDict(
            {
                "scale": nn.Parameter(torch.tensor([0.7, 1.3, 1.0, 0.9], dtype=torch.double)),
                "shift": nn.Parameter(torch.full((4,), 0.1, dtype=torch.double)),
            }
        )

    def forward(self, x):
        x = F.softplus(self.lin1(x))
        return self.lin2(x) * self.affine["scale"] + self.affine["shift"]


def build():
    torch.manual_seed(19)
    return Net()


def train(model, steps=50):
    """Gradient descent with gradients from autograd.grad: nothing is stored in .grad."""
    params = list(model.parameters())
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(model(inputs), targets)
        grads = autograd.grad(loss, params)
        with torch.no_grad():
            for p, g in zip(params, grads, strict=True):
                p.add_(g, alpha=-0.5)
        losses.append(loss.item())
    assert all(p.grad is None for p in params)
    return losses


def numerical_gradient(function, tensor, eps=1e-6):
    """Central differences, one element at a time."""
    gradient = torch.zeros_like(tensor)
    flat, out = tensor.detach().view(-1), gradient.view(-1)
    for i in range(flat.numel()):
        original = flat[i].item()
        flat[i] = original + eps
        plus = function().item()
        flat[i] = original - eps
        minus = function().item()
        flat[i] = original
        out[i] = (plus - minus) / (2 * eps)
    return gradient


def compare(name, autograd_gradient, numeric):
    close = torch.allclose(autograd_gradient, numeric, rtol=1e-5, atol=1e-8)
    relative = (autograd_gradient - numeric).norm() / (numeric.norm() + 1e-12)
    print(f"{name:12} close: {close}, relative error below 1e-6: {relative.item() < 1e-6}")


class Cube(autograd.Function):
    """A function with its own gradient."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * 3 * x**2


def functions():
    """Scalar functions of one tensor, as a table."""
    return {
        "exp": lambda x: x.exp().sum(),
        "sigmoid": lambda x: torch.sigmoid(x).prod(),
        "norm": lambda x: x.norm(),
        "var": lambda x: x.var(dim=0).sum(),
        "max": lambda x: x.max(dim=1).values.sum(),
        "cumsum": lambda x: (x.cumsum(dim=1) ** 2).mean(),
        "outer": lambda x: torch.outer(x[0], x[1]).tanh().sum(),
        "logsumexp": lambda x: torch.logsumexp(x, dim=-1).sum(),
        "gelu": lambda x: F.gelu(x).sum() + F.gelu(x, approximate="tanh").sum(),
        "softmax": lambda x: (F.softmax(x, dim=0) * x.abs().sqrt()).sum(),
        "triu": lambda x: (torch.triu(x @ x.T, diagonal=1) ** 3).sum(),
        "flip": lambda x: (x * x.flip(0) * torch.roll(x, 1, dims=1)).sum(),
        "cumprod": lambda x: x.cumprod(dim=0).mean(),
        "sort": lambda x: (x.sort(dim=1, descending=True).values * torch.arange(4)).sum(),
        "topk": lambda x: x.flatten().topk(3).values.prod(),
        "select": lambda x: x.index_select(1, torch.tensor([0, 2, 2])).pow(2).sum(),
        "repeat": lambda x: (x.repeat(2, 1) * x.repeat_interleave(2, dim=0)).sum(),
        "clamp": lambda x: x.clamp(-0.5, 0.5).square().sum() + x.clamp(min=0.2).sum(),
        "maximum": lambda x: torch.maximum(x, x.mean(dim=0, keepdim=True).expand_as(x)).sum(),
        "addmm": lambda x: torch.addmm(x[:, :3], x, x.T, beta=0.5, alpha=2.0).sigmoid().sum(),
        "normalize": lambda x: F.normalize(x, dim=1).diagonal().sum(),
        "elu": lambda x: (F.elu(x) + F.leaky_relu(x, 0.2) + F.hardtanh(x)).sum(),
        "kl": lambda x: F.kl_div(x.log_softmax(1), torch.full_like(x, 0.25), reduction="batchmean"),
        "huber": lambda x: F.huber_loss(x, x.detach().sign()) + F.l1_loss(x, x.detach().floor()),
        "bce": lambda x: F.binary_cross_entropy_with_logits(x, (x.detach() > 0).double()),
        "cube": lambda x: Cube.apply(x).sum(),
        "atan": lambda x: torch.atan(x).mul(torch.rsqrt(1 + x * x)).sum(),
    }


def report(model):
    loss = F.cross_entropy(model(inputs), targets)
    loss.backward()
    with torch.no_grad():
        for name, p in model.named_parameters():
            numeric = numerical_gradient(lambda: F.cross_entropy(model(inputs), targets), p)
            compare(name, p.grad, numeric)
    for name, function in functions().items():
        x = torch.tensor(rng.normal(size=(3, 4)), dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(function(x), x)
        with torch.no_grad():
            compare(name, gradient, numerical_gradient(lambda f=function, x=x: f(x), x))

    x = torch.ones(2, 3, dtype=torch.double, requires_grad=True)
    print("gradcheck:", torch.autograd.gradcheck(lambda x: torch.tanh(x) * x, (x,), eps=1e-6))
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    y = (x**3).sum() + x.prod()
    unused = torch.zeros(2, requires_grad=True)
    g, none = torch.autograd.grad(y, [x, unused], retain_graph=True, allow_unused=True)
    print("gradient:", g.tolist(), "unused:", none)
    y.backward(torch.tensor(2.0, dtype=torch.float64))
    print("dtype:", x.grad.dtype == torch.float64, "twice:", torch.equal(x.grad, 2 * g))
    print("eps of float32:", torch.finfo(torch.float32).eps)


if __name__ == "__main__":
    model = build()
    losses = train(model)
    print(f"{losses[0]:.4f} -> {losses[-1]:.4f}")
    report(model)
