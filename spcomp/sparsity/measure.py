"""`measure`: the exact facts of one weight tensor.

The matrix is cut in tiles. Each is hashed and turned into one bit per element in one pass over memory; when the
content is new, everything is counted from those bits, with whole-tile numpy operations that release the interpreter
lock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spcomp.sparsity.bits import matrix_shape, weight_bits
from spcomp.sparsity.digest import Leaf, in_threads, root_digest
from spcomp.sparsity.facts import BLOCK_SHAPES, NM_GROUPS, NM_RESTS, VNM_GROUPS, VNM_ROWS, Axis, SparsityFacts

if TYPE_CHECKING:
    import torch

Words = NDArray[np.uint64]
"""One bit per element, shape (rows, columns / 64); bit i of word w is column 64 * w + i."""
CACHED_FACTS = 1024
"""Tensors whose facts are remembered; the least recently used one is forgotten first."""
_TILE_COLUMNS = 8192
_TILE_ELEMENTS = 1 << 19
_STRIP_BYTES = 1 << 18
"""Read at a time: what has been hashed should still be in the cache when its zeros are looked for."""
_EDGE = 64
"""Tiles start at multiples of this, so that no group and no block lies in two of them."""
_VNM = tuple((v, m) for v in VNM_ROWS for m in VNM_GROUPS if m > 4)
_cache: OrderedDict[str, SparsityFacts] = OrderedDict()
_cache_lock = Lock()


def measure(weight: torch.Tensor | NDArray[Any], *, negative_zeros: bool = True) -> SparsityFacts:
    """Exact facts of a weight of two or more dimensions; more than two are seen as (shape[0], everything else).

    float32, bfloat16, float16 or int8; any strides; a torch tensor or a numpy array. An element is a zero only if
    its bits are those of +0: -0.0 and NaN are nonzeros. Without ``negative_zeros``, every -0.0 counts (and is hashed)
    as +0.0. Facts are cached by content (up to ``CACHED_FACTS``), so measuring the same bytes again costs one hash.
    Raises :class:`~spcomp.errors.WeightError`.
    """
    return measure_all([weight], negative_zeros=negative_zeros)[0]


def measure_all(weights: Sequence[torch.Tensor | NDArray[Any]], *, negative_zeros: bool = True) -> list[SparsityFacts]:
    """:func:`measure` of several weights, whose tiles share the cores."""
    seen = [weight_bits(weight) for weight in weights]
    tiles = [_tiles(matrix_shape(array.shape)) for array, _ in seen]
    jobs = [
        (tile, array, not negative_zeros and dtype != "int8")
        for (array, dtype), cut in zip(seen, tiles, strict=True)
        for tile in cut
    ]
    read = iter(in_threads(lambda job: _read_tile(job[0].cut(job[1]), positive=job[2]), jobs))
    found: list[SparsityFacts | None] = []
    new: list[_Read] = []
    for (array, dtype), cut in zip(seen, tiles, strict=True):
        shape, own = matrix_shape(array.shape), list(islice(read, len(cut)))
        digest = root_digest(f"{dtype} {shape[0]}x{shape[1]}", [leaf for leaf, _ in own])
        found.append(_recall(digest))
        if found[-1] is None:
            new.append(_Read(shape, dtype, digest, cut, [words for _, words in own]))
    counted = iter(in_threads(lambda job: _count_tile(*job), [job for one in new for job in one.jobs]))
    made = iter([_merge(one, list(islice(counted, len(one.tiles)))) for one in new])
    return [_remember(next(made)) if facts is None else facts for facts in found]


@dataclass(frozen=True)
class _Tile:
    rows: slice
    columns: slice

    @property
    def size(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def cut(self, array: NDArray[Any]) -> NDArray[Any]:
        """This part of ``array`` (two or more dimensions), as a matrix."""
        strip = array[self.rows]
        return strip.reshape(matrix_shape(strip.shape))[:, self.columns]


@dataclass(frozen=True, eq=False)
class _Read:
    """A weight whose content is new, and the bits of its tiles."""

    shape: tuple[int, int]
    dtype: str
    digest: str
    tiles: list[_Tile]
    words: list[Words]

    @property
    def jobs(self) -> list[tuple[Words, tuple[int, int]]]:
        return [(words, tile.size) for words, tile in zip(self.words, self.tiles, strict=True)]


@dataclass(frozen=True)
class _Counts:
    row_nonzeros: NDArray[np.int64]
    column_nonzeros: NDArray[np.int64]
    group_max: dict[tuple[Axis, int], int]
    block_counts: dict[tuple[int, int], int]
    rests: dict[tuple[int, int], int]
    live_columns: dict[tuple[int, int], int]


def _tiles(shape: tuple[int, int]) -> list[_Tile]:
    """The cut of a matrix; it depends on the shape alone, because the digest depends on it."""
    rows, columns = shape
    if rows == 0 or columns == 0:
        return []
    width = min(_round_up(columns, _EDGE), _TILE_COLUMNS)
    height = max(_TILE_ELEMENTS // width // _EDGE, 1) * _EDGE
    return [
        _Tile(slice(r, min(r + height, rows)), slice(c, min(c + width, columns)))
        for r in range(0, rows, height)
        for c in range(0, columns, width)
    ]


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def _read_tile(tile: NDArray[Any], *, positive: bool) -> tuple[bytes, Words]:
    """The digest of a tile and its nonzeros, a bit each; ``positive``: as if it had no -0.0.

    Memory is read once: each strip of rows is hashed and looked at while it is in the cache.
    """
    rows, columns = tile.shape
    wide = _round_up(columns, _EDGE)
    octets = np.zeros((_round_up(rows, _EDGE), wide // 8), dtype=np.uint8)
    step = max(1, _STRIP_BYTES // max(1, columns * tile.itemsize))
    leaf = Leaf()
    for start in range(0, rows, step):
        strip = np.ascontiguousarray(tile[start : start + step])
        if positive:
            strip = _without_negative_zeros(strip)
        leaf.update(strip.reshape(-1).view(np.uint8).data)
        held = np.packbits(strip != 0, axis=1, bitorder="little")
        octets[start : start + len(strip), : held.shape[1]] = held
    return leaf.digest(), octets.view("<u8")


def _without_negative_zeros(strip: NDArray[Any]) -> NDArray[Any]:
    """Bits of floats with +0.0 for every -0.0: ``strip`` itself if it has none."""
    signed = strip.view(np.dtype(f"i{strip.itemsize}"))
    other = signed != np.iinfo(signed.dtype).min  # which has the bits of -0.0
    if other.all():
        return strip
    made = signed * other
    held: NDArray[Any] = made.view(strip.dtype)
    return held


def _count_tile(words: Words, size: tuple[int, int]) -> _Counts:
    """What there is to count in a tile of ``size``, whose bits are filled up to multiples of 64."""
    rows, columns = size
    group_max: dict[tuple[Axis, int], int] = {(1, m): _row_group_max(words, m) for m in NM_GROUPS}

    sums = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    for m in (2, 4, 8, 16, 32, 64):
        sums = sums[0::2] + sums[1::2]
        if m in NM_GROUPS:
            group_max[0, m] = int(sums.max())

    return _Counts(
        row_nonzeros=np.bitwise_count(words).sum(axis=1, dtype=np.int64)[:rows],
        column_nonzeros=sums.sum(axis=0, dtype=np.int64)[:columns],
        group_max=group_max,
        block_counts=_block_counts(words),
        live_columns=_live_columns(words, group_max),
        rests=_rests(words),
    )


def _row_group_max(words: Words, m: int) -> int:
    """The largest number of bits in any aligned group of ``m`` bits: 2, 4, 8, 16 or 32."""
    match m:
        case 2:
            pairs = words & (words >> np.uint64(1)) & np.uint64(0x5555_5555_5555_5555)
            return 2 if pairs.any() else int(words.any())
        case 4:
            octets = words.view(np.uint8)
            low, high = np.bitwise_count(octets & np.uint8(15)), np.bitwise_count(octets >> np.uint8(4))
            return int(max(low.max(), high.max()))
        case 8:
            return int(np.bitwise_count(words.view(np.uint8)).max())
        case 16:
            return int(np.bitwise_count(words.view("<u2")).max())
        case 32:
            return int(np.bitwise_count(words.view("<u4")).max())
        case _:
            raise AssertionError(f"NM_GROUPS has a group length without a counting rule: {m}")


def _live_columns(words: Words, group_max: dict[tuple[Axis, int], int]) -> dict[tuple[int, int], int]:
    """(V, M) -> columns with a bit in any V x M block, or M where a row has more than two in M: most rows of W have."""
    found = {(v, m): m for v, m in _VNM}
    groups = [m for m in VNM_GROUPS[1:] if m in NM_GROUPS and group_max[1, m] <= 2]
    if 16 in groups and _row_group_max(words, 32) <= 2:
        groups.append(32)
    height = 1
    while groups and height < VNM_ROWS[-1]:
        words = words[0::2] | words[1::2]
        height *= 2
        if height in VNM_ROWS:
            found |= {(height, m): _row_group_max(words, m) for m in groups}
    return found


def _rests(words: Words) -> dict[tuple[int, int], int]:
    """Bits beyond the first ``n`` of each aligned group of 4: how many groups have more than n, n + 1, ... of them."""
    if any(m != 4 for _, m in NM_RESTS):
        raise AssertionError(f"NM_RESTS has a group length without a counting rule: {NM_RESTS}")
    pairs = np.uint64(0x5555_5555_5555_5555)
    next_bit, next_pair = np.uint64(1), np.uint64(2)
    shifted = words >> next_bit
    both, one = words & shifted & pairs, (words | shifted) & pairs
    other_both, other_one = both >> next_pair, one >> next_pair
    groups = np.uint64(0x1111_1111_1111_1111)
    two = (both | other_both | (one & other_one)) & groups
    three = ((both & other_one) | (one & other_both)) & groups
    four = both & other_both & groups
    counts = [int(np.bitwise_count(held).sum(dtype=np.int64)) for held in (two, three, four)]
    return {(n, m): sum(counts[n - 1 :]) for n, m in NM_RESTS}


def _block_counts(words: Words) -> dict[tuple[int, int], int]:
    counts: dict[tuple[int, int], int] = {}
    height = 1
    while True:
        for rows, columns in BLOCK_SHAPES:
            if rows == height:
                counts[rows, columns] = _live_groups(words, columns)
        if height == _EDGE:
            return {shape: counts[shape] for shape in BLOCK_SHAPES}
        words = words[0::2] | words[1::2]
        height *= 2


def _live_groups(words: Words, columns: int) -> int:
    """Aligned groups of ``columns`` bits (a power of two up to 64) with at least one bit set."""
    if columns >= 8:
        return int(np.count_nonzero(words.view(f"<u{columns // 8}")))
    lanes = {1: 0xFFFF_FFFF_FFFF_FFFF, 2: 0x5555_5555_5555_5555, 4: 0x1111_1111_1111_1111}[columns]
    shift = 1
    while shift < columns:
        words = words | (words >> np.uint64(shift))
        shift *= 2
    return int(np.bitwise_count(words & np.uint64(lanes)).sum(dtype=np.int64))


def _merge(read: _Read, counts: list[_Counts]) -> SparsityFacts:
    shape = read.shape
    row_nonzeros = np.zeros(shape[0], dtype=np.int64)
    column_nonzeros = np.zeros(shape[1], dtype=np.int64)
    for tile, count in zip(read.tiles, counts, strict=True):
        row_nonzeros[tile.rows] += count.row_nonzeros
        column_nonzeros[tile.columns] += count.column_nonzeros
    row_nonzeros.flags.writeable = column_nonzeros.flags.writeable = False
    axes: tuple[Axis, Axis] = (1, 0)
    return SparsityFacts(
        shape=shape,
        dtype=read.dtype,
        digest=read.digest,
        nonzeros=int(row_nonzeros.sum()),
        row_nonzeros=row_nonzeros,
        column_nonzeros=column_nonzeros,
        group_max={(a, m): max((c.group_max[a, m] for c in counts), default=0) for a in axes for m in NM_GROUPS},
        block_counts={block: sum(c.block_counts[block] for c in counts) for block in BLOCK_SHAPES},
        rests={rest: sum(c.rests[rest] for c in counts) for rest in NM_RESTS},
        live_columns={(v, m): max((c.live_columns[v, m] for c in counts), default=0) for v, m in _VNM},
    )


def _recall(digest: str) -> SparsityFacts | None:
    with _cache_lock:
        if digest in _cache:
            _cache.move_to_end(digest)
        return _cache.get(digest)


def _remember(facts: SparsityFacts) -> SparsityFacts:
    """``facts``, or those that were remembered of the same content meanwhile."""
    with _cache_lock:
        facts = _cache.setdefault(facts.digest, facts)
        while len(_cache) > CACHED_FACTS:
            _cache.popitem(last=False)
    return facts
