"""What a systolic array did on the layers of a topology, as rows and as SCALE-Sim's compute report."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from spcomp.sim.parts.systolic import SystolicArray
from spcomp.sim.topology import Layer

COLUMNS = ("LayerName", "Total Cycles", "Stall Cycles", "Overall Util %", "Mapping Efficiency %", "Compute Util %")


@dataclass(frozen=True)
class LayerReport:
    """One layer. Utilisations are shares of the array's multiplier cycles, 0 to 1."""

    name: str
    m: int
    k: int
    n: int
    macs: int
    folds: int
    total_cycles: int
    stall_cycles: int
    overall_util: float
    """Multiplications over all cycles, stalls included."""
    mapping_efficiency: float
    compute_util: float
    """Without stalls."""

    def row(self) -> dict[str, int | float | str]:
        return asdict(self)


def compute_report(array: SystolicArray, layer: Layer, stall_cycles: int = 0) -> LayerReport:
    """A layer in closed form; ``stall_cycles`` is what a memory adds."""
    m, k, n = layer.m, layer.k, layer.n
    total = array.cycles(m, k, n) + stall_cycles
    return LayerReport(
        layer.name, m, k, n, layer.macs, array.fold_count(m, k, n), total, stall_cycles,
        layer.macs / (total * array.rows * array.cols), array.mapping_efficiency(m, k, n),
        array.compute_utilization(m, k, n),
    )  # fmt: skip


def csv_report(rows: Sequence[LayerReport]) -> str:
    """One line a layer, utilisations in percent."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for r in rows:
        shares = (100 * r.overall_util, 100 * r.mapping_efficiency, 100 * r.compute_util)
        writer.writerow([r.name, r.total_cycles, r.stall_cycles, *(f"{share:.4f}" for share in shares)])
    return text.getvalue()
