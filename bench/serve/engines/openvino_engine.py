# SPDX-License-Identifier: Apache-2.0
"""OpenVINO GenAI on a folder that optimum-intel wrote in int8 (models.py makes it)."""

import importlib.metadata

from _measure import Engine, main


class OpenVino(Engine):
    def __init__(self, folder, scheme, threads):
        import numpy
        import openvino
        import openvino_genai

        self._numpy, self._openvino, self._genai = numpy, openvino, openvino_genai
        schedule = openvino_genai.SchedulerConfig()
        schedule.cache_size, schedule.enable_prefix_caching, schedule.max_num_seqs = 1, False, 64
        schedule.max_num_batched_tokens = 2304
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(str(folder), schedule, "CPU", {"INFERENCE_NUM_THREADS": threads})

    def generate(self, rows, count):
        tensors = [self._openvino.Tensor(self._numpy.array([row], dtype=self._numpy.int64)) for row in rows]
        how = self._genai.GenerationConfig(max_new_tokens=count, min_new_tokens=count, ignore_eos=True, do_sample=False)
        self._pipeline.generate(tensors, [how] * len(rows))

    def notes(self):
        return {"openvino-genai": importlib.metadata.version("openvino-genai")}


if __name__ == "__main__":
    main(OpenVino)
