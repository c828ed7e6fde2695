"""`Nm`: at most n nonzeros in every aligned group of m columns, sixteen rows side by side for vector kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.buffers import ceil_div, mismatch, padded, row_chunks
from spcomp.encodings.spec import BIT_DTYPES, ITEM_BYTES, Bits, Buffers, Encoding, Refusal
from spcomp.errors import EncodingError
from spcomp.sparsity.facts import NM_GROUPS, SparsityFacts

LANES = 16
"""Rows that lie side by side in ``values`` and ``control``."""
WORD_BITS = 32


@dataclass(frozen=True)
class Nm(Encoding):
    """``n`` slots for every group of ``m`` columns; a control word of 32 bits says where in its group a slot stands.

    With R = ceil(N / 16), G = ceil(K / m), W = ceil(G / groups_per_word), slots = W * groups_per_word * n:

    - ``values`` [R, slots, 16]: slot by slot, 16 rows as lanes
    - ``control`` uint32 [R, W, 16]: slot j of a word has its column within the group at bits
      [bits_per_index * j, bits_per_index * (j + 1))

    A group's nonzeros stand in ascending column order in its first slots. A slot left over has the value 0 and the
    column of the group's last nonzero (0 in an empty group). Padding rows and groups are 0 throughout.
    """

    name: ClassVar[str] = "nm"
    n: int
    m: int

    def __post_init__(self) -> None:
        if self.m not in NM_GROUPS:
            raise EncodingError(str(self), f"m is not one of {NM_GROUPS}", "nm(n=2, m=4)")
        if not 1 <= self.n < self.m or self.n > WORD_BITS // self.bits_per_index:
            raise EncodingError(str(self), f"n is not within 1 to {self._largest_n}", "nm(n=2, m=4)")

    @property
    def _largest_n(self) -> int:
        return min(self.m - 1, WORD_BITS // self.bits_per_index)

    @property
    def bits_per_index(self) -> int:
        return 2 if self.m <= 4 else 4

    @property
    def groups_per_word(self) -> int:
        return WORD_BITS // self.bits_per_index // self.n

    @property
    def slots_per_word(self) -> int:
        return self.groups_per_word * self.n

    def sizes(self, shape: tuple[int, int]) -> tuple[int, int]:
        """``(R, W)``: bundles of 16 rows, control words along K."""
        return ceil_div(shape[0], LANES), ceil_div(ceil_div(shape[1], self.m), self.groups_per_word)

    def refuses(self, facts: SparsityFacts) -> Refusal | None:
        worst = facts.group_max[1, self.m]
        if worst > self.n:
            return Refusal(f"a group of {self.m} columns has {worst} nonzeros, and {self} holds {self.n}")
        return None

    def predict_nbytes(self, facts: SparsityFacts) -> int:
        bundles, words = self.sizes(facts.shape)
        return bundles * words * LANES * (self.slots_per_word * ITEM_BYTES[facts.dtype] + 4)

    def stored_values(self, facts: SparsityFacts) -> int:
        bundles, words = self.sizes(facts.shape)
        return bundles * words * self.slots_per_word * LANES

    def pack_bits(self, bits: Bits) -> Buffers:
        rows, columns = bits.shape
        bundles, words = self.sizes((rows, columns))
        values = np.zeros((bundles, words * self.slots_per_word, LANES), dtype=bits.dtype)
        control = np.zeros((bundles, words, LANES), dtype=np.uint32)
        if values.size == 0:
            return {"values": values, "control": control}
        for chunk in row_chunks(rows, columns, LANES):
            height = ceil_div(chunk.stop - chunk.start, LANES) * LANES
            piece = padded(bits[chunk], height, words * self.groups_per_word * self.m)
            slots, index = self._compact(piece.reshape(-1, self.m))
            into = slice(chunk.start // LANES, chunk.start // LANES + height // LANES)
            values[into] = slots.reshape(-1, LANES, words * self.slots_per_word).transpose(0, 2, 1)
            control[into] = self._join(index.reshape(-1, self.slots_per_word)).reshape(-1, LANES, words).swapaxes(1, 2)
        return {"values": values, "control": control}

    def _compact(self, groups: Bits) -> tuple[Bits, NDArray[np.uint8]]:
        """Slots and their columns, both (groups, n), of an array of groups (groups, m)."""
        mask = groups != 0
        where = np.flatnonzero(mask)
        group, column = np.divmod(where, self.m)
        per_group = np.count_nonzero(mask, axis=1)
        first = np.cumsum(per_group) - per_group
        rank = np.arange(where.size) - first[group]
        last = np.zeros(len(groups), dtype=np.uint8)
        last[group] = column  # ascending, so the last one stays
        slots = np.zeros((len(groups), self.n), dtype=groups.dtype)
        slots[group, rank] = groups.reshape(-1)[where]
        index = np.repeat(last[:, None], self.n, axis=1)
        index[group, rank] = column
        return slots, index

    def _join(self, index: NDArray[np.uint8]) -> NDArray[np.uint32]:
        word = np.zeros(len(index), dtype=np.uint32)
        for slot in range(self.slots_per_word):
            word |= index[:, slot].astype(np.uint32) << np.uint32(self.bits_per_index * slot)
        return word

    def _columns(self, control: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """The column within its group of every slot, shape (R, slots, 16)."""
        shifts = np.arange(self.slots_per_word, dtype=np.uint32) * np.uint32(self.bits_per_index)
        ones = np.uint32((1 << self.bits_per_index) - 1)
        index = ((control[:, :, None, :] >> shifts[:, None]) & ones).astype(np.uint8)
        return index.reshape(control.shape[0], control.shape[1] * self.slots_per_word, LANES)

    def unpack_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Bits:
        rows, columns = shape
        values, control = buffers["values"], buffers["control"]
        out = np.zeros(shape, dtype=values.dtype)
        for chunk in row_chunks(rows, columns, LANES):
            bundles = slice(chunk.start // LANES, ceil_div(chunk.stop, LANES))
            bundle, slot, lane = np.nonzero(values[bundles])
            within = self._columns(control[bundles])[bundle, slot, lane]
            out[chunk][bundle * LANES + lane, slot // self.n * self.m + within] = values[bundles][bundle, slot, lane]
        return out

    def gather_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], ids: NDArray[np.int64]) -> Bits:
        bundle, lane = np.divmod(ids, LANES)
        values, control = buffers["values"][bundle, :, lane], buffers["control"][bundle, :, lane]
        row, slot = np.nonzero(values)
        word, place = np.divmod(slot, self.slots_per_word)
        shifts = (place * self.bits_per_index).astype(np.uint32)
        within = (control[row, word] >> shifts) & np.uint32((1 << self.bits_per_index) - 1)
        out = np.zeros((ids.size, shape[1]), dtype=values.dtype)
        out[row, slot // self.n * self.m + within] = values[row, slot]
        return out

    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        rows, columns = shape
        bundles, words = self.sizes(shape)
        slots = words * self.slots_per_word
        wrong = mismatch(
            buffers,
            {"values": (BIT_DTYPES[dtype], (bundles, slots, LANES)), "control": (np.uint32, (bundles, words, LANES))},
        )
        if wrong:
            return wrong
        first = np.arange(slots) // self.n * self.m
        room = np.clip(columns - first, 1, self.m)  # a slot past K may only say column 0
        for chunk in row_chunks(bundles, slots * LANES):
            if (self._columns(buffers["control"][chunk]) >= room[:, None]).any():
                return f"control points past a group or past column {columns}"
            if buffers["values"][chunk][:, first >= columns].any():
                return f"values has nonzeros past column {columns}"
        if rows % LANES and buffers["values"][-1, :, rows % LANES :].any():
            return f"values has nonzeros past row {rows}"
        return None

    def to_mlir(self, shape: tuple[int, int]) -> str | None:
        """MLIR's 2:4 structured level, if groups divide the columns; it has no other N:M that we could rely on."""
        if (self.n, self.m) != (2, 4) or shape[1] % 4:
            return None
        levels = "i : dense, j floordiv 4 : dense, j mod 4 : structured[2, 4]"
        return f"#sparse_tensor.encoding<{{ map = (i, j) -> ({levels}) }}>"
