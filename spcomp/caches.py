"""Caches of ``transformers`` as inputs and results: torch.export takes what pytree knows, and it is told when asked.

``DynamicCache``: keys and values of every layer become tensors, side by side. A compiled model leaves the cache that it
is given as it was, and returns another one; the model itself changes the one that it is given, and returns that.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache


def know_caches() -> None:
    """Register what ``transformers`` has for torch.export. Nothing where nobody has imported it: then no cache can be
    among the inputs or the results."""
    if "transformers" in sys.modules:
        register_dynamic_cache()


@cache
def register_dynamic_cache() -> bool:
    """Whether this version of ``transformers`` knows how to make a pytree of its cache. Registering twice does no
    harm."""
    try:
        support = importlib.import_module("transformers.integrations.executorch")
    except ImportError:
        return False
    register = getattr(support, "register_dynamic_cache_export_support", None)
    if register is None:
        return False
    register()
    return True
