"""Why a linear layer misses its target: instructions and ports, counted, and bytes, as measured beside it.

python -m benchmarks.limits [--linear FILE] [--conv FILE] [--keys KEY ...] [--quick] [--json FILE]

For every cell of :mod:`benchmarks.cpu_linear`'s result whose target is missed (or for ``--keys``), the kernel that won
is built again for one layer of the cell and executed step by step (:mod:`benchmarks.stepping`).

- ``KEY_ports_allow``: best dense's time over the cycles that the busiest port needs for these instructions, packing and
  unpacking included, at the rate of cycles measured in the cell's own race (hot: at the best rate of all)
- ``KEY_packed_ports_allow``: the same with the products alone; ``KEY_laid_...``: of the layers as one call
- ``KEY_bytes_allow``: over the time in which the cell's weights can be read and nothing else, from the same race
- ``KEY_in_turn``, ``KEY_packed_in_turn``: what both allow if a core reads, then multiplies, as it does while every read
  that it can have under way waits for memory
- ``KEY_reached``, ``KEY_packed_reached``: the share of the smaller limit that was reached

``convs_u90_cold_...``: the same for all convolutions of :mod:`benchmarks.cpu_conv` together; bytes are weights and
planes. A limit supposes that everything else costs nothing and that nothing waits for anything.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.cpu_conv import ZEROS, geometries, layers_of
from benchmarks.harness import Benchmark, arguments, device
from benchmarks.models import ResNet50
from benchmarks.operators import Layer, candidates
from benchmarks.stepping import Steps, steps, straight
from benchmarks.weights import Chain
from spcomp.codegen.baked_cpu.conv import BakedConv
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import TokensKernel

LINEAR = Path(__file__).parent / "results" / "cpu_linear.json"
CONV = LINEAR.with_name("cpu_conv.json")
WAYS = re.compile("_(packed|laid)$")
KEY = re.compile(r"m(?P<m>\d+)_(?:(?P<size>768|4096)_)?(?P<pattern>\w+?)_(?P<heat>hot|cold)")
SQUARE = ((768, 768),)
"""Stepping takes 25 us an instruction: layers of 4096 x 4096 are stepped through as one of 768 x 768 with as many
zeros, whose instructions a nonzero are the same but for loops' ends."""
FEW = ("1", "8")
"""Row counts at which layers are laid down."""
QUICK = 1


def missed(linear: dict[str, Any]) -> list[str]:
    """Cells with a missed target, in the order in which they were measured; packed or laid down makes the same cell."""
    wanted = {WAYS.sub("", key) for key, t in linear["targets"].items() if not t["met"]}
    return [key for key in linear["details"] if key in wanted and KEY.fullmatch(key)]


