# SPDX-License-Identifier: Apache-2.0
"""transformers, eager, in the CPU's float type: alone (scheme float), with torchao, or with Octavo's layers (any other folder)."""

import os

from _measure import Engine, float_type, main


class Transformers(Engine):
    def __init__(self, folder, scheme, threads):
        os.environ["HF_HUB_OFFLINE"] = "1"
        import torch
        import transformers

        transformers.utils.logging.disable_progress_bar()
        torch.set_num_threads(threads)
        self._torch, self._transformers = torch, transformers
        dtype = getattr(torch, float_type())
        if scheme in ("float", "torchao"):
            options = {}
            if scheme == "torchao":
                from torchao.quantization import Int8DynamicActivationInt8WeightConfig

                options["quantization_config"] = transformers.TorchAoConfig(Int8DynamicActivationInt8WeightConfig())
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **options)
        else:
            import octavo.torch

            model = octavo.torch.from_pretrained(folder, dtype=dtype)
        self._model = model.eval()

    def generate(self, rows, count):
        ids = self._torch.tensor(rows)
        with self._torch.inference_mode():
            self._model.generate(ids, attention_mask=self._torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count,
                                 do_sample=False, pad_token_id=0)

    def log_likelihoods(self, ids):
        torch = self._torch
        with torch.inference_mode():
            logits = self._model(torch.tensor([ids])).logits[0, :-1].float()
        return logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()

    def notes(self):
        return {"transformers": self._transformers.__version__, "torch": self._torch.__version__, "float": float_type()}


if __name__ == "__main__":
    main(Transformers)
