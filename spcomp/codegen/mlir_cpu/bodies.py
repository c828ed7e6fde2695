"""Bind each encoding's packed buffers to its kernel text."""

from __future__ import annotations

import numpy as np
import torch

from spcomp.codegen.mlir_cpu.block import block_text, split_text
from spcomp.codegen.mlir_cpu.csr import csr_text
from spcomp.codegen.mlir_cpu.nm import NmShape, nm_tokens_text
from spcomp.codegen.mlir_cpu.sell import sell_text
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, Body, pointers
from spcomp.cost.cycles import rows_together
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.nm_rest import NmRest
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.sell import Sell
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.split import Split
from spcomp.errors import KernelError
from spcomp.plan import KernelCall

WORDS = {8: (1, 2), 4: (1,), 2: (4,), 1: (8,)}
"""Tiles at a time -> control words a column block: tiles x columns of x that fit in L1, or in half of it."""
_INTEGERS = {torch.uint8: "i8", torch.uint16: "i16", torch.uint32: "i32", torch.int32: "i32", torch.int64: "i64"}


def body_of(call: KernelCall, packed: PackedTensor) -> Body:
    """The middle function for this call's encoding."""
    match packed.encoding:
        case Csr() as encoding:
            return _csr(call, packed, encoding)
        case SortedCsr() as encoding:
            return _sorted_csr(call, packed, encoding)
        case Sell() as encoding:
            return _sell(call, packed, encoding)
        case Block() as encoding:
            return _block(call, packed, encoding)
        case Split() as encoding:
            return _split(call, packed, encoding)
        case Nm() as encoding:
            return _nm(call, packed, encoding)
        case NmRest() as encoding:
            return _nm_rest(call, packed, encoding)
        case other:
            raise KernelError(
                f"generate a CPU kernel for {call.layer}",
                f"encoding {other}",
                "csr, sorted_csr, sell, block, split, nm or nm_rest",
            )


def _csr(call: KernelCall, packed: PackedTensor, encoding: Csr) -> Body:
    buffers = packed.buffers
    index, count = _INTEGERS[buffers["columns"].dtype], _INTEGERS[buffers["counts"].dtype]
    dtype = MLIR_DTYPES[call.dtype]
    counts = buffers["counts"].numpy().astype(np.int64)
    starts = buffers["block_start"].numpy().astype(np.int64)[: counts.shape[0]]
    known: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}

    def at(row: int, *_: int) -> tuple[int, ...]:
        offsets = np.ascontiguousarray(starts + counts[:, :row].sum(axis=1))
        return (known.setdefault(row, offsets).ctypes.data,)

    return Body(
        columns=call.k,
        function=lambda tiles, columns, stride: (
            "csr",
            csr_text(call.n, stride, columns, call.k, encoding.block_columns, tiles, index, count, dtype),
            6,
            4,
        ),
        pointers=pointers(packed, ("values", "columns", "counts")),
        row_weights=counts.sum(axis=0),
        rows_per_unit=1,
        at=at,
        extra_nbytes=lambda: sum(offsets.nbytes for offsets in list(known.values())),
    )


def _sorted_csr(call: KernelCall, packed: PackedTensor, encoding: SortedCsr) -> Body:
    buffers = packed.buffers
    index, count = _INTEGERS[buffers["columns"].dtype], _INTEGERS[buffers["counts"].dtype]
    dtype, window = MLIR_DTYPES[call.dtype], encoding.window
    counts = buffers["counts"].numpy().astype(np.int64)
    sums = np.add.reduceat(counts, np.arange(0, call.n, window), axis=1) if call.n else counts
    starts = buffers["block_start"].numpy().astype(np.int64)[:-1]
    known: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}

    def at(unit: int, *_: int) -> tuple[int, ...]:
        offsets = np.ascontiguousarray(starts + sums[:, :unit].sum(axis=1))
        return (known.setdefault(unit, offsets).ctypes.data,)

    return Body(
        columns=call.k,
        function=lambda tiles, columns, stride: (
            "sorted_csr",
            csr_text(
                call.n,
                stride,
                columns,
                call.k,
                encoding.block_columns,
                tiles,
                index,
                count,
                dtype,
                window,
                rows_together(tiles, counts.mean() if counts.size else 0.0),
            ),
            7,
            4,
        ),
        pointers=pointers(packed, ("values", "columns", "counts", "order")),
        row_weights=sums.sum(axis=0),
        rows_per_unit=window,
        at=at,
        extra_nbytes=lambda: sum(offsets.nbytes for offsets in list(known.values())),
    )


