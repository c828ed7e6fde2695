"""The entries of packed weights in the order of the kernels' loops, read from the arrays as the kernels read them.

Written beside the encodings' own unpacking, not with it: what the streams of :mod:`spcomp.sim.cpu_streams` take the
arrays to mean is held to the reference by way of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.spec import Encoding
from spcomp.errors import PlanError

Index: TypeAlias = NDArray[np.int64]
Entries: TypeAlias = Iterator[tuple[Index, Index, NDArray[Any]]]
Arrays: TypeAlias = Mapping[str, NDArray[Any]]
LANES = 16


def entries(encoding: Encoding, packed: Arrays, shape: tuple[int, int]) -> Entries:
    """Pieces of (rows, columns, raw bits), padding among them: its bits are 0, and it may lie beyond ``shape``.

    Raises:
        PlanError: an encoding whose kernel's loops are not modelled.
    """
    if encoding.name not in _ENTRIES:
        found = f"{encoding}, whose loops are not modelled"
        raise PlanError("execute a packed weight on a core", found, ", ".join(_ENTRIES))
    return _ENTRIES[encoding.name](encoding.parameters(), packed, shape)


def _lengths(start: NDArray[Any]) -> Index:
    """Offsets -> what lies between them."""
    offsets = start.astype(np.int64)
    return offsets[1:] - offsets[:-1]


def _dense(_: Mapping[str, Any], packed: Arrays, shape: tuple[int, int]) -> Entries:
    bits = packed["values"].reshape(shape)
    rows, columns = np.indices(shape)
    yield rows.ravel(), columns.ravel(), bits.ravel()


def _csr(parameters: Mapping[str, Any], packed: Arrays, shape: tuple[int, int]) -> Entries:
    """Block of columns by block; its rows in turn, or by windows in the order that ``order`` gives."""
    width, window = int(parameters["block_columns"]), int(parameters.get("window", 0))
    places = np.arange(shape[0])
    at = 0
    for block, counts in enumerate(packed["counts"].astype(np.int64)):
        rows = places // window * window + packed["order"][block] if window else places
        stop = at + int(counts.sum())
        columns = packed["columns"][at:stop].astype(np.int64) + block * width
        yield np.repeat(rows, counts), columns, packed["values"][at:stop]
        at = stop


def _sell(parameters: Mapping[str, Any], packed: Arrays, shape: tuple[int, int]) -> Entries:
    """Block of columns by block, window by window: slices whose rows' nonzeros take turns, then those of the rest."""
    width, window, high = (int(parameters[name]) for name in ("block_columns", "window", "rows"))
    start, rest_start = packed["start"].tolist(), packed["rest_start"].tolist()
    windows = -(-shape[0] // window)
    for at in range(len(start) - 1):
        block, first = at // windows, at % windows * window
        order = packed["order"][block, first : first + window].astype(np.int64) + first
        turns = packed["lengths"][block, first // high : (first + len(order)) // high].tolist()
        rows = [np.tile(order[i * high : (i + 1) * high], count) for i, count in enumerate(turns)]
        rows.append(packed["rest_rows"][rest_start[at] : rest_start[at + 1]].astype(np.int64) + first)
        here = slice(start[at], start[at + 1])
        yield np.concatenate(rows), packed["columns"][here].astype(np.int64) + block * width, packed["values"][here]


def _block(parameters: Mapping[str, Any], packed: Arrays, shape: tuple[int, int]) -> Entries:
    """Stored blocks, column by column of each."""
    high, wide = int(parameters["rows"]), int(parameters["cols"])
    blocks = packed["values"].reshape(-1, wide, high)
    held = _lengths(packed["row_start"])
    first = np.repeat(np.arange(len(held)), held) * high
    rows = first[:, None, None] + np.arange(high)[None, None, :] + np.zeros_like(blocks, np.int64)
    columns = packed["columns"].astype(np.int64)[:, None, None] * wide + np.arange(wide)[None, :, None] + rows * 0
    yield rows.ravel(), columns.ravel(), blocks.ravel()


def _nm(parameters: Mapping[str, Any], packed: Arrays, shape: tuple[int, int]) -> Entries:
    """Control words of sixteen rows, slot by slot: a field says where in its group a slot stands."""
    few, many = int(parameters["n"]), int(parameters["m"])
    bits = 2 if many <= 4 else 4
    slots = 32 // bits // few * few
    control = packed["control"].astype(np.int64)
    tiles, words, _ = control.shape
    values = packed["values"].reshape(tiles, words, slots, LANES)
    rows = np.arange(tiles)[:, None, None] * LANES + np.arange(LANES)
    for slot in range(slots):
        inside = slot // few * many + ((control >> (bits * slot)) & ((1 << bits) - 1))
        columns = np.arange(words)[None, :, None] * (slots // few * many) + inside
        yield (rows + 0 * columns).ravel(), columns.ravel(), values[:, :, slot].ravel()


def _window(_: Mapping[str, Any], packed: Arrays, shape: tuple[int, int]) -> Entries:
    """Slots of sixteen rows, whose columns count from where the slot's window begins."""
    slots = _lengths(packed["group_start"])
    places = np.repeat(np.arange(len(slots)), slots)[:, None] * LANES + np.arange(LANES)
    order = np.append(packed["order"].astype(np.int64), np.zeros(-shape[0] % LANES, np.int64))
    columns = packed["first"].astype(np.int64)[:, None] * LANES + packed["columns"]
    yield order[places].ravel(), columns.ravel(), packed["values"].ravel()


def _bitmap(_: Mapping[str, Any], packed: Arrays, shape: tuple[int, int]) -> Entries:
    """Word by word of a row: a bit for each element, and the values of those that are set."""
    masks = np.ascontiguousarray(packed["masks"])
    marks = (masks[:, :, None] >> np.arange(8)) & 1
    rows, columns = np.nonzero(marks.reshape(len(masks), -1))
    yield rows, columns, packed["values"]


_ENTRIES: dict[str, Callable[[Mapping[str, Any], Arrays, tuple[int, int]], Entries]] = {
    "dense": _dense, "csr": _csr, "sorted_csr": _csr, "sell": _sell, "block": _block, "nm": _nm, "window": _window,
    "bitmap": _bitmap,
}  # fmt: skip
