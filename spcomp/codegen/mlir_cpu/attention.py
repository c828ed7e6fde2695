"""Attention on tiles: sixteen queries in the lanes of a register, keys and values as broadcast operands.

    scores [keys][queries of two tiles]:  8 keys x 2 tiles in registers, a loop over the width of a head
    softmax over the keys:                registers side by side, nothing is summed up across lanes
    result [width][queries]:              8 features x 2 tiles in registers, a loop over the keys

A mask is added to the scores as they leave the registers; causal attention ends its loops over keys with the queries'
own tile, of whose scores some lanes are -inf.

q, k and v are features of tiles [tiles, features, 16] as layers on tiles make them, side by side in one result or each
of its own; the scores of two tiles of queries and one head stay in L1 or L2.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.epilogue import exp
from spcomp.codegen.mlir_cpu.laid_down import Work
from spcomp.codegen.mlir_cpu.scratch import scratch
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function
from spcomp.ops_attention import Heads

BLOCK = 8
"""Keys, or features of the result, whose sums are kept in registers for each of two tiles."""
FLOAT_BYTES = 4
LOWEST = "0xFF800000"
"""-inf."""
LOWEST_FINITE = "0xFF7FFFFF"


@dataclass(frozen=True)
class Attention:
    """One attention: its heads, the features that a tile of each operand has, and the number of tiles."""

    heads: Heads
    features: tuple[int, int, int]
    tiles: int
    masks: tuple[int, int] | None = None
    """Of a mask: how many there are for the sequences (one, or one each), and for the heads."""

    @property
    def sequence(self) -> int:
        """Tiles of one sequence."""
        return -(-self.heads.length // LANES)

    @property
    def together(self) -> int:
        """Tiles of queries that read keys and values together."""
        return 2 if self.sequence % 2 == 0 else 1

    @property
    def items(self) -> int:
        """Queries read together x heads."""
        return self.tiles // self.together * self.heads.count

    @property
    def room_bytes(self) -> int:
        """The scores of a thread."""
        return FLOAT_BYTES * LANES * LANES * self.sequence * self.together

    @property
    def names(self) -> tuple[str, ...]:
        """Of the function's buffers."""
        return ("q", "k", "v", *(("mask",) if self.masks else ()), "scores", "y")

    def text(self) -> str:
        """``attention(q, k, v, [mask,] scores, y, lo, hi)``: for the items from lo to hi, all heads of some queries
        first."""
        return _Writer(self).text()


