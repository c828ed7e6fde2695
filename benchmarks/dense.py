"""The dense rivals, built without spcomp's compiler; they live in the package, for the demo races them too."""

from spcomp.profiling.rivals import PackedLinear, onednn_inductor, plain_inductor

__all__ = ["PackedLinear", "onednn_inductor", "plain_inductor"]
