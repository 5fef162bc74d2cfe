#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Quantisation-aware training: a small network on scikit-learn's digits, in int8 with learned scales.

Trains the same network twice: in float32, and with int8 weights and activations whose scales are
learned (LSQ, arXiv 1902.08153) through Octavo's gradients. Every product of the second one is an int8
product. Prints both accuracies and plots the losses.

Usage: qat_digits.py [--epochs N] [--plot losses.svg]
"""

import argparse
import json

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from octavo.torch.nn import QatLinear


def network(linear):
    return torch.nn.Sequential(linear(64, 48), torch.nn.ReLU(), linear(48, 48), torch.nn.ReLU(), linear(48, 10))


def digits():
    x, y = load_digits(return_X_y=True)
    parts = train_test_split(x / 16.0, y, test_size=0.25, random_state=0, stratify=y)
    x_train, x_test = (torch.tensor(p, dtype=torch.float32) for p in parts[:2])
    y_train, y_test = (torch.tensor(p) for p in parts[2:])
    return x_train, y_train, x_test, y_test


def train(model, data, epochs):
    x, y, x_test, y_test = data
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    order = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(x), generator=order).split(64):
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimiser.step()
            total += loss.item() * len(rows)
        schedule.step()
        losses.append(total / len(x))
    with torch.no_grad():
        accuracy = (model(x_test).argmax(1) == y_test).double().mean().item()
    return losses, accuracy


def plot(path, curves):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for name, losses in curves.items():
        axes.semilogy(range(1, len(losses) + 1), losses, label=name)
    axes.set(xlabel="epoch", ylabel="training loss")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--plot", help="where the losses are drawn (.svg, .png)")
    parser.add_argument("--json", action="store_true", help="print an object instead of sentences")
    options = parser.parse_args()
    data = digits()
    results = {}
    for name, linear in (("float32", torch.nn.Linear), ("int8", QatLinear)):
        torch.manual_seed(0)
        results[name] = train(network(linear), data, options.epochs)
    if options.plot:
        plot(options.plot, {name: losses for name, (losses, _) in results.items()})
    if options.json:
        print(json.dumps({name: {"loss": losses[-1], "accuracy": accuracy}
                          for name, (losses, accuracy) in results.items()}))
        return
    for name, (losses, accuracy) in results.items():
        print(f"{name:8} accuracy {accuracy:.4f}, last training loss {losses[-1]:.4f}")


if __name__ == "__main__":
    main()
