# SPDX-License-Identifier: Apache-2.0
"""What ranks of torch.distributed (gloo) check: `gloo_checks.py SIZE [CHECK...]` forks SIZE of them for each check, of all
there are by default, and ends with 0 where all have passed."""

import datetime
import os
import sys
import tempfile
import time

import torch
import torch.distributed as dist

import octavo
import octavo.torch
from forks import ended, forked
from octavo.torch import nn as onn
from octavo.torch.parallel import ColumnParallelLinear, ColwiseParallel, ExpertParallelMoE, RowParallelLinear, RowwiseParallel

SCHEMES = ("int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8")


def same(a, b):
    """Bit for bit, any NaN for any NaN."""
    assert a.dtype == b.dtype and a.shape == b.shape, (a.dtype, b.dtype, a.shape, b.shape)
    assert torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0)), (a, b)


def layers(seed, scheme, n, k, dtype):
    """A frozen layer and activations, the same on all ranks."""
    torch.manual_seed(seed)
    linear = torch.nn.Linear(k, n, bias=seed % 2 == 0, dtype=dtype)
    x = torch.randn(2, 3, k).to(dtype)
    x[0, 1] = 0.0
    x[1, 2, seed % k] = float("nan")
    return linear, x, torch.randn(2, 3, n).to(dtype)


def gradients(layer, x, grad):
    x = x.clone().requires_grad_()
    layer.zero_grad()
    y = layer(x)
    y.backward(grad)
    return y.detach(), x.grad, None if layer.bias is None else layer.bias.grad


def layers_give_the_bits_of_one_rank(rank, size, alone):
    for seed, scheme in enumerate(SCHEMES * 2):
        n, k, dtype = 96 + 32 * seed, 512 + 128 * (seed % 3), torch.float32 if seed % 3 else torch.bfloat16
        linear, x, grad = layers(seed, scheme, n, k, dtype)
        column = ColumnParallelLinear.from_float(linear, scheme)
        row = RowParallelLinear.from_float(linear, scheme)
        one_column = ColumnParallelLinear.from_float(linear, scheme, alone)
        one_row = RowParallelLinear.from_float(linear, scheme, alone)
        columns, rows = slice(*column.columns), slice(*row.rows)

        want = gradients(one_column, x, grad)
        got = gradients(column, x, grad[..., columns])
        same(got[0], want[0][..., columns])
        same(got[1], want[1])
        with torch.no_grad():
            same(column(x), got[0])
            column.gather_output = True
            same(column(x), want[0])
        column.gather_output = True
        whole = gradients(column, x, grad)
        same(whole[1], want[1])

        want = gradients(one_row, x, grad)
        got = gradients(row, x[..., rows].contiguous(), grad)
        same(got[0], want[0])
        same(got[1], want[1][..., rows])
        whole = gradients(row, x, grad)
        same(whole[0], want[0])
        same(whole[1], want[1])
        if linear.bias is not None:
            same(got[2], want[2])
            same(gradients(column, x, grad)[2], gradients(one_column, x, grad)[2][columns])
        if scheme == "int8-dynamic":
            same(got[0], octavo.torch.nn.Int8Linear.from_float(linear)(x).detach())
        # A part is what octavo.sharding.shard cuts, and a state has it.
        weight = octavo.checkpoints.quantize_weight(linear.weight.detach(), scheme)
        for layer, axis in ((column, "columns"), (row, "rows")):
            part = octavo.sharding.shard(weight, axis, rank, size)
            again = type(layer).from_part(part, linear.bias)
            same(again(x).detach(), layer(x).detach() if axis == "rows" else layer(x).detach()[..., columns])
            part = part.quantized
            state = layer.state_dict()
            assert part.data.tobytes() == layer.part().quantized.data.tobytes()
            assert state["weight"].shape == part.data.shape and state["weight_scale"].shape == part.scale.shape


