# SPDX-License-Identifier: Apache-2.0
"""Octavo's kernels in vLLM's CPU backend: what the entry point `vllm.general_plugins` of this package calls.

vLLM chooses a layer's kernel from tables of classes, the first that takes the layer. Octavo's stand before all others,
zentorch's too. `OCTAVO_VLLM=0` leaves the tables as they are.
"""

import os

__all__ = ["register"]


def register() -> None:
    """Puts Octavo's kernels before vLLM's own on CPUs; vLLM calls it once in each of its processes.

    Nothing happens where `OCTAVO_VLLM` is 0, on another platform than a CPU, or when it was called before.

    Raises:
        ImportError: a vLLM whose tables Octavo does not know; the sentence names the version that it was tested with.

    Example:
        >>> from octavo.vllm import register  # doctest: +SKIP
        >>> register()  # doctest: +SKIP
    """
    if os.environ.get("OCTAVO_VLLM", "1") == "0":
        return
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    try:
        from . import _attention, _experts, _kernels, _norms, _weight_only
    except (ImportError, AttributeError) as error:
        import vllm

        raise ImportError(f"octavo.vllm: vllm.__version__ must be one that has the tables of 0.32 (OCTAVO_VLLM=0 turns Octavo "
                          f"off); got {vllm.__version__}: {error}") from error
    for part in (_kernels, _weight_only, _experts, _norms, _attention):
        part.register()
