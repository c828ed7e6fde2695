"""What a call asks of a core, counted from the generated inner loop of its kernel family: :func:`work_of`.

A core is taken to do two 512-bit vector operations, two loads and six instructions a cycle, permutes on one port only,
and to wait for a branch that it did not foresee. What is counted is what the functions under ``spcomp/codegen`` say;
widths and latencies are Golden Cove's (https://uops.info, https://www.agner.org/optimize/microarchitecture.pdf).
Numbers that are not counted but taken from measurements are in :data:`CALIBRATED`, each with where it came from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from spcomp.encodings.nm import Nm
from spcomp.encodings.spec import ITEM_BYTES
from spcomp.plan import KernelCall

LANES = 16
LINE_BYTES = 64
VECTORS, LOADS, ISSUE = 2.0, 2.0, 6.0
"""Vector operations, loads and instructions a cycle."""
ALL_LOADS = 3.0
"""Loads a cycle of which two are of whole lines: it shows where no chain holds the core up, with rows together."""
FMA_LATENCY = 4.0
PANEL_TILES = 8
"""Tiles that are packed together; the weight is read once for each panel."""
PANEL_ROWS = 32
"""Rows of x for which int8 kernels that read x row by row read the weight once."""
CHUNK_ROWS = 512
"""Rows of W whose sums wait while a panel passes."""
FEW_TILES = 2
"""Up to here baked code loads its next block instead of prefetching it."""
ROWS_TOGETHER = {1: 3, 2: 3}
"""Sorted rows summed up together, by tiles."""
SHORT = 16
"""Nonzeros of a row in a block, in the mean, below which rows are summed up one by one."""
SLICE_REST = 2.3
"""What rows have beyond their slice, in standard deviations (binomial lengths), for slices as large as their window."""
CONV_SUMS_BYTES = 256 * 1024
"""Sums of a panel of a convolution: how many tiles one reading of the code serves."""


class Constant(NamedTuple):
    """A calibrated constant, and the data that it came from. Families and shapes held out of all of them are listed in
    ``benchmarks/cost_cases.py``."""

    value: float
    source: str


CALIBRATED = {
    "slot": Constant(2.3, "instructions of a window's slot beside its tokens, cycles: window 32 at 1 and 8 rows"),
    "token": Constant(1.3, "copies and moves of a window's token, as a factor on its permutes: window 32 at 8 rows"),
    "bitmap": Constant(1.4, "vector operations of a bitmap's word and token: bitmap at 4 and 8 rows"),
    "control": Constant(0.3, "instructions that find the column of an N:M slot in tiles, cycles: nm 1:4 at 16 rows"),
    "ports": Constant(1.34, "cycles of a loop over tiles beyond its busiest port's, as a factor: csr, block, nm"),
    "slices": Constant(1.17, "the same of slices of rows, whose sums run side by side: sell at 16 rows"),
    "store": Constant(6.7, "transfers of a line of sums that is stored and evicted: block 8x1 at 95 % zeros"),
    "stream": Constant(0.65, "share of the probe's bandwidth that streams of weights reach: dense gemv, nm tokens"),
    "bytes": Constant(
        0.3, "loads that cross lines, and moves, of a token's permute of bytes, cycles: fours 64 at 128 rows"
    ),
    "pairs": Constant(0.5, "vdpbf16ps of 512 bits a cycle: quad bf16 of 1 and 4 rows"),
    "planes": Constant(3.75, "an element of x or y that oneDNN reorders for a convolution, cycles: dense conv"),
    "code": Constant(0.23, "share by which baked code falls short of two loads a cycle: baked csr, 128 rows and more"),
    "conv": Constant(26.0, "sixteen pixels of a convolution padded, or finished and stored, cycles: baked conv"),
}


def constant(name: str) -> float:
    return CALIBRATED[name].value


@dataclass(frozen=True)
class Work:
    """What one call does."""

    cycles: float
    """Of the inner loops, if every load hits the first-level cache and every branch is foreseen."""
    lines: float = 0.0
    """Cache lines of x and of sums that they take from the second-level cache."""
    surprises: float = 0.0
    """Mispredicted branches."""
    weight_bytes: float = 0.0
    """What is read of the weight at its first reading, code included."""
    passes: float = 1.0
    """Times that it is read from where it lies; further readings within a panel come from the second-level cache."""
    again: float = 0.0
    """Those further readings."""
    packed: float = 0.0
    """16 x 16 blocks of x that are packed into tiles."""
    unpacked: float = 0.0
    """The same of y."""
    waits: bool = False
    """Whether the weight is read first and multiplied then, so that the two do not overlap."""


def missed(footprint: float, cache: float) -> float:
    """Share of loads, spread over ``footprint`` bytes, that miss a cache of so many bytes; a quarter of it holds other
    things."""
    return max(0.0, 1.0 - 0.75 * cache / footprint) if footprint > 0 else 0.0


def surprise(mean: float, density: float) -> float:
    """Chance that the end of a loop of about ``mean`` turns, binomially spread, is not foreseen."""
    spread = math.sqrt(max(0.0, mean * (1.0 - density)))
    return spread / (1.0 + spread)


def rows_together(tiles: int, nonzeros: float) -> int:
    """Sorted rows to sum up together, if a row of a column block has so many nonzeros in the mean."""
    return ROWS_TOGETHER.get(tiles, 1) if nonzeros >= SHORT else 1


def chunk_rows(wanted: int, per: int, n: int) -> tuple[int, int]:
    """Rows of W whose sums are kept at a time, and their units of ``per`` rows: about ``wanted`` of n, whole units, and
    a multiple of sixteen rows, which are stored together."""
    multiple = LANES // math.gcd(LANES, per)
    rows = max(LANES, wanted // LANES * LANES, min(per * multiple, -(-n // LANES) * LANES))
    return rows, max(1, rows // (per * multiple)) * multiple


def portions(m: int, most: int) -> list[int]:
    """Tokens at a time, largest first, as the kernels for few rows take them."""
    found, left, size = [], m, most
    while left:
        while size > left:
            size //= 2
        found += [size] * (left // size)
        left %= size
    return found


def work_of(call: KernelCall, m: int, l1_bytes: int) -> Work:
    """Counts for a sparse call (one with a schedule) at ``m`` rows."""
    if call.backend == "baked_cpu":
        return _baked(call, m, l1_bytes)
    schedule = dict(call.schedule)
    match call.encoding.name:
        case "window":
            return _window(call, m)
        case "bitmap":
            return _bitmap(call, m)
        case "transposed":
            return _transposed(call, m)
        case "fours":
            return _fours(call, m)
        case "nm" if call.quantize:
            return _nm8(call, m)
        case "nm" if "tokens" in schedule:
            return _nm_tokens(call, m, schedule["tokens"])
        case _:
            return _tiles(call, m, schedule["tiles"], l1_bytes)


def _window(call: KernelCall, m: int) -> Work:
    """Slots of sixteen weights: columns widened, tested, then permutes, blends and a multiply-add a token."""
    width = int(call.encoding.parameters()["width"])
    permutes = width / 32
    token = permutes * constant("token") if width <= 128 else LANES / LOADS + 1 / VECTORS
    slots, parts = call.stored / LANES, portions(m, dict(call.schedule)["tokens"])
    chain = [FMA_LATENCY / 2 if t <= 2 else FMA_LATENCY for t in parts]
    cycles = sum(max(c, constant("slot") + token * t) for c, t in zip(chain, parts, strict=True))
    return Work(
        slots * cycles, surprises=call.n / LANES * len(parts), weight_bytes=call.weight_nbytes, again=len(parts) - 1.0
    )


def _fours(call: KernelCall, m: int) -> Work:
    """Slots of 64 bytes: permutes, a choice between them if the window is wide, and a VNNI instruction a token."""
    width = int(call.encoding.parameters()["width"])
    token = max(1.0, width / (4 * LANES)) * (1.0 + constant("bytes")) + (0.5 if width > 8 * LANES else 0.0)
    parts = portions(m, dict(call.schedule)["tokens"])
    slots = call.stored / (4 * LANES)
    cycles = slots * sum(max(2.5, 1.0 + token * t) for t in parts)
    if call.conv is not None:
        panels = math.ceil(m * call.n * 4 / CONV_SUMS_BYTES)
        return Work(cycles + call.n * m / LANES * 4.0, weight_bytes=call.weight_nbytes, again=panels - 1.0)
    return Work(cycles, weight_bytes=call.weight_nbytes, again=math.ceil(m / PANEL_ROWS) - 1.0)


def _nm8(call: KernelCall, m: int) -> Work:
    """Fours of slots: values put by row, fields taken out of the control word, then a permute and VNNI a token."""
    parts = portions(m, dict(call.schedule)["tokens"])
    cycles = sum(max(3.0, 2.0 + (1.0 + constant("bytes")) * t) for t in parts)
    again = math.ceil(m / PANEL_ROWS) - 1.0
    return Work(call.stored / (4 * LANES) * cycles, weight_bytes=call.weight_nbytes, again=again)


def _bitmap(call: KernelCall, m: int) -> Work:
    """Words of sixteen bits: an expanding load and a mask on one port, a multiply-add and a blend a token."""
    words, parts = call.n * call.k / (4 * LANES if call.quantize else LANES), portions(m, dict(call.schedule)["tokens"])
    cycles = sum(max(3.5, (3.0 + constant("bitmap") * t) / VECTORS) for t in parts)
    again = math.ceil(m / PANEL_ROWS) if call.quantize else len(parts)
    return Work(words * cycles, weight_bytes=call.weight_nbytes, again=again - 1.0)


def _nm_tokens(call: KernelCall, m: int, tokens: int) -> Work:
    """Slots of sixteen rows: the control word shifted, and a permute and a multiply-add a token."""
    slots, parts = call.stored / LANES, portions(m, tokens)
    few = int(call.encoding.parameters()["n"])
    cycles = sum(max(1.5 + t, (2.0 + t / few) / LOADS) for t in parts)
    return Work(slots * cycles, weight_bytes=call.weight_nbytes, again=len(parts) - 1.0)


def _transposed(call: KernelCall, m: int) -> Work:
    """The inputs looked through, and a multiply-add for each sixteen weights of those that are not zero."""
    live = 1.0 - call.zero_inputs
    cycles = call.stored / LANES * live / LOADS * m + call.k / LANES * 4.0
    return Work(cycles, weight_bytes=call.weight_nbytes * live)


def _tiles(call: KernelCall, m: int, most: int, l1_bytes: int) -> Work:
    """Blocked CSR, blocks, N:M and pairs: x packed, products of ``size`` tiles at a time, y unpacked."""
    tiles = -(-m // LANES)
    size = min(most, 1 << (tiles.bit_length() - 1))
    turns = tiles / size
    parameters = call.encoding.parameters()
    density = min(1.0, call.nonzeros / max(1, call.n * call.k))
    line = size * LINE_BYTES
    match call.encoding.name:
        case "csr" | "sorted_csr":
            columns = min(call.k, int(parameters["block_columns"]))
            visits = call.n * -(-call.k // max(1, columns)) * turns
            mean = call.stored * turns / max(1.0, visits)
            loads = max(size / VECTORS, (size + 2) / LOADS, (size + 5) / ISSUE)
            window = int(parameters.get("window", 0))
            together = rows_together(size, mean) if window else 1
            if together > 1:
                loads = max(size / VECTORS, size / LOADS, (size + 2) / ALL_LOADS, (size + 5) / ISSUE)
            cycles = visits * max(mean * loads + size, mean * FMA_LATENCY / 2 / together)
            lines = call.stored * turns * size * missed(columns * line, l1_bytes)
            lines += (1 + constant("store")) * visits * size + call.k * tiles * max(1.0, call.n / CHUNK_ROWS)
            surprises = visits / together * surprise(mean, density)
            if window:  # only where the next length begins
                surprises *= min(1.0, (1.0 + 4.0 * math.sqrt(mean * (1.0 - density))) / window)
        case "sell":
            high, columns = int(parameters["rows"]), min(call.k, int(parameters["block_columns"]))
            among = high / int(parameters["window"])
            visits = call.n * -(-call.k // max(1, columns)) * turns
            loads = max(size / VECTORS, (size + 1 + 1 / high) / LOADS, (size + 4) / ISSUE)
            spread = math.sqrt(columns * density * (1.0 - density))
            rest = min(call.stored * turns, SLICE_REST * spread * among * visits)
            cycles = call.stored * turns * loads + (2.0 * rest + visits) * size
            lines = call.stored * turns * size * missed(columns * line, l1_bytes)
            lines += (1 + constant("store")) * visits * size + call.k * tiles * max(1.0, call.n / CHUNK_ROWS)
            surprises = visits / high * min(1.0, (1.0 + 4.0 * spread) * among)
        case "block" | "quad" | "split":
            rows = int(parameters["rows"])
            cols = int(parameters.get("cols", 4))
            rest = _rest(call, rows, cols) if call.encoding.name == "split" else 0.0
            blocks = (call.stored - rest) / (rows * cols) * turns
            wide, latency, rate = _product(call, cols)
            loads = max(rows * size / rate, (rows + size) / LOADS, (2 * rows + rows * size) / ISSUE)
            cycles = blocks * max(wide * loads, wide * latency)
            lines = blocks * wide * size * missed(call.k * line, l1_bytes) + constant("store") * call.n * tiles
            lines += call.weight_nbytes / LINE_BYTES * turns
            surprises = call.n / rows * turns
            if rest:
                mean = rest / max(1, call.n)
                cycles += rest * turns * max(size / VECTORS, (size + 2) / LOADS, (size + 5) / ISSUE, FMA_LATENCY / 2)
                lines += rest * turns * size * missed(call.k * line, l1_bytes)
                surprises += call.n * turns * surprise(mean, mean / max(1, call.k))
        case _:
            word = 32 / (2 if int(parameters["m"]) <= 4 else 4) / int(parameters["n"]) * int(parameters["m"])
            reach = min(call.k, {8: 2, 4: 2, 2: 4, 1: 8}.get(size, 8) * word)
            visits = call.n * call.k / reach * turns
            loads = max(size / VECTORS, (size + 1) / LOADS, (size + 5) / ISSUE)
            slots = _slots(call)
            cycles = slots * turns * (loads + constant("control"))
            lines = slots * turns * size * missed(reach * line, l1_bytes)
            lines += (1 + constant("store")) * visits * size
            surprises = 0.0
            if call.encoding.name == "nm_rest":
                rest = call.stored - slots
                mean = rest / max(1, call.n)
                cycles += rest * turns * max(size / VECTORS, (size + 2) / LOADS, (size + 5) / ISSUE, FMA_LATENCY / 2)
                lines += rest * turns * size * missed(call.k * line, l1_bytes)
                surprises = call.n * turns * surprise(mean, mean / max(1, call.k))
    if call.encoding.name != "quad":
        cycles *= constant("slices" if call.encoding.name == "sell" else "ports")
    whole = -(-tiles // PANEL_TILES)
    return Work(
        cycles, lines, surprises, call.weight_nbytes, whole, max(0.0, turns - whole),
        packed=call.k / LANES * tiles, unpacked=call.n / LANES * tiles,
    )  # fmt: skip


def _rest(call: KernelCall, rows: int, cols: int) -> float:
    """Nonzeros outside of blocks, from what is stored and its bytes: an index is 4 bytes a block, and 2 a nonzero."""
    item = ITEM_BYTES[call.dtype]
    indices = call.weight_nbytes - 4 * (-(-call.n // rows) + call.n + 2) - call.stored * item
    if rows * cols <= 2:
        return float(call.stored)
    blocks = (2 * call.stored - indices) / (2 * rows * cols - 4)
    return max(0.0, call.stored - blocks * rows * cols)


def _slots(call: KernelCall) -> int:
    """Values that an N:M and a rest hold in their slots."""
    parameters = call.encoding.parameters()
    nm = Nm(int(parameters["n"]), int(parameters["m"]))
    bundles, words = nm.sizes((call.n, call.k))
    return bundles * words * nm.slots_per_word * LANES


def _product(call: KernelCall, cols: int) -> tuple[float, float, float]:
    """Of a block of ``cols`` columns: multiply-adds a row and tile, their latency, and how many a cycle does."""
    if call.encoding.name in ("block", "split"):
        return cols, FMA_LATENCY, VECTORS
    if call.quantize:
        return cols / 4, 5.0, VECTORS  # vpdpbusd
    return cols / 2, 6.0, constant("pairs")


def _baked(call: KernelCall, m: int, l1_bytes: int) -> Work:
    """A multiply-add with a broadcast operand a nonzero; x loaded once for a group of rows, from L2 once a block."""
    schedule = dict(call.schedule)
    rows, groups, columns = schedule["rows"], schedule["groups"], min(call.k, schedule["columns"])
    tiles = -(-m // LANES)
    density = min(1.0, call.nonzeros / max(1, call.n * call.k))
    groups_of_w = math.ceil(call.n / rows)
    loads = groups_of_w * call.k * (1 - (1 - density) ** rows)
    sums = call.n * -(-call.k // max(1, columns))
    read = call.k if call.conv is None else call.k / math.prod(call.conv.kernel)  # taps share the lines of a plane
    unaligned = 1.0 if call.conv is None or call.conv.kernel == (1, 1) else 2.0
    stored = constant("store") if call.conv is None else 1.0  # a convolution's panel of sums stays near
    lines = -(-groups_of_w // groups) * read * unaligned + (1 + stored) * sums
    weight_bytes = call.nonzeros * 12.0 + loads * 7.0
    passes, packed, unpacked, moved = -(-tiles // PANEL_TILES), call.k / LANES * tiles, call.n / LANES * tiles, 0.0
    if call.conv is not None:
        loads *= unaligned
        passes = max(1, math.ceil(tiles * min(call.n, 112) * LINE_BYTES / CONV_SUMS_BYTES))
        inputs = call.conv.inputs * m / call.conv.pixels / LANES
        moved, packed, unpacked = (call.n * tiles + inputs) * constant("conv"), 0.0, 0.0
    cycles = max((call.nonzeros + loads + sums) / LOADS, (call.nonzeros + loads + 2 * sums) * 1.1 / ISSUE)
    return Work(
        cycles * tiles * (1 + constant("code")) + moved, lines * tiles, 0.0, weight_bytes, passes,
        packed=packed, unpacked=unpacked, waits=tiles <= FEW_TILES,
    )  # fmt: skip


def rounded(call: KernelCall, m: int) -> float:
    """Cycles of x measured, rounded and stored as bytes."""
    if not call.quantize:
        return 0.0
    inputs = m * call.k if call.conv is None else m / call.conv.pixels * call.conv.inputs
    return inputs / LANES * 4.0
