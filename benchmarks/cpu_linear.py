"""Linear layers, one by one: the fastest of our kernels against best dense, hot and cold; peers; the grid.

python -m benchmarks.cpu_linear [--quick] [--grid] [--only PARTS] [--threads N] [--json FILE]

Keys: ``m128_u90_cold`` is 128 rows, 90 % zeros anywhere, a cold chain of 24 distinct BERT-shaped layers;
``m1_4096_nm24_hot`` one row of a 4096 x 4096 layer in 2:4, again and again. Hot at 16 rows and more is 768 x 768.
``_packed``: the same with the products alone; targets from 16 rows on are for these, and given for both. Cold: one
and a half last-level caches of other memory are read before every walk, so that weights come from memory. ``_laid``: a
cold walk as one call, as compiled programs of few rows make it; targets of one and eight rows are given for both.
``grid_*``: what the planner chooses, against best dense.
"""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.grid import grid
from benchmarks.harness import Benchmark, Target, arguments, cold_flusher
from benchmarks.operators import race
from benchmarks.peers.layer_peers import race_peers
from benchmarks.weights import BERT_CHAIN, PATTERNS, Chain

FEW_ROWS = {"768": 24 * ((768, 768),), "4096": 3 * ((4096, 4096),)}
"""Chains for one and eight rows: 57 and 201 MB of dense weights."""


def _targets() -> dict[str, Target]:
    found = {
        "m128_u50_hot": 1.85, "m128_nm24_hot": 1.85, "m128_u80_hot": 4.3, "m128_u90_hot": 7.5, "m128_u95_hot": 12.5,
        "m128_u50_cold": 1.5, "m128_u80_cold": 4, "m128_u90_cold": 6.5, "m128_u95_cold": 10.5,
    }  # fmt: skip
    for size in ("b4x1", "b8x8"):
        found |= {f"m128_{size}_{zeros}_cold": goal for zeros, goal in ((50, 2), (75, 4), (90, 10))}
    for m, half in ((16, 1.2), (64, 1.5)):
        found |= {f"m{m}_{p}_cold": goal for p, goal in (("u50", half), ("u80", 3.8), ("u90", 6.5), ("u95", 10))}
    found |= {f"{key}_packed": goal for key, goal in found.items()}
    one = {"768": (3.8, 7.5, 2.8, 11, 18), "4096": (3.0, 6.2, 2.3, 8.5, 14)}
    for shape, goals in one.items():
        names = ("nm24", "nm14", "u50", "u90", "u95")
        found |= {f"m1_{shape}_{p}_cold": goal for p, goal in zip(names, goals, strict=True)}
        eight = {"nm24": 2.4, "nm14": 5, "u50": 1.9, "u75": 3.2, "u90": 6, "u95": 12}
        found |= {f"m8_{shape}_{p}_cold": goal for p, goal in eight.items()}
    found |= {f"{key}_laid": goal for key, goal in found.items() if key.startswith(("m1_", "m8_"))}
    return {key: Target(goal) for key, goal in found.items()}


TARGETS = _targets() | {"grid_worst": Target(0.97), "grid_cells": Target(150), "grid_below": Target(0, "<=")}
PEER_PATTERNS = ("u90", "nm24", "b8x8_75")
QUICK = {"768": (("u90",), (1,)), "bert": (("u90",), (128,))}


def cells(
    bench: Benchmark,
    chain: Chain,
    label: str,
    rows: tuple[int, ...],
    patterns: tuple[str, ...],
    *,
    quick: bool,
    save: Path | None = None,
) -> None:
    """Every pattern at every row count of one chain."""
    flush = cold_flusher()
    for pattern in patterns:
        keys = {m: f"m{m}_{label}_{pattern}" if label else f"m{m}_{pattern}" for m in rows}
        keys = {m: key for m, key in keys.items() if f"{key}_cold" not in bench.figures}
        if keys:
            chain.prune(pattern)
        for m, key in keys.items():
            layers = chain.at(m)
            hot = race(layers[:1], None, seconds=0.3 if quick else 0.5, packed=m >= 16)
            hot.report(bench, f"{key}_hot")
            cold = race(layers, flush, rounds=5 if quick else 9, near=hot.near, packed=m >= 16)
            nbytes = f"; {cold.dense_bytes / 1e6:.0f} MB dense, {cold.ours_bytes / 1e6:.0f} MB ours, from memory"
            cold.report(bench, f"{key}_cold", nbytes)
            if not quick and pattern in PEER_PATTERNS:
                race_peers(bench, f"{key}_hot", layers[0], hot)
            bench.save(save)


def main() -> None:
    options = arguments(
        __doc__ or "",
        grid={"action": "store_true", "help": "the grid too, even with --quick"},
        only={"default": "768,4096,bert,grid", "help": "parts, separated by commas"},
    )
    bench = Benchmark("cpu_linear", TARGETS, options.threads)
    if not options.quick:
        bench.resume(options.json)
    parts = set(options.only.split(","))
    chains = {label: (label, shapes, (1, 8)) for label, shapes in FEW_ROWS.items()}
    chains["bert"] = ("", BERT_CHAIN, (16, 64, 128))
    with torch.no_grad():
        for part, (label, shapes, rows) in chains.items():
            if part not in parts or (options.quick and part not in QUICK):
                continue
            patterns, rows = QUICK[part] if options.quick else (PATTERNS, rows)
            cells(bench, Chain(shapes), label, rows, patterns, quick=options.quick, save=options.json)
        if "grid" in parts and (options.grid or not options.quick):
            grid(bench, save=options.json)
    bench.finish(options.json)


if __name__ == "__main__":
    main()
