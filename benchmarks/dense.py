"""The dense rivals, built without spcomp's compiler; they live in the package, for the demo races them too."""

from spcomp.codegen.rivals import best_dense_inductor, plain_inductor

__all__ = ["best_dense_inductor", "plain_inductor"]
