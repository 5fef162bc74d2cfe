# SPDX-License-Identifier: Apache-2.0
"""What bitsandbytes' LLM.int8() gets wrong, beside octavo.bnb.

bitsandbytes runs here on the CPU. Its gradient of the weight has no CPU kernel: its half is the formula
of MatMul8bitLt.backward, a few lines of torch. Octavo's half is asserted against float64.
"""

import logging

import pytest

torch = pytest.importorskip("torch", minversion="2.10")
peer = pytest.importorskip("bitsandbytes")
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # casts to float16

import octavo.bnb as bnb  # noqa: E402
from known_wrong import BF16, F32, Found, code, defect, refusal  # noqa: E402


def gaussian(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def state_of(module, threshold=0.0, training=False):
    state = module.MatmulLtState()
    state.is_training, state.threshold = training, threshold
    return state


def products(x, w, threshold=0.0, training=False, **options):
    """y of bitsandbytes and of Octavo."""
    return [module.matmul(x.clone(), w, state=state_of(module, threshold, training), **options)
            for module in (peer, bnb)]


def relative(got, exact):
    return float((got.detach().double() - exact.detach()).norm() / exact.detach().norm())


def rounded(value):
    return code(f"{value:.2g}")


def layers(trains, threshold=6.0, features=(32, 8)):
    torch.manual_seed(0)
    return [module.nn.Linear8bitLt(*features, has_fp16_weights=trains, threshold=threshold) for module in (peer, bnb)]


# ---- results -------------------------------------------------------------------------------------------


@defect("bnb_results", "1/127^2 is written as 6.200124e-5 (every device but CUDA): 127 * 127 with statistics of 1")
def test_the_constant_has_a_typo():
    acc, one = torch.tensor([[127 * 127]], dtype=torch.int32), torch.ones(1)
    mine = torch.ops.octavo.int8_mm_dequant(acc, one, one, F32).item()
    assert abs(mine - 1) < 2e-7
    theirs = torch.ops.bitsandbytes.int8_mm_dequant(acc, one, one, F32).item()
    return Found(abs(theirs - 1) > 1e-6, code(f"{theirs:.7f}"), code(f"{mine:.7f}"))


@defect("bnb_results", "`out=` is ignored: what it holds after a product of ones (K = 32)")
def test_out_is_ignored():
    outs = [torch.zeros(2, 3) for _ in range(2)]
    for module, out in zip((peer, bnb), outs):
        module.matmul(torch.ones(2, 32), torch.ones(3, 32), out=out, state=state_of(module))
    theirs, mine = (out[0, 0].item() for out in outs)
    assert abs(mine - 32) < 1e-5
    return Found(theirs != mine, code(f"{theirs:g}"), code(f"{mine:g}"))


@defect("bnb_results", "float32 and bfloat16 go through float16: activations of 1e6 times weights of 1 (K = 32)", "bnb#165")
def test_activations_beyond_float16():
    x, w = torch.full((2, 32), 1e6), torch.ones(3, 32)
    theirs, mine = (y[0, 0].item() for y in products(x, w))
    assert abs(mine - 32e6) < 10
    assert all(torch.isfinite(y[1]).all() for y in [products(x.to(BF16), w)])
    return Found(theirs != mine, code(f"{theirs:g}"), code(f"{mine:g}"))


@defect("bnb_results", "K = 0: a result that was never written")
def test_no_features():
    theirs, mine = products(torch.ones(64, 0), torch.ones(64, 0))
    assert torch.equal(mine, torch.zeros(64, 64))
    # What lies in fresh memory is anything, zeros too: the code path is known.
    source = peer.autograd._functions.MatMul8bitLt.forward.__code__
    return Found("empty" in source.co_names, "uninitialised memory", "zeros")


@defect("bnb_results", "activations of one dimension; of four")
def test_activations_of_other_ranks():
    x, w = gaussian(12, 32), gaussian(8, 32, seed=2)
    refused = []
    for view in (x[0], x.view(2, 3, 2, 32)):
        mine = bnb.matmul(view, w, state=state_of(bnb))
        assert torch.equal(mine.reshape(-1, 8), bnb.matmul(view.reshape(-1, 32), w, state=state_of(bnb)))
        refused.append(refusal(lambda: peer.matmul(view, w, state=state_of(peer))))
    return Found(all(refused), "; ".join(str(r).split(":")[0] + "`" for r in refused), "right")


@defect("bnb_results", "`int8_mm_dequant` flattens [2, 3, 4]")
def test_dequantized_sums_keep_their_shape():
    acc, rows, cols = torch.ones(2, 3, 4, dtype=torch.int32), torch.ones(6), torch.ones(4)
    theirs, mine = (list(module.functional.int8_mm_dequant(acc, rows, cols).shape) for module in (peer, bnb))
    assert mine == [2, 3, 4]
    return Found(theirs != mine, code(theirs), code(mine))


@defect("bnb_results", "training mode on a CPU quantises no activations and has no threshold: the same layer, its result "
                       "in `train()` less that in `eval()`", "bnb#1484")
def test_modes_multiply_differently():
    x = gaussian(16, 32)
    apart = []
    for layer in layers(False):
        layer.to("cpu").requires_grad_(False)
        apart.append((layer.train()(x) - layer.eval()(x)).abs().max().item())
    assert apart[1] == 0.0
    return Found(apart[0] != 0.0, rounded(apart[0]), "`0`")


@defect("bnb_results", "the outlier columns of a batch decide each row: a row alone and in company", "bnb#28")
def test_a_row_depends_on_its_company():
    x = gaussian(4, 32)
    x[3, 5] = 60.0
    w = gaussian(8, 32, seed=2)
    state = state_of(bnb, 6.0)
    state.batch_invariant = True
    mine = bnb.matmul(x, w, state=state)
    assert torch.equal(mine[:1], bnb.matmul(x[:1], w, state=state))
    whole, alone = (peer.matmul(rows, w, state=state_of(peer, 6.0)) for rows in (x, x[:1]))
    return Found(not torch.equal(whole[:1], alone), "other bits", "the same bits with `batch_invariant`; without, as theirs")


@defect("bnb_results", "the pool of outlier columns (`use_pool`) is never used: columns in it after a layer met two")
def test_the_pool_is_dead():
    x = gaussian(4, 32).clamp(-3, 3)
    x[0, 4], x[1, 9] = 8.0, 8.0
    counts = []
    for module in (peer, bnb):
        pooler = (module.autograd._functions if module is peer else module).GlobalOutlierPooler.get_instance()
        pooler.initialize()
        layer = module.nn.Linear8bitLt(32, 8, has_fp16_weights=False, threshold=6.0).to("cpu").eval()
        layer.state.use_pool = True
        layer(x)
        counts.append(len(pooler.outliers))
        pooler.initialize()
    assert counts[1] == 2
    return Found(counts[0] != 2, code(counts[0]), code(counts[1]))


# ---- what a layer keeps --------------------------------------------------------------------------------


@defect("bnb_layers", "in eval mode codes are made once: relative error after `weight.mul_(-1)`")
def test_codes_of_a_changed_weight():
    x, errors = gaussian(16, 32), []
    for layer in layers(True):
        layer.eval().requires_grad_(False)
        layer(x)
        layer.weight.mul_(-1)
        errors.append(relative(layer(x), torch.nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())))
    assert errors[1] < 0.02
    return Found(errors[0] > 0.1, rounded(errors[0]), rounded(errors[1]))


