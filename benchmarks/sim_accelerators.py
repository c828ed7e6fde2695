"""Sections of ``benchmarks.sim_validation``: sparse accelerators against Sparseloop, a GPU against an A100."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Benchmark, Target
from spcomp.encodings.pack import pack
from spcomp.encodings.table import parse_encoding
from spcomp.sim.energy import charge
from spcomp.sim.machines import load_machine
from spcomp.sim.parts.gpu import matmul
from spcomp.sim.parts.mac_array import Gemm, expected, simulate
from spcomp.sim.parts.row_stationary import ConvLayer, row_stationary_cycles

ARRAYS = ("dense_tc", "stc_2_4", "stc_flexible", "dual_compressed", "dual_side_sparse")
TARGETS = {
    "sparse_cycles_error": Target(0.02, "<="),
    "sparse_energy_error": Target(0.05, "<="),
    "sparse_unseen_cycles_error": Target(0.02, "<="),
    "sparse_unseen_energy_error": Target(0.05, "<="),
    "eyeriss_cycles_error": Target(0.02, "<="),
    "gpu_a100_median_error": Target(0.12, "<="),
    "gpu_a100_worst_error": Target(0.30, "<="),
}
Row = tuple[Gemm, float, float, tuple[tuple[int, float], ...]]
TABLE: tuple[Row, ...] = (
    (Gemm(128, 1152, 1024), 0.5, 0.44,
     ((147456, 276.58), (73728, 173.42), (73728, 173.42), (73728, 123.29), (51197, 191.65))),
    (Gemm(128, 1152, 1024), 0.25, 0.44,
     ((147456, 276.58), (73728, 173.42), (66707, 137.79), (42271, 87.66), (37083, 120.88))),
)  # fmt: skip
UNSEEN: tuple[Row, ...] = (
    (Gemm(512, 1024, 256), 0.5, 0.27,
     ((131072, 247.59), (65536, 132.61), (65536, 132.61), (65536, 95.44), (35482, 110.93))),
    (Gemm(512, 128, 1024), 0.5, 0.56,
     ((65536, 119.51), (32768, 79.80), (32768, 79.80), (32768, 74.23), (30226, 120.93))),
    (Gemm(512, 256, 1024), 0.5, 0.82,
     ((131072, 205.45), (65536, 126.03), (65536, 126.03), (65536, 122.02), (78640, 281.79))),
    (Gemm(512, 1024, 256), 0.25, 0.27,
     ((131072, 247.59), (65536, 132.61), (59295, 76.08), (32768, 56.98), (28699, 64.85))),
    (Gemm(512, 128, 1024), 0.25, 0.56,
     ((65536, 119.51), (32768, 79.80), (29648, 63.96), (21784, 58.39), (17980, 81.52))),
    (Gemm(512, 256, 1024), 0.25, 0.82,
     ((131072, 205.45), (65536, 126.03), (59295, 94.36), (56549, 90.35), (44257, 168.97))),
)  # fmt: skip
"""(outputs, inputs, tokens), weight density, input density, (cycles, uJ) of each of ARRAYS.

