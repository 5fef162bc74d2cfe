# SPDX-License-Identifier: Apache-2.0
"""Operations from a safetensors file, or a model's folder, to another."""

import os
import warnings
from typing import Mapping, Sequence

from . import _octavo
from ._octavo import QuantizeEstimate, QuantizeReport
from ._typing import DTypeLike, Experts, Format, Progress, Scheme


def warn_of(sentences: Sequence[str]) -> None:
    """Warns the caller of the public function that calls this."""
    for sentence in sentences:
        warnings.warn(sentence, stacklevel=3)


def _lists(outlier_columns: Mapping[str, Sequence[int]] | None) -> dict[str, list[int]]:
    return {layer: [int(column) for column in columns] for layer, columns in (outlier_columns or {}).items()}


def _path(path: str | os.PathLike[str] | None) -> str:
    return "" if path is None else os.fspath(path)


def _calibration(path: str | os.PathLike[str] | None, smoothquant: bool | float, gptq: bool, damp: float | None,
                 static_scales: bool) -> tuple[str, bool, float | None, bool, float | None, bool]:
    """The arguments of a calibration as the binding takes them."""
    alpha = None if isinstance(smoothquant, bool) else float(smoothquant)
    return (_path(path), alpha is not None or bool(smoothquant), alpha, gptq, damp,
            static_scales)


