"""The code generators there are. A new one is a folder and a row here."""

from __future__ import annotations

from spcomp.codegen.baked_cpu.backend import BakedCpu
from spcomp.codegen.cusparselt.backend import CuSparseLt
from spcomp.codegen.mlir_cpu.backend import MlirCpu
from spcomp.codegen.reference.backend import Reference
from spcomp.codegen.triton.backend import Triton
from spcomp.kernel import Backend

BACKENDS: dict[str, Backend] = {
    "baked_cpu": BakedCpu(),
    "mlir_cpu": MlirCpu(),
    "cusparselt": CuSparseLt(),
    "triton": Triton(),
    "reference": Reference(),
}
"""By name, the preferred first."""