def counted(layer: Layer, name: str) -> dict[str, Steps]:
    """The instructions of one call of the layer's kernel of that name, and (``"_packed"``) of its products alone where
    it packs x. Baked code runs once a tile: one is enough."""
    named = [c for c in candidates(layer.site) if c.name == name]
    if not named:
        raise RuntimeError(f"no kernel {name} is offered here")
    kernel = layer.build(named[0])
    again = -(-layer.m // LANES) if kernel.call.backend == "baked_cpu" else 1
    x = layer.x[0][: layer.m // again]
    work: dict[str, Callable[[], object]] = {"": lambda: kernel(x)}
    if isinstance(kernel, TokensKernel):
        work["_packed"] = kernel.products(len(x))
    for run in 4 * list(work.values()):
        run()
    return {part: steps(run).times(again) for part, run in work.items()}


def report(bench: Benchmark, key: str, linear: dict[str, Any], chain: Chain) -> None:
    found, d = KEY.fullmatch(key), linear["details"][key]
    assert found is not None
    (layer,) = chain.at(int(found["m"]))
    each = layer.site.facts.nonzeros * layer.m / LANES
    scale = d["gflops_effective_w"] * d["ours_us"] * 1e3 / (2 * LANES * each)
    found_counts = counted(layer, d["chosen"])
    if found["m"] in FEW:
        found_counts["_laid"] = found_counts[""]
    for part, counts in found_counts.items():
        if f"{key}{part}" in linear["figures"]:
            report_counts(bench, f"{key}{part}", linear, counts, each, d["chosen"], scale)


def report_counts(
    bench: Benchmark, key: str, result: dict[str, Any], counts: Steps, each: float, kernel: str, scale: float
) -> None:
    """``counts`` of a layer with ``each`` times sixteen products; the cell is ``scale`` of them."""
    d, figure = result["details"][WAYS.sub("", key)], result["figures"][key]
    cycle_ns = d.get("cycle_ns") or min(v["cycle_ns"] for v in result["details"].values() if "cycle_ns" in v)
    port, cycles = counts.cycles()
    ports_us = cycles * scale * cycle_ns / 1e3
    allowed = d["dense_us"] / ports_us
    limits = [allowed, *([d["bytes_allow"]] if "bytes_allow" in d else [])]
    details = {
        "figure": figure,
        "target": result["targets"].get(key, {}).get("target", ""),
        "kernel": kernel,
        "busiest": port,
        "instructions": counts.instructions / each,
        "arithmetic": counts.arithmetic / each,
        "lane_moves": counts.lanes / each,
        "loads": counts.loads / each,
        "stores": counts.stores / each,
        "code_bytes": counts.code_bytes / each,
        "ports_us": ports_us,
    }
    shown = ("instructions", "loads", "arithmetic", "lane_moves")
    counted = ", ".join(f"{details[name]:.2f} {name.replace('_', ' ')}" for name in shown)
    what = f"{kernel}: for 16 products {counted}; {port}: {ports_us:.0f} us"
    bench.report(f"{key}_ports_allow", allowed, what, details)
    bench.report(f"{key}_in_turn", 1 / sum(1 / v for v in limits))
    bench.report(f"{key}_reached", figure / min(limits))
    if not WAYS.search(key) and "bytes_allow" in d:
        bench.report(f"{key}_bytes_allow", d["bytes_allow"], "reading the weights alone, in the cell's race")


def report_convs(bench: Benchmark, conv: dict[str, Any]) -> None:
    """The convolutions of ResNet-50 together, where they miss: their code is straight, so that it is counted without
    being executed; copies before and stores after it are left out."""
    found = geometries(ResNet50().eval())
    for zeros in ZEROS:
        key = f"convs_u{zeros}_cold"
        if conv["targets"].get(key, {}).get("met", True) and conv["targets"].get(f"{key}_laid", {}).get("met", True):
            continue
        layers = layers_of(found, zeros, {i: {} for i in range(len(found))}, torch.Generator().manual_seed(0))
        total, nonzeros = Steps(), 0.0
        for geometry, count in Counter(found).items():
            layer = layers[found.index(geometry)]
            kernel = layer.build(candidates(layer.site)[0])
            assert isinstance(kernel, BakedConv)
            assert kernel.baked.code is not None
            passes = count * kernel.tiles
            total += straight(kernel.baked.code.address, kernel.baked.code.nbytes).times(passes)
            nonzeros += layer.site.facts.nonzeros * passes
        for way in (key, f"{key}_laid"):
            if way in conv["figures"]:
                report_counts(bench, way, conv, total, nonzeros, "baked_cpu, all layers", 1.0)


def main() -> None:
    options = arguments(
        __doc__ or "",
        linear={"type": Path, "default": LINEAR, "help": "a result of benchmarks.cpu_linear"},
        conv={"type": Path, "default": CONV, "help": "a result of benchmarks.cpu_conv"},
        keys={"nargs": "*", "default": None, "help": "cells, such as m16_u90_cold"},
    )
    linear = json.loads(options.linear.read_text())
    conv = json.loads(options.conv.read_text()) if options.conv.exists() else {}
    if linear["device"] != device():
        raise SystemExit(
            f"{options.linear} is of {linear['device']}, this is {device()}: measure cpu_linear here first"
        )
    bench = Benchmark("limits", {})
    keys = missed(linear) if options.keys is None else options.keys
    chains: dict[str, Chain] = {}
    with torch.no_grad():
        for key in keys[:QUICK] if options.quick else keys:
            found = KEY.fullmatch(key)
            if found is None or key not in linear["details"]:
                raise SystemExit(f"{key} is no cell of {options.linear}; try {', '.join(list(linear['details'])[:3])}")
            pattern = found["pattern"]
            if pattern not in chains:
                chains[pattern] = Chain(SQUARE)
                chains[pattern].prune(pattern)
            report(bench, key, linear, chains[pattern])
            bench.save(options.json)
        if conv.get("device") == device() and options.keys is None and not options.quick:
            report_convs(bench, conv)
    bench.finish(options.json)


if __name__ == "__main__":
    main()
