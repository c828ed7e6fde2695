"""Where each byte lies, against loops that read like the docstrings. Generated kernels rely on this."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.buffers import ceil_div
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from tests.strategies import bit_matrices, encodings

Bits = NDArray[Any]


def slow_csr(bits: Bits, width: int) -> dict[str, list[Any]]:
    values, columns, counts, start = [], [], [], [0]
    for first in range(0, bits.shape[1], width):
        per_row = []
        for row in bits[:, first : first + width]:
            here = [c for c, v in enumerate(row) if v]
            values += [row[c] for c in here]
            columns += here
            per_row.append(len(here))
        counts.append(per_row)
        start.append(len(values))
    return {"values": values, "columns": columns, "counts": counts, "block_start": start}


def slow_nm(bits: Bits, e: Nm) -> tuple[Bits, NDArray[np.uint32]]:
    rows, columns = bits.shape
    bits_per_index = 2 if e.m <= 4 else 4
    groups_per_word = (32 // bits_per_index) // e.n
    words = ceil_div(ceil_div(columns, e.m), groups_per_word)
    values = np.zeros((-(-rows // 16), words * groups_per_word * e.n, 16), dtype=bits.dtype)
    control = np.zeros((-(-rows // 16), words, 16), dtype=np.uint32)
    for r in range(rows):
        for g in range(-(-columns // e.m)):
            group = bits[r, g * e.m : (g + 1) * e.m]
            here = [c for c, v in enumerate(group) if v]
            for s in range(e.n):
                column = here[s] if s < len(here) else (here[-1] if here else 0)
                in_word = (g % groups_per_word) * e.n + s
                control[r // 16, g // groups_per_word, r % 16] |= np.uint32(column << (bits_per_index * in_word))
                if s < len(here):
                    values[r // 16, g * e.n + s, r % 16] = group[here[s]]
    return values, control


@given(bit_matrices(), encodings("csr"))
@settings(max_examples=25, deadline=None)
def test_csr(case: tuple[Bits, str], encoding: Csr) -> None:
    bits = case[0]
    buffers = encoding.pack_bits(bits)
    slow = slow_csr(bits, encoding.block_columns)
    assert {name: b.tolist() for name, b in buffers.items()} == slow
    assert buffers["columns"].dtype == (np.uint8 if encoding.block_columns <= 256 else np.uint16)
    width = encoding.block_columns
    assert buffers["counts"].dtype == (np.uint8 if width <= 255 else np.uint16 if width <= 65535 else np.uint32)
    assert buffers["block_start"].dtype == np.int64


@given(bit_matrices(), encodings("block"))
@settings(max_examples=25, deadline=None)
def test_block(case: tuple[Bits, str], e: Block) -> None:
    bits = case[0]
    values, columns, row_start = [], [], [0]
    for r in range(0, bits.shape[0], e.rows):
        for c in range(0, bits.shape[1], e.cols):
            block = np.zeros((e.rows, e.cols), dtype=bits.dtype)
            part = bits[r : r + e.rows, c : c + e.cols]
            block[: part.shape[0], : part.shape[1]] = part
            if block.any():
                values.append(block.T.tolist())
                columns.append(c // e.cols)
        row_start.append(len(values))
    buffers = e.pack_bits(bits)
    assert {name: b.tolist() for name, b in buffers.items()} == {
        "values": values,
        "columns": columns,
        "row_start": row_start,
    }
    assert buffers["values"].shape[1:] == (e.cols, e.rows)
    assert buffers["columns"].dtype == buffers["row_start"].dtype == np.int32


@given(bit_matrices(), encodings("nm"), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_nm(case: tuple[Bits, str], e: Nm, random: Any) -> None:
    bits = case[0].copy()
    for row in bits:  # make it n:m
        for g in range(0, len(row), e.m):
            here = list(np.flatnonzero(row[g : g + e.m]))
            for drop in random.sample(here, max(len(here) - e.n, 0)):
                row[g + drop] = 0
    buffers = e.pack_bits(bits)
    values, control = slow_nm(bits, e)
    assert list(buffers) == ["values", "control"]
    assert np.array_equal(buffers["values"], values)
    assert np.array_equal(buffers["control"], control)
    assert buffers["control"].dtype == np.uint32
    assert np.array_equal(e.unpack_bits(buffers, (bits.shape[0], bits.shape[1])), bits)
    assert e.check(buffers, (bits.shape[0], bits.shape[1]), case[1]) is None


@given(bit_matrices())
@settings(max_examples=25, deadline=None)
def test_bitmap(case: tuple[Bits, str]) -> None:
    bits = case[0]
    buffers = Bitmap().pack_bits(bits)
    assert buffers["masks"].shape == (bits.shape[0], 8 * -(-bits.shape[1] // 64))
    assert buffers["values"].tolist() == [v for row in bits for v in row if v]
    for r, row in enumerate(bits):
        assert buffers["row_start"][r + 1] - buffers["row_start"][r] == np.count_nonzero(row)
        for c, v in enumerate(row):
            assert bool(buffers["masks"][r, c // 8] >> (c % 8) & 1) == bool(v)


def test_large_matrices_are_cut_in_chunks_unseen() -> None:
    rng = np.random.default_rng(0)
    bits = (rng.random((5001, 700)) < 0.05).astype(np.uint8) * np.uint8(7)
    grouped = bits.copy()
    grouped[:, 2::4] = grouped[:, 3::4] = 0
    for encoding, matrix in (
        (Csr(), bits),
        (Csr(512), bits),
        (Bitmap(), bits),
        (Block(4, 4), bits),
        (Nm(2, 4), grouped),
    ):
        buffers = encoding.pack_bits(matrix)
        assert encoding.check(buffers, (5001, 700), "int8") is None
        assert np.array_equal(encoding.unpack_bits(buffers, (5001, 700)), matrix)
    values, control = slow_nm(grouped[4080:4112], Nm(2, 4))
    packed = Nm(2, 4).pack_bits(grouped)
    assert np.array_equal(packed["values"][255:257], values)
    assert np.array_equal(packed["control"][255:257], control)