def _sell(call: KernelCall, packed: PackedTensor, encoding: Sell) -> Body:
    buffers, windows = packed.buffers, encoding.windows(call.n)
    count, dtype = _INTEGERS[buffers["lengths"].dtype], MLIR_DTYPES[call.dtype]
    return Body(
        columns=call.k,
        function=lambda tiles, columns, stride: (
            "sell",
            sell_text(call.n, stride, columns, call.k, encoding, tiles, count, dtype),
            9,
            4,
        ),
        pointers=pointers(packed, ("values", "columns", "lengths", "order", "rest_rows", "start", "rest_start")),
        row_weights=np.diff(buffers["start"].numpy()).reshape(-1, windows).sum(axis=0),
        rows_per_unit=encoding.window,
        at=lambda *_: (),
    )


def _block(call: KernelCall, packed: PackedTensor, encoding: Block) -> Body:
    rows, cols = encoding.rows, encoding.cols
    return Body(
        columns=-(-call.k // cols) * cols,
        function=lambda tiles, columns, stride: (
            "block",
            block_text(call.n, stride, columns, rows, cols, tiles, MLIR_DTYPES[call.dtype]),
            5,
            4,
        ),
        pointers=pointers(packed, ("values", "columns", "row_start")),
        row_weights=_row_counts(packed) * rows * cols,
        rows_per_unit=rows,
        at=lambda *_: (),
    )


def _split(call: KernelCall, packed: PackedTensor, encoding: Split) -> Body:
    rows, cols = encoding.rows, encoding.cols
    values = packed.buffers["values"]
    start = packed.buffers["rest_start"].numpy().astype(np.int64)
    past = values.data_ptr() + len(packed.buffers["columns"]) * rows * cols * values.element_size()
    rest = np.add.reduceat(np.diff(start), np.arange(0, call.n, rows)) if call.n else np.zeros(0, np.int64)
    return Body(
        columns=-(-call.k // cols) * cols,
        function=lambda tiles, columns, stride: (
            "split",
            split_text(call.n, stride, columns, rows, cols, tiles, MLIR_DTYPES[call.dtype]),
            8,
            4,
        ),
        pointers=(
            *pointers(packed, ("values", "columns", "row_start")),
            past,
            *pointers(packed, ("rest_columns", "rest_start")),
        ),
        row_weights=_row_counts(packed) * rows * cols + rest,
        rows_per_unit=rows,
        at=lambda *_: (),
    )


def _row_counts(packed: PackedTensor) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    start: np.ndarray[tuple[int], np.dtype[np.int64]] = packed.buffers["row_start"].numpy().astype(np.int64)
    return start[1:] - start[:-1]


def words_of(call: KernelCall, tiles: int) -> int:
    """Control words a column block: the schedule's for its own number of tiles."""
    schedule = dict(call.schedule)
    own = schedule.get("words") if tiles == schedule.get("tiles") else None
    return own or WORDS[tiles][0]


def _nm(call: KernelCall, packed: PackedTensor, encoding: Nm) -> Body:
    shape = NmShape(call.n, call.k, encoding.n, encoding.m)
    units = -(-call.n // LANES)
    return Body(
        columns=shape.padded_columns,
        function=lambda tiles, columns, stride: ("nm", _nm_text(call, shape, columns, stride, tiles), 4, 4),
        pointers=pointers(packed, ("values", "control")),
        row_weights=np.full(units, LANES * shape.words * shape.slots_per_word, np.int64),
        rows_per_unit=LANES,
        at=lambda *_: (),
    )


def _nm_rest(call: KernelCall, packed: PackedTensor, encoding: NmRest) -> Body:
    shape = NmShape(call.n, call.k, encoding.n, encoding.m)
    slots, values = shape.words * shape.slots_per_word, packed.buffers["values"]
    start = packed.buffers["rest_start"].numpy().astype(np.int64)
    past = values.data_ptr() + -(-call.n // LANES) * LANES * slots * values.element_size()
    return Body(
        columns=shape.padded_columns,
        function=lambda tiles, columns, stride: (
            "nmrest",
            _nm_text(call, shape, columns, stride, tiles, rest=True),
            7,
            4,
        ),
        pointers=(*pointers(packed, ("values", "control")), past, *pointers(packed, ("rest_columns", "rest_start"))),
        row_weights=LANES * slots + start[LANES::LANES] - start[:-1:LANES],
        rows_per_unit=LANES,
        at=lambda *_: (),
    )


def _nm_text(call: KernelCall, shape: NmShape, columns: int, stride: int, tiles: int, *, rest: bool = False) -> str:
    rows = 2 if call.target == "cpu-avx512" else 1
    dtype = MLIR_DTYPES[call.dtype]
    return nm_tokens_text(shape, columns, stride, tiles, words_of(call, tiles), dtype, rows=rows, rest=rest)
