"""What this host's core does a second, measured with small compiled loops and the dense libraries: :func:`probe`.

Each figure is the best of some runs of under a millisecond: other work on the machine only ever adds time. Everything
together takes under a second of a core, and one more where the loops have never been compiled here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F

from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.epilogue import IVEC
from spcomp.codegen.mlir_cpu.layout import pack_text, unpack_text
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function
from spcomp.codegen.mlir_cpu.window import PERMUTE
from spcomp.targets.host import host_cpu
from spcomp.targets.peaks import DENSE_ROWS, DENSE_SIDES, READ_SHARES, Peaks

CHAINS = 16
"""Sums in flight: more than the latency of a multiply-add times its rate."""
LOADS = 8
FEATURES, TOKENS = 512, 128
"""Sizes of the matrix that is packed and unpacked."""
CALLS = 50
ROWS = 4096
"""Rows of the loop with uneven ends."""
FORGOTTEN_ROWS = 32768
"""Rows in random order that no core remembers from one time to the next."""
REMEMBERED_ROWS = (4096, 8192, 16384)
"""Rows of which a core remembers some."""
TELLING = (0.1, 0.95)
"""Shares of forgotten rows between which they say how many are remembered."""
SURPRISES_A_ROW = 1.25
"""Of rows of one to eight turns in random order, which the compiler takes two at a time: every other row has a single
turn left, and none to four pairs (1, 2, 2, 2 and 1 of 8 rows) end unforeseen in six of eight rows at best."""


def fma_text() -> str:
    """``fma(y[16], n)``: n times sixteen independent multiply-adds."""
    f = Function("fma", (("y", "f32"),), ("n",))
    with f.loop(f.idx(0), "%n", carried=[(f.splat("0.0"), VEC)] * CHAINS) as loop:
        new = [f.fma(f.splat(1.0), f.splat(0.5), s) for s in loop.carried]
        f.yield_(new, [VEC] * CHAINS)
    for i, total in enumerate(loop.results):
        f.vstore(total, "%y", f.idx(i * LANES))
    return f.text()


def load_text() -> str:
    """``load(x, y[16], n, times)``: n floats (a multiple of 128) read and added up so many times."""
    f = Function("load", (("x", "f32"), ("y", "f32")), ("n", "times"))
    with f.loop(f.idx(0), "%times", carried=[(f.splat("0.0"), VEC)] * LOADS) as outer:
        sums = [(s, VEC) for s in outer.carried]
        with f.loop(f.idx(0), "%n", f.idx(LOADS * LANES), sums) as loop:
            new = []
            for i, total in enumerate(loop.carried):
                part = f.vload("%x", f.add(loop.index, f.idx(i * LANES)))
                new.append(f.val(f"arith.addf {total}, {part} : {VEC}", "s"))
            f.yield_(new, [VEC] * LOADS)
        f.yield_(loop.results, [VEC] * LOADS)
    for i, total in enumerate(outer.results):
        f.vstore(total, "%y", f.idx(i * LANES))
    return f.text()


def chase_text() -> str:
    """``chase(next, last, n)``: n loads, each of the place that the one before named."""
    f = Function("chase", (("next", "i64"), ("last", "i64")), ("n",))
    with f.loop(f.idx(0), "%n", carried=[(f.idx(0), "index")]) as loop:
        f.yield_([f.load_index("%next", loop.carried[0], "i64")], ["index"])
    found = f.val(f"arith.index_cast {loop.results[0]} : index to i64", "i")
    f.do(f"memref.store {found}, %last[{f.idx(0)}] : memref<?xi64>")
    return f.text()


def write_text() -> str:
    """``write(y, n, times)``: n floats (a multiple of 128) written so many times."""
    f = Function("write", (("y", "f32"),), ("n", "times"))
    with f.loop(f.idx(0), "%times"), f.loop(f.idx(0), "%n", f.idx(LOADS * LANES)) as loop:
        for i in range(LOADS):
            f.vstore(f.splat("1.0"), "%y", f.add(loop.index, f.idx(i * LANES)))
    return f.text()


def mixed_text() -> str:
    """``mixed(x, w, y, n, times)``: for each of n weights a broadcast, and eight multiply-adds with what x has next."""
    f = Function("mixed", (("x", "f32"), ("w", "f32"), ("y", "f32")), ("n", "times"))
    with f.loop(f.idx(0), "%times", carried=[(f.splat("0.0"), VEC)] * LOADS) as outer:
        sums = [(s, VEC) for s in outer.carried]
        with f.loop(f.idx(0), "%n", carried=sums) as loop:
            weight = f.broadcast(f.load("%w", loop.index, "f32"))
            at = f.mul(loop.index, f.idx(LOADS * LANES))
            xs = [f.vload("%x", f.add(at, f.idx(i * LANES))) for i in range(LOADS)]
            f.yield_([f.fma(weight, x, s) for x, s in zip(xs, loop.carried, strict=True)], [VEC] * LOADS)
        f.yield_(loop.results, [VEC] * LOADS)
    for i, total in enumerate(outer.results):
        f.vstore(total, "%y", f.idx(i * LANES))
    return f.text()


def permuted_text() -> str:
    """``permuted(x, columns, y, n, times)``: for each of n rows of columns, eight multiply-adds with what these pick
    out of two registers of x each."""
    f = Function("permuted", (("x", "f32"), ("columns", "i32"), ("y", "f32")), ("n", "times"))
    with f.loop(f.idx(0), "%times", carried=[(f.splat("0.0"), VEC)] * LOADS) as outer:
        with f.loop(f.idx(0), "%n", carried=[(s, VEC) for s in outer.carried]) as loop:
            columns = f.vload("%columns", f.mul(loop.index, f.idx(LANES)), IVEC, "i32")
            at = f.mul(loop.index, f.idx(2 * LANES))
            sums = []
            for i, total in enumerate(loop.carried):
                low, high = (f.vload("%x", f.add(at, f.idx((2 * i + j) * LANES))) for j in range(2))
                call = f'llvm.call_intrinsic "{PERMUTE}"({low}, {columns}, {high})'
                part = f.val(f"{call} : ({VEC}, {IVEC}, {VEC}) -> {VEC}", "p")
                sums.append(f.fma(f.splat("0.5"), part, total))
            f.yield_(sums, [VEC] * LOADS)
        f.yield_(loop.results, [VEC] * LOADS)
    for i, total in enumerate(outer.results):
        f.vstore(total, "%y", f.idx(i * LANES))
    return f.text()


def uneven_text() -> str:
    """``uneven(x, counts, y, n)``: a sum of ``counts[i]`` registers for each of n rows, as a row of CSR has."""
    f = Function("uneven", (("x", "f32"), ("counts", "i32"), ("y", "f32")), ("n",))
    with f.loop(f.idx(0), "%n", hint="row") as row:
        end = f.load_index("%counts", row.index, "i32")
        with f.loop(f.idx(0), end, carried=[(f.splat("0.0"), VEC)], hint="p") as p:
            part = f.vload("%x", f.mul(p.index, f.idx(LANES)))
            f.yield_([f.val(f"arith.addf {p.carried[0]}, {part} : {VEC}", "s")], [VEC])
        f.vstore(p.results[0], "%y", f.mul(row.index, f.idx(LANES)))
    return f.text()


def ends_text() -> str:
    """``ends(x, w, counts, y, n)``: for each of n rows, ``counts[i]`` weights times eight registers each, summed up."""
    f = Function("ends", (("x", "f32"), ("w", "f32"), ("counts", "i32"), ("y", "f32")), ("n",))
    with f.loop(f.idx(0), "%n", hint="row") as row:
        end = f.load_index("%counts", row.index, "i32")
        with f.loop(f.idx(0), end, carried=[(f.splat("0.0"), VEC)] * LOADS, hint="p") as p:
            weight = f.broadcast(f.load("%w", p.index, "f32"))
            at = f.mul(p.index, f.idx(LOADS * LANES))
            xs = [f.vload("%x", f.add(at, f.idx(i * LANES))) for i in range(LOADS)]
            f.yield_([f.fma(weight, x, s) for x, s in zip(xs, p.carried, strict=True)], [VEC] * LOADS)
        total = p.results[0]
        for part in p.results[1:]:
            total = f.val(f"arith.addf {total}, {part} : {VEC}", "s")
        f.vstore(total, "%y", f.idx(0))
    return f.text()


def probe() -> Peaks:
    """Measure :class:`Peaks` on one thread. Without a compiler for the loops, what torch alone can tell."""
    if jit.available() is not None:
        return _torch_peaks()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            return _probed()
    finally:
        torch.set_num_threads(threads)


def _torch_peaks(size: int = 512) -> Peaks:
    """Of a host without a compiler for our loops."""
    x, weight = torch.ones(size, size), torch.ones(size, size)
    flops = 2 * size**3 / best(_dense_run("onednn", x, weight), 0.05)
    found = []
    for nbytes in (max(1 << 28, 3 * host_cpu().l3_bytes // 2), max(1 << 18, (host_cpu().l3_bytes or 1 << 26) // 4)):
        memory = torch.ones(nbytes // 4)
        found.append(memory.nbytes / best(memory.sum, 0.05))
    return Peaks(flops / 1e9, found[0] / 1e9, max(found) / 1e9)


def _probed() -> Peaks:
    host = host_cpu()
    permutes = [("permuted", permuted_text(), 3, 2)] if host.target == "cpu-avx512" else []
    compiled = jit.compile_all(
        [
            ("fma", fma_text(), 1, 1), ("load", load_text(), 2, 2), ("uneven", uneven_text(), 3, 1),
            ("chase", chase_text(), 2, 1), ("write", write_text(), 1, 2), ("mixed", mixed_text(), 3, 2),
            ("ends", ends_text(), 4, 1), *permutes,
            ("pack", pack_text(FEATURES, FEATURES + 8), 2, 3),
            ("unpack", unpack_text(FEATURES, FEATURES + 8, True, "none"), 3, 5),
        ]
    )  # fmt: skip
    fma, load, uneven, chase, write, mixed, ends, *permuted, pack, unpack = (c.call for c in compiled)
    y = torch.zeros(LANES * max(CHAINS, ROWS))
    steps = 20_000
    gflops = 2 * steps * CHAINS * LANES / best(lambda: fma(y.data_ptr(), steps)) / 1e9
    call = best(lambda: [(y.new_empty(1, 8), fma(y.data_ptr(), 0)) for _ in range(CALLS)]) / CALLS

    def bandwidth(nbytes: int) -> float:
        x = torch.ones(nbytes // 512 * 128)
        times = max(1, (1 << 22) // x.nbytes)
        return times * x.nbytes / best(lambda: load(x.data_ptr(), y.data_ptr(), x.numel(), times)) / 1e9

    near, middle = bandwidth((host.l1d_bytes or 1 << 15) // 2), bandwidth((host.l2_bytes or 1 << 19) // 2)
    far = tuple(bandwidth(int(share * (host.l2_bytes or 1 << 20))) for share in READ_SHARES)
    l2, l1 = host.l2_bytes or 1 << 20, host.l1d_bytes or 1 << 15
    written, weights = torch.zeros(l2 // 1024 * 128), torch.zeros(l1 // 1024)
    writing = best(lambda: write(written.data_ptr(), written.numel(), 4)) / (4 * written.nbytes)
    small = torch.zeros(len(weights) * LOADS * LANES)
    mixing = best(lambda: mixed(small.data_ptr(), weights.data_ptr(), y.data_ptr(), len(weights), 64))
    blocks = FEATURES // LANES * TOKENS // LANES
    x, packed = torch.zeros(TOKENS, FEATURES), torch.zeros(TOKENS // LANES, FEATURES + 8, LANES)
    bias = torch.zeros(FEATURES)
    a, b, c = x.data_ptr(), packed.data_ptr(), bias.data_ptr()
    packing = best(lambda: pack(a, b, TOKENS, 0, TOKENS // LANES)) / blocks
    unpacking = best(lambda: unpack(b, c, a, TOKENS, 0, TOKENS // LANES, 0, FEATURES)) / blocks
    surprise, learned = _surprises(ends)
    permuting = _permuting(permuted[0], y) if permuted else 0.0
    return Peaks(
        gflops=gflops,
        stream_gb_s=far[-1],
        cache_gb_s=far[1],
        l1_gb_s=near,
        l2_gb_s=middle,
        far_gb_s=far,
        l2_latency_ns=1e9 * _latency(chase, l2 // 2),
        l3_latency_ns=1e9 * _latency(chase, 4 * l2),
        l2_write_gb_s=1e-9 / writing,
        mixed_loads_gb_s=64e-9 * 64 * len(weights) * (LOADS + 1) / mixing,
        permuted_loads_gb_s=1e-9 * permuting,
        pack_ns=1e9 * packing,
        unpack_ns=1e9 * unpacking,
        mispredict_ns=1e9 * _mispredicted(uneven, y),
        surprise_ns=1e9 * surprise,
        learned_ends=learned,
        call_us=1e6 * call,
        **_dense(call),
    )


def _latency(chase: Callable[..., object], nbytes: int) -> float:
    """Seconds of a load from a working set of so many bytes, its lines in random order."""
    order = np.random.default_rng(0).permutation(nbytes // 64)
    following = np.zeros(nbytes // 64 * 8, np.int64)
    following[order * 8] = np.roll(order, -1) * 8
    last = np.zeros(1, np.int64)
    steps = len(order)
    return best(lambda: chase(following.ctypes.data, last.ctypes.data, steps)) / steps


def _mispredicted(uneven: Callable[..., object], y: torch.Tensor) -> float:
    """Seconds of a loop end that comes as a surprise: rows of 1 to 8 registers in random order, and sorted."""
    x = torch.zeros(8 * LANES)
    counts = np.random.default_rng(0).integers(1, 9, ROWS).astype(np.int32)
    straight = np.sort(counts)
    times = [best(lambda c=c: uneven(x.data_ptr(), c.ctypes.data, y.data_ptr(), ROWS)) for c in (counts, straight)]  # type: ignore[misc]
    return max(0.0, times[0] - times[1]) / (ROWS * 7 / 8)


def _permuting(permuted: Callable[..., object], y: torch.Tensor) -> float:
    """Bytes a second that permutes and multiply-adds load."""
    turns, times = 64, 64
    x, columns = torch.zeros((turns + LOADS) * 2 * LANES), torch.zeros(turns * LANES, dtype=torch.int32)
    taken = best(lambda: permuted(x.data_ptr(), columns.data_ptr(), y.data_ptr(), turns, times))
    return 64 * (2 * LOADS + 1) * turns * times / taken


def _surprises(ends: Callable[..., object]) -> tuple[float, float]:
    """Seconds of an end that comes as a surprise with eight sums in flight, and how many ends are remembered."""
    x, w, y = torch.zeros(8 * LOADS * LANES), torch.zeros(8), torch.zeros(LANES)
    a, b, c = x.data_ptr(), w.data_ptr(), y.data_ptr()

    def lost(rows: int) -> float:
        counts = np.random.default_rng(0).integers(1, 9, rows).astype(np.int32)
        orders = (counts, np.sort(counts))
        mixed, straight = (best(lambda o=o: ends(a, b, o.ctypes.data, c, rows)) for o in orders)  # type: ignore[misc]
        return max(0.0, mixed - straight) / rows

    whole = lost(FORGOTTEN_ROWS)
    shares = {rows: lost(rows) / whole for rows in REMEMBERED_ROWS} if whole else {}
    return whole / SURPRISES_A_ROW, learned_ends(shares)


def learned_ends(shares: Mapping[int, float]) -> float:
    """Places of the table that would forget these shares of so many rows; 0 where none tells.

    One that gives up places at random forgets the share m of n rows that come again and again when
    ``1 - m = exp(-m * n / places)``.
    """
    found = [rows * m / -math.log(1 - m) for rows, m in shares.items() if TELLING[0] < m < TELLING[1]]
    return float(np.median(found)) if found else 0.0


def _dense(call: float) -> dict[str, tuple[float, ...]]:
    """GFLOP/s of the dense libraries by rows, with a weight that lies in L2 and with one that does not."""
    found: dict[str, tuple[float, ...]] = {}
    for name in ("mkl", "onednn"):
        for side, label in zip(DENSE_SIDES, ("near", "far"), strict=True):
            weight = torch.ones(side, side)
            figures = []
            for m in DENSE_ROWS:
                seconds = best(_dense_run(name, torch.ones(m, side), weight)) - call
                figures.append(2e-9 * m * side * side / max(seconds, 1e-7))
            found[f"{name}_{label}"] = tuple(figures)
    return found


def _dense_run(name: str, x: torch.Tensor, weight: torch.Tensor) -> Callable[[], object]:
    if name == "mkl" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return lambda: F.linear(x, weight)
    ready = torch.ops.mkldnn._reorder_linear_weight(weight, len(x))
    run = torch.ops.mkldnn._linear_pointwise.default
    return lambda: run(x, ready, None, "none", [], "")


def best(work: Callable[[], object], seconds: float = 5e-3, least: int = 4) -> float:
    """The least seconds, of this thread on a core, of ``work`` in as many runs as fit after one that does not count."""
    work()
    found, runs, end = float("inf"), 0, time.thread_time() + seconds
    while runs < least or time.thread_time() < end:
        start = time.thread_time()
        work()
        taken = time.thread_time() - start
        if taken > 0:  # a clock that leaves out what the host took away has been seen to stand still
            found = min(found, taken)
        runs += 1
    return found
