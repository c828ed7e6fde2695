"""The accesses of CPU kernels once more, in slow and obvious Python from the dense weight.

A stream is a list of ``(line, kind)``. Loops are those of the generated text under ``spcomp/codegen/mlir_cpu``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

READ, WRITE, AHEAD = range(3)
PANEL, CHUNK, LANES = 8, 512, 16


class Lines:
    """Accesses in order. What a named stream reads again from its last line is left out; ahead it only moves on."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []
        self.last: dict[str, int] = {}

    def add(self, where: int, kind: int = READ, stream: str = "") -> None:
        line = where // 64
        if stream:
            if (line <= self.last.get(stream, -1)) if kind == AHEAD else (line == self.last.get(stream)):
                return
            self.last[stream] = line
        self.found.append((line, kind))

    def follow(self, stream: str, other: str) -> None:
        """``stream`` goes on where ``other`` was."""
        self.last[stream] = self.last.get(other, -1)

    def restart(self) -> None:
        """Another function begins: it remembers no line."""
        self.last.clear()


def spans(tiles: int, most: int) -> list[tuple[int, int, int]]:
    """As the token kernels cover tiles: by sizes that are at least three quarters full."""
    found, at = [], 0
    while at < tiles:
        size = most
        while tiles - at < 0.75 * size:
            size //= 2
        count = max(1, (tiles - at) // size)
        found.append((at, at + count * size, size))
        at += count * size
    return found


def tiled(
    weight: NDArray[Any], m: int, tiles: int, columns: int, per: int, at: Mapping[str, int], bias: bool, body: Any
) -> Lines:
    """Pack, products by ``body(lines, lo, hi, size, x, y, x_stride, y_stride)`` over units of ``per`` rows, unpack."""
    n, k = weight.shape
    out = Lines()
    if columns % 64 == 0:
        columns += 72 if columns % 512 == 0 else 8
    chunk = max(CHUNK, min(per * 16 // math.gcd(16, per), -(-n // 16) * 16))
    ys_stride = (chunk + 8) * 64
    xs = at["scratch"]
    ys = xs + PANEL * LANES * columns * 4
    for row in range(0, m, PANEL * LANES):
        rows = min(PANEL * LANES, m - row)
        parts = spans(-(-rows // LANES), tiles)
        pieces = [(t, c) for t in range(parts[-1][1]) for c in range(0, k, 16)]
        out.restart()
        for t, c in pieces:
            for r in range(t * 16, min(t * 16 + 16, rows)):
                first = at["x"] + ((row + r) * k + c) * 4
                for line in range(first // 64, (first + min(16, k - c) * 4 - 1) // 64 + 1):
                    out.add(line * 64)
            for j in range(c, columns if c + 16 >= k else c + 16):
                out.add(xs + (t * columns + j) * 64, WRITE)
        units = -(-n // per)
        multiple = 16 // math.gcd(16, per)
        step = max(multiple, chunk // per // multiple * multiple)
        for lo in range(0, units, step):
            hi = min(units, lo + step)
            for first_tile, last_tile, size in parts:
                for tile in range(first_tile, last_tile, size):
                    y = ys - lo * per * 64 + tile * ys_stride
                    body(out, lo, hi, size, xs + tile * columns * 64, y, columns * 64, ys_stride)
            out.restart()
            end = min(n, hi * per)
            for t in range(parts[-1][1]):
                for f in range(lo * per, end, 16):
                    wide = min(16, end - f)
                    for i in range(wide):
                        out.add(ys + t * ys_stride + (f - lo * per + i) * 64)
                    if bias:
                        out.add(at["bias"] + 4 * f)
                    for r in range(t * 16, min(t * 16 + 16, rows)):
                        first = at["y"] + ((row + r) * n + f) * 4
                        for line in range(first // 64, (first + wide * 4 - 1) // 64 + 1):
                            out.add(line * 64, WRITE)
    return out


def csr_body(weight: NDArray[Any], width: int, window: int, items: tuple[int, int], at: Mapping[str, int]) -> Any:
    """Blocked rows; with a window those of each window by length, shortest first, with few tiles three together."""
    n, k = weight.shape
    per = window or 1
    mean = np.count_nonzero(weight) / (n * -(-k // width))

    def order(block: NDArray[Any]) -> list[int]:
        if not window:
            return list(range(n))
        counts = (block != 0).sum(axis=1)
        return [r for w in range(0, n, window) for r in sorted(range(w, min(n, w + window)), key=lambda r: counts[r])]

    def groups(lo: int, hi: int, size: int) -> list[range]:
        if not window or size > 2 or mean < 16:
            return [range(place, place + 1) for place in range(lo, hi)]
        found = []
        for begin in range(lo, hi, window):
            end = min(hi, begin + window)
            whole = begin + (end - begin) // 3 * 3
            found += [range(place, place + 3) for place in range(begin, whole, 3)]
            found += [range(place, place + 1) for place in range(whole, end)]
        return found

    def body(out: Lines, lo: int, hi: int, size: int, x: int, y: int, x_stride: int, y_stride: int) -> None:
        before = 0
        for b, c in enumerate(range(0, k, width)):
            block = weight[:, c : c + width]
            rows = order(block)
            begins = before + np.cumsum([0, *(np.count_nonzero(block[row]) for row in rows)])
            before = int(begins[-1])
            out.restart()

            def nonzero(column: int, p: int, name: str, first: int = c) -> None:
                out.add(at["columns"] + p * items[0], stream=f"columns {name}")
                out.add(at["values"] + p * 4, stream=f"values {name}")
                for t in range(size):
                    out.add(x + t * x_stride + (first + column) * 64)

            for group in groups(lo * per, min(n, hi * per), size):
                found = {place: np.flatnonzero(block[rows[place]]) for place in group}
                sums = {place: [y + t * y_stride + rows[place] * 64 for t in range(size)] for place in group}
                for place in group if window else []:
                    out.add(at["order"] + b * n + place, stream="order")
                for i, place in enumerate(group):
                    out.add(at["counts"] + (b * n + place) * items[1], stream="counts")
                    for where in sums[place] if b else []:
                        out.add(where)
                    p = int(begins[place])
                    out.add(at["values"] + (p + 1024) * 4, AHEAD, "ahead")
                    out.add(at["values"] + (p + 1040) * 4, AHEAD, "ahead")
                    out.add(at["columns"] + (p + 1024) * items[0], AHEAD, "ahead columns")
                    for stream in ("columns", "values"):
                        out.follow(f"{stream} {i}", stream)
                shortest = min(len(f) for f in found.values()) if len(group) > 1 else 0
                for turn in range(shortest):
                    for i, place in enumerate(group):
                        nonzero(int(found[place][turn]), int(begins[place]) + turn, str(i))
                for i, place in enumerate(group):
                    for turn in range(shortest, len(found[place])):
                        nonzero(int(found[place][turn]), int(begins[place]) + turn, str(i))
                    for where in sums[place]:
                        out.add(where, WRITE)
                for stream in ("columns", "values"):
                    out.follow(stream, f"{stream} {len(group) - 1}")

    return body


def sell_body(weight: NDArray[Any], width: int, window: int, high: int, item: int, at: Mapping[str, int]) -> Any:
    """Slices of ``high`` rows of a window in turn, then what its rows have more; ``item``: bytes of a length."""
    n, k = weight.shape
    slices = -(-n // high)

    def body(out: Lines, lo: int, hi: int, size: int, x: int, y: int, x_stride: int, y_stride: int) -> None:
        p, q, number = 0, 0, 0
        for b, c in enumerate(range(0, k, width)):
            out.restart()
            for w in range(0, n, window):
                rows = range(w, min(n, w + window))
                found = {r: list(np.flatnonzero(weight[r, c : c + width])) for r in rows}
                order = sorted(rows, key=lambda r: len(found[r]))
                whole = len(order) // high * high
                lengths = [len(found[order[i]]) for i in range(0, whole, high)]
                used = {r: lengths[i // high] if i < whole else 0 for i, r in enumerate(order)}
                rest = sorted((t - used[r], i, r) for i, r in enumerate(order) for t in range(used[r], len(found[r])))
                skipped = not lo <= w // window < hi
                if not skipped:
                    window_of(
                        out, (b, c, w, p, q, number), order, lengths, found, rest, used, size, x, y, x_stride, y_stride
                    )
                p, q, number = p + sum(len(f) for f in found.values()), q + len(rest), number + 1

    def window_of(
        out: Lines, where: tuple[int, ...], order: list[int], lengths: list[int], found: dict[int, Any],
        rest: list[Any], used: dict[int, int], size: int, x: int, y: int, x_stride: int, y_stride: int,
    ) -> None:  # fmt: skip
        b, c, w, p, q, number = where
        sums = {r: [y + t * y_stride + r * 64 for t in range(size)] for r in order}
        out.add(at["start"] + 8 * number, stream="start")
        for s, turns in enumerate(lengths):
            mine = order[s * high : s * high + high]
            for r in range(high):
                out.add(at["order"] + b * n + w + s * high + r, stream="order")
            out.add(at["lengths"] + (b * slices + w // high + s) * item, stream="lengths")
            for one in (one for r in mine for one in sums[r] if b):
                out.add(one)
            out.add(at["columns"] + p + 1024, AHEAD, "ahead columns")
            for turn in range(turns):
                out.add(at["values"] + (p + 1024) * 4, AHEAD, "ahead")
                out.add(at["columns"] + p, stream="columns")
                out.add(at["columns"] + p + high - 1, stream="columns")
                for r in mine:
                    out.add(at["values"] + p * 4, stream="values")
                    for t in range(size):
                        out.add(x + t * x_stride + (c + int(found[r][turn])) * 64)
                    p += 1
            for one in (one for r in mine for one in sums[r]):
                out.add(one, WRITE)
        for i in range(len(lengths) * high, len(order) if not b else 0):
            out.add(at["order"] + b * n + w + i, stream="order")
            for one in sums[order[i]]:
                out.add(one, WRITE)
        out.add(at["rest_start"] + 8 * number, stream="rest start")
        out.add(at["rest_start"] + 8 * (number + 1), stream="rest start")
        for turn, _, r in rest:
            out.add(at["columns"] + p, stream="columns")
            out.add(at["rest_rows"] + q, stream="rest rows")
            for one in sums[r]:
                out.add(one)
            out.add(at["values"] + p * 4, stream="values")
            for t in range(size):
                out.add(x + t * x_stride + (c + int(found[r][turn + used[r]])) * 64)
            for one in sums[r]:
                out.add(one, WRITE)
            p, q = p + 1, q + 1

    return body


def block_body(weight: NDArray[Any], rows: int, cols: int, at: Mapping[str, int]) -> Any:
    """Live blocks of each block row, their columns written out."""
    n, k = weight.shape
    padded = np.zeros((-(-n // rows) * rows, -(-k // cols) * cols))
    padded[:n, :k] = weight
    live = (padded.reshape(-(-n // rows), rows, -(-k // cols), cols) != 0).any(axis=(1, 3))

    def body(out: Lines, lo: int, hi: int, size: int, x: int, y: int, x_stride: int, y_stride: int) -> None:
        out.restart()
        p = int(live[:lo].sum())
        for r in range(lo, hi):
            out.add(at["row_start"] + 4 * r, stream="start")
            out.add(at["row_start"] + 4 * r + 4, stream="start")
            for block in np.flatnonzero(live[r]):
                out.add(at["columns"] + 4 * p, stream="columns")
                value = at["values"] + p * rows * cols * 4
                for ahead in range(min(4, -(-rows * cols // 16))):
                    out.add(value + (1024 + 16 * ahead) * 4, AHEAD, "ahead")
                for c in range(cols):
                    for t in range(size):
                        out.add(x + t * x_stride + (int(block) * cols + c) * 64)
                    for i in range(rows):
                        out.add(value + (c * rows + i) * 4, stream="values")
                p += 1
            for i in range(min(rows, n - r * rows)):
                for t in range(size):
                    out.add(y + t * y_stride + (r * rows + i) * 64, WRITE)

    return body


def nm_body(control: NDArray[Any], n: int, few: int, many: int, at: Mapping[str, int]) -> Any:
    """Every slot of every pair of rows, sixteen rows a tile; a slot's column is read from the control word."""
    bits = 2 if many <= 4 else 4
    slots, words = 32 // bits // few * few, control.shape[1]
    width = slots // few * many

    def body(out: Lines, lo: int, hi: int, size: int, x: int, y: int, x_stride: int, y_stride: int) -> None:
        step = {8: 1, 4: 1, 2: 4, 1: 8}[size]
        for first in range(0, words, step):
            for row in range(lo * 16, hi * 16, 2):
                pair = (row, row + 1)
                sums = [y + t * y_stride + r * 64 for r in pair for t in range(size)]
                for where in sums if first else []:
                    out.add(where)
                for word in range(first, min(words, first + step)):
                    here = row // 16 * words + word
                    for r in pair:
                        out.add(at["control"] + (here * 16 + r % 16) * 4)
                    for r in pair:
                        for slot in range(0, slots, 16):
                            out.add(at["values"] + ((here + words) * slots + r % 16 + slot) * 64, AHEAD)
                    for slot in range(slots):
                        for r in pair:
                            out.add(at["values"] + ((here * slots + slot) * 16 + r % 16) * 4)
                            field = int(control[row // 16, word, r % 16]) >> bits * slot & (1 << bits) - 1
                            for t in range(size):
                                out.add(x + t * x_stride + (word * width + slot // few * many + field) * 64)
                for where in sums:
                    out.add(where, WRITE)

    return body
