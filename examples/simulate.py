"""A pruned model on machines that are not on the desk: cycles, where they go, and a timeline."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn

import spcomp


def main() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.LayerNorm(512), nn.Linear(512, 256)).eval()
    spcomp.sparsify(model, spcomp.Recipe(spcomp.NM(2, 4))).remove()
    x = torch.randn(64, 256)

    report = spcomp.simulate(model, "stc_2_4", x)  # planned for that machine: 2:4 where the weights hold it
    print(report)

    for machine in ("systolic_ws", "stc_2_4", "gpu_h200"):
        found = spcomp.simulate(model, machine, x)
        stalls = ", ".join(f"{cause} {cycles}" for cause, cycles in found.total()["stalls"].items()) or "none"
        print(f"{machine}: {found.cycles} cycles, {found.time_ms * 1000:.1f} us; stalls: {stalls}")

    wide = spcomp.simulate(model, "systolic_ws", x, timeline=True, **{"dram.channels": 4})
    with tempfile.TemporaryDirectory() as folder:
        trace = wide.save_trace(Path(folder) / "trace.json")
        print(f"four channels: {wide.cycles} cycles; a timeline of {trace.stat().st_size} bytes for ui.perfetto.dev")


if __name__ == "__main__":
    main()
