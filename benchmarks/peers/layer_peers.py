"""One hot layer: torch's own sparse products and ONNX Runtime beside our fastest kernel."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from benchmarks.harness import Benchmark, Timing, interleave
from benchmarks.operators import Layer, Result
from benchmarks.peers import onnx_model

ROUNDS = 3
_runtimes: dict[tuple[int, int, int], Timing] = {}


def sparse_products(layer: Layer, pattern: str) -> dict[str, Callable[[], object]]:
    """``weight @ x.T`` with a weight in torch's CSR, and for blocks in its BSR."""
    weight, x = layer.site.weight, layer.x[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls both a beta feature
        csr = weight.to_sparse_csr()
        found: dict[str, Callable[[], object]] = {"torch_csr": lambda: csr @ x.t()}
        if "_b8x8_" in pattern:
            bsr = weight.to_sparse_bsr((8, 8))
            found["torch_bsr"] = lambda: bsr @ x.t()
    return found


def race_peers(bench: Benchmark, key: str, layer: Layer, ours: Result) -> None:
    """Report ``<key>_over_<peer>``: their time over ours, medians of hot runs right after our race."""
    work = sparse_products(layer, key)
    times = {}
    for name, run in work.items():
        try:
            times[name] = interleave({name: run}, rounds=ROUNDS, warmup=1, hot=True)[name]
        except RuntimeError as error:
            bench.notes[f"{key}_over_{name}"] = f"absent: {str(error).splitlines()[0][:100]}"
    if onnx_model.unavailable() is None:
        shape = (layer.m, layer.site.n, layer.site.k)
        if shape not in _runtimes:  # it is dense: zeros do not change its time
            model = onnx_model.linear_model([layer.site.weight], layer.m)
            run = onnx_model.runtime(model, layer.x[0], torch.get_num_threads())
            _runtimes[shape] = interleave({"ort": run}, rounds=15, warmup=2, hot=True)["ort"]
        times["onnxruntime"] = _runtimes[shape]
    else:
        bench.notes["onnxruntime"] = str(onnx_model.unavailable())
    for name, timing in times.items():
        bench.report(f"{key}_over_{name}", timing.median / ours.ours.median, f"{1e6 * timing.median:.0f} us")
