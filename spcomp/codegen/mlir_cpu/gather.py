"""Rows of a packed weight for an embedding: one compiled function that finds each row and writes its nonzeros.

Values are moved as raw bits, so that NaN, Inf and subnormals come out as they were packed. A number that is no row's is
never followed: the function says so, and an ``IndexError`` is raised.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.laid_down import Work
from spcomp.codegen.mlir_cpu.text import LANES, Function
from spcomp.codegen.mlir_cpu.tokens import pointers
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import ANCHOR_ROWS, Csr
from spcomp.encodings.gather import OUTSIDE, PackedRows
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor
from spcomp.encodings.quad import COLUMNS, Quad
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.window import Window
from spcomp.errors import KernelError

WORD = 64
"""Bits of a bitmap that are looked at together."""
WORK = 8
"""What moving a value costs, in multiplications: it decides when threads pay."""
_INTEGERS = {torch.uint8: "i8", torch.uint16: "i16", torch.uint32: "i32", torch.int32: "i32", torch.int64: "i64"}


@dataclass(frozen=True)
class Walk:
    """What an encoding contributes: its buffers, and how the nonzeros of a row are found in them."""

    buffers: tuple[str, ...]
    """Of the packed weight, ``values`` first."""
    index: tuple[str, ...]
    """Of what ``gather_index`` makes."""
    write: Callable[[Function, str, str, str], None]
    """(function, row as index, first element of the row in y, type of a value) -> statements that fill y's row."""
    elements: tuple[str, ...]
    """MLIR types of the buffers after ``values``, then of the index."""