def a_model_is_put_on_ranks_by_torchs_own_function(rank, size, alone):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate, Shard
    from torch.distributed.tensor.parallel import parallelize_module

    class Mlp(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.up = torch.nn.Linear(256, 768)
            self.down = torch.nn.Linear(768, 256)
            self.head = torch.nn.Linear(256, 64 * size)

        def forward(self, x):
            return self.head(self.down(torch.nn.functional.gelu(self.up(x))))

    mesh = init_device_mesh("cpu", (size,))
    for scheme in SCHEMES:
        torch.manual_seed(3)
        model = Mlp()
        # PyTorch adds up the head's gradient in another order on ranks, and layers round what comes of it: such
        # sums are exact.
        with torch.no_grad():
            model.head.weight.mul_(64).round_().div_(64)
        octavo.torch.quantize_(model, scheme, ignore=["head"])
        x = torch.randn(4, 256)
        whole = Mlp()
        whole.up = ColumnParallelLinear.from_layer(model.up, alone)
        whole.down = RowParallelLinear.from_layer(model.down, alone)
        whole.head = model.head
        want = gradients_of(whole, x)
        kept = model.up
        parallelize_module(model, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel(),
                                         "head": ColwiseParallel(output_layouts=Replicate())})
        assert kept is model.up and isinstance(kept, ColumnParallelLinear) and isinstance(model.down, RowParallelLinear)
        got = gradients_of(model, x)
        torch.testing.assert_close(got[0], want[0])  # the head is PyTorch's own
        torch.testing.assert_close(got[1], want[1])
    # Layouts other than the styles' own.
    torch.manual_seed(4)
    linear = torch.nn.Linear(128 * size, 64 * size)
    x = torch.randn(2 * size, 4, 128 * size)
    layer = onn.Int8Linear.from_float(linear)
    want = layer(x)
    for style, check in (
        (ColwiseParallel(output_layouts=Replicate()), lambda y: same(y, want)),
        (ColwiseParallel(use_local_output=False), lambda y: same(y.full_tensor(), want)),
        (ColwiseParallel(output_layouts=Shard(0)), lambda y: same(y, want[2 * rank:2 * rank + 2])),
        (RowwiseParallel(output_layouts=Shard(0)), lambda y: same(y, want[2 * rank:2 * rank + 2])),
        (RowwiseParallel(use_local_output=False), lambda y: same(y.full_tensor(), want)),
    ):
        made = parallelize_module(onn.Int8Linear.from_float(linear), mesh, style)
        check(made(x).detach() if style.use_local_output else made(x))
        check(made(DTensor.from_local(x, mesh, [Replicate()])))
    sequence = parallelize_module(onn.Int8Linear.from_float(linear), mesh,
                                  ColwiseParallel(input_layouts=Shard(0), output_layouts=Replicate()))
    same(sequence(x[2 * rank:2 * rank + 2]).detach(), want.detach())


def gradients_of(model, x):
    x = x.clone().requires_grad_()
    y = model(x)
    whole_numbers = (torch.arange(y.numel()) % 7 - 3).view_as(y)
    (y * whole_numbers).sum().backward()
    return y.detach(), x.grad


def a_plan_of_transformers_puts_a_model_on_ranks(rank, size, alone):
    if size not in (2, 4):
        return
    import transformers
    from transformers.distributed import DistributedConfig

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size))
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    options = dict(vocab_size=64, hidden_size=128, intermediate_size=400, num_hidden_layers=2, num_attention_heads=8,
                   num_key_value_heads=4)
    config = octavo.torch.OctavoConfig("int8-dynamic")
    with tempfile.TemporaryDirectory() as own:
        shared = [own]  # transformers writes on the first rank alone
        dist.broadcast_object_list(shared)
        folder = shared[0]
        torch.manual_seed(1)
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**options, attention_bias=True)).eval()
        model.save_pretrained(f"{folder}/float")
        octavo.torch.quantize_(model, "int8-dynamic")
        model.save_pretrained(f"{folder}/codes")
        mixtral = transformers.MixtralForCausalLM(transformers.MixtralConfig(**options, num_local_experts=4))
        mixtral.save_pretrained(f"{folder}/mixtral")
        dist.barrier()
        ids = torch.arange(12).reshape(2, 6)
        for name, quantize in (("float", config), ("codes", None)):
            made = transformers.LlamaForCausalLM.from_pretrained(
                f"{folder}/{name}", quantization_config=quantize, distributed_config=DistributedConfig(tp_size=size, tp_plan="auto"))
            kinds = {type(layer).__name__ for layer in made.model.layers[0].modules() if "Linear" in type(layer).__name__}
            assert kinds == {"ColumnParallelLinear", "RowParallelLinear"}, kinds
            with torch.no_grad():
                same(made(ids).logits, model(ids).logits)
                same(made.generate(ids, max_new_tokens=3, do_sample=False), model.generate(ids, max_new_tokens=3, do_sample=False))
            try:
                made.save_pretrained(f"{folder}/again")
            except NotImplementedError as error:
                assert "model must have whole weights" in str(error), error
            else:
                raise AssertionError("a part was saved as the whole")
        try:
            transformers.MixtralForCausalLM.from_pretrained(
                f"{folder}/mixtral", quantization_config=config, distributed_config=DistributedConfig(tp_size=size, tp_plan="auto"))
        except NotImplementedError as error:
            assert "experts are not split" in str(error), error
        else:
            raise AssertionError("experts were not refused")
        dist.barrier()


