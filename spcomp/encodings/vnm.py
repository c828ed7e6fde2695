"""`Vnm`: 2 of m along K, in four columns of every v x m block, laid out as sparse tensor cores take it.

V:N:M: Castro et al., "VENOM: A Vectorized N:M Format for Unleashing the Power of Sparse Tensor Cores", SC 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.buffers import ceil_div, mismatch, padded, row_chunks
from spcomp.encodings.spec import BIT_DTYPES, ITEM_BYTES, Bits, Buffers, Encoding, Refusal
from spcomp.errors import EncodingError
from spcomp.sparsity.facts import VNM_COLUMNS, VNM_GROUPS, VNM_ROWS, SparsityFacts

TILE = 16
"""Rows that one product takes."""
BLOCKS = 8
"""Blocks of m columns that one product takes: 32 chosen columns, 16 values a row."""
LANES = 32
SLOTS = 8
"""Values of a lane."""
KEPT: NDArray[np.uint8] = np.array(
    [(0, 1), (0, 3), (1, 3), (0, 1), (2, 3), (0, 2), (1, 2), (0, 1),
     (0, 3), (0, 3), (1, 3), (0, 1), (2, 3), (0, 1), (0, 1), (0, 1)], dtype=np.uint8,
)  # fmt: skip
"""Nonzeros of four columns as bits -> the two columns that are kept, ascending. What is not there is the last column,
or the first beside the last, or 0 and 1 in an empty group; more than two are never packed."""
_LEGAL = np.array([(word & 3) < (word >> 2 & 3) for word in range(16)])


@dataclass(frozen=True)
class Vnm(Encoding):
    """Four columns are chosen in every block of ``v`` rows and ``m`` columns, and in each row two of those are kept.

    With T = ceil(N / 16), S = ceil(ceil(K / m) / 8), P = ceil(N / v), the order is that of the fragments of
    ``mma.sp.m16n8k32`` (PTX ISA, "Matrix fragments for multiply-accumulate operation with sparse matrix A"):

    - ``values`` [T, S, 32, 8]: of 16 rows and 8 blocks, lane by lane. Lane 4 * g + t has at place
      4 * high + 2 * half + slot the kept value ``slot`` of row g + 8 * half in block t + 4 * high
    - ``metadata`` uint32 [T, S, 16]: word 2 * g + high has at bits 16 * half + 4 * t + 2 * slot which of the block's
      four columns that is; the two of a row ascend
    - ``columns`` uint8 [P, S, 4, 8]: word t has at place 2 * e + i the column within its block of the chosen column
      8 * e + 2 * t + i of all 32; a block has four of those, ascending

    Columns that are left over are the block's last one with a nonzero (0 in an empty block), and their values 0.
    """

    name: ClassVar[str] = "vnm"
    v: int
    m: int

    def __post_init__(self) -> None:
        if self.v not in VNM_ROWS or self.m not in VNM_GROUPS:
            found = f"v is none of {VNM_ROWS}, or m none of {VNM_GROUPS}"
            raise EncodingError(str(self), found, "vnm(v=64, m=8)")

    def sizes(self, shape: tuple[int, int]) -> tuple[int, int, int]:
        """``(T, S, P)``: tiles of 16 rows, steps of 8 blocks along K, panels of v rows."""
        return ceil_div(shape[0], TILE), ceil_div(ceil_div(shape[1], self.m), BLOCKS), ceil_div(shape[0], self.v)

    def refuses(self, facts: SparsityFacts) -> Refusal | None:
        worst = facts.group_max.get((1, self.m), 0)
        if worst > 2:
            return Refusal(f"a group of {self.m} columns has {worst} nonzeros, and {self} holds 2")
        live = facts.live_columns.get((self.v, self.m), 0)  # of four columns, four are live at most
        if live > VNM_COLUMNS:
            return Refusal(
                f"a block of {self.v} x {self.m} has more than 2 nonzeros in a row, or {live} columns with nonzeros; "
                f"{self} holds 2 and {VNM_COLUMNS}"
            )
        return None

    def predict_nbytes(self, facts: SparsityFacts) -> int:
        tiles, steps, panels = self.sizes(facts.shape)
        return tiles * steps * (LANES * SLOTS * ITEM_BYTES[facts.dtype] + 4 * TILE) + panels * steps * LANES

    def stored_values(self, facts: SparsityFacts) -> int:
        tiles, steps, _ = self.sizes(facts.shape)
        return tiles * steps * LANES * SLOTS

    def pack_bits(self, bits: Bits) -> Buffers:
        rows, columns = bits.shape
        tiles, steps, panels = self.sizes((rows, columns))
        values = np.zeros((tiles, steps, LANES, SLOTS), dtype=bits.dtype)
        metadata = np.zeros((tiles, steps, TILE), dtype=np.uint32)
        chosen = np.zeros((panels, steps, 4, SLOTS), dtype=np.uint8)
        if values.size == 0:
            return {"values": values, "metadata": metadata, "columns": chosen}
        for chunk in row_chunks(rows, columns, self.v):
            first, count = chunk.start // self.v, ceil_div(chunk.stop - chunk.start, self.v)
            piece = padded(bits[chunk], count * self.v, steps * BLOCKS * self.m)
            blocks = piece.reshape(count, self.v, steps * BLOCKS, self.m)
            of_block, there = _choose((blocks != 0).any(axis=1))
            fours = np.take_along_axis(blocks, of_block[:, None].astype(np.int64), axis=3)
            fours *= there[:, None]
            into = slice(chunk.start // TILE, min(tiles, (first + count) * self.v // TILE))
            some = into.stop - into.start
            kept = KEPT[(fours != 0) @ np.array([1, 2, 4, 8])]
            two = np.take_along_axis(fours, kept.astype(np.int64), axis=3)
            values[into] = _by_lane(two, steps).reshape(-1, steps, LANES, SLOTS)[:some]
            metadata[into] = _words(kept, steps)[:some]
            pairs = of_block.reshape(count, steps, 4, 4, 2)  # [.., e, t, i]
            chosen[first : first + count] = pairs.swapaxes(2, 3).reshape(count, steps, 4, SLOTS)
        return {"values": values, "metadata": metadata, "columns": chosen}

    def _at(
        self, buffers: Mapping[str, NDArray[Any]], tile: NDArray[np.int64], where: tuple[NDArray[np.int64], ...]
    ) -> NDArray[np.int64]:
        """The column in W of values at ``where`` (step, lane, place) of tiles ``tile``."""
        step, lane, place = where
        block = lane % 4 + place // 4 * 4
        word = buffers["metadata"][tile, step, lane // 4 * 2 + place // 4]
        of_four = word >> (place // 2 % 2 * 16 + lane % 4 * 4 + place % 2 * 2).astype(np.uint32) & 3
        one_of_32 = 4 * block + of_four
        panel = tile // (self.v // TILE)
        within = buffers["columns"][panel, step, one_of_32 % 8 // 2, one_of_32 // 8 * 2 + one_of_32 % 2]
        column: NDArray[np.int64] = (step * BLOCKS + block) * self.m + within
        return column

    def unpack_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Bits:
        rows, columns = shape
        values = buffers["values"]
        out = np.zeros(shape, dtype=values.dtype)
        for chunk in row_chunks(rows, columns, TILE):
            first = chunk.start // TILE
            tile, *where = np.nonzero(values[first : ceil_div(chunk.stop, TILE)])
            _, lane, place = where
            row = (first + tile) * TILE + lane // 4 + place // 2 % 2 * 8
            held = values[first + tile, *where]
            out[row, self._at(buffers, first + tile, tuple(where))] = held
        return out

    def gather_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], ids: NDArray[np.int64]) -> Bits:
        tile, within = np.divmod(ids, TILE)
        lanes = (within % 8 * 4)[:, None, None] + np.arange(4)[:, None]
        places = (within // 8 * 2)[:, None, None] + np.array([0, 1, 4, 5])
        values = buffers["values"][tile[:, None], :, lanes.reshape(-1, 4)]  # [M, 4, S, 8]
        values = np.take_along_axis(values, places.reshape(-1, 1, 1, 4), axis=3)
        row, lane, step, place = np.nonzero(values)
        where = (step, lanes.reshape(-1, 4)[row, lane], places.reshape(-1, 4)[row, place])
        out = np.zeros((ids.size, shape[1]), dtype=values.dtype)
        out[row, self._at(buffers, tile[row], where)] = values[row, lane, step, place]
        return out

    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        rows, columns = shape
        tiles, steps, panels = self.sizes(shape)
        wrong = mismatch(
            buffers,
            {
                "values": (BIT_DTYPES[dtype], (tiles, steps, LANES, SLOTS)),
                "metadata": (np.uint32, (tiles, steps, TILE)),
                "columns": (np.uint8, (panels, steps, 4, SLOTS)),
            },
        )
        if wrong:
            return wrong
        of_block = buffers["columns"].reshape(panels, steps, 4, 4, 2).swapaxes(2, 3).reshape(panels, steps * BLOCKS, 4)
        start = np.arange(steps * BLOCKS) * self.m
        if (of_block >= np.clip(columns - start, 1, self.m)[:, None]).any():
            return f"columns points past a block or past column {columns}"
        words = buffers["metadata"]
        if not all(_LEGAL[words >> np.uint32(4 * i) & np.uint32(15)].all() for i in range(8)):
            return "metadata names no two columns of four in ascending order"
        block = np.arange(steps)[:, None, None] * BLOCKS + np.arange(LANES)[:, None] % 4 + np.arange(SLOTS) // 4 * 4
        if buffers["values"][:, block * self.m >= columns].any():
            return f"values has nonzeros past column {columns}"
        row = np.arange(LANES)[:, None] // 4 + np.arange(SLOTS) // 2 % 2 * 8
        if tiles and buffers["values"][-1][:, (tiles - 1) * TILE + row >= rows].any():
            return f"values has nonzeros past row {rows}"
        return None


def _choose(live: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """live [P, blocks, m] -> four columns of each block uint8, and which of those are not left over: [P, blocks, 4]."""
    order = np.argsort(~live, axis=2, kind="stable")[:, :, :4]
    count = np.count_nonzero(live, axis=2)[:, :, None]
    there = np.arange(4) < count
    last = np.take_along_axis(order, np.clip(count - 1, 0, 3), axis=2) * (count > 0)
    return np.where(there, order, last).astype(np.uint8), there


def _by_lane(two: NDArray[Any], steps: int) -> NDArray[Any]:
    """[P, v, blocks, ...] as [P * v / 16, S, g, t, high, half, ...]."""
    rest = two.shape[3:]
    split = two.reshape(-1, 2, 8, steps, 2, 4, *rest)  # [tile, half, g, step, high, t, ...]
    return np.ascontiguousarray(split.transpose(0, 3, 2, 5, 4, 1, *range(6, 6 + len(rest))))


def _words(kept: NDArray[np.uint8], steps: int) -> NDArray[np.uint32]:
    """Columns kept [P, v, blocks, 2] as metadata [P * v / 16, S, 16]."""
    nibbles = _by_lane(kept[..., 0] | kept[..., 1] << 2, steps).astype(np.uint32)  # [tile, S, g, t, high, half]
    shifts = np.arange(4, dtype=np.uint32)[:, None, None] * 4 + np.arange(2, dtype=np.uint32) * 16
    words: NDArray[np.uint32] = (nibbles << shifts).sum(axis=(3, 5), dtype=np.uint32)
    return words.reshape(-1, steps, TILE)
