"""How fast Ramulator 2.1 and our DRAM part run the same trace: a section of :mod:`benchmarks.sim_validation`.

`--ramulator FOLDER` is the folder of its Python package, built (`pip install .`, or cmake in release mode). Its time is
that of its own loop, `Simulation.run`, after it has read the trace and made its parts; ours is that of making the
memory, mapping the addresses and running. Runs take turns in one process on one core; CPU seconds.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Benchmark, Target
from spcomp.sim.parts.dram import Dram, preset

TARGETS = {"dram_csr_times_ramulator": Target(5), "dram_csr_ramulator_cycles_error": Target(0, "<=")}
ROUNDS = 9


def against_ramulator(bench: Benchmark, folder: Path | None, addresses: NDArray[np.int64], quick: bool) -> None:
    """Requests a second over theirs, DDR4-2400R, reads of ``addresses`` alone: the median over rounds."""
    if folder is None or not (folder / "ramulator").is_dir():
        found = "no --ramulator FOLDER" if folder is None else f"no package named ramulator in {folder}"
        print(f"dram against Ramulator's speed: {found}")
        return
    sys.path.insert(0, str(folder))
    package = importlib.import_module("ramulator")
    ratios, theirs, cycles = [], [], []
    with tempfile.TemporaryDirectory() as name:
        trace = Path(name) / "trace"
        trace.write_text("".join(f"LD {address}\n" for address in addresses.tolist()))
        Dram(preset("DDR4_2400R")).feed(addresses)
        for _ in range(3 if quick else ROUNDS):
            simulation = ddr4(package, trace)
            start = time.process_time()
            simulation.run()
            half = time.process_time()
            memory = Dram(preset("DDR4_2400R"))
            memory.feed(addresses)
            end = time.process_time()
            ratios.append((half - start) / (end - half))
            theirs.append(half - start)
            wanted = simulation.stats["memory_system"]["controller"]["cycles"]
            cycles.append(abs(memory.result().accepted_cycles - wanted) / wanted)
    n = len(addresses)
    details = {"least": min(ratios), "most": max(ratios), "rounds": len(ratios)}
    bench.report("dram_csr_times_ramulator", statistics.median(ratios), f"{n} reads, its loop alone", details)
    bench.report("dram_csr_ramulator_mreq_s", n / statistics.median(theirs) / 1e6, "Ramulator 2.1, release build")
    bench.report("dram_csr_ramulator_cycles_error", max(cycles), "of these runs")


def ddr4(package: Any, trace: Path) -> Any:
    """Ramulator with one channel of DDR4-2400R, set up as for the reference table."""
    controller = package.controller.GenericDDR(
        dram=package.dram.DDR4(org_preset="DDR4_8Gb_x8", timing_preset="DDR4_2400R"),
        scheduler=package.scheduler.FRFCFS(),
        refresh_manager=package.refresh_manager.AllBank(),
        row_policy=package.row_policy.Open(),
        addr_mapper=package.addr_mapper.RoBaRaCoCh(),
    )
    memory = package.memory_system.GenericDRAM(
        clock_ratio=1, controllers=[controller], channel_mapper=package.channel_mapper.CacheLineInterleave()
    )
    return package.Simulation(package.frontend.LoadStoreTrace(clock_ratio=1, path=str(trace)), memory)
