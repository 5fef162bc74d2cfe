# SPDX-License-Identifier: Apache-2.0
"""Layers whose packed weights follow their module, on stand-ins that say they are on another device.

tests/gpu/torch_layers.py moves the layers themselves, where there is a device.
"""

import copy
import gc
import pickle

import pytest

torch = pytest.importorskip("torch")

import octavo.torch  # noqa: E402
from octavo.torch import moe, nn  # noqa: E402
from octavo.torch.layers import _layer, _quantized_linear  # noqa: E402
from octavo.torch.layers._fuse import fuse_layers  # noqa: E402
from octavo.torch.operators._linear import handle_of  # noqa: E402

K, N = 64, 48
META = torch.device("meta")


class Elsewhere:
    """A packed weight or packed experts that can be on any device, and that count how often they were brought to one."""

    moves = 0

    def __init__(self, packed, device="cpu"):
        self._of, self.device = packed, device

    def to(self, like):
        if str(like.device) == self.device:
            return self
        Elsewhere.moves += 1
        return Elsewhere(self._of, str(like.device))

    def __getattr__(self, name):
        if name == "_handle":  # of each its own
            raise AttributeError(name)
        return getattr(self._of, name)


@pytest.fixture(autouse=True)
def anywhere(monkeypatch):
    """Every device will do."""
    for module in (_layer, _quantized_linear, moe):
        monkeypatch.setattr(module, "device_refusal", lambda device: "")
    Elsewhere.moves = 0


def frozen(kind=nn.Int8Linear, bias=True):
    torch.manual_seed(1)
    layer = kind.from_float(torch.nn.Linear(K, N, bias=bias))
    layer._keep(Elsewhere(layer._packed))
    return layer


@pytest.mark.parametrize("kind", [nn.Int8Linear, nn.Fp8Linear, nn.BlockFp8Linear, nn.LLMInt8Linear])
def test_a_layer_takes_its_weight_along(kind):
    layer = frozen(kind)
    before = layer._handle
    assert torch.nn.Sequential(layer).to("meta")[0] is layer
    assert layer._packed.device == "meta" and layer.weight.device == layer.bias.device == META
    assert layer._handle is handle_of(layer._packed) is not before
    assert layer.weight.packed is layer._packed and layer.weight.shape == (N, K)
    layer.bias = None
    layer.to_empty(device="cpu")  # nothing else leaves the meta device
    assert layer._packed.device == "cpu" and layer.weight.device.type == "cpu" and Elsewhere.moves == 2


def test_a_layer_that_stays_keeps_its_weight():
    layer = frozen()
    packed, handle = layer._packed, layer._handle
    for stay in (layer.cpu, layer.bfloat16, layer.float, lambda: layer.to("cpu", torch.float16), layer.share_memory):
        stay()
        assert layer._packed is packed and layer._handle is handle and Elsewhere.moves == 0
    assert layer.weight.dtype == torch.float16


def test_columns_go_along():
    layer = frozen()
    layer.load_state_dict({**layer.state_dict(), "columns": torch.arange(K).flip(0)})
    layer._keep(Elsewhere(layer._packed))
    layer.to("meta")
    assert layer._columns.device == META and layer.weight.columns.device == META


def test_what_eval_mode_packed_does_not_outlive_a_move():
    layer = nn.Int8Linear(K, N).eval()
    with torch.no_grad():
        layer(torch.ones(1, K))
    assert layer._cached is not None
    layer.to("meta")
    assert layer._cached is None


def test_nothing_moves_where_a_device_is_refused(monkeypatch):
    monkeypatch.undo()
    layer, experts = nn.Int8Linear.from_float(torch.nn.Linear(K, N)), mixture()
    experts.bias2 = torch.zeros(2, K)
    for module, beside in ((layer, layer.bias), (experts, experts.bias2)):
        with pytest.raises(NotImplementedError, match=rf"{type(module).__name__}: device must be cpu .*; got meta"):
            module.to("meta")
        assert beside.device.type == "cpu"
    assert layer.weight.device.type == "cpu" and layer(torch.ones(1, K)).shape == (1, N)


# ---- shared products ----------------------------------------------------------------------------------------------


class LlamaAttention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.q_proj, self.k_proj, self.v_proj = (torch.nn.Linear(K, N, bias=False) for _ in range(3))


def fused():
    model = torch.nn.ModuleDict({"a": LlamaAttention()})
    weights = {f"a.{name}": octavo.checkpoints.quantize_weight(layer.weight.detach()) for name, layer in model["a"].named_children()}
    octavo.torch.quantize_(model)
    assert len(fuse_layers("test", model, weights.__getitem__)) == 1
    product = model["a"].q_proj._shared[0]
    product.packed = Elsewhere(product.packed)
    product.handle = handle_of(product.packed)
    for layer in model["a"].children():
        layer._packed.packed = product.packed
    return model["a"]