def dtensors_are_multiplied_where_they_lie(rank, size, alone):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (size,))
    torch.manual_seed(6)
    m, k, n = 6 * size, 64 * size, 16 * size

    def placed(tensor, placement):
        return distribute_tensor(tensor, mesh, [placement])

    def check(call, inputs, placements, expected):
        """call on DTensors: the bits of plain tensors, in the placement expected; None: any."""
        y = call(*(placed(t, p) for t, p in zip(inputs, placements)))
        assert expected is None or y.placements == (expected,), (y.placements, expected)
        same(y.full_tensor(), call(*inputs))

    x, w = torch.randn(m, k), torch.randn(n, k)
    (a, sa), (b, sb) = (torch.ops.octavo.quantize(t, None, torch.int8, "token") for t in (x, w))  # gloo sends no fp8
    whole, rows, columns = Replicate(), Shard(0), Shard(1)

    def scaled(a, b, sa, sb, bias=None):
        return torch.ops.octavo.scaled_mm(a, b, sa, sb, bias, None, torch.float32, None, None, None, None, None, None, False,
                                          False, False, False, 0, None, None)

    operands = (a, b.t(), sa, sb.t())
    check(scaled, operands, (rows, whole, rows, whole), rows)
    check(scaled, operands, (whole, columns, whole, columns), columns)
    check(scaled, (*operands, torch.randn(n)), (whole, columns, whole, columns, rows), columns)
    check(scaled, operands, (columns, rows, whole, whole), None)  # K is brought together
    check(scaled, (a, b.t(), sa[:1], sb[:1]), (rows, whole, whole, whole), rows)
    # Rules look at every argument: another orientation of a square operand is another rule.
    square = placed(b[:, :n].contiguous(), columns)
    one = torch.ones(1, 1)
    turned = torch.ops.octavo.scaled_mm(square, square, placed(one, whole), placed(one, whole), None, None, torch.float32, None,
                                        None, None, None, None, None, True, False, False, False, 0, None, None)
    same(turned.full_tensor(), scaled(b[:, :n].t(), b[:, :n], one, one))

    codes = torch.ops.octavo.quantize(placed(x, rows), None, torch.int8, "token")
    assert codes[0].placements == codes[1].placements == (rows,)
    same(codes[0].full_tensor(), torch.ops.octavo.quantize(x, None, torch.int8, "token")[0])
    for scheme, expected in (("int8-dynamic", rows), ("llm-int8", whole)):
        layer = onn.Int8Linear if scheme == "int8-dynamic" else onn.LLMInt8Linear
        layer = layer.from_float(torch.nn.Linear(k, n, bias=False))
        with torch.no_grad():
            y = layer(placed(x, rows))
            assert y.placements == (expected,), y.placements
            same(y.full_tensor(), layer(x))


