# SPDX-License-Identifier: Apache-2.0
"""The README's example of a model: my-model is a folder or a name on the Hugging Face Hub."""

# [README]
from transformers import AutoModelForCausalLM, AutoTokenizer
from octavo.torch import OctavoConfig

model = AutoModelForCausalLM.from_pretrained("my-model", quantization_config=OctavoConfig("int8-dynamic"))
tokenizer = AutoTokenizer.from_pretrained("my-model")

text = tokenizer("The weather today is", return_tensors="pt")
print(tokenizer.decode(model.generate(**text, max_new_tokens=20)[0]))
print(model.hf_quantizer.report)  # what it did to each layer

model.save_pretrained("my-model-int8")  # transformers with compressed-tensors loads it without Octavo
# [/README]
