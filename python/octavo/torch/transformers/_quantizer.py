# SPDX-License-Identifier: Apache-2.0
"""Octavo as a quantiser of transformers' from_pretrained.

A float folder is quantised while it loads: each weight as it comes, so that one of them is in memory as floats. Of a
quantised folder transformers loads what is not quantised; the layers are read by octavo.open_checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from ... import _octavo
from ..._checkpoint import open_checkpoint
from ..layers._fuse import Fusing
from ..layers._quantized_linear import QuantizedLinear
from ..layers._schemes import SchemeArgument
from ..models._canonical import LAYERS
from ..models._head import head_of, head_scheme
from ..models._linear_modules import candidates, is_conv1d
from ..models._quantize import float_linear, linear_of, patterns_of, warn_of_left
from ..models._replace import set_module
from ..models._report import LayerError, Report, experts_error
from ..models._routed_experts import RoutedExperts
from ..models._scheme_choice import SchemeChoice, not_converted
from ..operators._library import device_refusal
from ._from_folder import FolderLayers, unexpected_patterns


class OctavoConfig(QuantizationConfigMixin):
    """What transformers' from_pretrained takes as quantization_config: the linear layers and experts of a model in 8 bits.

    Args:
        scheme: "int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8", "int8-weight-only", "fp8-weight-only" or "mxfp8", as
            octavo.torch.quantize_ takes it; or a mapping of patterns to schemes.
        ignore: layers to leave in float, as octavo.torch.quantize_ takes them.
        modules_to_not_convert: the same in transformers' words: a module's name, or its end, with all that is in it.
        head, fuse: the scheme of the output head, and whether layers that read the same activations become one product, as
            octavo.torch.quantize_ takes them.

    Raises:
        ValueError: an unknown scheme.

    Example:
        >>> import transformers
        >>> from octavo.torch import OctavoConfig
        >>> OctavoConfig({"re:.*mlp": "fp8-dynamic", "re:.*": "int8-dynamic"}, modules_to_not_convert=["lm_head"]).scheme
        {'re:.*mlp': 'fp8-dynamic', 're:.*': 'int8-dynamic'}
    """

    def __init__(self, scheme: SchemeArgument = "int8-dynamic", ignore: Sequence[str] | None = None,
                 modules_to_not_convert: Sequence[str] | None = None, head: str | None = None, fuse: bool = False) -> None:
        self.quant_method = "octavo"  # type: ignore[assignment]
        self.scheme = SchemeChoice("OctavoConfig", scheme).given
        self.ignore = None if ignore is None else list(ignore)
        self.modules_to_not_convert = None if modules_to_not_convert is None else list(modules_to_not_convert)
        self.head = head_scheme("OctavoConfig", head)
        self._declared: dict[str, Any] | None = None  # a quantised folder's own quantization_config
        self.fuse = fuse
        self._strict = False

    @classmethod
    def of_folder(cls, declared: dict[str, Any] | None, fuse: bool = False, strict: bool = False) -> "OctavoConfig":
        """That of a folder which is quantised already. fuse, strict: as octavo.torch.from_pretrained takes them."""
        config = cls()
        config.fuse, config._strict = fuse, strict
        config._declared = dict(declared or {})
        config.scheme = config._declared.get("octavo", {}).get("scheme", config.scheme)
        return config

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        if "scheme" in config_dict:
            config = cls(config_dict["scheme"], config_dict.get("ignore"), config_dict.get("modules_to_not_convert"),
                         config_dict.get("head"), config_dict.get("fuse", False))
        else:
            config = cls.of_folder(config_dict)
        return (config, kwargs) if return_unused_kwargs else config

    def to_dict(self) -> dict[str, Any]:
        if self._declared is not None:
            return dict(self._declared)
        return {"quant_method": self.quant_method, "scheme": self.scheme, "ignore": self.ignore,
                "modules_to_not_convert": self.modules_to_not_convert, "head": self.head, "fuse": self.fuse}


class OctavoQuantizer(HfQuantizer):
    """Puts Octavo's layers into a model that transformers loads. report: what quantising did, layer by layer."""

    requires_calibration = False
    quantization_config: OctavoConfig
    is_trainable = True  # adapters around frozen layers
    is_compileable = True

    def __init__(self, quantization_config: OctavoConfig, **options: Any) -> None:
        super().__init__(quantization_config, **options)
        self.report = Report()
        self._folder: FolderLayers | None = None
        self._fusing: Fusing | None = None
        self._pending: set[str] = set()  # parameters to quantise
        self._dtype = torch.float32
        self._device: torch.device | None = None  # that of the device map

    def validate_environment(self, *args: Any, device_map: Any = None, **options: Any) -> None:
        """transformers calls this with what the caller gave, and again with the map that it makes of "auto" and its like."""
        if isinstance(device_map, dict):
            self._device = one_device("OctavoConfig", device_map)

    @property
    def quantized_element_size(self) -> float:
        """Bytes of a weight's element, by which transformers finds room for the model."""
        return 1.0

    def is_serializable(self) -> bool:
        return True

    def _process_model_before_weight_loading(self, model: Any, dtype: torch.dtype | None = None,
                                             checkpoint_files: Sequence[str] | None = None, **options: Any) -> Any:
        if torch.distributed.is_available():
            from ._parallel_plan import extend_styles

            extend_styles()
        self._dtype = dtype or torch.get_default_dtype()
        if self.pre_quantized or self.quantization_config._declared is not None:
            self._await_folder(model, checkpoint_files)
        else:
            _check_float(checkpoint_files)
            self._await_floats(model)
        return model

    def _await_folder(self, model, files):
        if not files:
            raise ValueError("from_pretrained: a quantised model must come from files; got a state_dict")
        self._folder = FolderLayers("from_pretrained", _folder_of(files), model, self.quantization_config._strict)
        self._folder.make_room(model)
        known = model._keys_to_ignore_on_load_unexpected or set()
        model._keys_to_ignore_on_load_unexpected = set(known) | unexpected_patterns(self._folder.own_keys)

    def _await_floats(self, model):
        config = self.quantization_config
        choice = SchemeChoice("OctavoConfig", config.scheme)  # type: ignore[arg-type]
        patterns = patterns_of("OctavoConfig", model, config.ignore if config.modules_to_not_convert is None else
                               [*(config.ignore or ()), *not_converted(config.modules_to_not_convert)])
        tied = [key.rpartition(".")[0] for key in getattr(model, "all_tied_weights_keys", {})]
        heads = head_of("OctavoConfig", model, config.head)  # quantised once it is loaded: it may be tied
        linear, experts, left, schemes = candidates(model, choice, (*patterns, *tied, *heads), True)
        left = [row for row in left if row.name not in heads]
        if config.fuse:
            self._fusing = Fusing("OctavoConfig", model)
        for path, layer in linear:
            made = LAYERS[schemes[path]].from_float(float_linear(layer), False)
            made.stands_for_conv1d = is_conv1d(layer)
            self._swap(model, path, made, ("weight",))
        for path, layer in experts:
            self._swap(model, path, RoutedExperts.empty_like(layer, schemes[path]), ("gate_up_proj", "down_proj"))
        self.report = Report(left=left)
        warn_of_left("OctavoConfig", left)

    def _take_head(self, model):
        if self.pre_quantized or self.quantization_config._declared is not None:
            return
        for path, scheme in head_of("OctavoConfig", model, self.quantization_config.head).items():
            made, rows, _ = linear_of(path, model.get_submodule(path), scheme, True, None)
            self.report.extend(rows)
            set_module(model, path, made)

    def _swap(self, model, path, layer, parameters):
        set_module(model, path, layer)
        self._pending.update(f"{path}.{name}" for name in parameters)

    def param_needs_quantization(self, model: Any, param_name: str, **options: Any) -> bool:
        return param_name in self._pending

    def get_quantize_ops(self) -> Any:
        return QuantizeOnLoad(self)

    def take(self, model: torch.nn.Module, name: str, weight: torch.Tensor) -> None:
        """Quantises a parameter that was read, in its layer."""
        path, _, parameter = name.rpartition(".")
        layer = model.get_submodule(path)
        if isinstance(layer, RoutedExperts):
            self.report.append(experts_error(name, layer.take(parameter, weight), layer._scheme))
        else:
            assert isinstance(layer, QuantizedLinear)
            weight = weight.T.contiguous() if layer.stands_for_conv1d else weight
            quantized = _octavo.quantize_weight(weight, layer.scheme)
            error = _octavo.compare_weight(path, weight, quantized)
            self.report.append(LayerError(path, tuple(weight.shape), error.sqnr_db, error.max_error, error.saturated, layer.scheme))
            layer.weight = torch.nn.Parameter(weight, False)
            layer.freeze(quantized)
            fused = self._fusing.add(path, quantized) if self._fusing is not None and layer.place is None else ()
            for each in (path, *fused):  # transformers makes up what has no such mark
                setattr(model.get_submodule(each).weight, "_is_hf_initialized", True)
        self._pending.discard(name)

    def _process_model_after_weight_loading(self, model: Any, **options: Any) -> Any:
        if self._folder is not None:
            self._folder.fill(model, self._dtype)
            if self.quantization_config.fuse:
                self._folder.fuse(model)
            self._folder = None
        for name in sorted(self._pending):  # not in the files: transformers has told, and made some up
            self.take(model, name, model.get_parameter(name).detach())
        if self._fusing is not None:
            self._fusing.end()
            self._fusing = None
        self._take_head(model)
        for path, layer in list(model.named_modules()):
            if isinstance(layer, RoutedExperts):
                layer.take_biases()
            elif isinstance(layer, QuantizedLinear) and layer.place is not None:
                set_module(model, path, layer.place.make(layer))
        if self._device is not None and self._device.type != "cpu":
            model.to(self._device)  # layers of a folder were packed on the host
        return model


