# SPDX-License-Identifier: Apache-2.0
"""ctranslate2_folder.py FLOAT TARGET: a folder of CTranslate2 in int8, whose vocabulary is numbers: no text is read."""

import json
import sys
import tempfile
from pathlib import Path

import ctranslate2
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

source, target = map(Path, sys.argv[1:])
config = json.loads((source / "config.json").read_text())
config["rope_theta"] = config["rope_parameters"]["rope_theta"]  # as transformers 4 has it
with tempfile.TemporaryDirectory() as folder:
    for file in source.glob("*.safetensors*"):
        (Path(folder) / file.name).symlink_to(file.resolve())
    (Path(folder) / "config.json").write_text(json.dumps(config))
    words = Tokenizer(models.WordLevel({str(number): number for number in range(config["vocab_size"])}, unk_token="0"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="0", bos_token="1", eos_token="2").save_pretrained(folder)
    ctranslate2.converters.TransformersConverter(folder).convert(str(target), quantization="int8_float32")