Sparseloop, MICRO 2022 artifact, figure 15: one layer, from which the rules were made, and three more. Of those only
that a dual-side tile may lie on either side was learned.
"""
EYERISS = (
    (ConvLayer(96, 3, 11, 11, 56, 56, 4), 1.0, 2838528),
    (ConvLayer(256, 48, 5, 5, 28, 28, 4), 0.6, 4128768),
    (ConvLayer(384, 256, 3, 3, 13, 13, 4), 0.275, 1916929),
    (ConvLayer(384, 192, 3, 3, 13, 13, 4), 0.207, 1437697),
    (ConvLayer(256, 192, 3, 3, 13, 13, 4), 0.23, 958464),
)
"""AlexNet conv 1 to 5, input density, cycles: the same artifact, table 7."""
FITTED = {(8192, 64, 64): 0.0296, (8192, 1024, 1024): 0.0927, (16384, 12288, 12288): 17.0307}
A100 = {
    (64, 12288, 12288): 0.1900, (128, 12288, 12288): 0.2003, (256, 12288, 12288): 0.3185, (512, 12288, 12288): 0.6118,
    (1024, 12288, 12288): 1.1990, (2048, 12288, 12288): 2.3586, (4096, 12288, 12288): 4.4576,
    (8192, 12288, 12288): 8.6216, (32768, 12288, 12288): 35.4407, (8192, 128, 128): 0.0310, (8192, 256, 256): 0.0356,
    (8192, 512, 512): 0.0471, (8192, 2048, 2048): 0.2818, (8192, 4096, 4096): 1.0210, (8192, 8192, 8192): 3.9614,
    (8192, 16384, 16384): 15.0087, (8192, 32768, 32768): 61.1346,
}  # fmt: skip
"""M K N: ms in float16 on an A100 80 GB (LLMCompass, ISCA 2024, figure 5); two parameters were fitted to FITTED."""


def sparse(bench: Benchmark, options: Any) -> None:
    """Expected densities: cycles and energy of five arrays; then the same densities at real positions."""
    for name, rows, note in (("sparse", TABLE, "figure 15"), ("sparse_unseen", UNSEEN, "other layers of figure 15")):
        errors = [_expected_row(row) for row in rows]
        bench.report(f"{name}_cycles_error", max(max(e[0]) for e in errors), f"worst, Sparseloop {note}")
        bench.report(f"{name}_energy_error", max(max(e[1]) for e in errors), f"worst, Sparseloop {note}")
    worst = 0.0
    for layer, density, cycles in EYERISS:
        ours = row_stationary_cycles(layer, density)
        print(f"  eyeriss {layer.filters}x{layer.channels}x{layer.filter_rows}  {ours:>8} theirs {cycles:>8}")
        worst = max(worst, abs(ours / cycles - 1))
    bench.report("eyeriss_cycles_error", worst, "worst of AlexNet conv 1 to 5")
    real_masks(bench, options)


def _expected_row(row: Row) -> tuple[list[float], list[float]]:
    gemm, weight, inputs, figures = row
    cycles_errors, energy_errors = [], []
    for name, (cycles, energy) in zip(ARRAYS, figures, strict=True):
        machine = load_machine(name)
        assert machine.mac_array is not None
        found = expected(machine.mac_array, gemm, weight, inputs)
        ours = charge(found.counts, machine.energy_tables()).total_uj
        cycles_errors.append(abs(found.cycles / cycles - 1))
        energy_errors.append(abs(ours / energy - 1))
        size = f"{gemm.outputs}x{gemm.inputs}x{gemm.tokens} {weight}"
        figures_ = f"cycles {found.cycles:>7} theirs {cycles:>7}  uJ {ours:7.2f} theirs {energy:7.2f}"
        print(f"  {name:<17}{size:<19}{figures_}  {ours / energy - 1:+.1%}")
    return cycles_errors, energy_errors


def real_masks(bench: Benchmark, options: Any) -> None:
    """Random positions of the same densities, int8, on the layer of the reference page."""
    gemm, _, inputs, _ = TABLE[0]
    g = np.random.default_rng(0)
    x = g.integers(1, 100, (gemm.tokens, gemm.inputs)) * (g.random((gemm.tokens, gemm.inputs)) < inputs)
    for density in (0.5, 0.25):
        weight = g.integers(1, 100, (gemm.outputs, gemm.inputs)) * (g.random((gemm.outputs, gemm.inputs)) < density)
        for name in ("stc_flexible", "dual_compressed", "dual_side_sparse"):
            config, bitmap = load_machine(name).mac_array, parse_encoding("bitmap")
            assert config is not None
            packed = pack(torch.from_numpy(weight.astype(np.int8)), bitmap)
            real = simulate(config, bitmap, packed.arrays(), x, gemm.outputs, "int8")
            guess = expected(config, gemm, density, inputs)
            note = f"real {real.cycles} cycles ({real.compute_cycles} of arithmetic, {real.imbalance_cycles} idle), "
            note += f"expected {guess.cycles} ({guess.compute_cycles})"
            bench.report(f"real_over_expected_{name}_{density:g}", real.cycles / guess.cycles, note)


def gpu(bench: Benchmark, options: Any) -> None:
    """float16 products on an A100 that nothing was fitted to."""
    machine = load_machine("gpu_a100")
    errors = []
    for size, ms in {**FITTED, **A100}.items():
        if options.quick and max(size) > 16384:
            continue
        found = matmul(machine, *size)
        error = found.time_ms / ms - 1
        told = "fitted" if size in FITTED else f"{found.tile[0]}x{found.tile[1]} k/{found.split_k} {found.bound}"
        print(f"  {' '.join(map(str, size)):<20} ms {found.time_ms:8.4f} theirs {ms:8.4f} {error:+.1%}  {told}")
        if size not in FITTED:
            errors.append(abs(error))
    bench.report("gpu_a100_median_error", statistics.median(errors), f"{len(errors)} products never fitted")
    bench.report("gpu_a100_worst_error", max(errors), f"{len(errors)} products never fitted")
