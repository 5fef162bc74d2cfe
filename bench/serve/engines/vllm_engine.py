# SPDX-License-Identifier: Apache-2.0
"""vLLM's CPU backend; OCTAVO_VLLM of the environment says whether Octavo's plugin takes its layers."""

import os

from _measure import LENGTH, Engine, float_type, main


class Vllm(Engine):
    def __init__(self, folder, scheme, threads):
        cores = ",".join(str(core) for core in sorted(os.sched_getaffinity(0))[:threads])
        os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": cores,
                       "VLLM_LOGGING_LEVEL": "ERROR"}
        import vllm

        self._vllm = vllm
        self._llm = vllm.LLM(str(folder), skip_tokenizer_init=True, enforce_eager=True, dtype=float_type(), max_model_len=LENGTH,
                             max_num_seqs=64, max_num_batched_tokens=LENGTH, enable_prefix_caching=False, disable_log_stats=True)

    def _run(self, rows, **parameters):
        prompts = [self._vllm.inputs.TokensPrompt(prompt_token_ids=row) for row in rows]
        parameters = self._vllm.SamplingParams(temperature=0, detokenize=False, ignore_eos=True, **parameters)
        return self._llm.generate(prompts, parameters, use_tqdm=False)

    def generate(self, rows, count):
        self._run(rows, max_tokens=count)

    def log_likelihoods(self, ids):
        told = self._run([ids], max_tokens=1, prompt_logprobs=0)[0].prompt_logprobs
        return [probabilities[token].logprob for token, probabilities in zip(ids[1:], told[1:])]

    def notes(self):
        return {"vllm": self._vllm.__version__, "float": float_type()}


if __name__ == "__main__":
    main(Vllm)
