# SPDX-License-Identifier: Apache-2.0
"""onnx_file.py FLOAT TARGET: TARGET/model.onnx in int8 by ONNX Runtime's own dynamic quantiser, per channel."""

import sys
from pathlib import Path

import torch
import transformers
from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic

source, target = map(Path, sys.argv[1:])
target.mkdir(parents=True, exist_ok=True)


class Hidden(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


model = transformers.AutoModel.from_pretrained(source, dtype=torch.float32, attn_implementation="eager").eval()
ids = torch.randint(1000, 20000, (2, 16))
axes = {0: "sentences", 1: "tokens"}
with torch.no_grad():
    torch.onnx.export(Hidden(model), (ids, torch.ones_like(ids)), str(target / "float.onnx"), input_names=["input_ids", "attention_mask"],
                      output_names=["hidden"], dynamic_axes={"input_ids": axes, "attention_mask": axes, "hidden": axes}, opset_version=17,
                      dynamo=False)
quant_pre_process(str(target / "float.onnx"), str(target / "shaped.onnx"), skip_symbolic_shape=True)
quantize_dynamic(str(target / "shaped.onnx"), str(target / "model.onnx"), per_channel=True, weight_type=QuantType.QInt8)