def quantize_file(input: str | os.PathLike[str], output: str | os.PathLike[str],
                  scheme: Scheme = "int8-dynamic", ignore: Sequence[str] = (),
                  progress: Progress | None = None, *,
                  outlier_columns: Mapping[str, Sequence[int]] | None = None,
                  threshold: float | None = None, whole_columns: bool = False, threads: int | None = None,
                  requantize: bool = False, calibration: str | os.PathLike[str] | None = None,
                  smoothquant: bool | float = False, gptq: bool = False, damp: float | None = None,
                  static_scales: bool = False, layout: str | os.PathLike[str] | None = None, guess: bool = False,
                  experts: Experts = "as-loaded", head: bool = False, rotation: int = 0) -> QuantizeReport:
    """Quantises every linear layer's weight [N, K] of a safetensors file, or of a model's folder
    (Hugging Face's layout, sharded or not), and copies the rest.

    A folder goes into a new or empty one, whose config.json says how it is quantised. A run that was
    ended is taken up by the next one with the same arguments.

    Args:
        input: a safetensors file, a model's folder, or a GGUF file of Llama, Qwen2 or Qwen3, which is taken for
            the folder that it was made of unless output ends in ".safetensors".
        output: where the file or the folder goes. A name that ends in ".gguf" is a file of llama.cpp's of these
            models: matrices become blocks of type Q8_0, and no other argument but threads and progress counts.
        scheme: "int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8", "int8-weight-only", "fp8-weight-only" or "mxfp8".
        ignore: layers to leave alone: names, or regular expressions as "re:..."; each has to match one.
        progress: called as progress(done_bytes, total_bytes) of the input, now and then, in the
            caller's thread. What it raises, and Ctrl-C, leave the output untouched.
        outlier_columns: "llm-int8" only, by layer (without ".weight"): columns of its activations
            that stay in float whatever they hold, ascending in [0, K).
        threshold: "llm-int8" only: columns with an element of that magnitude stay in float, too; 0:
            only those listed. None: 6, bitsandbytes' default.
        whole_columns: "llm-int8" only: all of an outlier column stays out of row statistics.
        threads: None: as many as octavo.machine.get_num_threads() says. The output does not depend on it.
        requantize: quantise layers that are quantised already, too, by the values that they stand for.
        calibration: a file of octavo.torch.Calibration.save. "llm-int8" takes its outlier columns; the
            following arguments need it.
        smoothquant: SmoothQuant (Xiao et al., arXiv 2211.10438): norms are divided by the file's
            factors and the columns of weights behind them multiplied. A number in 0..1 is alpha, by which
            factors are made anew.
        gptq: int8 codes by GPTQ (Frantar et al., arXiv 2210.17323) from the file's Hessians
            (calibrate(..., hessian=True)). Needs LAPACK (apt-get install libopenblas0) and 8 K^2 bytes.
        damp: GPTQ: what is added to a Hessian's diagonal, in units of its mean. None: 0.01.
        static_scales: "int8-dynamic" and "fp8-dynamic": one static scale for a layer's activations.
        layout: a JSON file that says what the modules of a model of your own are (docs/checkpoints.md).
            None: the table of transformers' classes says it, by config.json.
        guess: take tensors of a model whose class is not known by their names, where these leave open
            whether they are linear layers. Without it the model is refused.
        experts: of a class that keeps them in one tensor, of which transformers loads no 8-bit form:
            "float" (they stay), "separate" (a layer for each: Octavo and vLLM load the folder) or
            "as-loaded" (they are refused).
        head: quantise the output head, too, of a class that the table of architectures knows. A head that shares
            the embeddings' weight becomes a tensor of its own, and config.json says so. Not "fp8-block" and "llm-int8".
        rotation: "int8-dynamic", of a single file, which becomes one of ComfyUI's (`convrot`): layers are rotated in blocks of 16, 64
            or 256 columns, as their activations will be. Layers whose columns the block does not divide are not. 0: none.

    Returns:
        octavo.types.QuantizeReport.

    Raises:
        ValueError: an unknown scheme, a layer to be ignored that is not there, outlier columns of a layer that is not
            quantised, a checkpoint that is quantised already, a calibration of another model.
        FileNotFoundError: a file is not there.
        OSError: a file cannot be read or written.
        MemoryError: less is free than GPTQ takes.
        NotImplementedError: a GGUF file of another model, or with blocks that are not read.
        RuntimeError: a malformed file, a weight that is not finite, no LAPACK.

    Warns:
        UserWarning: of what other programs will not understand and of what stayed in float.

    Example:
        >>> import numpy, octavo
        >>> weight = octavo.checkpoints.quantize_weight(numpy.eye(32, dtype=numpy.float32))
        >>> octavo.checkpoints.write_checkpoint("int8.safetensors", {"fc": weight})
        >>> report = octavo.checkpoints.dequantize_file("int8.safetensors", "float.safetensors", "float32")
        >>> report = octavo.quantize_file("float.safetensors", "again.safetensors", "fp8-dynamic")
        >>> octavo.open_checkpoint("again.safetensors").weight("fc")
        Weight(fp8-dynamic, float8_e4m3fn [32, 32])
    """
    report = _octavo.quantize_file(os.fspath(input), os.fspath(output), scheme, list(ignore), progress,
                                   outlier_columns=_lists(outlier_columns), threshold=threshold,
                                   whole_columns=whole_columns, threads=threads or 0, requantize=requantize,
                                   calibration=_calibration(calibration, smoothquant, gptq, damp, static_scales),
                                   model=(_path(layout), guess, experts, head, rotation))
    warn_of(report.warnings)
    return report


def estimate_quantization(input: str | os.PathLike[str], scheme: Scheme = "int8-dynamic",
                          ignore: Sequence[str] = (), *,
                          outlier_columns: Mapping[str, Sequence[int]] | None = None,
                          threshold: float | None = None, whole_columns: bool = False, threads: int | None = None,
                          requantize: bool = False, calibration: str | os.PathLike[str] | None = None,
                          smoothquant: bool | float = False, gptq: bool = False, damp: float | None = None,
                          static_scales: bool = False, layout: str | os.PathLike[str] | None = None,
                          guess: bool = False, experts: Experts = "as-loaded", head: bool = False,
                          rotation: int = 0) -> QuantizeEstimate:
    """Plans quantize_file and writes nothing.

    Args:
        input, scheme, ignore, outlier_columns, threshold, whole_columns, threads, requantize: as in octavo.quantize_file.
        calibration, smoothquant, gptq, damp, static_scales, layout, guess, experts, head, rotation: as there.

    Returns:
        octavo.types.QuantizeEstimate: sizes and memory in bytes, time in seconds, and the warnings, of which it does not warn.

    Raises:
        ValueError: and others, as quantize_file before it writes.

    Example:
        >>> import octavo, torch
        >>> from safetensors.torch import save_file
        >>> save_file({"model.layers.0.mlp.up_proj.weight": torch.ones(64, 64)}, "plan.safetensors")
        >>> octavo.checkpoints.estimate_quantization("plan.safetensors", guess=True).layers
        1
    """
    return _octavo.estimate_quantization(os.fspath(input), scheme, list(ignore),
                                         outlier_columns=_lists(outlier_columns), threshold=threshold,
                                         whole_columns=whole_columns, threads=threads or 0, requantize=requantize,
                                         calibration=_calibration(calibration, smoothquant, gptq, damp, static_scales),
                                         model=(_path(layout), guess, experts, head, rotation))


