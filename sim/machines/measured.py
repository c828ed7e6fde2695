"""`cached_cpu` as a host was measured: :func:`measured_machine`. All it takes comes from loops of their own."""

from __future__ import annotations

from spcomp.errors import InputError
from spcomp.sim.machines.load import load_machine, override
from spcomp.sim.machines.schema import Machine, SourceOf
from spcomp.targets.host import HostCpu
from spcomp.targets.peaks import Peaks

LOOPS = "pointer chases, reads and writes of working sets within each level; spcomp/codegen/probe.py"

MIXED = 8
"""Multiply-adds of a turn of the probe's loop that mixes them with loads, each with a load of its own, and one more."""


def port_overlap(peaks: Peaks, fma_units: int, loads_per_cycle: float, *, permutes: bool = False) -> float:
    """The exponent by which loads and multiply-adds take, side by side, what the probe's mixed loop takes.

    ``(multiply-adds ** p + loads ** p) ** (1 / p)`` cycles, by bisection; from 1 to 16. With ``permutes``, that of the
    loop in which each multiply-add has a permute before it, two loads, and all share one more.
    """
    vectors, loads = (2 * MIXED, 2 * MIXED + 1) if permutes else (MIXED, MIXED + 1)
    apart = vectors / fma_units, loads / loads_per_cycle
    together = 64 * loads * peaks.ghz / (peaks.permuted_loads_gb_s if permutes else peaks.mixed_loads_gb_s)
    low, high = 1.0, 16.0
    for _ in range(40):
        middle = (low + high) / 2
        took = sum(v**middle for v in apart) ** (1 / middle)
        low, high = (middle, high) if took > together else (low, middle)
    return round(low, 2)


def measured_machine(peaks: Peaks, host: HostCpu, base: str = "cached_cpu") -> Machine:
    """The preset with the clock, rates, latencies and sizes of a host.

    Bandwidths are in bytes a cycle of the clock that ``peaks.gflops`` implies; an L3 that many hosts share is taken as
    large as the host says, in sets of a power of two.

    Raises:
        InputError: peaks without the latencies, as of a host without a compiler.
    """
    asked = "make a machine of this host"
    if not (peaks.l2_latency_ns and peaks.l3_latency_ns and peaks.l2_write_gb_s and peaks.mixed_loads_gb_s):
        raise InputError(
            asked, "its latencies were not measured", "a host with the compiler for our loops (torch-mlir)"
        )
    ghz = peaks.ghz
    preset = load_machine(base)
    assert preset.cache is not None
    near = preset.cache.levels[0].latency_cycles
    middle = max(1, round(peaks.l2_latency_ns * ghz) - near)
    far = max(1, round(peaks.l3_latency_ns * ghz) - near - middle)
    settings: dict[str, object] = {
        "clock_mhz": round(1000 * ghz, 1),
        "cache.levels[1].latency_cycles": middle,
        "cache.levels[2].latency_cycles": far,
        "cache.levels[1].bytes_per_cycle": round(peaks.l2_gb_s / ghz, 2),
        "cache.levels[1].written_bytes_per_cycle": round(peaks.l2_write_gb_s / ghz, 2),
        "cache.levels[2].bytes_per_cycle": round(peaks.cache_gb_s / ghz, 2),
        "cache.memory_bytes_per_cycle": round(peaks.stream_gb_s / ghz, 2),
    }
    for k, size in enumerate((host.l1d_bytes, host.l2_bytes, host.l3_bytes)):
        if size:
            way = preset.cache.levels[k].ways * preset.cache.levels[k].line_bytes
            settings[f"cache.levels[{k}].size_bytes"] = way << max(0, (size // way).bit_length() - 1)
    surprise = peaks.surprise_ns or peaks.mispredict_ns
    for name in preset.cores:
        loads = max(1, min(128, round(peaks.l1_gb_s / ghz)))
        settings[f"cores.{name}.load_bytes_per_cycle"] = loads
        settings[f"cores.{name}.port_overlap"] = port_overlap(peaks, preset.cores[name].fma_units, loads / 64)
        if peaks.permuted_loads_gb_s:
            overlap = port_overlap(peaks, preset.cores[name].fma_units, loads / 64, permutes=True)
            settings[f"cores.{name}.permute_overlap"] = overlap
        settings[f"cores.{name}.mispredict_cycles"] = max(1, round(peaks.cycles(surprise, 17)))
        if peaks.learned_ends:
            settings[f"cores.{name}.learned_ends"] = max(1, round(peaks.learned_ends))
        settings[f"cores.{name}.call_ns"] = round(1000 * peaks.call_us, 1)
    made = override(preset, settings)
    sources = [*made.sources, SourceOf(keys=list(settings), source=LOOPS, kind="measured")]
    return made.model_copy(update={"sources": sources})
