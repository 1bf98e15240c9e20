"""Checkpoints, early stopping, ReduceLROnPlateau, and the data sets of torch.utils.data."""

import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, random_split


class Sequences(Dataset):
    """Sequences of different lengths; the target is the mean of the squares."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(3, 8, count)
        self.items = [rng.uniform(-1, 1, n).astype(np.float32) for n in lengths]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        values = torch.from_numpy(self.items[index])
        return {"values": values, "target": values.pow(2).mean(), "length": len(values)}


def pad_collate(batch):
    """Pad the sequences of a batch with zeros to the longest one."""
    lengths = torch.tensor([item["length"] for item in batch])
    values = torch.zeros(len(batch), int(lengths.max()))
    for row, item in enumerate(batch):
        values[row, : item["length"]] = item["values"]
    return values, lengths, torch.stack([item["target"] for item in batch])


class Stream(IterableDataset):
    def __init__(self, count):
        self.count = count

    def __iter__(self):
        for i in range(self.count):
            yield np.float32(i), i % 2


class Net(nn.Module):
    """Features of each element, averaged over the elements that exist."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
        self.head = nn.Linear(16, 1)

    def forward(self, values, lengths):
        x = self.features(values.unsqueeze(-1))  # (B, T, 16)
        mask = torch.arange(values.shape[1])[None, :] < lengths[:, None]  # (B, T)
        x = (x * mask.unsqueeze(-1).type_as(x)).sum(dim=1) / lengths.unsqueeze(1)
        return self.head(x).squeeze(-1)


class EarlyStopping:
    def __init__(self, patience, path, min_delta=1e-5):
        self.patience, self.path, self.min_delta = patience, path, min_delta
        self.best, self.counter = float("inf"), 0

    def __call__(self, loss, model):
        if loss < self.best - self.min_delta:
            self.best, self.counter = loss, 0
            torch.save(model.state_dict(), self.path)
        else:
            self.counter += 1
        return self.counter >= self.patience


def build():
    torch.manual_seed(31)
    return Net()


def train(model, steps=50):
    data = Sequences(200, seed=0)
    order = np.random.default_rng(1).permutation(len(data)).tolist()
    train_loader = DataLoader(Subset(data, order[:160]), batch_size=40, collate_fn=pad_collate)
    val_loader = DataLoader(Subset(data, order[160:]), batch_size=40, collate_fn=pad_collate)
    criterion = nn.HuberLoss(delta=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    scheduler = ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=2, threshold=1e-3)
    losses = []
    with tempfile.TemporaryDirectory() as folder:
        stopper = EarlyStopping(patience=10, path=Path(folder) / "best.pt")
        while len(losses) < steps:
            model.train()
            for values, lengths, target in train_loader:
                optimizer.zero_grad()
                loss = criterion(model(values, lengths), target)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            model.eval()
            with torch.no_grad():
                val_loss = sum(criterion(model(v, n), t).item() for v, n, t in val_loader)
            scheduler.step(val_loss)
            if stopper(val_loss, model):
                break
        model.load_state_dict(torch.load(stopper.path, map_location="cpu", weights_only=True))
    print(f"best {stopper.best:.6f}, learning rate {optimizer.param_groups[0]['lr']}")
    return losses[:steps]


def resume_check(model, folder):
    """Two steps in a row, and one, saved and loaded, and another: the same weights."""
    values, lengths, target = pad_collate([Sequences(8, seed=5)[i] for i in range(8)])

    def step(model, optimizer):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(values, lengths), target).backward()
        optimizer.step()

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    step(model, optimizer)
    path = folder / "checkpoint.pt"
    torch.save({"epoch": 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    step(model, optimizer)
    checkpoint = torch.load(path)
    resumed = Net()
    resumed.load_state_dict(checkpoint["model"])
    other = torch.optim.Adam(resumed.parameters())
    other.load_state_dict(checkpoint["optimizer"])
    print("epoch", checkpoint["epoch"], "lr", other.param_groups[0]["lr"])
    step(resumed, other)
    pairs = zip(model.parameters(), resumed.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def report(model):
    print("state:", {k: list(v.shape) for k, v in model.state_dict().items()})
    with tempfile.TemporaryDirectory() as folder:
        print("resumed exactly:", resume_check(model, Path(folder)))
    for x, y in DataLoader(Stream(5), batch_size=2):
        print("stream:", x.tolist(), y.tolist())
    batch = next(iter(DataLoader([{"a": 1, "b": 2.0}, {"a": 3, "b": 4.0}], batch_size=2)))
    print("dictionary:", {k: v.tolist() for k, v in batch.items()}, batch["a"].dtype == torch.int64)
    loader = DataLoader(range(10), batch_size=4, shuffle=True, drop_last=True)
    print("batches:", len(loader), [len(b) for b in loader])
    parts = random_split(range(10), [0.5, 0.3, 0.2], generator=torch.Generator().manual_seed(1))
    print("parts:", [len(p) for p in parts], sorted(i for p in parts for i in p.indices))
    try:
        model.load_state_dict({"head.weight": torch.zeros(1, 16)})
    except RuntimeError as error:
        print("missing keys are an error:", "head.bias" in str(error))


if __name__ == "__main__":
    model = build()
    losses = train(model)
    print(f"{losses[0]:.4f} -> {losses[-1]:.4f}")
    report(model)
