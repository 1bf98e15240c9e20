"""A GAN that learns a one-dimensional distribution."""

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim

latent_dim = 4
batch_size = 64
lr = 5e-3
smooth = 0.9  # label of real samples for the discriminator


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(latent_dim, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
        )

    def forward(self, z):
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(1, 32),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(32, 32),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(32, 1),  # logits
        )

    def forward(self, x):
        return self.main(x).squeeze(-1)


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Linear") != -1:
        nn.init.xavier_uniform_(m.weight.data, gain=nn.init.calculate_gain("relu"))
        nn.init.constant_(m.bias.data, 0.01)


def real_samples(count, rng):
    """A mixture of two normal distributions, around 1.5 and 2.5."""
    centres = rng.choice([1.5, 2.5], size=(count, 1))
    return torch.tensor(rng.normal(centres, 0.2), dtype=torch.float32)


def noise(count, rng):
    return torch.tensor(rng.standard_normal((count, latent_dim)), dtype=torch.float)


def distance(a, b):
    """Wasserstein distance of two samples of the same size."""
    return (torch.sort(a.flatten()).values - b.flatten().sort()[0]).abs().mean()


def build():
    torch.manual_seed(4)
    netG, netD = Generator(), Discriminator()
    netG.apply(weights_init)
    netD.apply(weights_init)
    return nn.ModuleDict({"G": netG, "D": netD})


def train(model, steps=50):
    """Return the distances of generated from real samples: the two losses say little."""
    netG, netD = model["G"], model["D"]
    rng = np.random.default_rng(6)
    criterion = nn.BCEWithLogitsLoss()
    optimizerD = optim.Adam(netD.parameters(), lr=lr, betas=(0.5, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=lr, betas=(0.5, 0.999))
    distances = []
    for step in range(steps):
        # the discriminator: real samples, then generated ones
        netD.zero_grad()
        real = real_samples(batch_size, rng)
        label = torch.full((batch_size,), smooth, dtype=torch.float)
        errD_real = criterion(netD(real), label)
        errD_real.backward()
        fake = netG(noise(batch_size, rng))
        label.fill_(0.0)
        errD_fake = criterion(netD(fake.detach()), label)
        errD_fake.backward()
        optimizerD.step()

        # the generator wants them called real
        netG.zero_grad()
        output = netD(fake)
        errG = criterion(output, torch.ones_like(output))
        errG.backward()
        optimizerG.step()
        if torch.isnan(errG).any() or not torch.isfinite(errD_fake):
            raise RuntimeError(f"diverged in step {step}")
        if step % 10 == 0:
            D_x = torch.sigmoid(output.detach()).mean().item()
            print(
                f"[{step}] D {(errD_real + errD_fake).item():.4f} G {errG.item():.4f} p {D_x:.4f}"
            )
        distances.append(distance(real, fake.detach()).item())
    return distances


def report(model):
    rng = np.random.default_rng(8)
    with torch.no_grad():
        fake = model["G"](noise(500, rng))
        real = real_samples(500, rng)
    print(f"real:      mean {real.mean():.3f}, std {real.std():.3f}")
    print(f"generated: mean {fake.mean():.3f}, std {fake.std():.3f}, median {fake.median():.3f}")
    print("quartiles:", fake.flatten().sort().values[[125, 250, 375]].tolist())


def sample(model):
    z = torch.cat([torch.randn(5, latent_dim), 2 * torch.rand(5, latent_dim) - 1])
    return model["G"](z).detach().numpy()


if __name__ == "__main__":
    model = build()
    distances = train(model)
    print(f"{distances[0]:.3f} -> {distances[-1]:.3f}")
    report(model)
    print(sample(model).ravel())
