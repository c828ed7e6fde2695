"""`NmRest`: N:M slots, and by row whatever does not fit into a group's slots. Lossless for any weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.buffers import bad_offsets, ceil_div, mismatch, padded, ranges
from spcomp.encodings.nm import LANES, Nm
from spcomp.encodings.spec import BIT_DTYPES, ITEM_BYTES, Bits, Buffers, Encoding, Refusal
from spcomp.errors import EncodingError
from spcomp.sparsity.facts import NM_RESTS, SparsityFacts

_WIDEST = 1 << 16


@dataclass(frozen=True)
class NmRest(Encoding):
    """A group's first ``n`` nonzeros as in ``nm``, the ones after those by row. ``most``: percent of the nonzeros.

    - ``control``: as :class:`~spcomp.encodings.nm.Nm` has it
    - ``rest_columns`` uint16 [rest], ascending in each row; ``rest_start`` int32 [16 * ceil(N / 16) + 1], whose rows
      past N are empty
    - ``values`` [slots + rest]: of the slots, in the order of ``nm``, then of the rest

    Weights that were pruned to N:M and kept a few outliers beside are such. With more in the rest than ``most`` percent
    of all nonzeros, or with none, another encoding is meant.
    """

    name: ClassVar[str] = "nm_rest"
    n: int
    m: int
    most: int = 10

    def __post_init__(self) -> None:
        if (self.n, self.m) not in NM_RESTS:
            counted = ", ".join(f"{n}:{m}" for n, m in NM_RESTS)
            raise EncodingError(str(self), f"what does not fit is only counted for {counted}", "nm_rest(n=2, m=4)")
        if not 1 <= self.most <= 100:
            raise EncodingError(str(self), "most is a percentage from 1 to 100", "nm_rest(n=2, m=4, most=10)")

    @property
    def nm(self) -> Nm:
        return Nm(self.n, self.m)

    def refuses(self, facts: SparsityFacts) -> Refusal | None:
        if facts.shape[1] > _WIDEST:
            return Refusal(f"{self} has 16-bit column indices, the weight {facts.shape[1]} columns")
        if facts.nonzeros >= 1 << 31:
            return Refusal(f"{self} counts nonzeros with int32, the weight has {facts.nonzeros}")
        rest = facts.rests[self.n, self.m]
        if rest == 0:
            return Refusal(f"every group of {self.m} columns fits: {self.nm} is the same without a rest")
        if 100 * rest > self.most * facts.nonzeros:
            share = 100 * rest / facts.nonzeros
            return Refusal(f"{share:.1f} % of the nonzeros fit into no group, and {self} takes {self.most} %")
        return None

    def predict_nbytes(self, facts: SparsityFacts) -> int:
        rest = facts.rests[self.n, self.m] * (ITEM_BYTES[facts.dtype] + 2)
        return self.nm.predict_nbytes(facts) + rest + 4 * (_rows(facts.shape) + 1)

    def stored_values(self, facts: SparsityFacts) -> int:
        return self.nm.stored_values(facts) + facts.rests[self.n, self.m]

    def pack_bits(self, bits: Bits) -> Buffers:
        fits = self._fits(bits)
        slots = self.nm.pack_bits(np.where(fits, bits, bits.dtype.type(0)))
        row, column = np.nonzero((bits != 0) & ~fits)
        rest_start = np.zeros(_rows((bits.shape[0], bits.shape[1])) + 1, dtype=np.int32)
        np.cumsum(np.bincount(row, minlength=len(rest_start) - 1), out=rest_start[1:])
        return {
            "values": np.concatenate([slots["values"].reshape(-1), bits[row, column]]),
            "control": slots["control"],
            "rest_columns": column.astype(np.uint16),
            "rest_start": rest_start,
        }

    def _fits(self, bits: Bits) -> NDArray[np.bool_]:
        """Which elements are among the first ``n`` nonzeros of their group, or zero."""
        rows, columns = bits.shape
        groups = ceil_div(columns, self.m)
        live = padded(bits, rows, groups * self.m).reshape(rows, groups, self.m) != 0
        rank = np.cumsum(live, axis=2, dtype=np.uint8)
        fits: NDArray[np.bool_] = (rank <= self.n).reshape(rows, groups * self.m)[:, :columns]
        return fits

    def _parts(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> tuple[Buffers, Bits]:
        """The buffers of the slots alone, and the values of the rest."""
        bundles, words = self.nm.sizes(shape)
        slots = words * self.nm.slots_per_word
        cut = bundles * slots * LANES
        whole = buffers["values"][:cut].reshape(bundles, slots, LANES)
        return {"values": whole, "control": buffers["control"]}, buffers["values"][cut:]

    def unpack_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Bits:
        slots, rest = self._parts(buffers, shape)
        out = self.nm.unpack_bits(slots, shape)
        row = np.repeat(np.arange(_rows(shape)), np.diff(buffers["rest_start"]))
        out[row, buffers["rest_columns"]] = rest
        return out

    def gather_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], ids: NDArray[np.int64]) -> Bits:
        slots, rest = self._parts(buffers, shape)
        out = self.nm.gather_bits(slots, shape, ids)
        start = buffers["rest_start"]
        owner, at = ranges(start[ids], start[ids + 1] - start[ids])
        out[owner, buffers["rest_columns"][at]] = rest[at]
        return out

    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        bundles, words = self.nm.sizes(shape)
        rest = buffers["rest_columns"].size if "rest_columns" in buffers else 0
        wrong = mismatch(
            buffers,
            {
                "values": (BIT_DTYPES[dtype], (bundles * words * self.nm.slots_per_word * LANES + rest,)),
                "control": (np.uint32, (bundles, words, LANES)),
                "rest_columns": (np.uint16, (None,)),
                "rest_start": (np.int32, (_rows(shape) + 1,)),
            },
        )
        wrong = wrong or self.nm.check(self._parts(buffers, shape)[0], shape, dtype)
        wrong = wrong or bad_offsets("rest_start", buffers["rest_start"], len(buffers["rest_columns"]))
        if wrong:
            return wrong
        if buffers["rest_start"][shape[0]] != rest:
            return f"rest_start has nonzeros past row {shape[0]}"
        columns = buffers["rest_columns"].astype(np.int64)
        if columns.size and int(columns.max()) >= shape[1]:
            return f"rest_columns point past the {shape[1]} columns"
        row = np.repeat(np.arange(_rows(shape), dtype=np.int64), np.diff(buffers["rest_start"]))
        place = row * shape[1] + columns
        if (place[1:] <= place[:-1]).any():
            return "rest_columns do not ascend within each row"
        return self._inside(buffers, shape, row, columns)

    def _inside(
        self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], row: NDArray[Any], columns: NDArray[Any]
    ) -> str | None:
        """What of the rest a slot says too: it stands behind a group's last slot, which is taken."""
        slots, _ = self._parts(buffers, shape)
        bundle, lane = np.divmod(row, LANES)
        slot = columns // self.m * self.n + self.n - 1
        word, place = np.divmod(slot, self.nm.slots_per_word)
        bits = self.nm.bits_per_index
        last = slots["control"][bundle, word, lane] >> (place * bits).astype(np.uint32) & np.uint32((1 << bits) - 1)
        if (slots["values"][bundle, slot, lane] == 0).any() or (last >= columns % self.m).any():
            return "rest_columns point to where a slot is, or could be"
        return None


def _rows(shape: tuple[int, int]) -> int:
    """Rows, in whole bundles."""
    return ceil_div(shape[0], LANES) * LANES