def products(model):
    return {id(layer._shared[0]): layer._shared[0] for layer in model.children()}


def test_a_shared_product_moves_once():
    model = fused()
    (before,) = products(model).values()
    model.to("meta")
    (after,) = products(model).values()
    assert Elsewhere.moves == 1 and after is not before and after.packed.device == "meta"
    for place, layer in enumerate(model.children()):
        assert layer._shared == (after, place) and layer.weight.device == META
        assert layer._packed.packed is after.packed and layer._packed._scale.device == META
    moved = id(before)
    del before
    gc.collect()
    assert all(id(each) != moved for each in gc.get_objects() if type(each).__name__ == "SharedProduct")


def test_a_layer_that_moves_alone_leaves_the_others_theirs():
    model, x = fused(), torch.ones(2, K)
    (before,) = products(model).values()
    before.handle = handle_of(before.packed._of)  # one that multiplies
    want = [layer(x) for layer in model.children()]
    model.k_proj.to("meta")
    assert model.q_proj._shared[0] is model.v_proj._shared[0] is before and before.packed.device == "cpu"
    assert torch.equal(model.q_proj(x), want[0]) and torch.equal(model.v_proj(x), want[2])
    model.q_proj.to("meta")
    assert model.q_proj._shared[0] is model.k_proj._shared[0] is not before and Elsewhere.moves == 1


def test_copies_of_shared_products_move_by_themselves():
    model = fused()
    model.k_proj.to("meta")
    (product,) = {id(layer._shared[0]): layer._shared[0] for layer in (model.q_proj, model.v_proj)}.values()
    again = copy.deepcopy(model)
    assert again.q_proj._shared[0] is again.v_proj._shared[0] is not product
    assert again.k_proj._shared[0] is not model.k_proj._shared[0]
    assert again.q_proj._shared[0].layers[0] is again.q_proj


# ---- experts ------------------------------------------------------------------------------------------------------


def mixture():
    torch.manual_seed(3)
    return nn.FusedMoE.from_float(torch.randn(2, 2 * N, K), torch.randn(2, K, N))


def test_experts_go_along():
    layer = mixture()
    layer._pack(w13=Elsewhere(layer.w13), w2=Elsewhere(layer.w2))
    layer.bias13 = torch.zeros(2, 2 * N)
    layer.to("meta")
    assert layer.w13.device == layer.w2.device == "meta" and layer.bias13.device == META
    assert layer._w13_handle is handle_of(layer.w13) and layer._w2_handle is handle_of(layer.w2)


# ---- packed weights themselves ------------------------------------------------------------------------------------


def packed_ones():
    experts = octavo.moe.pack_experts(torch.ones(2, N, K, dtype=torch.int8), torch.ones(2), activation=torch.int8)
    return octavo.pack(torch.ones(K, N, dtype=torch.int8), 1.0, activation=torch.int8), experts


def test_packed_weights_say_where_they_are():
    for weights in packed_ones():
        assert weights.device == "cpu"
        assert all(weights.to(like) is weights for like in (None, torch.empty(0), torch.ones(2).numpy()))
        with pytest.raises(RuntimeError, match=r"to: like\.device must be cpu.*; got meta"):
            weights.to(torch.empty(0, device="meta"))
        again = pickle.loads(pickle.dumps(weights))
        assert again.device == "cpu" and again.activation == weights.activation


# ---- states and ranks ---------------------------------------------------------------------------------------------


def test_states_go_to_the_layer_that_loads_them(monkeypatch):
    state = {"weight": torch.ones(2)}
    assert _layer.brought(state, META, {})["weight"].device == META
    assert _layer.brought(state, META, {"assign_to_params_buffers": True}) is state
    monkeypatch.undo()
    assert _layer.brought(state, META, {}) is state  # a layer without memory


def test_what_transformers_loads_goes_to_the_device_of_its_map():
    quantizer_of = pytest.importorskip("transformers") and octavo.torch.OctavoConfig
    from octavo.torch.transformers._quantizer import OctavoQuantizer

    quantizer = OctavoQuantizer(quantizer_of())
    quantizer._device = META
    model = quantizer._process_model_after_weight_loading(torch.nn.Sequential(frozen(), frozen(nn.Fp8Linear, bias=False)))
    assert {str(layer._packed.device) for layer in model} == {"meta"} and {p.device for p in model.parameters()} == {META}


def test_layers_on_ranks_are_the_cpus():
    for device in ("cpu", META):
        _layer.check_host("ColumnParallelLinear: device", device)
    with pytest.raises(NotImplementedError, match=r"^X: device must be cpu \(layers on ranks compute on the host\); got cuda:0$"):
        _layer.check_host("X: device", "cuda:0")
