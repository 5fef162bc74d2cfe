# SPDX-License-Identifier: Apache-2.0
"""gguf_file.py LLAMA_CPP FLOAT TARGET: TARGET/model.gguf in Q8_0 by llama.cpp's own converter, without a vocabulary."""

import runpy
import sys
from pathlib import Path

llama_cpp, source, target = map(Path, sys.argv[1:])
sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
import conversion  # noqa: E402  of llama.cpp

conversion.ModelBase  # raises where its converter was reorganised
architecture = conversion.get_model_architecture(conversion.ModelBase.load_hparams(source, False), conversion.ModelType.TEXT)
conversion.get_model_class(architecture).set_vocab = lambda model: model._set_vocab_none()
target.mkdir(parents=True, exist_ok=True)
sys.argv = ["convert_hf_to_gguf.py", str(source), "--outtype", "q8_0", "--outfile", str(target / "model.gguf")]
runpy.run_path(str(llama_cpp / sys.argv[0]), run_name="__main__")
