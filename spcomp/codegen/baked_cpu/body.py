"""`baked_body`: a packed weight as machine code, in the shape that the token kernel takes for its middle function."""

from __future__ import annotations

import ctypes
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from spcomp.codegen.baked_cpu.alike import MOST_COLUMNS, alike
from spcomp.codegen.baked_cpu.driver import ENTRY_BYTES, ENTRY_WORDS, driver
from spcomp.codegen.baked_cpu.emit import MIDDLE, Blocks, emit, group_cuts
from spcomp.codegen.mlir_cpu.jit import Compiled
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import NOTHING, Body, float_vector
from spcomp.codegen.x86.encoder import FLOAT_BYTES, ZMM_BYTES
from spcomp.codegen.x86.memory import CODE, CONSTANTS, Region
from spcomp.encodings.pack import PackedTensor
from spcomp.plan import Epilogue, KernelCall

UNIT_ROWS = 112
"""Rows of W that are emitted together, and the grain in which threads share them: four groups of 28, seven times 16."""
SMALL_UNIT_ROWS = 80
"""The same of few rows where those would leave a last unit of less than half: three groups of 26 or 27."""
SHARED_UNIT_ROWS = 128
"""The most of them where several threads share few rows: five groups of 25 or 26."""
SMALL_N = 1024
"""Up to here rows are few."""
_SPARE_BYTES = 8
"""The driver may read that far past the last instruction when it brings code into the cache."""
_SIGNATURE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 4)

Ints = NDArray[np.int64]


@dataclass(eq=False)
class Baked:
    """One weight's blocks. ``entries`` has a line for each, by unit: what the driver reads, addresses included."""

    blocks: list[Blocks]
    entries: Ints
    unit_start: Ints
    """Index of each unit's first block, and the number of all."""
    products: Ints
    """Nonzeros of each unit."""
    weights: Region
    code: Region | None = None
    code_nbytes: int = 0
    tables: dict[tuple[int, int, int], Ints] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def table(self, unit_lo: int, unit_hi: int, columns: int = 0) -> tuple[int, int]:
        """Addresses where the blocks of these units begin and end; the first of the units after them follows.

        ``columns``: blocks of so many columns come together, of all units, before the next ones; 0: unit by unit.
        """
        with self.lock:
            known = self.tables.get((unit_lo, unit_hi, columns))
            if known is None:
                lo, hi = self.unit_start[unit_lo], self.unit_start[unit_hi]
                order = np.arange(lo, hi + 1)
                if columns:
                    piece = (self.entries[lo:hi, 2] - MIDDLE * ZMM_BYTES) // (columns * ZMM_BYTES)
                    order[:-1] = lo + np.argsort(piece, kind="stable")
                known = self.tables[unit_lo, unit_hi, columns] = np.take(self.entries, order, axis=0, mode="wrap")
        start = known.ctypes.data
        return start, start + (len(known) - 1) * ENTRY_BYTES

    @property
    def nbytes(self) -> int:
        """Code, weights, and the tables made so far."""
        with self.lock:
            tables = sum(table.nbytes for table in self.tables.values())
        return self.code_nbytes + self.weights.mapped_nbytes + self.entries.nbytes + tables


