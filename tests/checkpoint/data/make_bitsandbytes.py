# SPDX-License-Identifier: Apache-2.0
"""A folder by bitsandbytes' 8-bit layers, as transformers saves them.

Run with bitsandbytes 0.50 and transformers 5.23.
"""

from __future__ import annotations

import tempfile

import bitsandbytes.functional as F
import torch
from safetensors.torch import load_file
from tiny import LAYERS, fresh, keep, llama
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


def main() -> None:
    folder = fresh("bitsandbytes-int8")
    with tempfile.TemporaryDirectory() as original:
        llama().save_pretrained(original)
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=4.5)
        model = AutoModelForCausalLM.from_pretrained(original, quantization_config=config, dtype=torch.bfloat16)
        model.save_pretrained(folder)
    file = load_file(folder / "model.safetensors")
    expected = {
        f"{p}.weight": F.int8_vectorwise_dequant(file[f"{p}.weight"], file[f"{p}.SCB"]) for p in LAYERS
    }
    keep(folder.name, expected, "bitsandbytes", "transformers")


if __name__ == "__main__":
    main()
