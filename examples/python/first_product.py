# SPDX-License-Identifier: Apache-2.0
"""The README's Python example."""

# [README]
import numpy as np
import octavo

x, w = np.full((2, 64), 0.5, np.float32), np.full((32, 64), -0.25, np.float32)
a = octavo.quantize(x)  # int8, one scale per row
b = octavo.quantize(w.T, granularity="channel", side="b")  # a layer's weight, stored as [N, K]
y = octavo.scaled_mm(a, b, bias=np.ones(32, np.float32))  # a and b carry their scales
print(y[0, 0], octavo.explain(a, b), sep="\n")  # 1 - 64 * 0.5 * 0.25 = -7

import torch
import octavo.torch

model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8))
print(octavo.torch.quantize_(model, "int8-dynamic"))  # what it did to each layer
model(torch.randn(4, 64)).sum().backward()  # gradients pass through
# [/README]