def convert_file(input: str | os.PathLike[str], output: str | os.PathLike[str], format: Format,
                 progress: Progress | None = None, *, threads: int | None = None,
                 layout: str | os.PathLike[str] | None = None) -> QuantizeReport:
    """Writes the quantised layers of a file or folder, of any dialect, in the terms of a format.

    Codes [N, K] and scales that the format can say stay as they are, bit for bit.

    Args:
        input, output: as quantize_file's.
        format: "compressed-tensors" (int8 and fp8 of every granularity), "fp8" (vLLM's: one scale for
            each layer), "fp8-block" (blocks of 128 x 128) or "bitsandbytes" (int8 rows).
        progress, threads, layout: as quantize_file's.

    Returns:
        octavo.types.QuantizeReport.

    Raises:
        ValueError: an unknown format, no quantised layer.
        FileNotFoundError: a file is not there.
        OSError: a file cannot be read or written.
        RuntimeError: a file is malformed.

    Warns:
        UserWarning: of how many layers lose what.

    Example:
        >>> import numpy, octavo
        >>> weight = octavo.checkpoints.quantize_weight(numpy.eye(32, dtype=numpy.float32))
        >>> octavo.checkpoints.write_checkpoint("int8.safetensors", {"fc": weight})
        >>> report = octavo.checkpoints.convert_file("int8.safetensors", "bnb.safetensors", "bitsandbytes")
        >>> sorted(octavo.open_checkpoint("bnb.safetensors"))
        ['fc.SCB', 'fc.weight', 'fc.weight_format']
    """
    report = _octavo.convert_file(os.fspath(input), os.fspath(output), format, progress, threads=threads or 0,
                                  layout=_path(layout))
    warn_of(report.warnings)
    return report


def dequantize_file(input: str | os.PathLike[str], output: str | os.PathLike[str],
                    dtype: DTypeLike | None = None, progress: Progress | None = None, *,
                    threads: int | None = None, layout: str | os.PathLike[str] | None = None) -> QuantizeReport:
    """Writes every quantised layer of a file or folder, of any dialect, as the float matrix [N, K] that
    it stands for, and copies the rest.

    Args:
        input, output: as quantize_file's.
        dtype: float32, bfloat16 or float16. None: what config.json says that the model had, else
            bfloat16.
        progress, threads, layout: as quantize_file's.

    Returns:
        octavo.types.QuantizeReport.

    Raises:
        ValueError: another type, no quantised layer.
        FileNotFoundError: a file is not there.
        OSError: a file cannot be read or written.
        RuntimeError: a file is malformed.

    Example:
        >>> import numpy, octavo
        >>> weight = octavo.checkpoints.quantize_weight(numpy.eye(32, dtype=numpy.float32))
        >>> octavo.checkpoints.write_checkpoint("int8.safetensors", {"fc": weight})
        >>> report = octavo.checkpoints.dequantize_file("int8.safetensors", "float.safetensors", "float32")
        >>> octavo.open_checkpoint("float.safetensors")["fc.weight"].dtype
        dtype('float32')
    """
    report = _octavo.dequantize_file(os.fspath(input), os.fspath(output), dtype, progress, threads=threads or 0,
                                     layout=_path(layout))
    warn_of(report.warnings)
    return report
