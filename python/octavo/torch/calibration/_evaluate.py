# SPDX-License-Identifier: Apache-2.0
"""evaluate: a quantised model beside the float model that it came from, on text."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..._html import ShownAsText
from .._requirement import need_transformers
from ..layers._quantized_linear import QuantizedLinear
from ..models._routed_experts import SeparateExperts
from ..moe import FusedMoE
from ..transformers._loading import from_pretrained
from ._calibrate import with_bar

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class LayerDrift(NamedTuple):
    """What one layer alone does to the activations that the float model has there."""

    name: str
    cosine: float  # of its outputs with the float layer's
    sqnr_db: float  # 10 log10(sum y^2 / sum (y - y')^2)


@dataclass(repr=False)
class Evaluation(ShownAsText):
    """What quantising cost. Of a model without logits (BERT) only cosine and layers are there, of its hidden states."""

    tokens: int
    cosine: float  # of all logits, flattened
    perplexity: float | None
    float_perplexity: float | None
    loss_increase: float | None  # mean over tokens of the cross entropy less the float model's, in nats
    loss_increase_error: float | None  # its standard error, from the windows' sums; None of a single window
    kl: float | None  # mean over tokens of KL(float || quantised), in nats
    agreement: float | None  # share of tokens whose most likely next token is the float model's
    layers: list[LayerDrift] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "layers": [row._asdict() for row in self.layers]}

    def __str__(self) -> str:
        rows = [f"tokens {self.tokens}   cosine {self.cosine:.6f}"]
        if self.perplexity is not None and self.kl is not None and self.agreement is not None:
            rows.append(f"perplexity {self.perplexity:.4f}   of the float model {self.float_perplexity:.4f}")
            spread = "" if self.loss_increase_error is None else f" +- {self.loss_increase_error:.1e} (standard error)"
            rows.append(f"loss {self.loss_increase:+.2e}{spread} nats a token")
            rows.append(f"KL {self.kl:.3e} nats   same next token {100 * self.agreement:.2f} %")
        if self.layers:
            rows.append(f"{'layer':<56} {'cosine':>10} {'SQNR, dB':>9}")
        rows += [f"{row.name:<56} {row.cosine:>10.6f} {row.sqnr_db:>9.2f}" for row in
                 sorted(self.layers, key=lambda row: row.sqnr_db)]
        return "\n".join(rows)


class _Paired:
    """The mean of a difference over tokens, and its standard error.

    Tokens of one window share their context, so windows are the units: with d_w the sum and n_w the tokens of window w,
    mean m = sum d_w / sum n_w and error^2 = W / (W - 1) sum (d_w - m n_w)^2 / (sum n_w)^2 (the ratio estimator of cluster
    sampling: Cochran, Sampling Techniques, 1977, section 9A.1).
    """

    def __init__(self) -> None:
        self._windows: list[tuple[float, int]] = []

    def add(self, total: float, tokens: int) -> None:
        self._windows.append((total, tokens))

    @property
    def tokens(self) -> int:
        return sum(tokens for _, tokens in self._windows)

    @property
    def mean(self) -> float:
        return sum(total for total, _ in self._windows) / self.tokens

    @property
    def error(self) -> float | None:
        count = len(self._windows)
        if count < 2:
            return None
        squares = sum((total - self.mean * tokens) ** 2 for total, tokens in self._windows)
        return math.sqrt(count / (count - 1) * squares) / self.tokens


class _Sums:
    """Sums of squares and products of two tensors, from which cosine and signal-to-noise ratio follow."""

    def __init__(self) -> None:
        self.signal = self.other = self.product = self.noise = 0.0

    def add(self, expected: torch.Tensor, got: torch.Tensor) -> None:
        a, b = expected.double().flatten(), got.double().flatten()
        self.signal += float(a @ a)
        self.other += float(b @ b)
        self.product += float(a @ b)
        self.noise += float((a - b) @ (a - b))

    @property
    def cosine(self) -> float:
        return self.product / math.sqrt(self.signal * self.other) if self.signal and self.other else math.nan

    @property
    def sqnr_db(self) -> float:
        if not self.noise:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf


def evaluate(model: "PreTrainedModel | str | os.PathLike[str]", against: "PreTrainedModel | str | os.PathLike[str]",
             texts: Sequence[str] | torch.Tensor, *, tokenizer: Any = None, length: int = 512,
             layers: bool = True, progress: bool | None = None, trust_remote_code: bool = False) -> Evaluation:
    """Compares a quantised model with its float model: perplexity, cosine and KL divergence of logits, and each layer.

    Layers are compared on the activations that the float model has at their place, so that each row is that layer's own
    error. A model that smooth_ changed has other activations there: its layers compare with those of the smoothed float model.

    Args:
        model: a model of transformers with Octavo's layers, or a quantised folder of any dialect.
        against: the float model, or its folder.
        texts: texts, or token ids [rows, length].
        tokenizer: of the texts; None: the one in the float model's folder.
        length: tokens at a time; texts are joined and cut.
        layers: whether layers are compared one by one; False takes about half the time.
        progress: True or False; None shows a bar on a terminal.
        trust_remote_code: whether Python code of the folders may run, as from_pretrained takes it.

    Returns:
        Evaluation, which prints as a table.

    Raises:
        ValueError: nothing to compare, no tokenizer; and what from_pretrained raises.

    Example:
        >>> import copy, torch, transformers, octavo.torch
        >>> sizes = dict(vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
        >>> model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).eval()
        >>> ids = torch.arange(32)[None]
        >>> quantized = copy.deepcopy(model)
        >>> report = octavo.torch.quantize_(quantized, "int8-dynamic")
        >>> octavo.torch.evaluate(quantized, model, ids).cosine > 0.99
        True
    """
    need_transformers("evaluate")
    import transformers

    ours = model if isinstance(model, torch.nn.Module) else \
        from_pretrained(model, trust_remote_code=trust_remote_code)
    if isinstance(against, torch.nn.Module):
        theirs = against
    else:
        theirs = type(ours).from_pretrained(against, trust_remote_code=trust_remote_code)
        if tokenizer is None and not isinstance(texts, torch.Tensor):
            tokenizer = transformers.AutoTokenizer.from_pretrained(against, trust_remote_code=trust_remote_code)
    ours.eval()
    theirs.eval()
    windows = list(_windows(texts, tokenizer, min(length, getattr(theirs.config, "max_position_embeddings", length))))
    if not windows:
        raise ValueError("evaluate: texts must hold at least two tokens; got none")
    frozen = {name: layer for name, layer in ours.named_modules()
              if isinstance(layer, (FusedMoE, SeparateExperts)) or isinstance(layer, QuantizedLinear) and layer.frozen}
    if not frozen:
        raise ValueError(f"evaluate: model must have Octavo's layers; got {type(ours).__name__} without any")
    names = {name for name, _ in theirs.named_modules()}  # experts that are layers of their own stand inside one of its
    drifts = {name: _Sums() for name in frozen if layers and name in names}
    hooks = [theirs.get_submodule(name).register_forward_hook(_comparing(ours.get_submodule(name), sums))
             for name, sums in drifts.items()]
    try:
        found = _compare(ours, theirs, with_bar(windows, "octavo evaluate", progress))
    finally:
        for hook in hooks:
            hook.remove()
    found.layers = [LayerDrift(name, sums.cosine, sums.sqnr_db) for name, sums in drifts.items() if sums.signal]
    return found


@torch.no_grad()
def _compare(ours, theirs, windows):
    all_sums, increase, tokens = _Sums(), _Paired(), 0
    losses = {"float": 0.0, "ours": 0.0}
    kl = agree = 0.0
    head = theirs.get_output_embeddings()
    has_logits = head is not None
    for ids in windows:
        expected, got = theirs(ids)[0].float(), ours(ids)[0].float()
        all_sums.add(expected, got)
        tokens += ids.numel()
        if not has_logits:
            continue
        before, after = (logits[:, :-1].log_softmax(-1) for logits in (expected, got))
        target = ids[:, 1:, None]
        first, second = (-float(logs.gather(-1, target).double().sum()) for logs in (before, after))
        losses["float"] += first
        losses["ours"] += second
        increase.add(second - first, target.numel())
        kl += float((before.exp() * (before - after)).double().sum())
        agree += float((before.argmax(-1) == after.argmax(-1)).sum())
    predicted = increase.tokens
    if not predicted:
        return Evaluation(tokens, all_sums.cosine, None, None, None, None, None, None)
    return Evaluation(tokens, all_sums.cosine, math.exp(losses["ours"] / predicted), math.exp(losses["float"] / predicted),
                      increase.mean, increase.error, kl / predicted, agree / predicted)


def _comparing(layer, sums):
    def hook(module, arguments, output):
        sums.add(output, layer(*arguments))

    return hook


def _windows(texts, tokenizer, length) -> Iterator[torch.Tensor]:
    if isinstance(texts, torch.Tensor):
        for row in texts:
            yield from (part[None] for part in row.split(length) if len(part) > 1)
        return
    if isinstance(texts, str):
        raise ValueError("evaluate: texts must be a list of texts or token ids; got one string")
    if tokenizer is None:
        raise ValueError("evaluate: tokenizer must come with texts where the float model is no folder; got None")
    ids = [token for text in texts for token in tokenizer(text, add_special_tokens=False)["input_ids"]]
    if ids:
        yield from (part[None] for part in torch.tensor(ids).split(length) if len(part) > 1)
