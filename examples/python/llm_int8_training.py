#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Training by LLM.int8(): a small network on scikit-learn's digits, beside its float self.

Two stories, each told in float and with octavo.bnb.nn.Linear8bitLt (threshold 6) from the same start and
over the same batches:

  weights   has_fp16_weights=True, weight_gradient="int8": float weights train, every product of forward and
            backward pass is an int8 product plus the outlier columns in float
  adapters  LoRA (Hu et al., arXiv 2106.09685): a network that knows the digits gets them mirrored, and
            only adapters of rank 8 around its frozen weights train, which are int8 codes or float

The pixels are 0 to 16 as they come, so that most columns of the first layer's input are outlier columns.
Prints the losses' distance and both accuracies, and plots the curves.

Usage: llm_int8_training.py [--epochs N] [--plot losses.svg] [--json]
"""

import argparse
import copy
import json

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import octavo.bnb as bnb

WIDTH, RANK, THRESHOLD = 256, 8, 6.0


def digits(mirrored=False):
    images, labels = load_digits(return_X_y=True)
    if mirrored:
        images = images.reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, 64).copy()
    parts = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    x_train, x_test = (torch.tensor(p, dtype=torch.float32) for p in parts[:2])
    y_train, y_test = (torch.tensor(p) for p in parts[2:])
    return x_train, y_train, x_test, y_test


def network():
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(),
              torch.nn.Linear(WIDTH, 10)]
    return torch.nn.Sequential(*layers)


def in_int8(model, has_fp16_weights):
    """The same network with its inner layers by LLM.int8(); the last stays float, as a language model's."""
    model = copy.deepcopy(model)
    for i, layer in enumerate(model[:-1]):
        if isinstance(layer, torch.nn.Linear):
            made = bnb.nn.Linear8bitLt(layer.in_features, layer.out_features, has_fp16_weights=has_fp16_weights,
                                       threshold=THRESHOLD, weight_gradient="int8")
            made.load_state_dict(layer.state_dict())
            model[i] = made.to("cpu")  # quantises a weight that is frozen
    return model


class Adapted(torch.nn.Module):
    """A frozen layer and a trained product of low rank beside it."""

    def __init__(self, base):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = torch.nn.Linear(base.in_features, RANK, bias=False)
        self.up = torch.nn.Linear(RANK, base.out_features, bias=False)
        torch.nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


def with_adapters(model):
    torch.manual_seed(1)
    model = copy.deepcopy(model).requires_grad_(False)
    for i, layer in enumerate(model):
        if isinstance(layer, torch.nn.Linear):
            model[i] = Adapted(layer)
    return model


def train(model, data, epochs):
    x, y, x_test, y_test = data
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
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
        losses.append(total / len(x))
    with torch.no_grad():
        accuracy = (model.eval()(x_test).argmax(1) == y_test).double().mean().item()
    return losses, accuracy


def stories(epochs):
    """{story: {name: (losses, accuracy)}}"""
    start = network()
    knows = network()
    train(knows, digits(), epochs)
    weights, adapters = digits(), digits(mirrored=True)
    return {
        "weights": {"float32": train(copy.deepcopy(start), weights, epochs),
                    "LLM.int8()": train(in_int8(start, has_fp16_weights=True), weights, epochs)},
        "adapters": {"float32": train(with_adapters(knows), adapters, epochs),
                     "LLM.int8()": train(with_adapters(in_int8(knows, has_fp16_weights=False)), adapters, epochs)},
    }


def plot(path, results):
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "octavo", "font.sans-serif": ["DejaVu Sans"]})
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(8, 3.2), sharey=True)
    for axes, (story, curves) in zip(panels, results.items()):
        for (name, (losses, _)), style in zip(curves.items(), ({"linewidth": 4, "alpha": 0.4}, {"linewidth": 1.2})):
            axes.semilogy(range(1, len(losses) + 1), losses, label=name, **style)
        axes.set(title=story, xlabel="epoch")
        axes.legend()
    panels[0].set_ylabel("training loss")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--plot", help="where the losses are drawn (.svg, .png)")
    parser.add_argument("--json", action="store_true", help="print an object instead of sentences")
    options = parser.parse_args()
    results = stories(options.epochs)
    if options.plot:
        plot(options.plot, results)
    if options.json:
        print(json.dumps(results))
        return
    for story, curves in results.items():
        (float_losses, float_accuracy), (losses, accuracy) = curves.values()
        apart = max(abs(a - b) / b for a, b in zip(losses, float_losses))
        print(f"{story:9} accuracy {accuracy:.4f} (float {float_accuracy:.4f}), last loss {losses[-1]:.4f} "
              f"({float_losses[-1]:.4f}), curves at most {100 * apart:.1f} % apart")


if __name__ == "__main__":
    main()
