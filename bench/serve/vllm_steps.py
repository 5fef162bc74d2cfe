# SPDX-License-Identifier: Apache-2.0
"""Steps of vLLM's CPU backend with Octavo and without, in turns: vllm_steps.py FLOAT_FOLDER CODED_FOLDER [--rounds N].

Each round loads three variants, each in a process of its own: the coded folder with Octavo, the same by vLLM's own
kernels, the float folder. Prints tokens a second of decoding at 1, 4 and 16 rows and of a prompt of 512 tokens, medians
over the rounds, and the medians of the paired ratios with their least and largest. `--make FOLDER` writes a random Llama of 0.85
billion parameters instead. It runs in the environment of `./dev vllm-test` (build/vllm/bin/python).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median

PROMPT, STEPS, LONG_PROMPT = 32, 32, 512
ROWS = (1, 4, 16)
SIZES = {"vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 16, "num_attention_heads": 32,
         "num_key_value_heads": 8, "max_position_embeddings": 2048, "tie_word_embeddings": False}


def make(folder):
    import torch
    import transformers

    torch.manual_seed(0)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).to(torch.bfloat16).save_pretrained(folder)


def measure(folder):
    """Prints {what: tokens a second} of one variant: the best of three."""
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}
    import torch
    import vllm

    llm = vllm.LLM(folder, skip_tokenizer_init=True, enforce_eager=True, dtype="bfloat16", max_model_len=1024, max_num_seqs=16,
                   max_num_batched_tokens=1024, enable_prefix_caching=False, disable_log_stats=True)

    def seconds(rows, length, tokens):
        prompts = [vllm.inputs.TokensPrompt(prompt_token_ids=torch.randint(2, 500, (length,)).tolist()) for _ in range(rows)]
        begin = time.perf_counter()
        llm.generate(prompts, vllm.SamplingParams(max_tokens=tokens, temperature=0, detokenize=False, ignore_eos=True), use_tqdm=False)
        return time.perf_counter() - begin

    found = {}
    for rows in ROWS:
        steps = min(seconds(rows, PROMPT, STEPS + 1) - seconds(rows, PROMPT, 1) for _ in range(3))
        found[f"{rows} rows"] = rows * STEPS / steps
    found["prompt"] = LONG_PROMPT / min(seconds(1, LONG_PROMPT, 1) for _ in range(3))
    print(json.dumps(found | {"threads": torch.get_num_threads()}), flush=True)


def child(folder, octavo):
    environment = os.environ | {"OCTAVO_VLLM": "1" if octavo else "0"}
    done = subprocess.run([sys.executable, __file__, "--measure", folder], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--make")
    parser.add_argument("--measure")
    arguments = parser.parse_args()
    if arguments.make:
        return make(arguments.make)
    if arguments.measure:
        return measure(arguments.measure)
    if len(arguments.folders) != 2:
        parser.error("two folders must be given: in bfloat16 and in 8 bits")
    wide, coded = arguments.folders
    variants = {"Octavo": (coded, True), "vLLM's own": (coded, False), "bfloat16": (wide, False)}
    rounds = []
    for _ in range(arguments.rounds):
        rounds.append({name: child(*variant) for name, variant in variants.items()})
        print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
    print(f"threads: {rounds[0]['Octavo']['threads']}")
    for what in (what for what in rounds[0]["Octavo"] if what != "threads"):
        rates = {name: [each[name][what] for each in rounds] for name in variants}
        print(f"{what:8}", *(f"{name} {median(values):8.1f}" for name, values in rates.items()), end="")
        for name in list(variants)[1:]:
            ratios = [ours / theirs for ours, theirs in zip(rates["Octavo"], rates[name])]
            print(f"  over {name} {median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]", end="")
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
