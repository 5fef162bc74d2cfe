#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Folders in the shape of large models, for `octavo plan`: headers, and holes in place of the weights.

    scripts/plan_shapes.py FOLDER      writes FOLDER/llama-70b and FOLDER/deepseek-v3
    scripts/plan_shapes.py FOLDER --table build/release/bin/octavo    prints bench/results/data/plan.csv, too
"""

import argparse
import json
import pathlib
import struct
import subprocess

BYTES = {"F8_E4M3": 1, "BF16": 2, "F32": 4}


def write(folder, config, tensors):
    """tensors: (name, type, shape), in order."""
    folder.mkdir(parents=True, exist_ok=True)
    header, end = {}, 0
    for name, dtype, shape in tensors:
        begin, end = end, end + BYTES[dtype] * elements(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    (folder / "config.json").write_text(json.dumps(config))


def elements(shape):
    product = 1
    for extent in shape:
        product *= extent
    return product


def channel(name, n, k):
    """compressed-tensors' fp8 with a scale for each row."""
    return [(f"{name}.weight", "F8_E4M3", (n, k)), (f"{name}.weight_scale", "F32", (n, 1))]


def blocks(name, n, k):
    """DeepSeek's fp8 in blocks of 128 x 128."""
    return [(f"{name}.weight", "F8_E4M3", (n, k)), (f"{name}.weight_scale_inv", "F32", (-(-n // 128), -(-k // 128)))]


def around(vocabulary, hidden, layers):
    """Embeddings, norms and the head."""
    names = ["model.norm", *(f"model.layers.{i}.{name}" for i in range(layers)
                             for name in ("input_layernorm", "post_attention_layernorm"))]
    return [("model.embed_tokens.weight", "BF16", (vocabulary, hidden)), ("lm_head.weight", "BF16", (vocabulary, hidden)),
            *((f"{name}.weight", "BF16", (hidden,)) for name in names)]


def llama_70b():
    hidden, inner, layers, heads, groups = 8192, 28672, 80, 8192, 1024
    tensors = around(128256, hidden, layers)
    for i in range(layers):
        for name, n, k in (("self_attn.q_proj", heads, hidden), ("self_attn.k_proj", groups, hidden),
                           ("self_attn.v_proj", groups, hidden), ("self_attn.o_proj", hidden, heads),
                           ("mlp.gate_proj", inner, hidden), ("mlp.up_proj", inner, hidden),
                           ("mlp.down_proj", hidden, inner)):
            tensors += channel(f"model.layers.{i}.{name}", n, k)
    return {"model_type": "llama", "quantization_config": {"quant_method": "compressed-tensors"}}, tensors


def deepseek_v3():
    hidden, inner, expert, layers, dense, experts, heads = 7168, 18432, 2048, 61, 3, 256, 128
    tensors = around(129280, hidden, layers)
    for i in range(layers):
        layer = f"model.layers.{i}"
        for name, n, k in (("q_a_proj", 1536, hidden), ("q_b_proj", heads * 192, 1536),
                           ("kv_a_proj_with_mqa", 576, hidden), ("kv_b_proj", heads * 256, 512),
                           ("o_proj", hidden, heads * 128)):
            tensors += blocks(f"{layer}.self_attn.{name}", n, k)
        if i >= dense:
            tensors.append((f"{layer}.mlp.gate.weight", "BF16", (experts, hidden)))
        width = inner if i < dense else expert
        mlps = ["mlp"] if i < dense else ["mlp.shared_experts", *(f"mlp.experts.{e}" for e in range(experts))]
        for mlp in mlps:
            tensors += blocks(f"{layer}.{mlp}.gate_proj", width, hidden) + blocks(f"{layer}.{mlp}.up_proj", width, hidden)
            tensors += blocks(f"{layer}.{mlp}.down_proj", hidden, width)
    return {"model_type": "deepseek_v3", "num_experts_per_tok": 8}, tensors


MODELS = {"llama-70b": llama_70b, "deepseek-v3": deepseek_v3}


def table(octavo, folder):
    print("model,rows,ranks,gib,compute_ms,communication_ms,total_ms")
    for model in MODELS:
        for rows in (1, 256):
            for ranks in (1, 2, 4, 8, 16, 32, 64):
                said = subprocess.run([octavo, "plan", folder / model, "--ranks", str(ranks), "--rows", str(rows), "--network",
                                       "200Gb", "--latency", "10us", "--device", "h200", "--json"],
                                      capture_output=True, check=True, text=True).stdout.splitlines()[-1]
                plan = json.loads(said)
                times = ",".join(f"{1e3 * plan[name]:.2f}" for name in
                                   ("compute_seconds", "communication_seconds", "seconds"))
                print(f"{model},{rows},{ranks},{plan['bytes'] / 2**30:.1f},{times}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--table", metavar="OCTAVO")
    arguments = parser.parse_args()
    for name, shapes in MODELS.items():
        write(arguments.folder / name, *shapes())
    if arguments.table:
        table(arguments.table, arguments.folder)


if __name__ == "__main__":
    main()
