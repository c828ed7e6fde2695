"""The pipelines: flat tuples of passes. A new pass is a file and a row here."""

from __future__ import annotations

from spcomp.passes.base import Pass
from spcomp.passes.collect import Collect
from spcomp.passes.find_tables import FindTables
from spcomp.passes.flatten import Flatten
from spcomp.passes.infer_sparsity import InferSparsity
from spcomp.passes.lower import Lower

ANALYSE: tuple[Pass, ...] = (
    Flatten(),  # first: every later pass sees one flat tuple of outputs
    InferSparsity(),  # facts before anyone asks about them
    Collect(),  # needs facts; the graph is still undecomposed ATen here
    FindTables(),  # needs sites: embeddings of a layer's weight
)
LOWER: tuple[Pass, ...] = (
    Lower(),  # last: kernels have been chosen by now
)