def experts_give_the_bits_of_one_rank(rank, size, alone):
    for seed, scheme in enumerate(("fp8-dynamic", "int8-dynamic", "fp8-block")):
        torch.manual_seed(seed)
        experts, hidden, inner, topk = 5, 256, 128, 2
        whole = onn.FusedMoE.from_float(torch.randn(experts, 2 * inner, hidden), torch.randn(experts, hidden, inner),
                                        torch.randn(experts, 2 * inner), None, scheme)
        layer = ExpertParallelMoE.from_layer(whole)
        assert layer.local == (experts * rank // size, experts * (rank + 1) // size) and layer.experts == experts
        tokens = 0 if rank == 1 else 3 + 2 * rank
        generator = torch.Generator().manual_seed(100 + rank)
        x = torch.randn(tokens, hidden, generator=generator).bfloat16()
        if tokens:
            x[0, 0] = float("nan")
        weights, ids = onn.fused_topk(torch.randn(tokens, experts, generator=generator), topk)
        with torch.no_grad():
            same(layer(x, weights, ids), whole(x, weights, ids))
        try:
            layer.load_state_dict(layer.state_dict())
        except RuntimeError as error:
            assert "w13 must not be in a state for ExpertParallelMoE" in str(error), error
        else:
            raise AssertionError("codes of a state were dropped")
        grad = torch.randn(tokens, hidden, generator=generator).bfloat16()
        for on_input in (False, True):
            found, want = ([], [])
            for moe, into in ((layer, found), (whole, want)):
                leaves = [t.clone().requires_grad_() for t in (x, weights)]
                y = moe(*leaves, ids, apply_router_weight_on_input=on_input)
                into.extend(torch.autograd.grad(y, leaves, grad))
            for got, one in zip(found, want):
                same(got, one)


def data_parallel_training_goes_on_around_frozen_layers(rank, size, alone):
    from torch.nn.parallel import DistributedDataParallel

    def model():
        torch.manual_seed(5)
        layers = [torch.nn.Linear(64, 96), torch.nn.Linear(96, 96), torch.nn.Linear(96, 32)]
        frozen = onn.Fp8Linear.from_float(layers[0])
        frozen.bias.requires_grad_(False)
        return torch.nn.Sequential(frozen, torch.nn.GELU(), onn.Int8Linear.from_float(layers[1], freeze=False), torch.nn.GELU(),
                                   layers[2])

    x = torch.randn(size, 8, 64)
    here, whole = DistributedDataParallel(model()), model()
    optimiser = torch.optim.SGD(here.parameters(), 0.1)
    for step in range(3):
        here(x[rank] + step).square().mean().backward()
        trained = {name: p for name, p in here.module.named_parameters() if p.requires_grad}
        if step == 0:  # the mean of what each rank computes, in whatever order they were added
            parts = []
            for part in x:
                whole.zero_grad()
                whole(part).square().mean().backward()
                parts.append({name: whole.get_parameter(name).grad.clone() for name in trained})
            for name, p in trained.items():
                grads = torch.stack([part[name] for part in parts])
                bound = size * 2.0**-23 * grads.abs().mean(0)
                assert ((p.grad - grads.mean(0)).abs() <= bound).all(), name
        optimiser.step()
        optimiser.zero_grad()
        for name, p in trained.items():
            first = p.detach().clone()
            dist.broadcast(first, 0)
            assert torch.equal(first, p), name
    codes = here.module[0].state_dict()["weight"]
    assert torch.equal(codes.view(torch.uint8), model()[0].state_dict()["weight"].view(torch.uint8))


def layers_that_learn_from_data_stay_the_same(rank, size, alone):
    """DDP and FSDP2, gradients of two batches a step, other batches on each rank, the first of one all zeros."""
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    makers = {"qat": lambda: onn.QatLinear(32, 16), "fp8 qat": lambda: onn.QatLinear(32, 16, code=torch.float8_e4m3fn),
              "int8": lambda: onn.Int8Linear(32, 16), "fp8": lambda: onn.Fp8Linear(32, 16), "block": lambda: onn.BlockFp8Linear(32, 16)}
    for name, make in makers.items():
        for wrap in (DistributedDataParallel, fully_shard):
            torch.manual_seed(3)
            model = torch.nn.Sequential(make(), torch.nn.GELU(), torch.nn.Linear(16, 4))
            if "qat" in name:
                if size > 1:
                    try:
                        model(torch.ones(2, 32))
                    except RuntimeError as error:
                        assert f"got none on rank {rank} of {size}" in str(error), error
                    else:
                        raise AssertionError("scales of one rank")
                assert onn.set_scales(model, torch.zeros(2, 32)) == ["0"]
                batch = torch.randn(8, 32)
                assert onn.set_scales(model, batch * (1 + rank) if wrap is DistributedDataParallel else batch) == []
            trained = wrap(model)
            optimiser = torch.optim.SGD(trained.parameters(), 0.01)
            torch.manual_seed(10 + rank)
            for step in range(6):
                x = torch.randn(8, 32) * (1 + rank) * (step > 1 or rank != size - 1)
                trained(x).square().mean().backward()
                if step % 2:
                    optimiser.step()
                    optimiser.zero_grad()
            assert not ("qat" in name) or model[0].scales_set
            for key, value in model.state_dict().items():
                value = (value.full_tensor() if hasattr(value, "full_tensor") else value).float()
                first = value.clone()
                dist.broadcast(first, 0)
                assert torch.equal(first, value) and value.isfinite().all(), (name, wrap, key)
                if key.endswith("x_scale"):
                    assert value.item() != 1.0, (name, wrap)  # FSDP2 keeps what was set before it


def ranks_that_disagree_are_told(rank, size, alone):
    if size == 1:
        return
    torch.manual_seed(rank == 1)
    linear = torch.nn.Linear(64 if rank == 1 else 96, 8)
    try:
        RowParallelLinear.from_float(linear)
    except ValueError as error:
        assert "weight.shape must be the same on all ranks; got [8, 96] on rank 0 and [8, 64] on rank 1" in str(error), error
    else:
        raise AssertionError("nothing was said")


def ranks_that_call_otherwise_are_told(rank, size, alone):
    if size == 1:
        return
    for scheme in ("int8-dynamic", "fp8-dynamic", "llm-int8"):
        torch.manual_seed(7)
        layer = RowParallelLinear.from_float(torch.nn.Linear(256, 32), scheme)
        for x, sentence in ((torch.randn(3 if rank == 1 else 5, 256), "x.shape[:-1] must be the same on all ranks; got [5] on rank 0 and [3] on rank 1"),
                            (torch.randn(5, 256, dtype=torch.bfloat16 if rank == 1 else None), "x.dtype must be the same on all ranks"),
                            (torch.randn(5, 255 if rank == 1 else 256), "x.shape must be [...,")):
            begin = time.monotonic()
            try:
                layer(x)
            except ValueError as error:
                assert sentence in str(error), error
            else:
                raise AssertionError("nothing was said")
            assert time.monotonic() - begin < 1
        assert layer(torch.ones(2, 256)).shape == (2, 32)  # and goes on


def a_rank_that_dies_ends_the_others(rank, size, alone):
    if size == 1:
        return
    layer = RowParallelLinear.from_float(torch.nn.Linear(256, 32), "fp8-dynamic")
    x = torch.randn(4, 256)
    layer(x)
    if rank == size - 1:
        os._exit(0)
    try:
        for _ in range(3):
            layer(x)
    except RuntimeError as error:
        assert "ranks: every rank must answer; got on rank" in str(error), error
    else:
        raise AssertionError("nothing was said")
    os._exit(0)  # the group is beyond repair


CHECKS = {check.__name__: check for check in (
    layers_give_the_bits_of_one_rank, a_model_is_put_on_ranks_by_torchs_own_function,
    a_plan_of_transformers_puts_a_model_on_ranks, experts_give_the_bits_of_one_rank,
    dtensors_are_multiplied_where_they_lie, data_parallel_training_goes_on_around_frozen_layers,
    layers_that_learn_from_data_stay_the_same, ranks_that_disagree_are_told, ranks_that_call_otherwise_are_told,
    a_rank_that_dies_ends_the_others)}


def on_rank(rank, size, check, folder):
    torch.set_num_threads(1)
    octavo.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/ranks", rank=rank, world_size=size,
                            timeout=datetime.timedelta(seconds=60))
    own = [dist.new_group([r]) for r in range(size)]
    CHECKS[check](rank, size, own[rank])
    dist.barrier()
    dist.destroy_process_group()


def passes(check, size):
    with tempfile.TemporaryDirectory() as folder:
        return ended(forked(size, check, lambda rank: on_rank(rank, size, check, folder)))


if __name__ == "__main__":
    sys.exit(not all([passes(check, int(sys.argv[1])) for check in sys.argv[2:] or CHECKS]))
