"""An MLP that reads seven-segment digits with noise, trained from a DataLoader."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, Sampler, TensorDataset, random_split

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
batch_size = 32
hidden = 48

# which of the segments (top, two upper, middle, two lower, bottom) each digit lights
SEGMENTS = ["1110111", "0010010", "1011101", "1011011", "0111010",
            "1101011", "1101111", "1010010", "1111111", "1111011"]  # fmt: skip


def draw(digit):
    """A picture of 9 x 6 pixels."""
    image = np.zeros((9, 6), dtype=np.float32)
    top, upper_left, upper_right, middle, lower_left, lower_right, bottom = map(
        int, SEGMENTS[digit]
    )
    image[0, 1:5], image[4, 1:5], image[8, 1:5] = top, middle, bottom
    image[1:4, 0], image[1:4, 5] = upper_left, upper_right
    image[5:8, 0], image[5:8, 5] = lower_left, lower_right
    return image


def make_data(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    images = np.stack([draw(d) for d in labels])[:, None]  # (N, 1, 9, 6)
    images = images + 0.4 * rng.standard_normal(images.shape).astype(np.float32)
    return TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))


class NumpySampler(Sampler):
    """Draws indices with replacement, the same ones on every machine."""

    def __init__(self, size, count, seed):
        self.indices = np.random.default_rng(seed).integers(0, size, count).tolist()

    def __iter__(self):
        return iter(self.indices)

    def __len__(self):
        return len(self.indices)


class DigitNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(54, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 10)
        self.dropout = nn.Dropout(p=0.0)

    def forward(self, x):
        x = self.flatten(x)
        x = F.relu(self.fc1(x))
        x = self.dropout(F.relu(self.fc2(x)))
        return self.out(x)


def build():
    torch.manual_seed(0)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(0)
    return DigitNet().to(device)


def train(model, steps=50):
    train_set = make_data(400, seed=1)
    sampler = NumpySampler(len(train_set), steps * batch_size, seed=2)
    loader = DataLoader(train_set, batch_size=batch_size, sampler=sampler, num_workers=0)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.train()
    losses = []
    running_loss = 0.0
    for i, (images, labels) in enumerate(loader):
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        outputs = model(images)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item() * images.size(0)
        losses.append(loss.item())
        if i % 20 == 19:
            print(f"[batch {i + 1:3d}] loss: {running_loss / (20 * batch_size):.3f}")
            running_loss = 0.0
    return losses


def evaluate(model, dataset):
    """Return how many are right, the summed loss and the confusion matrix."""
    loader = DataLoader(dataset, batch_size=64, shuffle=True, drop_last=False)
    correct, loss = 0, 0.0
    confusion = torch.zeros(10, 10, dtype=torch.int64)
    model.eval()
    with torch.no_grad():
        for images, labels in loader:
            logits = model(images.to(device)).cpu()
            _, predicted = torch.max(logits, 1)
            correct += predicted.eq(labels.view_as(predicted)).sum().item()
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            for t, p in zip(labels.view(-1), predicted.view(-1), strict=True):
                confusion[t.long(), p.long()] += 1
    return correct, loss, confusion


def report(model):
    held_out = make_data(200, seed=3)
    generator = torch.Generator().manual_seed(4)
    val_set, test_set = random_split(held_out, [80, 120], generator=generator)
    print(f"{len(val_set)} for validation, {len(test_set)} for the test")
    correct, loss, confusion = 0, 0.0, torch.zeros(10, 10, dtype=torch.int64)
    for part in (val_set, test_set):
        c, part_loss, part_confusion = evaluate(model, part)
        correct, loss, confusion = correct + c, loss + part_loss, confusion + part_confusion
    print(f"accuracy {100.0 * correct / len(held_out):.1f}%, loss {loss / len(held_out):.4f}")
    print("right per digit:", confusion.diag().tolist(), "of", confusion.sum(1).tolist())


if __name__ == "__main__":
    model = build()
    print(model)
    train(model)
    if device.type == "cuda":
        torch.cuda.synchronize()
    report(model)