def unit_rows(n: int, threads: int) -> int:
    """Rows of W of ``n`` that are emitted together, for so many threads: each gets as many, where there are few."""
    if n > SMALL_N or (threads == 1 and -n % UNIT_ROWS <= UNIT_ROWS // 2):
        return UNIT_ROWS
    if threads == 1:
        return SMALL_UNIT_ROWS
    own = -(-n // threads)
    rows = -(-own // -(-own // SHARED_UNIT_ROWS))
    return max(LANES, -(-rows // LANES) * LANES)


def bake(
    packed: PackedTensor,
    rows: int,
    columns: int,
    groups: int,
    *,
    step: int,
    order: Ints | None = None,
    offsets: Ints | None = None,
    done: Epilogue = NOTHING,
) -> Baked:
    """The blocks of a packed weight, as :func:`~spcomp.codegen.baked_cpu.emit.emit` makes them.

    ``step``: rows that are emitted together; those that are alike make groups where one block holds them all.
    ``order``: columns in the order to take them; ``offsets``: where each of those finds its input, in bytes. ``done``:
    what the code itself does of the epilogue, of bias and ReLU.
    """
    bits = packed.unpack_bits()
    bits = bits if order is None else bits[:, order]
    cuts = group_cuts(step, rows)
    together = bits.size and 1 < len(cuts) - 1 <= groups and columns <= MOST_COLUMNS
    members = alike(bits, step, cuts, columns) if together else None
    blocks = []
    for unit, lo in enumerate(range(0, max(1, len(bits)), step)):
        part = bits[lo : lo + step]
        own = None if members is None else members[unit, :, : len(part)]
        epilogue = {"bias": done.bias, "relu": done.activation == "relu"}
        blocks.append(emit(part, packed.dtype, rows, columns, groups, offsets, own, **epilogue))
    weights = Region(sum(b.weights.nbytes for b in blocks), CONSTANTS)
    entries = np.zeros((sum(len(b.code_bytes) for b in blocks), ENTRY_WORDS), np.int64)
    starts = np.cumsum([0, *(len(b.code_bytes) for b in blocks)])
    code_at, weights_at = 0, 0
    for i, b in enumerate(blocks):
        mine = entries[starts[i] : starts[i + 1]]
        mine[:, 0] = code_at + b.code_start
        mine[:, 1] = weights.address + weights_at + b.weight_start + MIDDLE * FLOAT_BYTES
        mine[:, 2] = (b.first_column + MIDDLE) * ZMM_BYTES
        mine[:, 3] = (i * step + b.first_row) * LANES * FLOAT_BYTES
        mine[:, 4] = b.code_bytes
        mine[:, 5] = b.weight_bytes
        mine[:, 6] = b.code_fetched
        mine[:, 7] = b.weights_fetched
        weights.write(weights_at, b.weights)
        code_at += b.code.size
        weights_at += b.weights.nbytes
    weights.seal(executable=False)
    products = np.array([b.products for b in blocks])
    return Baked(blocks, entries, starts, products, weights)


def place(baked: Baked) -> None:
    """Put the blocks into executable memory."""
    code = Region(sum(b.code.size for b in baked.blocks) + _SPARE_BYTES, CODE)
    at = 0
    for b in baked.blocks:
        code.write(at, b.code)
        at += b.code.size
    code.seal(executable=True)
    baked.entries[:, 0] += code.address
    baked.blocks.clear()
    baked.code, baked.code_nbytes = code, code.mapped_nbytes


def enter(baked: Baked, columns: int, stride: int, bias: torch.Tensor | None = None) -> Compiled:
    """A driver of the placed blocks, for tiles of ``columns`` columns of x and ``stride`` sums, in its own page.

    ``bias`` [N]: float32, what sums begin with in blocks that were made for it.
    """
    start = time.perf_counter()
    given = 0 if bias is None else bias.data_ptr()
    head, plain, packed_entry = driver(columns * ZMM_BYTES, stride * ZMM_BYTES, given)
    region = Region(len(head))
    region.write(0, head)
    region.seal(executable=True)
    assert baked.code is not None
    baked.code_nbytes += region.mapped_nbytes
    address = region.address + plain
    text = f"{len(baked.entries)} blocks of machine code, {baked.code.nbytes} bytes"
    return Compiled(
        "baked", text, address, time.perf_counter() - start, _SIGNATURE(address), region.address + packed_entry,
        (region, baked.code, baked.weights, bias),
    )  # fmt: skip


def baked_body(call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None = None) -> Body:
    """The middle of a token kernel for this call, its weight baked in; sums begin with the bias, and end with ReLU.

    Raises as :class:`Region` does.
    """
    schedule = dict(call.schedule)
    step = unit_rows(call.n, torch.get_num_threads())
    whole = not (call.epilogue.scale or call.epilogue.residual)
    done = Epilogue(bias is not None and whole, "relu" if call.epilogue.activation == "relu" and whole else "none")
    start = float_vector(bias) if done.bias else None
    baked = bake(packed, schedule["rows"], schedule["columns"], schedule["groups"], step=step, done=done)
    place(baked)
    return Body(
        columns=call.k,
        function=lambda _, columns, stride: enter(baked, columns, stride, start),
        pointers=(),
        row_weights=baked.products,
        rows_per_unit=step,
        at=baked.table,
        extra_nbytes=lambda: baked.nbytes,
        any_tiles=True,
        done=done,
    )
