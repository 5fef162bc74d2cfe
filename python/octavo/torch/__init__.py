# SPDX-License-Identifier: Apache-2.0
"""Octavo in PyTorch: operators that autograd and torch.compile see, layers, and quantize_.

`octavo.torch.functional` has PyTorch's own signatures, `octavo.torch.nn` the layers; quantize_ swaps
the linear layers of any model, `OctavoConfig` while transformers loads it; from_pretrained and load_ read
quantised folders. Tensors are the CPU's, or CUDA devices' where the build has kernels and the machine a
driver; others are refused with a sentence.
"""

from typing import TYPE_CHECKING

from . import functional, nn
from ._requirement import need_transformers
from ._when_imported import when_imported
from .calibration._calibrate import calibrate
from .calibration._evaluate import Evaluation, LayerDrift, evaluate
from .calibration._smooth import Smoothed, smooth_
from .models._calibration import Calibration, LayerCalibration
from .models._linear_modules import LeftLayer
from .models._names import LEFT_IN_FLOAT
from .models._other_folders import watch_other_folders
from .models._peft import watch_peft
from .models._quantize import quantize_
from .models._report import LayerError, Report
from .operators import _attention, _norms, _quantized_rows  # noqa: F401  torch.ops.octavo.attention, rms_norm, rms_norm_quantize
from .operators import _equal_products
from .operators._cache_key import tag_caches
from .operators._threads import choose_threads, use_threads
from .overriding._override import Override, OverrideCalls, override
from .transformers._attention import watch_attention
from .transformers._loading import from_pretrained, load_
from .transformers._register import octavo_config, register
from .transformers._saving import watch_transformers

if TYPE_CHECKING:
    from .transformers._kv_cache import Fp8Cache, Int8Cache
    from .transformers._quantizer import OctavoConfig

choose_threads()
tag_caches()
when_imported(_equal_products.POST_GRAD, _equal_products.register)
register()
when_imported("transformers.modeling_utils", watch_transformers)
when_imported("transformers.modeling_utils", watch_attention)
watch_other_folders()
watch_peft()

__all__ = ["LEFT_IN_FLOAT", "Calibration", "Evaluation", "Fp8Cache", "Int8Cache", "LayerCalibration", "LayerDrift", "LayerError",
           "LeftLayer", "OctavoConfig", "Override", "OverrideCalls", "Report", "Smoothed", "calibrate", "evaluate", "from_pretrained",
           "functional", "load_", "nn", "override", "quantize_", "smooth_", "use_threads"]


def __getattr__(name: str) -> object:
    if name == "OctavoConfig":  # needs transformers
        need_transformers("OctavoConfig")
        return octavo_config()
    if name in ("Fp8Cache", "Int8Cache"):
        need_transformers(name)
        from .transformers import _kv_cache

        return getattr(_kv_cache, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
