"""A denoising autoencoder of small pictures of bars, compared with principal components."""

import numpy as np
import torch
import torch.nn as nn

size = 8
code = 4
batch_size = 32


def make_bars(count, rng):
    """Pictures with one horizontal and one vertical bar of width 2."""
    images = np.zeros((count, 1, size, size), dtype=np.float32)
    rows, columns = rng.integers(0, size - 1, (2, count))
    for image, r, c in zip(images, rows, columns, strict=True):
        image[0, r : r + 2, :] = 0.9
        image[0, :, c : c + 2] = 0.9
    return images


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(size * size, 32),
            nn.ReLU(True),
            nn.Linear(32, 16),
            nn.LeakyReLU(0.1),
            nn.Linear(16, code),
        )
        self.decoder = nn.Sequential(
            nn.Linear(code, 16),
            nn.ELU(),
            nn.Linear(16, 32),
            nn.ReLU(inplace=True),
            nn.Linear(32, size * size),
            nn.Sigmoid(),
            nn.Unflatten(1, (1, size, size)),
        )

    def encode(self, x):
        return self.encoder(torch.flatten(x, start_dim=1))

    def forward(self, x):
        return self.decoder(self.encode(x))


def build():
    torch.manual_seed(7)
    return Autoencoder()


def train(model, steps=50):
    rng = np.random.default_rng(0)
    mse, bce = nn.MSELoss(), nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-5)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=5)
    losses = []
    for _ in range(steps):
        clean = torch.as_tensor(make_bars(batch_size, rng))
        noise = torch.from_numpy(rng.normal(size=clean.shape).astype("float32"))
        noisy = (clean + 0.2 * noise).clamp_(0.0, 1.0)
        recon = model(noisy)
        loss = bce(recon, clean) + 0.5 * mse(recon, clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        warmup.step()
        losses.append(loss.item())
    return losses


def pca_error(images, components):
    """Mean squared error of the best linear code."""
    flat = images.view(images.size(0), -1).double()
    mean = flat.mean(dim=0, keepdim=True)
    _, _, vh = torch.linalg.svd(flat - mean, full_matrices=False)
    basis = vh[:components]  # (K, D)
    back = (flat - mean) @ basis.T @ basis + mean
    return (back - flat).pow(2).mean()


def report(model):
    images = torch.tensor(make_bars(64, np.random.default_rng(1)))
    with torch.inference_mode():
        codes = model.encode(images)
        recon = model(images)
    print("code:", tuple(codes.shape), "reconstruction:", tuple(recon.shape))
    error = torch.mean((recon - images) ** 2)
    print(f"mean squared error {error.item():.4f}, PCA {pca_error(images, code).item():.4f}")
    print(f"values from {recon.min().item():.3f} to {recon.max().item():.3f}")
    worst = ((recon - images) ** 2).sum(dim=(1, 2, 3)).argmax()
    for row in (images[worst, 0] > 0.5).int():
        print("".join(" #"[pixel] for pixel in row.tolist()))


def sample(model):
    """Decode points on a line between two codes."""
    t = torch.linspace(0, 1, 5).unsqueeze(1)  # (5, 1)
    start = torch.randn(1, code)
    z = torch.lerp(start, torch.randn_like(start), t)  # (5, code)
    with torch.no_grad():
        return model.decoder(z).squeeze(1)


if __name__ == "__main__":
    model = build()
    losses = train(model)
    print(f"{losses[0]:.3f} -> {losses[-1]:.3f}")
    report(model)
    print(sample(model).shape)