@defect("bnb_layers", "training with `zero_grad(set_to_none=False)` multiplies the first step's codes for ever: relative "
                      "error after one step")
def test_codes_after_a_step():
    x, errors = gaussian(16, 32), []
    for layer in layers(True):
        optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
        layer(x).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=False)
        errors.append(relative(layer(x), torch.nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())))
    assert errors[1] < 0.02
    return Found(errors[0] > 0.1, rounded(errors[0]), rounded(errors[1]))


@defect("bnb_layers", "a forward pass in bfloat16 rounds the layer's float32 bias for good")
def test_the_bias_is_cast_in_place():
    types = []
    for layer in layers(False):
        layer.to("cpu").eval().requires_grad_(False)(gaussian(2, 32).to(BF16))
        types.append(layer.bias.dtype)
    assert types[1] == F32
    return Found(types[0] != types[1], code(types[0]), code(types[1]))


@defect("bnb_layers", "an int8 state into a new layer; into one that has run")
def test_int8_states_load():
    state = layers(False)[1].to("cpu").state_dict()
    refused = []
    for used in (False, True):
        theirs, mine = layers(False)
        for layer in (theirs, mine):
            if used:
                layer.to("cpu").eval()(gaussian(2, 32))
        mine.load_state_dict(state)
        assert torch.equal(mine.state_dict()["weight"], state["weight"])
        refused.append(refusal(lambda: theirs.load_state_dict(state)))
    return Found(all(refused), refused[0], "loaded")


