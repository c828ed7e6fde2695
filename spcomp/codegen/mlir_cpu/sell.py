"""Slices of rows x packed activations: one load of indices, then a broadcast and ``tiles`` multiply-adds for each row.

With one or two tiles a row alone has too few sums for two multiply-add units, and half of the time goes to the ends of
rows that were guessed wrong. A slice has ``rows x tiles`` sums in registers and one end; what its rows have more than
the shortest is added to the sums in memory, by a loop a window. A load of indices is one for the whole slice: what is
left for the loads' ports is a weight and its x.
"""

from __future__ import annotations

from spcomp.codegen.mlir_cpu.csr import AHEAD, load_weight, prefetch
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function
from spcomp.encodings.sell import Sell


def sell_text(
    n: int, padded_n: int, padded_k: int, k: int, encoding: Sell, tiles: int, count: str, dtype: str = "f32"
) -> str:
    """``sell(xs, ys, values, columns, lengths, order, rest_rows, start, rest_start, tile_lo, tile_hi, window_lo,
    window_hi)``.

    xs [*, padded_k, 16], ys [*, padded_n, 16]; the buffers are those of :class:`~spcomp.encodings.sell.Sell`. Tiles are
    taken ``tiles`` at a time: ``tile_hi - tile_lo`` must be a multiple. ``encoding.rows`` is 4 or 8: their indices are
    one load.
    """
    f = Function(
        "sell",
        (
            ("xs", "f32"), ("ys", "f32"), ("values", dtype), ("columns", "i8"), ("lengths", count), ("order", "i8"),
            ("rest_rows", "i8"), ("start", "i64"), ("rest_start", "i64"),
        ),
        ("tile_lo", "tile_hi", "window_lo", "window_hi"),
    )  # fmt: skip
    windows, slices = encoding.windows(n), encoding.slices(n)
    body = _Window(f, n, padded_n, padded_k, encoding, tiles, count, dtype)
    blocks = -(-k // encoding.block_columns)
    with f.loop("%tile_lo", "%tile_hi", f.idx(tiles), hint="tile") as tile:
        x0 = f.mul(tile.index, f.idx(padded_k * LANES))
        y0 = f.mul(tile.index, f.idx(padded_n * LANES))
        for lo, hi in ((0, 1), (1, blocks)) if blocks > 1 else ((0, 1),):
            with f.loop(f.idx(lo), f.idx(hi), hint="block") as block:
                x_block = f.add(x0, f.mul(block.index, f.idx(encoding.block_columns * LANES)))
                window0 = f.mul(block.index, f.idx(windows))
                slice0 = f.mul(block.index, f.idx(slices))
                order0 = f.mul(block.index, f.idx(n))
                with f.loop("%window_lo", "%window_hi", hint="window") as window:
                    body.write(window.index, window0, slice0, order0, x_block, y0, first=lo == 0)
    return f.text()


class _Window:
    """One window of rows times one block of columns."""

    def __init__(
        self, f: Function, n: int, padded_n: int, padded_k: int, encoding: Sell, tiles: int, count: str, dtype: str
    ) -> None:
        self.f, self.n, self.encoding, self.tiles, self.count, self.dtype = f, n, encoding, tiles, count, dtype
        self.y_step, self.x_step = padded_n * LANES, padded_k * LANES

    def write(self, window: str, window0: str, slice0: str, order0: str, x0: str, y0: str, *, first: bool) -> None:
        """``window0``, ``slice0``, ``order0``: where this block of columns begins in the tables of those."""
        f, rows, size = self.f, self.encoding.rows, self.encoding.window
        at = f.add(window0, window)
        lo = f.mul(window, f.idx(size))
        hi = f.val(f"arith.minui {f.add(lo, f.idx(size))}, {f.idx(self.n)} : index", "i")
        y_window = f.add(y0, f.mul(lo, f.idx(LANES)))
        order1 = f.add(order0, lo)
        slice1 = f.add(slice0, f.mul(window, f.idx(size // rows)))
        begin = f.load_index("%start", at, "i64")
        whole = f.val(f"arith.divui {f.sub(hi, lo)}, {f.idx(rows)} : index", "i")
        with f.loop(f.idx(0), whole, carried=[(begin, "index")], hint="slice") as one:
            places = self._places(f.add(order1, f.mul(one.index, f.idx(rows))), rows, y_window)
            turns = f.load_index("%lengths", f.add(slice1, one.index), self.count)
            f.yield_([self._slice(one.carried[0], turns, places, x0, first=first)], ["index"])
        if first and self.n % rows:
            with f.loop(f.mul(whole, f.idx(rows)), f.sub(hi, lo), hint="place") as place:
                for out in self._places(f.add(order1, place.index), 1, y_window)[0]:
                    f.vstore(f.splat("0.0"), "%ys", out)
        self._rest(at, one.results[0], x0, y_window)

    def _places(self, at: str, rows: int, y_window: str) -> list[list[str]]:
        """Where the sums of ``rows`` rows, named from ``order[at]`` on, stand: by row and tile."""
        f = self.f
        found = []
        for r in range(rows):
            row = f.load_index("%order", f.add(at, f.idx(r)) if r else at, "i8")
            out = f.add(y_window, f.mul(row, f.idx(LANES)))
            found.append([f.add(out, f.idx(t * self.y_step)) if t else out for t in range(self.tiles)])
        return found

    def _slice(self, begin: str, turns: str, places: list[list[str]], x0: str, *, first: bool) -> str:
        """A slice whose values stand from ``begin`` on; returns where they end."""
        f, rows = self.f, len(places)
        sums = [f.splat("0.0") if first else f.vload("%ys", out) for own in places for out in own]
        end = f.add(begin, f.mul(turns, f.idx(rows)))
        prefetch(f, "%columns", begin, 1, "i8")
        with f.loop(begin, end, f.idx(rows), [(s, VEC) for s in sums], hint="p") as turn:
            ahead = f.add(turn.index, f.idx(AHEAD))
            f.do(f"memref.prefetch %values[{ahead}], read, locality<3>, data : memref<?x{self.dtype}>")
            index = self._indices(turn.index, rows)
            new: list[str] = []
            for r in range(rows):
                own = turn.carried[r * self.tiles : (r + 1) * self.tiles]
                place = f.add(turn.index, f.idx(r)) if r else turn.index
                new += self._added(place, f.add(x0, index[r]), own)
            f.yield_(new, [VEC] * len(new))
        for out, total in zip([out for own in places for out in own], turn.results, strict=True):
            f.vstore(total, "%ys", out)
        return end

    def _indices(self, at: str, rows: int) -> list[str]:
        """Columns from ``columns[at]`` on, one for each row, times the lanes: one load, then shifts."""
        f, word = self.f, f"i{8 * rows}"
        loaded = f.val(f"vector.load %columns[{at}] : memref<?xi8>, vector<{rows}xi8>", "c")
        whole = f.val(f"vector.bitcast {loaded} : vector<{rows}xi8> to vector<1x{word}>", "c")
        packed = f.val(f"vector.extract {whole}[0] : {word} from vector<1x{word}>", "c")
        wide = packed if word == "i64" else f.val(f"arith.extui {packed} : {word} to i64", "c")
        found = []
        for r in range(rows):
            shifted = f.val(f"arith.shrui {wide}, {f.const(str(8 * r), 'i64')} : i64", "c") if r else wide
            column = f.val(f"arith.andi {shifted}, {f.const('255', 'i64')} : i64", "c")
            found.append(f.mul(f.val(f"arith.index_cast {column} : i64 to index", "i"), f.idx(LANES)))
        return found

    def _added(self, at: str, x_at: str, sums: list[str]) -> list[str]:
        """The nonzero ``at`` times its column of x, added to its row's sums."""
        f = self.f
        weight = load_weight(f, "%values", at, self.dtype)
        return [
            f.fma(weight, f.vload("%xs", f.add(x_at, f.idx(t * self.x_step)) if t else x_at), total)
            for t, total in enumerate(sums)
        ]

    def _rest(self, at: str, values_from: str, x0: str, y_window: str) -> None:
        """What is left of all rows of the window, added to the sums in memory."""
        f = self.f
        lo = f.load_index("%rest_start", at, "i64")
        hi = f.load_index("%rest_start", f.add(at, f.idx(1)), "i64")
        past = f.sub(values_from, lo)
        with f.loop(lo, hi, hint="left") as left:
            place = f.add(past, left.index)
            column = f.load_index("%columns", place, "i8")
            row = f.load_index("%rest_rows", left.index, "i8")
            out = f.add(y_window, f.mul(row, f.idx(LANES)))
            places = [f.add(out, f.idx(t * self.y_step)) if t else out for t in range(self.tiles)]
            sums = [f.vload("%ys", one) for one in places]
            for one, total in zip(
                places, self._added(place, f.add(x0, f.mul(column, f.idx(LANES))), sums), strict=True
            ):
                f.vstore(total, "%ys", one)
