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
from spcomp.passes.permute_channels import PermuteChannels
from spcomp.passes.permute_hidden import PermuteHidden
from spcomp.passes.split_experts import SplitExperts

CANONICAL: tuple[Pass, ...] = (
    Flatten(),  # first: every later pass sees one flat tuple of outputs
    Canonicalize(),  # products with constants are linear layers, in-place ops functional: rules are for those
    SplitExperts(),  # stacks of weights are constants by now, whatever views they are read through
)
SHRINK: tuple[Pass, ...] = (
    *CANONICAL,
    EliminateDead(),  # before facts are measured: what is gone is no zero any more
    PermuteHidden(),  # of what is left: dead features would be in the way
    PermuteChannels(),  # likewise, where convolutions are encoded as blocks
)
COLLECT: tuple[Pass, ...] = (
    InferSparsity(),  # facts before anyone asks about them
    Collect(),  # needs facts; the graph is still undecomposed ATen here
    FindTables(),  # needs sites: embeddings of a layer's weight
)
ANALYSE: tuple[Pass, ...] = (*CANONICAL, *COLLECT)
"""Without shrinking: for whoever wants to know about the model as it is."""
LOWER: tuple[Pass, ...] = (
    Lower(),  # last: kernels have been chosen by now
)