class _Writer:
    def __init__(self, attention: Attention) -> None:
        self.a, self.heads = attention, attention.heads
        self.f = Function("attention", tuple((name, "f32") for name in attention.names), ("lo", "hi"))
        self.q_step, self.k_step, self.v_step = (n * LANES for n in attention.features)
        self.whole, self.rest = divmod(self.heads.length, LANES)
        """Tiles of keys, and keys of a last one that is not full."""
        self.first, self.mask = "", ""
        """Of the queries' tiles the first one's number in its sequence, and where its mask stands."""

    def text(self) -> str:
        f, a, heads = self.f, self.a, self.heads
        with f.loop("%lo", "%hi", hint="item") as item:
            group = f.val(f"arith.divui {item.index}, {f.idx(heads.count)} : index", "i")
            head = f.mul(f.val(f"arith.remui {item.index}, {f.idx(heads.count)} : index", "i"), f.idx(heads.width))
            tile = f.mul(group, f.idx(a.together))
            sequence = f.val(f"arith.divui {tile}, {f.idx(a.sequence)} : index", "i")
            of_keys = f.mul(sequence, f.idx(a.sequence))
            if a.masks or heads.causal:
                self.first = f.sub(tile, of_keys)
            if a.masks:
                self.mask = self._mask_of(
                    sequence, f.val(f"arith.remui {item.index}, {f.idx(heads.count)} : index", "i")
                )
            first = [f.mul(f.add(head, f.idx(start)), f.idx(LANES)) for start in heads.firsts]
            q = f.add(first[0], f.mul(tile, f.idx(self.q_step)))
            k = f.add(first[1], f.mul(of_keys, f.idx(self.k_step)))
            v = f.add(first[2], f.mul(of_keys, f.idx(self.v_step)))
            made = heads.count * heads.width * LANES
            y = f.add(f.mul(head, f.idx(LANES)), f.mul(tile, f.idx(made)))
            most = self._scores(q, k)
            shares = self._softmax(most)
            self._result(v, y, made, shares)
        return f.text()

    def _mask_of(self, sequence: str, head: str) -> str:
        """Where the mask of these queries begins."""
        f, a = self.f, self.a
        assert a.masks is not None
        at = f.mul(sequence, f.idx(a.masks[1])) if a.masks[0] > 1 else f.idx(0)
        at = f.add(at, head) if a.masks[1] > 1 else at
        tile = f.add(f.mul(at, f.idx(a.sequence)), self.first)
        return f.mul(tile, f.idx(self.heads.length * LANES))

    def _masked(self, score: str, number: str, key: int, t: int, diagonal: int | None) -> str:
        """The score of a key of tile ``number`` for the queries of tile ``t`` of those read together, as they see it;
        ``diagonal``: the number of the keys' tile among those, of causal attention."""
        f = self.f
        if self.a.masks:
            at = f.add(f.mul(number, f.idx(LANES * LANES)), f.idx(key * LANES + t * self.heads.length * LANES))
            return f.fma(score, f.splat(self.heads.scale), f.vload("%mask", f.add(self.mask, at)))
        if diagonal is None or diagonal < t:
            return score
        seen = ", ".join("true" if diagonal == t and lane >= key else "false" for lane in range(LANES))
        mask = f.const(f"dense<[{seen}]>", MASK)
        return f.val(f"arith.select {mask}, {score}, {f.splat(LOWEST)} : {MASK}, {VEC}", "s")

    def _scores(self, q: str, k: str) -> list[str]:
        """All scores; the largest of each query."""
        f, together = self.f, self.a.together
        largest = [f.splat(LOWEST)] * together

        def tile(number: str, keys: int, largest: Sequence[str], diagonal: int | None = None) -> list[str]:
            at = f.add(k, f.mul(number, f.idx(self.k_step)))
            to = f.mul(number, f.idx(LANES * LANES * together))
            for lo in range(0, keys, BLOCK):
                size = min(BLOCK, keys - lo)
                zeros = [(f.splat("0.0"), VEC)] * (size * together)
                with f.loop(f.idx(0), f.idx(self.heads.width), carried=zeros, hint="d") as d:
                    feature = f.mul(d.index, f.idx(LANES))
                    query = f.add(q, feature)
                    queries = [f.vload("%q", f.add(query, f.idx(t * self.q_step))) for t in range(together)]
                    key = f.add(at, feature)
                    sums = []
                    for i in range(size):
                        weight = f.broadcast(f.load("%k", f.add(key, f.idx(lo + i))))
                        sums += [f.fma(weight, x, d.carried[i * together + t]) for t, x in enumerate(queries)]
                    f.yield_(sums, [VEC] * len(sums))
                seen = [
                    self._masked(score, number, lo + i // together, i % together, diagonal)
                    for i, score in enumerate(d.results)
                ]
                for i, score in enumerate(seen):
                    f.vstore(score, "%scores", f.add(to, f.idx((lo * together + i) * LANES)))
                for t in range(together):
                    for score in seen[t::together]:
                        one = f.val(f"arith.maximumf {largest[t]}, {score} : {VEC}", "x")
                        largest = [*largest[:t], one, *largest[t + 1 :]]
            return list(largest)

        whole = self.first if self.heads.causal else f.idx(self.whole)
        if self.whole:
            with f.loop(f.idx(0), whole, carried=[(one, VEC) for one in largest], hint="t") as number:
                f.yield_(tile(number.index, LANES, number.carried), [VEC] * together)
            largest = number.results
        if self.heads.causal:
            for t in range(together):
                largest = tile(f.add(whole, f.idx(t)) if t else whole, LANES, largest, t)
        return tile(f.idx(self.whole), self.rest, largest) if self.rest else largest

    def _softmax(self, largest: Sequence[str]) -> list[str]:
        """Scores to powers of e in place; one over their sum for each query."""
        f, together, scale = self.f, self.a.together, self.f.splat(self.heads.scale)
        if self.a.masks:  # scaled already; of -inf alone the differences are no numbers
            tops = [f.val(f"arith.maximumf {one}, {f.splat(LOWEST_FINITE)} : {VEC}", "x") for one in largest]
        else:
            tops = [f.val(f"arith.mulf {one}, {scale} : {VEC}", "x") for one in largest]
        keys = f.mul(self._key_tiles(), f.idx(LANES)) if self.heads.causal else f.idx(self.heads.length)
        with f.loop(f.idx(0), keys, carried=[(f.splat("0.0"), VEC)] * together, hint="j") as j:
            at = f.mul(j.index, f.idx(together * LANES))
            sums = []
            for t, top in enumerate(tops):
                place = f.add(at, f.idx(t * LANES))
                scaled = f.vload("%scores", place)
                if not self.a.masks:
                    scaled = f.val(f"arith.mulf {scaled}, {scale} : {VEC}", "s")
                grown = exp(f, f.val(f"arith.subf {scaled}, {top} : {VEC}", "s"))
                f.vstore(grown, "%scores", place)
                sums.append(f.val(f"arith.addf {j.carried[t]}, {grown} : {VEC}", "s"))
            f.yield_(sums, [VEC] * together)
        shares = [f.val(f"arith.divf {f.splat(1.0)}, {total} : {VEC}", "r") for total in j.results]
        if not self.a.masks:
            return shares
        some = [f.val(f"arith.cmpf une, {one}, {f.splat(LOWEST)} : {VEC}", "m") for one in largest]
        return [
            f.val(f"arith.select {m}, {share}, {f.splat('0.0')} : {MASK}, {VEC}", "r")
            for m, share in zip(some, shares, strict=True)
        ]

    def _key_tiles(self) -> str:
        """Tiles of keys that any of these queries sees."""
        return self.f.add(self.first, self.f.idx(self.a.together)) if self.heads.causal else self.f.idx(self.whole)

    def _result(self, v: str, y: str, made: int, shares: Sequence[str]) -> None:
        f, together = self.f, self.a.together
        with f.loop(f.idx(0), f.idx(self.heads.width), f.idx(BLOCK), hint="d") as d:
            feature = f.mul(d.index, f.idx(LANES))
            from_, to = f.add(v, feature), f.add(y, feature)
            sums = [f.splat("0.0")] * (BLOCK * together)

            def tile(number: str, keys: int, sums: Sequence[str]) -> list[str]:
                first = f.add(from_, f.mul(number, f.idx(self.v_step)))
                powers = f.mul(number, f.idx(LANES * LANES * together))
                with f.loop(f.idx(0), f.idx(keys), carried=[(one, VEC) for one in sums], hint="j") as j:
                    at = f.add(powers, f.mul(j.index, f.idx(together * LANES)))
                    power = [f.vload("%scores", f.add(at, f.idx(t * LANES))) for t in range(together)]
                    value = f.add(first, j.index)
                    new = []
                    for i in range(BLOCK):
                        weight = f.broadcast(f.load("%v", f.add(value, f.idx(i * LANES))))
                        new += [f.fma(weight, p, j.carried[i * together + t]) for t, p in enumerate(power)]
                    f.yield_(new, [VEC] * len(new))
                return list(j.results)

            if self.whole:
                with f.loop(f.idx(0), self._key_tiles(), carried=[(one, VEC) for one in sums], hint="t") as number:
                    f.yield_(tile(number.index, LANES, number.carried), [VEC] * len(sums))
                sums = number.results
            if self.rest:
                sums = tile(f.idx(self.whole), self.rest, sums)
            for i, total in enumerate(sums):
                part = f.val(f"arith.mulf {total}, {shares[i % together]} : {VEC}", "y")
                f.vstore(part, "%y", f.add(to, f.idx(i // together * LANES + i % together * made)))


@functools.lru_cache(maxsize=64)
def compiled(attention: Attention) -> jit.Compiled:
    return jit.compile_text("attention", attention.text(), len(attention.names), 2)


def _threads(attention: Attention) -> int:
    """How many an attention deserves now."""
    heads = attention.heads
    products = (1 if heads.causal else 2) * attention.items * attention.together * LANES * heads.length * heads.width
    return min(attention.items, parallel.threads_for(products, LANES))


def _stage(attention: Attention, threads: int, *places: int) -> list[parallel.Stage]:
    """``places``: of q, k, v, the mask if there is one, y and the scores."""
    *reads, y, scores = places
    function, room = compiled(attention), attention.room_bytes
    shares = _shares(attention, threads)
    return [[[(function, (*reads, scores + i * room, y, *share)) for share in mine] for i, mine in enumerate(shares)]]


def _shares(attention: Attention, threads: int) -> list[list[parallel.Range]]:
    """Items of each thread. Of causal attention later queries see more keys: each thread has some of both ends."""
    if not attention.heads.causal:
        return [[share] for share in parallel.even(attention.items, threads)]
    pieces = parallel.even(attention.items, 2 * threads)
    return [[pieces[i], pieces[-1 - i]] for i in range(threads)]


def attend_tiles(attention: Attention) -> Work:
    """Of q, k and v on tiles, and the mask if there is one."""
    threads = _threads(attention)
    compiled(attention)

    def stages(reads: Sequence[int], y: int, scores: int) -> list[parallel.Stage]:
        return _stage(attention, threads, *reads, y, scores)

    return Work(threads * attention.room_bytes, stages)


@functools.lru_cache(maxsize=64)
def _prepared(attention: Attention, threads: int) -> parallel.Prepared:
    return parallel.Prepared(functools.partial(_stage, attention, threads), len(attention.names))


def tiles_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, heads: Heads
) -> torch.Tensor:
    """What :func:`spcomp.ops_attention.tiles_attention` means: tiles [T, F, 16] in, [T, heads' features, 16] out."""
    masks = None if mask is None else (mask.shape[0], mask.shape[1])
    attention = Attention(heads, (q.shape[1], k.shape[1], v.shape[1]), q.shape[0], masks)
    y = q.new_empty((q.shape[0], heads.features, LANES))
    if y.numel():
        threads = _threads(attention)
        room = scratch(threads * attention.room_bytes)
        reads = [x.data_ptr() for x in (q, k, v, mask) if x is not None]
        _prepared(attention, threads)(*reads, y.data_ptr(), room)
    return y
