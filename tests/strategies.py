"""Hypothesis strategies shared by the tests: weights of every dtype, shape and pattern that must work."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray

from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.fours import Fours
from spcomp.encodings.nm import Nm
from spcomp.encodings.nm_rest import NmRest
from spcomp.encodings.pack import tensor_from_bits
from spcomp.encodings.quad import Quad
from spcomp.encodings.sell import Sell
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.spec import BIT_DTYPES, Encoding
from spcomp.encodings.split import Split
from spcomp.encodings.table import ENCODINGS
from spcomp.encodings.vnm import Vnm
from spcomp.encodings.window import Window
from spcomp.encodings.windowed import WIDTHS
from spcomp.sparsity.facts import BLOCK_SHAPES, NM_GROUPS, NM_RESTS, VNM_GROUPS, VNM_ROWS

DTYPES = tuple(BIT_DTYPES)
SPECIAL_BITS: dict[str, list[int]] = {
    "float32": [0x8000_0000, 0x7FC0_0001, 0xFF80_0000, 0x7F80_0000, 0x0000_0001],
    "bfloat16": [0x8000, 0x7FC1, 0xFF80, 0x7F80, 0x0001],
    "float16": [0x8000, 0x7E01, 0xFC00, 0x7C00, 0x0001],
    "int8": [0x80, 0xFF, 0x01],
}
"""-0.0, a NaN with a payload, both infinities, the smallest subnormal; for int8 its extremes."""


def shapes() -> st.SearchStrategy[tuple[int, int]]:
    side = st.one_of(st.sampled_from([0, 1, 15, 16, 17, 64, 65, 128]), st.integers(0, 40))
    columns = st.one_of(side, st.sampled_from([130, 255, 256, 300]))
    return st.tuples(side, columns)


@st.composite
def masks(draw: st.DrawFn, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the nonzeros are: unstructured, N:M along either axis, V:2:M, blocks, dead rows and columns, none, all."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, columns = shape
    match draw(st.sampled_from(["unstructured", "nm", "nm0", "vnm", "blocks", "none", "all", "dead"])):
        case "nm":
            return _nm(rng, shape, draw(st.sampled_from(NM_GROUPS)))
        case "nm0":
            return _nm(rng, (columns, rows), draw(st.sampled_from(NM_GROUPS))).T
        case "vnm":
            return vnm_mask(rng, shape, draw(st.sampled_from(VNM_ROWS)), draw(st.sampled_from(VNM_GROUPS)))
        case "blocks":
            tall, wide = draw(st.sampled_from(BLOCK_SHAPES))
            live = rng.random((-(-rows // tall), -(-columns // wide))) < 0.3
            return live.repeat(tall, 0).repeat(wide, 1)[:rows, :columns]
        case "none":
            return np.zeros(shape, dtype=np.bool_)
        case "all":
            return np.ones(shape, dtype=np.bool_)
        case "dead":
            return (rng.random((rows, 1)) < 0.6) & (rng.random((1, columns)) < 0.6)
        case _:
            return rng.random(shape) < draw(st.sampled_from([0.02, 0.1, 0.5, 0.9]))


def _nm(rng: np.random.Generator, shape: tuple[int, int], m: int) -> NDArray[np.bool_]:
    groups = -(-shape[1] // m)
    n = int(rng.integers(1, m))
    keep = rng.random((shape[0], groups, m)).argsort(axis=2) < n
    return keep.reshape(shape[0], groups * m)[:, : shape[1]]


def vnm_mask(rng: np.random.Generator, shape: tuple[int, int], v: int, m: int) -> NDArray[np.bool_]:
    """Up to two of m in a row, in four columns of every block of v x m."""
    rows, blocks = -(-shape[0] // v), -(-shape[1] // m)
    chosen = rng.random((rows, blocks, m)).argsort(axis=2) < 4
    rank = np.where(chosen.repeat(v, axis=0), rng.random((rows * v, blocks, m)), 2.0).argsort(axis=2).argsort(axis=2)
    keep = rank < rng.integers(0, 3, size=(rows * v, blocks, 1))
    return keep.reshape(rows * v, blocks * m)[: shape[0], : shape[1]]


@st.composite
def bit_matrices(draw: st.DrawFn) -> tuple[NDArray[Any], str]:
    """Raw bits (N, K) and the dtype's name; every nonzero really has nonzero bits, some are special values."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(shapes())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = BIT_DTYPES[dtype]
    bits = rng.integers(1, np.iinfo(kind).max, size=shape, dtype=kind, endpoint=True)
    special = rng.random(shape) < 0.1
    bits[special] = rng.choice(np.array(SPECIAL_BITS[dtype], dtype=kind), size=int(special.sum()))
    bits[~draw(masks(shape))] = 0
    return bits, dtype


@st.composite
def weights(draw: st.DrawFn) -> torch.Tensor:
    """A torch matrix; now and then not contiguous."""
    bits, dtype = draw(bit_matrices())
    tensor = tensor_from_bits(bits, dtype)
    match draw(st.sampled_from(["plain", "plain", "transposed", "strided"])):
        case "transposed":
            return tensor.t().contiguous().t()
        case "strided":
            return torch.stack([tensor, tensor], dim=2)[:, :, 0]
        case _:
            return tensor


def encodings(name: str) -> st.SearchStrategy[Encoding]:
    """Any legal parameters of the encoding of this name."""
    match name:
        case "csr":
            return st.sampled_from([1, 7, 32, 128, 255, 256, 257, 65535, 65536]).map(Csr)
        case "sorted_csr":
            return st.builds(
                SortedCsr, st.sampled_from([1, 7, 128, 255, 256, 257, 65536]), st.sampled_from([1, 3, 128, 256])
            )
        case "sell":
            sizes = st.sampled_from([(128, 8), (128, 4), (256, 1), (24, 8), (3, 3), (16, 16), (1, 1)])
            return st.builds(lambda width, size: Sell(width, *size), st.sampled_from([1, 7, 128, 255, 256]), sizes)
        case "block":
            return st.one_of(
                st.sampled_from(BLOCK_SHAPES).map(lambda shape: Block(*shape)),
                st.builds(Block, st.integers(1, 9), st.integers(1, 9)),
            )
        case "split":
            return st.builds(Split, st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 25, 50, 100]))
        case "nm":
            return st.sampled_from([Nm(n, m) for m in NM_GROUPS for n in range(1, min(m, 9))])
        case "nm_rest":
            return st.builds(
                lambda nm, most: NmRest(*nm, most), st.sampled_from(NM_RESTS), st.sampled_from([1, 10, 100])
            )
        case "vnm":
            return st.builds(Vnm, st.sampled_from(VNM_ROWS), st.sampled_from(VNM_GROUPS))
        case "window":
            return st.sampled_from(WIDTHS).map(Window)
        case "fours":
            return st.builds(Fours, st.sampled_from(WIDTHS), st.sampled_from([0, 0, 1, 7, 24, 64]))
        case "quad":
            return st.integers(1, 9).map(Quad)
        case _:
            return st.builds(ENCODINGS[name])


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Bit equality of dtype, shape and every element."""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    signed = {4: torch.int32, 2: torch.int16, 1: torch.int8}[a.element_size()]
    return torch.equal(a.contiguous().view(signed), b.contiguous().view(signed))
