# SPDX-License-Identifier: Apache-2.0
"""Octavo in PyTorch: operators that autograd and torch.compile see, layers, and quantize_.

`octavo.torch.functional` has PyTorch's own signatures, `octavo.torch.nn` the layers; quantize_ swaps
the linear layers of any model, `OctavoConfig` while transformers loads it; from_pretrained and load_ read
quantised folders. Tensors are the CPU's, or CUDA devices' where the build has kernels and the machine a
driver; others are refused with a sentence.
"""

from typing import TYPE_CHECKING

from . import functional, nn
from ._calibrate import calibrate
from ._calibration import Calibration, LayerCalibration
from ._evaluate import Evaluation, LayerDrift, evaluate
from ._linear_modules import LeftLayer
from ._names import LEFT_IN_FLOAT
from ._quantize import quantize_
from ._report import LayerError, Report
from ._loading import from_pretrained, load_
from ._other_folders import watch_other_folders
from ._override import Override, OverrideCalls, override
from ._peft import watch_peft
from ._register import register
from ._requirement import need_transformers
from ._smooth import Smoothed, smooth_
from ._threads import use_torch_threads

if TYPE_CHECKING:
    from ._quantizer import OctavoConfig

use_torch_threads()
register()
watch_other_folders()
watch_peft()

__all__ = ["LEFT_IN_FLOAT", "Calibration", "Evaluation", "LayerCalibration", "LayerDrift", "LayerError", "LeftLayer",
           "OctavoConfig", "Override", "OverrideCalls", "Report", "Smoothed", "calibrate", "evaluate", "from_pretrained",
           "functional", "load_", "nn", "override", "quantize_", "smooth_"]


def __getattr__(name: str) -> object:
    if name == "OctavoConfig":  # needs transformers
        need_transformers("OctavoConfig")
        from ._quantizer import OctavoConfig

        return OctavoConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
