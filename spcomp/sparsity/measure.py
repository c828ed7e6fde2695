"""`measure`: the exact facts of one weight tensor.

The matrix is cut in tiles. Each is hashed; when the content is new, each is turned into one bit per element, and
everything is counted from bytes and bits with whole-tile numpy operations, which release the interpreter lock.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spcomp.sparsity.bits import matrix_shape, weight_bits
from spcomp.sparsity.digest import in_threads, leaf_digest, root_digest
from spcomp.sparsity.facts import BLOCK_SHAPES, NM_GROUPS, NM_RESTS, VNM_GROUPS, VNM_ROWS, Axis, SparsityFacts

if TYPE_CHECKING:
    import torch

Words = NDArray[np.uint64]
"""One bit per element, shape (rows, columns / 64); bit i of word w is column 64 * w + i."""
CACHED_FACTS = 1024
"""Tensors whose facts are remembered; the least recently used one is forgotten first."""
_TILE_COLUMNS = 8192
_TILE_ELEMENTS = 1 << 19
_EDGE = 64
"""Tiles start at multiples of this, so that no group and no block lies in two of them."""
_VNM = tuple((v, m) for v in VNM_ROWS for m in VNM_GROUPS if m > 4)
_cache: OrderedDict[str, SparsityFacts] = OrderedDict()
_cache_lock = Lock()


def measure(weight: torch.Tensor | NDArray[Any]) -> SparsityFacts:
    """Exact facts of a weight of two or more dimensions; more than two are seen as (shape[0], everything else).

    float32, bfloat16, float16 or int8; any strides; a torch tensor or a numpy array. An element is a zero only if
    its bits are those of +0: -0.0 and NaN are nonzeros. Facts are cached by content (up to ``CACHED_FACTS``), so
    measuring the same bytes again costs one hash. Raises :class:`~spcomp.errors.WeightError`.
    """
    array, dtype = weight_bits(weight)
    shape = matrix_shape(array.shape)
    tiles = _tiles(shape)
    leaves = in_threads(lambda tile: _hash_tile(tile.cut(array)), tiles)
    digest = root_digest(f"{dtype} {shape[0]}x{shape[1]}", leaves)
    known = _recall(digest)
    if known is not None:
        return known
    facts = _merge(shape, dtype, digest, tiles, in_threads(lambda tile: _count_tile(tile.cut(array)), tiles))
    _remember(facts)
    return facts


@dataclass(frozen=True)
class _Tile:
    rows: slice
    columns: slice

    def cut(self, array: NDArray[Any]) -> NDArray[Any]:
        """This part of ``array`` (two or more dimensions), as a matrix."""
        strip = array[self.rows]
        return strip.reshape(matrix_shape(strip.shape))[:, self.columns]


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


def _hash_tile(tile: NDArray[Any]) -> bytes:
    return leaf_digest(np.ascontiguousarray(tile).reshape(-1).view(np.uint8).data)


def _count_tile(tile: NDArray[Any]) -> _Counts:
    rows, columns = tile.shape
    mask = np.zeros((_round_up(rows, _EDGE), _round_up(columns, _EDGE)), dtype=np.bool_)
    np.not_equal(tile, 0, out=mask[:rows, :columns])
    words = np.packbits(mask, axis=1, bitorder="little").view("<u8")
    group_max: dict[tuple[Axis, int], int] = {(1, m): _row_group_max(words, m) for m in NM_GROUPS}

    sums = mask.view(np.uint8)
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
        rests={(n, m): _rest(words, n, m) for n, m in NM_RESTS},
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


def _rest(words: Words, n: int, m: int) -> int:
    """Bits beyond the first ``n`` of each aligned group of 4: how many groups have more than n, n + 1, ... of them."""
    if m != 4:
        raise AssertionError(f"NM_RESTS has a group length without a counting rule: {m}")
    pairs = np.uint64(0x5555_5555_5555_5555)
    next_pair = np.uint64(2)
    both, one = words & (words >> np.uint64(1)) & pairs, (words | (words >> np.uint64(1))) & pairs
    two = both | (both >> next_pair) | (one & (one >> next_pair))
    three = (both & (one >> next_pair)) | (one & (both >> next_pair))
    four = both & (both >> next_pair)
    groups = np.uint64(0x1111_1111_1111_1111)
    return sum(int(np.bitwise_count(held & groups).sum(dtype=np.int64)) for held in (two, three, four)[n - 1 :])


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


def _merge(shape: tuple[int, int], dtype: str, digest: str, tiles: list[_Tile], counts: list[_Counts]) -> SparsityFacts:
    row_nonzeros = np.zeros(shape[0], dtype=np.int64)
    column_nonzeros = np.zeros(shape[1], dtype=np.int64)
    for tile, count in zip(tiles, counts, strict=True):
        row_nonzeros[tile.rows] += count.row_nonzeros
        column_nonzeros[tile.columns] += count.column_nonzeros
    row_nonzeros.flags.writeable = column_nonzeros.flags.writeable = False
    axes: tuple[Axis, Axis] = (1, 0)
    return SparsityFacts(
        shape=shape,
        dtype=dtype,
        digest=digest,
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


def _remember(facts: SparsityFacts) -> None:
    with _cache_lock:
        _cache[facts.digest] = facts
        while len(_cache) > CACHED_FACTS:
            _cache.popitem(last=False)
