# SPDX-License-Identifier: Apache-2.0
"""Engines, models and formats that `./dev bench --serve` measures: a new peer is rows here, a script and its requirements."""

from dataclasses import dataclass, field

OURS = "Octavo"


@dataclass(frozen=True)
class Environment:
    """A Python environment: build/NAME of ./dev, or one that environments.py makes of requirements/NAME.txt."""
    name: str
    made_by_dev: str | None = None
    remove: tuple[str, ...] = ()  # what packages bring that does not import beside a CPU's PyTorch


ENVIRONMENTS = {each.name: each for each in (
    Environment("octavo", "build/venv"),
    Environment("vllm", "build/vllm"),
    Environment("torchao"),
    Environment("openvino", remove=("torchvision", "torchaudio", "torchcodec")),
    Environment("ctranslate2"),
    Environment("onnxruntime"),
    Environment("llama.cpp"),
)}


@dataclass(frozen=True)
class Format:
    """A model's folder or file: COMMAND in an environment writes {target} of {float}; tokens of both are replaced."""
    name: str
    environment: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()  # further environments, whose files the command names


FORMATS = {each.name: each for each in (
    Format("int8", "octavo", ("octavo", "quantize", "{float}", "{target}", "--scheme", "int8-dynamic", "--experts", "separate")),
    Format("int8-head", "octavo", ("octavo", "quantize", "{float}", "{target}", "--scheme", "int8-dynamic", "--head",
                                   "--experts", "separate")),
    Format("fp8", "octavo", ("octavo", "quantize", "{float}", "{target}", "--scheme", "fp8-dynamic")),
    Format("openvino", "openvino", ("optimum-cli", "export", "openvino", "--task", "text-generation-with-past", "--weight-format", "int8",
                                    "--model", "{float}", "{target}")),
    Format("ctranslate2", "ctranslate2", ("python", "{formats}/ctranslate2_folder.py", "{float}", "{target}")),
    Format("int8-encoder", "octavo", ("octavo", "quantize", "{float}", "{target}", "--scheme", "int8-dynamic")),
    Format("openvino-encoder", "openvino", ("optimum-cli", "export", "openvino", "--task", "feature-extraction", "--weight-format", "int8",
                                            "--model", "{float}", "{target}")),
    Format("onnx", "onnxruntime", ("python", "{formats}/onnx_file.py", "{float}", "{target}")),
    Format("q8_0", "torchao", ("python", "{formats}/gguf_file.py", "{llama_cpp}/src", "{float}", "{target}"),
           needs=("llama.cpp",)),
)}


@dataclass(frozen=True)
class Model:
    name: str
    experts: bool = False
    trained: bool = False
    encoder: bool = False

    @property
    def cases(self) -> tuple[str, ...]:
        return SENTENCES if self.encoder else CASES


MODELS = {each.name: each for each in (
    Model("SmolLM2-135M", trained=True),
    Model("Llama-0.85B"),   # random weights
    Model("Qwen3-MoE-0.9B", experts=True),  # random weights
    Model("MiniLM-L6", trained=True, encoder=True),
    Model("BERT-base", encoder=True),  # random weights
    Model("ModernBERT-base", encoder=True),  # random weights
)}


@dataclass(frozen=True)
class Variant:
    """A row of the table. format None: the float folder."""
    name: str
    engine: str
    weights: str
    environment: str
    script: str
    format: str | None = None
    head: str = "float"
    ours: bool = False
    scheme: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    experts: bool = True  # whether it runs mixtures of experts
    encoder: bool = False

    def runs(self, model: Model) -> bool:
        return self.encoder == model.encoder and (self.experts or not model.experts)


VARIANTS = (
    Variant("vllm-octavo-int8", "vLLM + Octavo", "int8", "vllm", "vllm_engine.py", "int8", ours=True, variables={"OCTAVO_VLLM": "1"}),
    Variant("vllm-int8", "vLLM", "int8", "vllm", "vllm_engine.py", "int8", variables={"OCTAVO_VLLM": "0"}),
    Variant("vllm-octavo-int8-head", "vLLM + Octavo", "int8", "vllm", "vllm_engine.py", "int8-head", head="int8", ours=True,
            variables={"OCTAVO_VLLM": "1"}),
    Variant("vllm-octavo-fp8", "vLLM + Octavo", "fp8", "vllm", "vllm_engine.py", "fp8", ours=True, variables={"OCTAVO_VLLM": "1"}),
    Variant("vllm-float", "vLLM", "float", "vllm", "vllm_engine.py", variables={"OCTAVO_VLLM": "0"}),
    Variant("transformers-octavo-int8", "transformers + Octavo", "int8", "octavo", "transformers_engine.py", "int8", ours=True, scheme="octavo"),
    Variant("transformers-octavo-int8-head", "transformers + Octavo", "int8", "octavo", "transformers_engine.py", "int8-head", head="int8", ours=True,
            scheme="octavo"),
    Variant("transformers-float", "transformers", "float", "octavo", "transformers_engine.py", scheme="float"),
    Variant("torchao-int8", "transformers + torchao", "int8", "torchao", "transformers_engine.py", scheme="torchao", experts=False),
    Variant("openvino-int8", "OpenVINO GenAI", "int8", "openvino", "openvino_engine.py", "openvino", head="int8"),
    Variant("llama.cpp-q8_0", "llama.cpp", "Q8_0", "llama.cpp", "llama_cpp_engine.py", "q8_0", head="Q8_0"),
    Variant("ctranslate2-int8", "CTranslate2", "int8", "ctranslate2", "ctranslate2_engine.py", "ctranslate2", head="int8", experts=False),
    Variant("octavo-int8", "transformers + Octavo", "int8", "octavo", "encoder_engine.py", "int8-encoder", head="", ours=True, scheme="octavo",
            encoder=True),
    Variant("octavo-int8-compiled", "transformers + Octavo, compiled", "int8", "octavo", "encoder_engine.py", "int8-encoder", head="", ours=True,
            scheme="octavo,compiled", encoder=True),
    Variant("torch-bf16", "transformers", "bf16", "octavo", "encoder_engine.py", head="", scheme="bf16", encoder=True),
    Variant("torch-bf16-compiled", "transformers, compiled", "bf16", "octavo", "encoder_engine.py", head="", scheme="bf16,compiled", encoder=True),
    Variant("torch-float32", "transformers", "float32", "octavo", "encoder_engine.py", head="", scheme="float32", encoder=True),
    Variant("onnxruntime-int8", "ONNX Runtime", "int8", "onnxruntime", "onnx_encoder_engine.py", "onnx", head="", encoder=True),
    Variant("openvino-encoder-int8", "OpenVINO", "int8", "openvino", "openvino_encoder_engine.py", "openvino-encoder", head="", encoder=True),
)

SENTENCES = ("1 x 16", "32 x 16", "32 x 128")  # sentences x tokens
CASES = (*(f"decode {rows}" for rows in (1, 4, 16, 64)), "prompt 512", "prompt 2048")
