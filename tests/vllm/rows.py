# SPDX-License-Identifier: Apache-2.0
"""Which modules give a row other bits in a batch than alone: rows.py FOLDER [--cache TYPE] [--compiled].

Prompts are generated from one by one, then all at once, in steps of a few tokens, so that parts of prompts and decoding
mix. Prints one JSON object: the classes of modules by which a row came to differ although all that it had been given was
equal; how many rows were compared; whether tokens and their probabilities differ.
"""

import argparse
import collections
import hashlib
import json
import os
import random

os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}

import torch  # noqa: E402
import vllm  # noqa: E402

LENGTHS = (3, 500, 170, 900, 1)  # of prompts, in tokens


def digests(values, spans):
    """Of each span, a digest of its rows in all tensors that have a row for each token."""
    count = spans[-1][1]
    tensors = [value for value in torch.utils._pytree.tree_leaves(values) if isinstance(value, torch.Tensor) and value.dim()]
    of_tokens = [value.detach().contiguous() for value in tensors if len(value) == count]
    return [[hashlib.sha1(b"".join(value[row].view(-1).view(torch.uint8).numpy().tobytes() for value in of_tokens)).hexdigest()
             for row in range(*span)] for span in spans]


class Recorder:
    """What every module was given and gave, for each token of each prompt."""

    def __init__(self, runner):
        self.runner, self.seen, self.heads = runner, {}, {}
        execute = runner.execute_model

        def recorded(scheduled, *more):
            self.counts = scheduled.num_scheduled_tokens
            return execute(scheduled, *more)

        runner.execute_model = recorded
        for name, module in runner.model.named_modules():
            module.register_forward_pre_hook(lambda module, given, named, name=name: self.note(name, 0, (given, named)), with_kwargs=True)
            module.register_forward_hook(lambda module, given, named, gave, name=name: self.note(name, 1, gave), with_kwargs=True)

    def note(self, name, side, values):
        """A module that has a row for each sequence (of its last token) is the one that makes logits."""
        requests = self.runner.input_batch.req_ids
        last = type(self.runner.model.get_submodule(name)).__name__ == "LogitsProcessor"
        start = 0
        spans = []
        for request in requests:
            count = 1 if last else self.counts[request]
            spans.append((start, start + count))
            start += count
        for request, rows in zip(requests, digests(values, spans)):
            first = self.runner.requests[request].num_computed_tokens + (self.counts[request] - 1 if last else 0)
            for position, digest in enumerate(rows, first):
                self.seen.setdefault((name, int(request.split("-")[0]), position), [None, None])[side] = digest

    def take(self):
        seen, self.seen = self.seen, {}
        return seen


def blamed(alone, together):
    """Names of modules by which a row differs, all that they were given of its sequence so far being equal.

    Logits of a prompt's part, which nobody reads, are those of other rows where parts are cut elsewhere.
    """
    found, parted = set(), set()
    for name, request, position in sorted(alone.keys() & together.keys(), key=lambda key: key[2]):
        one, other = alone[name, request, position], together[name, request, position]
        if one[0] != other[0]:
            parted.add((name, request))
        elif one[1] != other[1] and (name, request) not in parted:
            found.add(name)
    return {name for name in found if not any(other.startswith(f"{name}." if name else "") and other != name for other in found)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--cache", default="auto")
    parser.add_argument("--compiled", action="store_true")
    options = parser.parse_args()
    llm = vllm.LLM(options.folder, skip_tokenizer_init=True, enforce_eager=not options.compiled, dtype="bfloat16", max_model_len=1024,
                   max_num_seqs=8, max_num_batched_tokens=128, block_size=32, kv_cache_dtype=options.cache, enable_prefix_caching=False,
                   disable_log_stats=True)
    runner = llm.llm_engine.model_executor.driver_worker.worker.model_runner
    recorder = None if options.compiled else Recorder(runner)
    draw = random.Random(2)
    prompts = [vllm.inputs.TokensPrompt(prompt_token_ids=[draw.randrange(1, 500) for _ in range(length)]) for length in LENGTHS]
    sampling = vllm.SamplingParams(max_tokens=6, temperature=0, detokenize=False, ignore_eos=True, logprobs=3)

    def generate(given):
        made = llm.generate(given, sampling, use_tqdm=False)
        return [[[(token, each.logprob) for token, each in step.items()] for step in one.outputs[0].logprobs] for one in made]

    alone = [row for prompt in prompts for row in generate([prompt])]
    first = recorder.take() if recorder else {}
    together = generate(prompts)
    then = {(name, request - len(prompts), position): value for (name, request, position), value in recorder.take().items()} if recorder else {}
    modules = dict(runner.model.named_modules())
    print(json.dumps({"blamed": sorted({type(modules[name]).__name__ for name in blamed(first, then)}),
                      "compared": collections.Counter(type(modules[name]).__name__ for name, _, _ in first.keys() & then.keys()),
                      "differ": alone != together}), flush=True)


if __name__ == "__main__":
    main()
