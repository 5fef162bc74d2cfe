# SPDX-License-Identifier: Apache-2.0
"""The tests of torch_test.py of layers: quantised on the CPU and moved, quantised on DEVICE, moved back, copied, pickled,
loaded, trained. Every kind of layer is a test of its own."""

import copy
import functools
import io
import pickle
from collections.abc import Callable
from typing import Any

import torch

import octavo
import octavo.torch
from octavo.torch import nn
from octavo.torch.layers._fuse import fuse_layers
from torch_kit import DEVICE, close, same, there

K, N, ROWS = 256, 384, 20


def activations(dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """Positive, as weights are here: sums are as large as the sums of their magnitudes, which bounds are relative to."""
    torch.manual_seed(6)
    x = torch.rand(ROWS, K, dtype=dtype)
    x[2, 7] = 9.0  # an outlier
    return x


def linear(device: torch.device) -> torch.nn.Linear:
    torch.manual_seed(7)
    made = torch.nn.Linear(K, N).to(torch.bfloat16)
    made.weight.data.abs_()
    made.bias.data.abs_()
    return made.to(device)


def of_scheme(scheme: str) -> Callable[[torch.device], torch.nn.Module]:
    def make(device: torch.device) -> torch.nn.Module:
        model = torch.nn.Sequential(linear(device))
        octavo.torch.quantize_(model, scheme)
        return model[0]
    return make


def of_tensors(kind: Any, **static: torch.Tensor) -> Callable[[torch.device], torch.nn.Module]:
    def make(device: torch.device) -> torch.nn.Module:
        q = kind.from_float(linear(torch.device("cpu"))).quantized_weight()
        static_there = {name: value.to(device) for name, value in static.items()}
        return kind.from_quantized(q.data.to(device), q.scale.to(device), linear(device).bias.detach(), **static_there)
    return make


def with_outlier_columns(device: torch.device) -> torch.nn.Module:
    layer = nn.LLMInt8Linear.from_float(linear(device))
    layer.set_outlier_columns(torch.tensor([3, 7]), 6.0)
    return layer


def in_another_order(device: torch.device) -> torch.nn.Module:
    """GPTQ's act-order: columns of the codes are others than those of x."""
    layer = nn.Int8Linear.from_float(linear(device))
    layer.load_state_dict({**layer.state_dict(), "columns": torch.arange(K).roll(5)})
    return layer


ZERO_POINT = torch.tensor(-3, dtype=torch.int32)
FROZEN: dict[str, Callable[[torch.device], torch.nn.Module]] = {
    **{scheme: of_scheme(scheme) for scheme in ("int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8")},
    "int8, zero points": lambda device: nn.Int8Linear.from_float(linear(device), azp=True),
    "int8, tensor": lambda device: nn.Int8Linear.from_float(linear(device), activation="tensor"),
    "int8, static": of_tensors(nn.Int8Linear, input_scale=torch.tensor(0.05)),
    "int8, static zero point": of_tensors(nn.Int8Linear, input_scale=torch.tensor(0.05), input_zero_point=ZERO_POINT),
    "fp8, static": of_tensors(nn.Fp8Linear, input_scale=torch.tensor(0.03)),
    "llm-int8, outlier columns": with_outlier_columns,
    "int8, act-order": in_another_order,
}


def in_every_scheme(check: Callable[[Callable[[torch.device], torch.nn.Module]], None]) -> None:
    """A test for each kind of frozen layer."""
    for name, make in FROZEN.items():
        globals()[f"{check.__name__} [{name}]"] = functools.partial(check, make)


CPU = torch.device("cpu")


def expect_of(layer: torch.nn.Module, home: torch.nn.Module, x: torch.Tensor) -> None:
    """The CPU's result: its bits where sums are exact, else within the bounds of both and their roundings."""
    want, got = home(x), layer(there(x))
    bound = home.explain(x).error_bound + layer.explain(there(x)).error_bound
    if bound == 0 and home.scheme != "llm-int8":  # whose outliers are a floating sum
        same(got, want)
        return
    assert got.device.type == DEVICE.type and got.dtype == want.dtype
    steps = torch.finfo(want.dtype).eps + 8 * 2.0**-24  # both round to the type, and scales and bias to float32
    error, most = (got.cpu().double() - want.double()).abs(), (bound + steps) * want.double().abs()
    assert (error <= most).all(), f"{(error / want.double().abs()).max()} > {bound + steps}"


def same_state(one: torch.nn.Module, other: torch.nn.Module) -> None:
    a, b = one.state_dict(), other.state_dict()
    assert a.keys() == b.keys(), (a.keys(), b.keys())
    for name in a:
        assert a[name].dtype == b[name].dtype and a[name].shape == b[name].shape, name
        x, y = (value.cpu().contiguous().reshape(-1).view(torch.uint8) for value in (a[name], b[name]))
        assert torch.equal(x, y), f"{name}: the bits differ"


def is_there(layer: torch.nn.Module) -> None:
    tensors = {**layer.state_dict(), "weight that it shows": layer.weight}
    assert {value.device.type for value in tensors.values()} == {DEVICE.type}, tensors


@in_every_scheme
def test_a_frozen_layer_goes_there(make: Callable[[torch.device], torch.nn.Module]) -> None:
    layer = make(CPU).to(DEVICE)
    is_there(layer)
    same_state(layer, make(CPU))
    expect_of(layer, make(CPU), activations())


@in_every_scheme
def test_a_layer_is_frozen_there(make: Callable[[torch.device], torch.nn.Module]) -> None:
    layer = make(DEVICE)
    is_there(layer)
    same_state(layer, make(CPU))
    expect_of(layer, make(CPU), activations())


@in_every_scheme
def test_a_frozen_layer_comes_back(make: Callable[[torch.device], torch.nn.Module]) -> None:
    x, want = activations(), make(CPU)(activations())
    for layer in (make(CPU).to(DEVICE).cpu(), make(DEVICE).to("cpu")):
        same_state(layer, make(CPU))
        assert torch.equal(layer(x), want)


@in_every_scheme
def test_a_frozen_layer_is_copied_there(make: Callable[[torch.device], torch.nn.Module]) -> None:
    layer, x = make(CPU).to(DEVICE), there(activations())
    want = layer(x)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    file = io.BytesIO()
    torch.save(layer, file)
    for where in (None, "cpu"):
        file.seek(0)
        loaded = torch.load(file, map_location=where, weights_only=False)
        assert where is None or loaded.weight.device.type == where
        copies.append(loaded.to(DEVICE))
    for copied in copies:
        is_there(copied)
        same(copied(x), want.cpu())


@in_every_scheme
def test_states_go_from_place_to_place(make: Callable[[torch.device], torch.nn.Module]) -> None:
    for source, target in ((CPU, DEVICE), (DEVICE, CPU), (DEVICE, DEVICE)):
        layer = make(target)
        layer.load_state_dict(make(source).state_dict())
        assert {value.device.type for value in layer.state_dict().values()} == {target.type}
        same_state(layer, make(CPU))


@in_every_scheme
def test_gradients_of_frozen_layers(make: Callable[[torch.device], torch.nn.Module]) -> None:
    def gradient(device: torch.device) -> torch.Tensor:
        x = activations(torch.float32).to(device).requires_grad_()
        make(CPU).float().to(device)(x).square().sum().backward()
        return x.grad
    close(gradient(DEVICE), gradient(CPU), 1e-3)


@in_every_scheme
def test_a_frozen_layer_shows_its_weight(make: Callable[[torch.device], torch.nn.Module]) -> None:
    layer = make(CPU).to(DEVICE).half()
    assert layer.weight.dtype == torch.float16 and layer.bias.dtype == torch.float16
    same(layer.weight.float(), make(CPU).half().weight.float())


def test_codes_meet_a_layer() -> None:
    make = FROZEN["int8, static"]
    x = torch.randint(0, 128, (ROWS, K), dtype=torch.int8)
    scales = torch.rand(ROWS, 1)
    layer = make(CPU).to(DEVICE)
    same(layer(there(x)), make(CPU)(x))
    same(layer(there(x), there(scales)), make(CPU)(x, scales))


def test_a_packed_weight_goes_there() -> None:
    """Weights alone: activations as they are, in groups, with zero points; and rules."""
    torch.manual_seed(8)
    w = torch.rand(K, N)
    x = activations()
    for dtype, granularity, azp in ((torch.int8, "channel", False), (torch.int8, "group32", False), (torch.int8, "channel", True),
                                    (torch.float8_e4m3fn, "block128x128", False), (torch.float8_e5m2, "tensor", False)):
        q = octavo.quantize(w, dtype=dtype, granularity=granularity, side="b", azp=azp, widen=azp)
        packed = octavo.pack(q)
        moved = packed.to(there(x))
        assert torch.device(moved.device).type == DEVICE.type and moved.to(there(x)) is moved
        found = moved.unpack(x)
        same(found.data, q.data)
        same(found.scale, q.scale)
        assert packed.unpack().data.tobytes() == moved.unpack().data.tobytes()  # NumPy's, of the host
        want, got = octavo.linear(x, packed), octavo.linear(there(x), moved)
        bound = octavo.explain(x, packed).error_bound + octavo.explain(there(x), moved).error_bound
        close(got, want, bound + torch.finfo(want.dtype).eps)
        back = moved.to(None)
        assert back.device == "cpu" and torch.equal(octavo.linear(x, back), want)


def test_a_pickled_weight_goes_where_it_was() -> None:
    packed = octavo.pack(octavo.quantize(there(torch.rand(K, N)), dtype=torch.int8, granularity="channel", side="b"),
                         activation="int8", llm_int8=True, outlier_threshold=6.0, outlier_columns=[3, 7])
    again = pickle.loads(pickle.dumps(packed))
    assert again.device == packed.device and again.activation == packed.activation
    assert again.activation["outlier_columns"] == [3, 7]
    same(again.unpack(torch.empty(0)).data, packed.unpack(torch.empty(0)).data.cpu())


# ---- layers that share a product ----------------------------------------------------------------------------------


class LlamaAttention(torch.nn.Module):
    """The layers of transformers' module of that name that read one tensor."""

    NAMES = ("q_proj", "k_proj", "v_proj")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(9)
        for name in self.NAMES:
            setattr(self, name, torch.nn.Linear(K, N).to(torch.bfloat16))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [getattr(self, name)(x) for name in self.NAMES]


def fused_model(device: torch.device) -> torch.nn.Module:
    model = torch.nn.ModuleDict({"attention": LlamaAttention().to(device)})
    weights = {f"attention.{name}": octavo.checkpoints.quantize_weight(model.get_submodule(f"attention.{name}").weight.detach())
               for name in LlamaAttention.NAMES}
    octavo.torch.quantize_(model, "int8-dynamic")
    assert fuse_layers("torch_test", model, weights.__getitem__) == [tuple(weights)]
    return model["attention"]


def products(model: torch.nn.Module) -> set[int]:
    return {id(layer._shared[0]) for layer in model.children() if layer._shared}


def test_fused_layers_go_there() -> None:
    x = activations()
    want = fused_model(CPU)(x)
    for model in (fused_model(CPU).to(DEVICE), fused_model(DEVICE), copy.deepcopy(fused_model(CPU).to(DEVICE)),
                  pickle.loads(pickle.dumps(fused_model(CPU).to(DEVICE)))):
        assert len(products(model)) == 1
        for layer in model.children():
            is_there(layer)
        for got, expected in zip(model(there(x)), want):
            same(got, expected)
        same_state(model, fused_model(CPU))
        model.cpu()
        assert len(products(model)) == 1 and all(torch.equal(a, b) for a, b in zip(model(x), want))


def test_a_fused_layer_goes_there_alone() -> None:
    x = activations()
    want = fused_model(CPU)(x)
    model = fused_model(CPU)
    model.k_proj.to(DEVICE)
    same(model.k_proj(there(x)), want[1])
    assert torch.equal(model.q_proj(x), want[0]) and torch.equal(model.v_proj(x), want[2])


# ---- experts ------------------------------------------------------------------------------------------------------

EXPERTS = 4


def experts(device: torch.device, scheme: str) -> nn.FusedMoE:
    torch.manual_seed(10)
    w13, w2 = (torch.rand(EXPERTS, rows, columns, dtype=torch.bfloat16).to(device) for rows, columns in ((2 * N, K), (K, N)))
    biases = [torch.rand(EXPERTS, rows, dtype=torch.bfloat16).to(device) for rows in (2 * N, K)]
    return nn.FusedMoE.from_float(w13, w2, *biases, scheme=scheme)


def expect_experts(scheme: str) -> None:
    x = activations() / 64
    weights, ids = octavo.torch.nn.fused_topk(torch.randn(ROWS, EXPERTS), 2)
    home = experts(CPU, scheme)
    want = home(x, weights, ids)
    for layer in (experts(CPU, scheme).to(DEVICE), experts(DEVICE, scheme), copy.deepcopy(experts(DEVICE, scheme)),
                  pickle.loads(pickle.dumps(experts(DEVICE, scheme)))):
        got = layer(there(x), there(weights), there(ids))
        if scheme == "int8-dynamic":
            same(got, want)
        else:  # between the products a sum beside the border of two codes gets either
            close(got, want, 2.0**-3)
        same_state(layer, home)
        assert {value.device.type for value in layer.state_dict().values()} == {DEVICE.type}
        layer.load_state_dict(home.state_dict())
        layer.cpu()
        assert torch.equal(layer(x, weights, ids), want)


def test_experts_of_int8_go_there() -> None:
    expect_experts("int8-dynamic")


def test_experts_of_fp8_go_there() -> None:
    expect_experts("fp8-dynamic")


def test_experts_of_fp8_blocks_go_there() -> None:
    expect_experts("fp8-block")


class Mixture(torch.nn.Module):
    """Experts as transformers keeps them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.gate_up_proj = torch.nn.Parameter(torch.randn(EXPERTS, 2 * N, K) / 16)
        self.down_proj = torch.nn.Parameter(torch.randn(EXPERTS, K, N) / 16)
        self.act_fn = torch.nn.SiLU()

    def forward(self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


def test_a_mixture_is_quantized_there() -> None:
    def mixture(device: torch.device) -> torch.nn.Module:
        model = torch.nn.ModuleDict({"experts": Mixture().to(device)})
        octavo.torch.quantize_(model, "int8-dynamic")
        return model["experts"]
    x = torch.randn(ROWS, K)
    weights, ids = octavo.torch.nn.fused_topk(torch.randn(ROWS, EXPERTS), 2)
    want = mixture(CPU)(x, ids, weights)
    for layer in (mixture(DEVICE), mixture(CPU).to(DEVICE)):
        same(layer(there(x), there(ids), there(weights)), want)
        same_state(layer, mixture(CPU))


# ---- float weights ------------------------------------------------------------------------------------------------


def product_bound(kind: Any) -> float:
    """What the layer's product of codes may be off there, and each of its gradients by it."""
    codes = torch.float8_e4m3fn if "fp8" in kind.scheme else torch.int8
    return octavo.explain(there(activations(torch.float32).to(codes)),
                          there(linear(CPU).weight.detach().to(codes)).t()).error_bound


def expect_training(kind: Any) -> None:
    """One step: the gradients of the CPU; and in eval mode the codes of the weight that it left."""
    def trained(device: torch.device) -> nn.Int8Linear:
        layer = kind.from_float(linear(CPU).float(), freeze=False).to(device).train()
        step = torch.optim.SGD(layer.parameters(), 0.01)
        layer(activations(torch.float32).to(device)).square().mean().backward()
        step.step()
        return layer
    layer, home = trained(DEVICE), trained(CPU)
    bound = product_bound(kind)
    close(layer.weight.grad, home.weight.grad, bound + 1e-3)
    close(layer.bias.grad, home.bias.grad, bound + 1e-3)
    layer.eval()
    x = activations(torch.float32)
    with torch.no_grad():
        home.weight.copy_(layer.weight)
        home.bias.copy_(layer.bias)
        home.eval()
        close(layer(there(x)), home(x), bound + 1e-4)
        kept = layer(there(x))
        layer.cpu()  # what eval mode packed goes, too
        assert torch.equal(layer(x), home(x)) and layer(x).device.type == "cpu"
        layer.to(DEVICE)
        same(layer(there(x)), kept.cpu())
    layer.freeze()
    is_there(layer)


def test_an_int8_layer_trains_there() -> None:
    expect_training(nn.Int8Linear)


def test_an_fp8_layer_trains_there() -> None:
    expect_training(nn.Fp8Linear)


def test_an_fp8_block_layer_trains_there() -> None:
    expect_training(nn.BlockFp8Linear)


def test_an_llm_int8_layer_trains_there() -> None:
    expect_training(nn.LLMInt8Linear)


def test_an_llm_int8_layer_of_outlier_columns_trains_there() -> None:
    def gradient(device: torch.device) -> torch.Tensor:
        layer = nn.LLMInt8Linear.from_float(linear(CPU).float(), freeze=False).to(device)
        layer.set_outlier_columns(torch.tensor([3, 7]), 6.0)
        layer(activations(torch.float32).to(device)).square().mean().backward()
        return layer.weight.grad
    close(gradient(DEVICE), gradient(CPU), 1e-3)


def test_a_calibrated_model_is_quantized_there() -> None:
    def calibrated(device: torch.device) -> torch.nn.Module:
        model = torch.nn.Sequential(linear(CPU)).to(device).eval()
        found = octavo.torch.calibrate(model, [activations().to(device)], "int8-dynamic")
        octavo.torch.quantize_(model, "int8-dynamic", calibration=found)
        return model[0]
    same_state(calibrated(DEVICE), calibrated(CPU))
    expect_of(calibrated(DEVICE), calibrated(CPU), activations())
