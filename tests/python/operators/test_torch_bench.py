# SPDX-License-Identifier: Apache-2.0
"""Every kind of row that `./dev bench --torch` times, on shapes that take no time."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
BENCH = Path(__file__).parents[3] / "bench"


@pytest.fixture(scope="module")
def bench():
    """The modules of bench/, which import each other by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        import torch_bench
        import torch_kit
        patch.setattr(torch_kit, "COLD_BYTES", 1)
        yield torch_bench
    for name in [name for name, module in sys.modules.items()
                 if Path(getattr(module, "__file__", None) or "/").parent == BENCH]:
        del sys.modules[name]


def small_rows(bench):
    experts = bench.experts_rows.Sizes(experts=4, topk=2, inner=64, hidden=128)
    layer = bench.octavo.torch.nn.Int8Linear
    yield bench.fp8_product(2, 1.0, 64, 64)
    for layout in ("packed", *bench.PLAIN):
        yield bench.int8_product(32, 1.0, layout, 64, 64)
    for layout in bench.PLAIN:
        yield bench.bfloat16_plain(2, 1.0, layout, 64, 64)
    for what in ("queries by keys", "weights by values"):
        yield bench.attention(what, 2, 64, 64, heads=2)
    yield bench.layer(layer, 2, 1.0, 64, 64)
    yield bench.training_step(1.0, 32, 64, 64)
    for kind in bench.w8a8_rows.KINDS:
        for quantized in (False, True):
            yield bench.w8a8_rows.row(kind, 2, quantized, 256, 256)
    for training in (False, True):
        yield bench.llm_int8_rows.forward(32, 6.0, training, {}, 128)
        yield bench.llm_int8_rows.step("exact" if training else None, 6.0, 32, 128)
    for scheme in ("fp8-dynamic", "int8-dynamic"):
        yield bench.experts_rows.experts(scheme, 3, 3.0, experts)


def test_every_kind_of_row_is_timed_beside_its_peers(bench):
    names = []
    for name, make in small_rows(bench):
        row = make()
        lines = bench.figure(name, row, 1, 0.0, 60.0)
        assert [line[3] for line in lines] == [*row.peers, *row.not_run], name
        for line, peer in zip(lines, row.peers):
            ours, theirs = float(line[1]), float(line[4])
            assert ours > 0 and theirs > 0, (name, peer)
            assert row.error is None or 0 < float(line[2]) < 1, name
        names.append(name)
    assert len(set(names)) == len(names)


def test_rows_have_names_of_their_own_before_any_is_made(bench):
    names = [problem.name for problem in bench.ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("most, rounds", [(60.0, 9), (0.0, 6)])
def test_rows_that_take_long_have_fewer_rounds(bench, most, rounds):
    timed = bench.measure({"ours": lambda i: None}, 9, 0.0, most=most)
    assert len(timed["ours"].seconds) == rounds


def test_what_a_call_costs_is_timed_in_every_language(bench):
    figures = bench.overhead(1, 0.0)
    assert len({name for name, _ in figures}) == len(figures) == 6
    assert all(float(us) > 0 for _, us in figures)