# ---- gradients -----------------------------------------------------------------------------------------


def column_codes(x):
    absmax = x.abs().amax(0)
    return torch.round(x * (127 / absmax)), absmax


def row_codes(x):
    absmax = x.abs().amax(1, keepdim=True)
    return torch.round(x * (127 / absmax)), absmax


def their_gradient(x, grad, threshold):
    """MatMul8bitLt.backward since 0.45: codes of the gradient by row, with statistics by column; columns with outliers
    keep their other elements in the int8 product (since April 2025) and come whole once more in float."""
    outliers = x.abs() >= threshold
    columns = outliers.any(0)
    a, sa = column_codes(torch.where(outliers, 0, x))
    g, _ = row_codes(grad)
    sg = grad.abs().amax(0)
    dw = (g.T @ a) * sg[:, None] * sa / 127**2
    dw[:, columns] += grad.T @ x[:, columns]
    return dw


def weight_gradients(x, grad, threshold=6.0):
    w = gaussian(grad.shape[1], x.shape[1], seed=2).requires_grad_()
    bnb.MatMul8bitLt.apply(x, w, None, None, state_of(bnb, threshold)).backward(grad)
    exact = grad.double().T @ x.double()
    return Found(True, "", "")._replace(theirs=rounded(relative(their_gradient(x, grad, threshold), exact)),
                                        octavo=rounded(relative(w.grad, exact))), relative(w.grad, exact)


@defect("bnb_gradients", "gradient of the weight, codes by row with statistics by column: relative error, Gaussian data "
                         "(M = 512)")
def test_weight_gradient_of_gaussians():
    found, error = weight_gradients(gaussian(512, 256), gaussian(512, 192, seed=4))
    assert error < 0.015
    return found


@defect("bnb_gradients", "the same, sizes of tokens lognormal (sigma 1)")
def test_weight_gradient_of_tokens_of_other_sizes():
    found, error = weight_gradients(gaussian(512, 256), gaussian(512, 192, seed=4) * gaussian(512, 1, seed=5).exp())
    assert error < 0.03
    return found


@defect("bnb_gradients", "the same, 4 outlier columns with outliers in every tenth row")
def test_weight_gradient_of_outlier_columns():
    x = gaussian(512, 256)
    for c in (3, 50, 51, 200):
        x[::10, c] = x[::10, c] * 8 + 6
    found, error = weight_gradients(x, gaussian(512, 192, seed=4))
    assert error < 0.015
    return found


@defect("bnb_gradients", "gradient of the weight by MatMul8bitLt on a CPU")
def test_the_weights_gradient_on_a_cpu():
    x, w = gaussian(4, 32), gaussian(8, 32, seed=2)
    mine = w.clone().requires_grad_()
    bnb.MatMul8bitLt.apply(x, mine, None, None, state_of(bnb)).sum().backward()
    assert relative(mine.grad, x.double().sum(0).expand(8, 32)) < 0.015
    theirs = refusal(lambda: peer.matmul(x, w.clone().requires_grad_(), state=state_of(peer)))
    return Found(theirs is not None, str(theirs), "right")


@defect("bnb_gradients", "gradient of the weight for activations [2, 3, 32]")
def test_the_weights_gradient_of_three_dimensions():
    x = gaussian(2, 3, 32)
    theirs, mine = layers(True, threshold=0.0)
    mine(x).sum().backward()
    assert relative(mine.weight.grad, x.double().sum((0, 1)).expand(8, 32)) < 0.015
    sentence = refusal(lambda: theirs(x).sum().backward())
    return Found(sentence is not None, str(sentence), "right")