def walk_of(packed: PackedTensor) -> Walk | None:
    """The walk of this weight's encoding; None where torch reads rows as well."""
    rows, columns = packed.shape
    match packed.encoding:
        case Csr() as csr:
            kinds = tuple(_INTEGERS[packed.buffers[name].dtype] for name in ("columns", "counts"))
            return Walk(
                ("values", "columns", "counts"), ("anchors",),
                partial(_csr, csr=csr, rows=rows, columns=columns, kinds=kinds), (*kinds, "i64"),
            )  # fmt: skip
        case SortedCsr() as ordered:
            kinds = tuple(_INTEGERS[packed.buffers[name].dtype] for name in ("columns", "counts"))
            return Walk(
                ("values", "columns", "counts", "order"), ("anchors",),
                partial(_sorted_csr, csr=ordered, rows=rows, columns=columns, kinds=kinds), (*kinds, "i8", "i64"),
            )  # fmt: skip
        case Window():
            return Walk(
                ("values", "columns", "first", "group_start"), ("place",), _window, ("i8", "i16", "i64", "i32")
            )  # fmt: skip
        case Bitmap():
            words = -(-columns // WORD)
            return Walk(("values", "masks", "row_start"), (), partial(_bitmap, words=words), ("i64", "i64"))
        case Nm() as nm:
            words = nm.sizes(packed.shape)[1]
            return Walk(("values", "control"), (), partial(_nm, nm=nm, words=words), ("i32",))
        case Block(rows=tall, cols=wide):
            strides = (tall, 1)
        case Quad(rows=tall):
            wide, strides = COLUMNS, (1, COLUMNS)
        case _:
            return None
    return Walk(
        ("values", "columns", "row_start"),
        (),
        partial(_block, shape=(tall, wide), strides=strides, columns=columns),
        ("i32", "i32"),
    )


def gather_text(walk: Walk, rows: int, columns: int, item_bytes: int) -> str:
    """``gather(ids, *buffers, *index, y, outside, lo, hi)``: for i from lo to hi, row ids[i] to y[i].

    ids i64; y [M, columns]; ``outside`` i64 [1] becomes 1 where an id is none of the ``rows``.
    """
    bits = f"i{8 * item_bytes}"
    names = (*walk.buffers, *walk.index)
    held = tuple(zip(names, (bits, *walk.elements), strict=True))
    f = Function("gather", (("ids", "i64"), *held, ("y", bits), ("outside", "i64")), ("lo", "hi"))
    with f.loop("%lo", "%hi", hint="i") as i:
        raw = f.load("%ids", i.index, "i64")
        inside = f.val(f"arith.cmpi ult, {raw}, {f.const(str(rows), 'i64')} : i64", "p")  # a negative one wraps around
        missed = f.val(f"arith.cmpi uge, {raw}, {f.const(str(rows), 'i64')} : i64", "p")
        with f.when(missed):
            f.do(f"memref.store {f.const('1', 'i64')}, %outside[{f.idx(0)}] : memref<?xi64>")
        with f.when(inside):
            row = f.val(f"arith.index_cast {raw} : i64 to index", "row")
            y0 = f.mul(i.index, f.idx(columns))
            _clear(f, y0, columns, bits)
            walk.write(f, row, y0, bits)
    return f.text()


def _clear(f: Function, y0: str, columns: int, bits: str) -> None:
    """Zeros in a row of y, which the nonzeros will be written over."""
    whole = columns // LANES * LANES
    vector = f"vector<{LANES}x{bits}>"
    with f.loop(f.idx(0), f.idx(whole), f.idx(LANES), hint="c") as c:
        f.vstore(f.splat("0", vector), "%y", f.add(y0, c.index), vector, bits)
    with f.loop(f.idx(whole), f.idx(columns), hint="c") as c:
        _move(f, f.const("0", bits), f.add(y0, c.index), bits)


def _move(f: Function, value: str, to: str, bits: str) -> None:
    f.do(f"memref.store {value}, %y[{to}] : memref<?x{bits}>")


def _move_nonzero(f: Function, at: str, bits: str, column: Callable[[], str]) -> None:
    """Move ``values[at]`` to y[column()] unless it is padding."""
    value = f.load("%values", at, bits)
    with f.when(f.val(f"arith.cmpi ne, {value}, {f.const('0', bits)} : {bits}", "p")):
        _move(f, value, column(), bits)


def _split(f: Function, value: str, by: int) -> tuple[str, str]:
    """(value // by, value % by)"""
    return f.val(f"arith.divui {value}, {f.idx(by)} : index", "i"), f.val(
        f"arith.remui {value}, {f.idx(by)} : index", "i"
    )


def _csr(f: Function, row: str, y0: str, bits: str, csr: Csr, rows: int, columns: int, kinds: tuple[str, ...]) -> None:
    anchors = -(-rows // ANCHOR_ROWS)
    anchor, _ = _split(f, row, ANCHOR_ROWS)
    first = f.mul(anchor, f.idx(ANCHOR_ROWS))
    with f.loop(f.idx(0), f.idx(csr.blocks(columns)), hint="block") as block:
        counts = f.mul(block.index, f.idx(rows))
        known = f.load_index("%anchors", f.add(f.mul(block.index, f.idx(anchors)), anchor), "i64")
        with f.loop(first, row, carried=[(known, "index")], hint="r") as before:
            count = f.load_index("%counts", f.add(counts, before.index), kinds[1])
            f.yield_([f.add(before.carried[0], count)], ["index"])
        start = before.results[0]
        stop = f.add(start, f.load_index("%counts", f.add(counts, row), kinds[1]))
        _move_block(f, block.index, (start, stop), y0, bits, csr.block_columns, kinds[0])


def _move_block(
    f: Function, block: str, span: tuple[str, str], y0: str, bits: str, block_columns: int, column_kind: str
) -> None:
    """The nonzeros in ``span``, whose columns count from the block's first, to their columns of y."""
    left = f.add(y0, f.mul(block, f.idx(block_columns)))
    with f.loop(*span, hint="at") as at:
        column = f.load_index("%columns", at.index, column_kind)
        _move(f, f.load("%values", at.index, bits), f.add(left, column), bits)


def _sorted_csr(
    f: Function, row: str, y0: str, bits: str, csr: SortedCsr, rows: int, columns: int, kinds: tuple[str, ...]
) -> None:
    windows = -(-rows // csr.window)
    window, within = _split(f, row, csr.window)
    first = f.mul(window, f.idx(csr.window))
    past = f.val(f"arith.minui {f.add(first, f.idx(csr.window))}, {f.idx(rows)} : index", "i")
    with f.loop(f.idx(0), f.idx(csr.by_row.blocks(columns)), hint="block") as block:
        counts = f.mul(block.index, f.idx(rows))
        known = f.load_index("%anchors", f.add(f.mul(block.index, f.idx(windows)), window), "i64")
        carried = [(known, "index"), (known, "index"), (known, "index")]
        with f.loop(first, past, carried=carried, hint="place") as place:
            here, start, stop = place.carried
            at = f.add(counts, place.index)
            end = f.add(here, f.load_index("%counts", at, kinds[1]))
            found = f.val(f"arith.cmpi eq, {f.load_index('%order', at, 'i8')}, {within} : index", "p")
            start = f.val(f"arith.select {found}, {here}, {start} : index", "i")
            stop = f.val(f"arith.select {found}, {end}, {stop} : index", "i")
            f.yield_([end, start, stop], ["index"] * 3)
        _move_block(f, block.index, (place.results[1], place.results[2]), y0, bits, csr.block_columns, kinds[0])


def _window(f: Function, row: str, y0: str, bits: str) -> None:
    group, lane = _split(f, f.load_index("%place", row, "i32"), LANES)
    start = f.load_index("%group_start", group, "i64")
    stop = f.load_index("%group_start", f.add(group, f.idx(1)), "i64")
    with f.loop(start, stop, hint="slot") as slot:
        at = f.add(f.mul(slot.index, f.idx(LANES)), lane)

        def column() -> str:
            left = f.add(y0, f.mul(f.load_index("%first", slot.index, "i16"), f.idx(LANES)))
            return f.add(left, f.load_index("%columns", at, "i8"))

        _move_nonzero(f, at, bits, column)


def _bitmap(f: Function, row: str, y0: str, bits: str, words: int) -> None:
    one = f.const("1", "i64")
    start = f.load_index("%row_start", row, "i64")
    masks = f.mul(row, f.idx(words))
    with f.loop(f.idx(0), f.idx(words), carried=[(start, "index")], hint="word") as word:
        mask = f.load("%masks", f.add(masks, word.index), "i64")
        count = f.val(f"arith.index_cast {f.val(f'math.ctpop {mask} : i64', 's')} : i64 to index", "i")
        left = f.add(y0, f.mul(word.index, f.idx(WORD)))
        with f.loop(f.idx(0), count, carried=[(mask, "i64")], hint="j") as j:
            lowest = f.val(f"arith.index_cast {f.val(f'math.cttz {j.carried[0]} : i64', 's')} : i64 to index", "i")
            value = f.load("%values", f.add(word.carried[0], j.index), bits)
            _move(f, value, f.add(left, lowest), bits)
            less = f.val(f"arith.subi {j.carried[0]}, {one} : i64", "s")
            f.yield_([f.val(f"arith.andi {j.carried[0]}, {less} : i64", "s")], ["i64"])
        f.yield_([f.add(word.carried[0], count)], ["index"])


def _nm(f: Function, row: str, y0: str, bits: str, nm: Nm, words: int) -> None:
    bundle, lane = _split(f, row, LANES)
    with f.loop(f.idx(0), f.idx(words), hint="word") as word:
        here = f.add(f.mul(bundle, f.idx(words)), word.index)
        control = f.load("%control", f.add(f.mul(here, f.idx(LANES)), lane), "i32")
        slots = f.mul(here, f.idx(nm.slots_per_word))
        left = f.add(y0, f.mul(word.index, f.idx(nm.groups_per_word * nm.m)))
        for place in range(nm.slots_per_word):
            at = f.add(f.mul(f.add(slots, f.idx(place)), f.idx(LANES)), lane)

            def column(place: int = place, left: str = left, control: str = control) -> str:
                moved = f.val(f"arith.shrui {control}, {f.const(str(place * nm.bits_per_index), 'i32')} : i32", "s")
                ones = f.const(str((1 << nm.bits_per_index) - 1), "i32")
                within = f.val(f"arith.andi {moved}, {ones} : i32", "s")
                group = f.add(left, f.idx(place // nm.n * nm.m))
                return f.add(group, f.val(f"arith.index_castui {within} : i32 to index", "i"))

            _move_nonzero(f, at, bits, column)


def _block(
    f: Function, row: str, y0: str, bits: str, shape: tuple[int, int], strides: tuple[int, int], columns: int
) -> None:
    """``strides``: elements from column to column and from row to row inside a block."""
    tall, wide = shape
    block_row, within = _split(f, row, tall)
    start = f.load_index("%row_start", block_row, "i32")
    stop = f.load_index("%row_start", f.add(block_row, f.idx(1)), "i32")
    corner = f.mul(within, f.idx(strides[1]))
    with f.loop(start, stop, hint="block") as block:
        first = f.add(f.mul(block.index, f.idx(tall * wide)), corner)
        left = f.mul(f.load_index("%columns", block.index, "i32"), f.idx(wide))
        rest = f.val(f"arith.subi {f.idx(columns)}, {left} : index", "i")
        stop_at = f.val(f"arith.minui {rest}, {f.idx(wide)} : index", "i")
        with f.loop(f.idx(0), stop_at, hint="c") as c:
            value = f.load("%values", f.add(first, f.mul(c.index, f.idx(strides[0]))), bits)
            _move(f, value, f.add(f.add(y0, left), c.index), bits)


class CompiledRows(PackedRows):
    """The same as :class:`~spcomp.encodings.gather.PackedRows`, by a compiled function. Safe from several threads."""

    def __init__(self, packed: PackedTensor) -> None:
        super().__init__(packed)
        walk = walk_of(packed)
        if walk is None:
            raise KernelError("generate a gather of rows", f"encoding {packed.encoding}", "numpy or torch")
        item = packed.buffers["values"].element_size()
        held = len(walk.buffers) + len(walk.index)
        self.body = jit.compile_text("gather", gather_text(walk, *packed.shape, item), held + 3, 2)
        self._dtype = TORCH_DTYPES[packed.dtype]
        self._pointers = (
            *pointers(packed, walk.buffers),
            *(int(self.index[name].ctypes.data) for name in walk.index),
        )
        self._work = WORK * packed.buffers["values"].numel() // max(1, packed.shape[0])

    @property
    def source(self) -> str:
        return f"// {self.body.name}\n{self.body.text}"

    def work(self, m: int) -> Work:
        """For ``m`` numbers, int64 and known to be rows', as work that may be laid down."""

        def stages(reads: Sequence[int], y: int, room: int) -> list[parallel.Stage]:
            return [[[(self.body, (reads[0], *self._pointers, y, room, 0, m))]]]

        return Work(8, stages)

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        m = ids.numel()
        y = ids.new_empty((*ids.shape, self.packed.shape[1]), dtype=self._dtype)
        if not m:
            return y
        if ids.dtype is not torch.int64 or not ids.is_contiguous():  # asked, for calls of torch are dear here
            ids = ids.to(torch.int64).contiguous()
        outside = ctypes.c_int64(0)
        arguments = (ids.data_ptr(), *self._pointers, y.data_ptr(), ctypes.addressof(outside))
        threads = parallel.threads_for(m * self._work)
        parallel.over(self.body, arguments, m, threads)
        if outside.value:
            raise IndexError(OUTSIDE)
        return y
