#!/usr/bin/env python3
"""Trains a CNN of LeNet's size on generated digit-like images twice, by PyTorch's convolutions and by fourfold's, from the same
start on the same batches, and prints both loss curves: they differ by rounding only. Then a network that stays in the Fourier
domain, whose filters are spectra.

    PYTHONPATH=build/release/python python examples/train_digits.py [STEPS]
"""

import copy
import sys
import time

import fourfold.torch
import torch
from torch import nn

# The seven segments of a digital display as (row, column, height, width) in a 20 x 12 box, and those that each digit lights.
SEGMENTS = [(0, 0, 3, 12), (0, 0, 11, 3), (0, 9, 11, 3), (9, 0, 3, 12), (9, 0, 11, 3), (9, 9, 11, 3), (17, 0, 3, 12)]
DIGITS = ["012456", "25", "02346", "02356", "1235", "01356", "013456", "025", "0123456", "012356"]


def digits(count, seed):
    """Images (count, 1, 28, 28) of displayed digits, shifted and noisy, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (count,), generator=generator)
    images = 0.3 * torch.randn((count, 1, 28, 28), generator=generator)
    rows = torch.randint(9, (count,), generator=generator)
    columns = torch.randint(17, (count,), generator=generator)
    for image, label, row, column in zip(images, labels, rows, columns):
        for segment in DIGITS[label]:
            r, c, height, width = SEGMENTS[int(segment)]
            image[0, row + r:row + r + height, column + c:column + c + width] += 1
    return images, labels


def lenet(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(16 * 5 * 5, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10))


class FourierNetwork(nn.Module):
    """Half spectra through two trained products with a pointwise nonlinearity each; a line reads the low frequencies' magnitudes,
    which do not depend on where in the image a digit lies."""

    def __init__(self, seed):
        torch.manual_seed(seed)
        super().__init__()
        self.products = nn.ModuleList([fourfold.torch.SpectralProduct(1, 8, (28, 28)), fourfold.torch.SpectralProduct(8, 16, (28, 28))])
        self.line = nn.Linear(13 * 7 * 16, 10)

    def forward(self, images):
        z = torch.fft.rfft2(images, norm="ortho").permute(0, 2, 3, 1)
        for product in self.products:
            z = product(z)
            z = torch.complex(z.real.relu(), z.imag.relu())
        return self.line(torch.cat([z[:, :7, :7], z[:, -6:, :7]], 1).abs().flatten(1))


def train(model, steps, batch=64):
    """The loss of each step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for step in range(steps):
        images, labels = digits(batch, step)
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def accuracy(model):
    images, labels = digits(500, 10**6)
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 120
    model = lenet(0)
    ours = copy.deepcopy(model)
    print(fourfold.torch.replace(ours))
    curves, times = [], []
    spectral = FourierNetwork(0)
    for m in (model, ours, spectral):
        start = time.perf_counter()
        curves.append(train(m, steps))
        times.append(time.perf_counter() - start)
    print("step  torch      fourfold   spectral")
    for step in range(0, steps, max(1, steps // 15)):
        print(f"{step:4}  {curves[0][step]:.6f}   {curves[1][step]:.6f}   {curves[2][step]:.6f}")
    print(f"accuracy on 500 new images: torch {accuracy(model):.3f}, fourfold {accuracy(ours):.3f}, spectral {accuracy(spectral):.3f}; "
          f"seconds {times[0]:.2f}, {times[1]:.2f}, {times[2]:.2f}")


if __name__ == "__main__":
    main()