def _folder_of(files: Sequence[str]) -> str:
    """The folder of a model's files, or the one file that is no whole folder."""
    first = Path(files[0])
    return str(first.parent if len(files) > 1 or first.name == "model.safetensors" else first)


def _check_float(files: Sequence[str] | None) -> None:
    """ValueError where files that nothing declares hold quantised layers: their codes are no weights to quantise."""
    if not files or Path(files[0]).suffix != ".safetensors":
        return
    if layers := open_checkpoint(_folder_of(files)).quantized_layers():
        raise ValueError(f"OctavoConfig: folder must have float weights (octavo.torch.from_pretrained without a scheme loads a quantised "
                         f"one); got {_folder_of(files)}, where {layers[0]!r} has codes")


def one_device(operation: str, device_map: dict[str, Any]) -> torch.device:
    """The device that a map puts the whole model on. Raises: NotImplementedError (several, the disk, one without kernels)."""
    names = {str(device) for device in device_map.values()}
    try:
        devices = {torch.device(device) for device in device_map.values()}
    except (RuntimeError, TypeError):  # "disk", or a number where there is no accelerator
        devices = set()
    if len(devices) != 1:
        raise NotImplementedError(f"{operation}: device_map must put the model on one device; got {', '.join(sorted(names))}")
    if why := device_refusal(*devices):
        raise NotImplementedError(f"{operation}: device_map's device {why}")
    return devices.pop()


class QuantizeOnLoad(ConversionOps):
    """What transformers calls for each weight while it loads: hands it to its layer, and leaves nothing to be set."""

    def __init__(self, quantizer: "OctavoQuantizer") -> None:
        self._quantizer = quantizer

    @torch.no_grad()
    def convert(self, input_dict: dict[str, Any], model: torch.nn.Module | None = None,  # type: ignore[override]
                missing_keys: set[str] | None = None, **options: Any) -> dict[str, torch.Tensor]:
        for name in list(input_dict):
            value = input_dict.pop(name)
            assert model is not None
            self._quantizer.take(model, name, value[0] if isinstance(value, list) else value)
            if missing_keys is not None:
                missing_keys.discard(name)
        return {}
