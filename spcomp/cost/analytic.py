"""Predicted time of a kernel call from bytes, FLOPs and the host's measured peaks.

A roofline whose compute roof is per family: instruction throughput counted from the inner loop. A cycle does two
512-bit multiply-adds and two 64-byte loads (shared by operands and weight broadcasts); packing x and unpacking y stream
through the L2 cache. It ranks candidates; the tuner decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from spcomp.plan import KernelCall
from spcomp.targets.host import HostCpu, Peaks

LANES = 16
FMAS_A_CYCLE = 2.0
LOADS_A_CYCLE = 2.0
CALL_SECONDS = 3e-6
"""Python and dispatch overhead of one call, measured on this class of machine."""
BLOCK_CYCLES = 3.0
"""Loop step, index load and address of one stored block."""
CHAIN_CYCLES = 2.0
"""From one multiply-add of a row to the next in blocked CSR: one sum a tile, half of the wait hidden."""
ROW_CYCLES = 6.0
"""Loop entry, partial sum load and store of one row in one column block of blocked CSR."""
SLOT_CYCLES = 4.0
"""One slot of a windowed weight: its columns widened and tested, loop step."""
WINDOW_CYCLES = {32: 1.1, 64: 2.2, 128: 4.5, 256: 14.0}
"""Permutes, blends and the multiply-add of a slot and a token; the widest is a gather."""
BITMAP_CYCLES = (3.0, 0.6)
"""Sixteen elements of a bitmap weight spread out, and multiplied for each token."""
TRANSPOSE_CYCLES = 80.0
"""One 16 x 16 block packed or unpacked."""
BAKED_BYTES = 12.5
"""Code and weights of one nonzero that is baked into code, without the packed weight."""
BAKED_EFFICIENCY = 0.85
"""Share of its two loads a cycle that baked code reaches."""
SCAN_CYCLES = 4.0
"""Sixteen inputs looked through for those that are not zero."""
BYTE_CYCLES = 4.0
"""Sixteen elements of x measured, rounded and stored as bytes."""
FINISH_CYCLES = 8.0
"""Sixteen pixels of a convolution padded, or compressed and stored."""
DENSE_EFFICIENCY = 0.85
"""Share of peak that a prepacked dense library reaches at large M."""


def _is_baked(call: KernelCall) -> bool:
    return call.backend == "baked_cpu"


def _int8_cycles(call: KernelCall, m: int) -> float:
    """x to bytes, then four products a lane and instruction."""
    rounded = m * call.k / LANES * BYTE_CYCLES
    if call.encoding.name == "bitmap":
        return rounded + call.n * call.k / (4 * LANES) * (BITMAP_CYCLES[0] + BITMAP_CYCLES[1] * m)
    rows = int(call.encoding.parameters()["rows"])
    tiles = -(-m // LANES)
    size = min(dict(call.schedule)["tiles"], 1 << (tiles.bit_length() - 1))
    steps = call.stored / (4 * rows) * -(-tiles // size)
    moved = (call.n + call.k / 4) / LANES * tiles * TRANSPOSE_CYCLES
    return steps * (max(rows * size / FMAS_A_CYCLE, (rows + size + 1) / LOADS_A_CYCLE) + 1) + rounded + moved


@dataclass(frozen=True)
class CostModel:
    """Predicts seconds for one call on one thread of this host."""

    host: HostCpu
    peaks: Peaks

    def seconds(self, call: KernelCall, m: int, *, cold_bytes: int = 0) -> float:
        """Time of ``call`` at M = ``m``; ``cold_bytes``: weights of other layers that run in between."""
        compute = self._cycles(call, m) / (self.peaks.ghz * 1e9)
        weight_bytes = call.stored * BAKED_BYTES if _is_baked(call) else call.weight_nbytes
        if call.encoding.name == "transposed":
            weight_bytes *= 1.0 - call.zero_inputs
        bytes_moved = weight_bytes + call.activation_nbytes(m)
        far = cold_bytes + weight_bytes > self.host.l3_bytes
        bandwidth = self.peaks.stream_gb_s if far else self.peaks.cache_gb_s
        return max(compute, bytes_moved / (bandwidth * 1e9)) + CALL_SECONDS

    def _cycles(self, call: KernelCall, m: int) -> float:
        schedule = dict(call.schedule)
        if call.quantize:
            return _int8_cycles(call, m)
        if call.encoding.name == "dense" or not schedule:
            return call.dense_flops(m) / (2 * LANES * FMAS_A_CYCLE * DENSE_EFFICIENCY)
        if call.encoding.name == "window":
            token_cycles = WINDOW_CYCLES[int(call.encoding.parameters()["width"])]
            return call.stored / LANES * (SLOT_CYCLES + token_cycles * m)
        if call.encoding.name == "bitmap":
            return call.n * call.k / LANES * (BITMAP_CYCLES[0] + BITMAP_CYCLES[1] * m)
        if "tokens" in schedule:
            # a permute and a multiply-add a token share the two pipes; one value vector serves sixteen weights
            return call.stored / LANES * m
        if call.encoding.name == "transposed":
            return call.stored / LANES * (1.0 - call.zero_inputs) / LOADS_A_CYCLE * m + call.k / LANES * SCAN_CYCLES
        tiles = -(-m // LANES)
        moved = (call.n + call.k) / LANES * tiles * TRANSPOSE_CYCLES
        if _is_baked(call):
            rows = schedule["rows"]
            empty = (1 - min(1.0, call.nonzeros / max(1, call.n * call.k))) ** rows
            loads = call.nonzeros + call.n / rows * call.k * (1 - empty)
            if call.conv is not None:
                loads += call.n / rows * call.k * (1 - empty)  # unaligned: two lines each
                moved = call.n * tiles * FINISH_CYCLES + call.conv.inputs * m / call.conv.pixels / LANES * FINISH_CYCLES
            return loads / LOADS_A_CYCLE / BAKED_EFFICIENCY * tiles + moved
        size = min(schedule["tiles"], 1 << (tiles.bit_length() - 1))
        rows, cols = self._register_tile(call)
        fmas = rows * size / FMAS_A_CYCLE
        loads = (size + rows) / LOADS_A_CYCLE
        chain = CHAIN_CYCLES if call.encoding.name == "csr" else 0.0
        product = call.stored / rows * max(fmas, loads, chain) * tiles / size
        if call.encoding.name == "quad":
            product /= 2  # two columns an instruction
        if call.encoding.name in ("block", "quad", "split"):
            product += call.stored / (rows * cols) * BLOCK_CYCLES * tiles / size
        if call.encoding.name == "csr":
            blocks = -(-call.k // max(1, cols))
            product += call.n * blocks * (ROW_CYCLES + size) * tiles / size
        return product + moved

    @staticmethod
    def _register_tile(call: KernelCall) -> tuple[int, int]:
        parameters = call.encoding.parameters()
        match call.encoding.name:
            case "block" | "split":
                return int(parameters["rows"]), int(parameters["cols"])
            case "quad":
                return int(parameters["rows"]), 4
            case "csr":
                return 1, int(parameters["block_columns"])
            case _:
                return 1, 0
