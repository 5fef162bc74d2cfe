# SPDX-License-Identifier: Apache-2.0
"""An encoder of transformers: scheme float32, bf16 or octavo, and behind a comma `compiled`."""

import os

from _measure import float_type
from _sentences import main


def encoder_of(folder, scheme, threads):
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(threads)
    scheme, _, compiled = scheme.partition(",")
    if scheme == "octavo":
        import octavo.torch

        model = octavo.torch.from_pretrained(folder, dtype=getattr(torch, float_type()), model_class=transformers.AutoModel, fuse=bool(compiled))
    else:
        model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32 if scheme == "float32" else torch.bfloat16)
    model.eval()
    if compiled:
        model.compile()

    def encode(rows):
        ids = torch.tensor(rows)
        with torch.inference_mode():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))

    return encode, {"transformers": transformers.__version__, "torch": torch.__version__}


if __name__ == "__main__":
    main(encoder_of)
