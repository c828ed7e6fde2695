"""The pipelines: flat tuples of passes. A new pass is a file and a row here."""

from __future__ import annotations

from spcomp.passes.base import Pass
from spcomp.passes.canonicalize import Canonicalize
from spcomp.passes.collect import Collect
from spcomp.passes.eliminate_dead import EliminateDead
from spcomp.passes.find_tables import FindTables
from spcomp.passes.flatten import Flatten
from spcomp.passes.infer_sparsity import InferSparsity
from spcomp.passes.lower import Lower

ANALYSE: tuple[Pass, ...] = (
    Flatten(),  # every later pass sees one flat tuple of outputs
    Canonicalize(),  # products with constants are linear layers before anyone looks for those
    InferSparsity(),  # facts before anyone asks about them, after what is constant or unread has gone
    Collect(),  # needs facts; the graph is still undecomposed ATen here
    FindTables(),  # needs sites: embeddings of a layer's weight
)
SHRINK: tuple[Pass, ...] = (
    Flatten(),  # first, as above
    Canonicalize(),  # products with constants are linear layers, in-place ops functional: rules are for those
    EliminateDead(),  # before facts are measured: what is gone is no zero any more
)
"""Runs before ANALYSE, unless ``shrink=False``."""
LOWER: tuple[Pass, ...] = (
    Lower(),  # last: kernels have been chosen by now
)
