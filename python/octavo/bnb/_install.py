# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes' name for octavo.bnb, in this process."""

import sys
import warnings
from types import ModuleType

_NAME, _OWN = "bitsandbytes", __name__.rpartition(".")[0]
_BOUND_AS = ("bnb", "bitsandbytes")  # what programs call it
_LOOKS_FOR_IT = "transformers.integrations.bitsandbytes"


def install() -> None:
    """Gives the name bitsandbytes to octavo.bnb: from now on `import bitsandbytes` means it, in this process.

    Call it first: transformers, PEFT and others look for bitsandbytes when they are imported. bitsandbytes itself need not be
    installed. Its optimisers stay where `bitsandbytes.optim` was imported before. A second call changes nothing.

    Warns:
        UserWarning: of modules that have looked for bitsandbytes already, and keep what they found.

    Example:
        >>> import octavo.bnb
        >>> octavo.bnb.install()
        >>> import bitsandbytes
        >>> bitsandbytes.nn.Linear8bitLt.__module__
        'octavo.bnb.nn._linear'
    """
    ours = sys.modules[_OWN]
    early = sorted(name for name, module in list(sys.modules.items()) if _keeps_another(name, module, ours))
    for name in [name for name in sys.modules if name == _OWN or name.startswith(f"{_OWN}.")]:
        sys.modules[_NAME + name.removeprefix(_OWN)] = sys.modules[name]
    if early:
        warnings.warn("install: bitsandbytes' name must be given before modules look for it; got modules that have, and keep what they "
                      f"found: {', '.join(early)}", stacklevel=2)


def _keeps_another(name: str, module: ModuleType | None, ours: ModuleType) -> bool:
    if module is None or name == "__main__" or name.partition(".")[0] == _NAME:
        return False
    bound = [vars(module)[word] for word in _BOUND_AS if isinstance(vars(module).get(word), ModuleType)]
    if name == _LOOKS_FOR_IT and not bound:
        return True
    return any(found is not ours and found.__name__ == _NAME for found in bound)
