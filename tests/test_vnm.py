"""V:2:M as sparse tensor cores read it: every byte against the PTX ISA, and against CUTLASS's order of the metadata."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spcomp.codegen.cusparselt.metadata import cutlass_form
from spcomp.codegen.triton import device
from spcomp.codegen.triton.backend import Triton
from spcomp.encodings.buffers import ceil_div
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import pack
from spcomp.encodings.spec import Refusal
from spcomp.encodings.table import parse_encoding
from spcomp.encodings.vnm import Vnm
from spcomp.encodings.wanted import parse_wanted
from spcomp.errors import EncodingError, InputError
from spcomp.passes.base import Site
from spcomp.passes.propose import propose
from spcomp.passes.worth import encodings_for
from spcomp.plan import Epilogue, KernelCall, RowRange
from spcomp.sparsity.facts import VNM_GROUPS, VNM_ROWS
from spcomp.sparsity.measure import measure
from tests.kernels import fitting
from tests.mma_sp import B_ROW, run, sparse_a
from tests.strategies import vnm_mask

VALUES = st.builds(Vnm, st.sampled_from(VNM_ROWS), st.sampled_from(VNM_GROUPS))


def weight_of(encoding: Vnm, shape: tuple[int, int], seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    mask = vnm_mask(rng, shape, encoding.v, encoding.m)
    return np.where(mask, rng.integers(1, 100, shape), 0).astype(np.float32)


def registers(buffers: dict[str, NDArray[np.uint16]], tile: int, step: int) -> list[NDArray[np.uint32]]:
    """Four words of each lane, as one load of 16 bytes gives them."""
    words = np.ascontiguousarray(buffers["values"][tile, step]).view(np.uint32)
    return [words[:, i] for i in range(4)]


def lanes_metadata(buffers: dict[str, NDArray[np.uint32]], tile: int, step: int) -> NDArray[np.uint32]:
    """What the lanes of a warp hold; of every four the first two count, the others get something else."""
    held = np.full((8, 4), 0xFFFF_FFFF, dtype=np.uint32)
    held[:, :2] = buffers["metadata"][tile, step].reshape(8, 2)
    return held.reshape(32)


def columns_of(buffers: dict[str, NDArray[np.uint8]], encoding: Vnm, panel: int, step: int) -> NDArray[np.int64]:
    """The column of W that each of the product's 32 columns stands for."""
    found = np.full(32, -1)
    for thread in range(4):
        for i in range(8):
            column = int(B_ROW[thread, i])
            found[column] = (step * 8 + column // 4) * encoding.m + int(buffers["columns"][panel, step, thread, i])
    return found


@given(VALUES, st.integers(1, 80), st.integers(1, 300), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_fragments_are_those_of_the_instruction(encoding: Vnm, rows: int, columns: int, seed: int) -> None:
    """What the instruction takes for A, put back where its columns were gathered from, is the weight."""
    weight = weight_of(encoding, (rows, columns), seed)
    buffers = encoding.pack_bits(weight.astype(np.float16).view(np.uint16))
    tiles, steps, _ = encoding.sizes((rows, columns))
    back = np.zeros((tiles * 16, steps * 8 * encoding.m))
    for tile in range(tiles):
        for step in range(steps):
            a = np.stack(registers(buffers, tile, step), axis=1)
            numbers = a.view(np.float16).astype(np.float64).reshape(1, 32, 8)
            left, _ = sparse_a(numbers, lanes_metadata(buffers, tile, step).reshape(1, 32), 0)
            at = columns_of(buffers, encoding, tile * 16 // encoding.v, step)
            assert (at >= 0).all()
            for j, column in enumerate(at):
                back[tile * 16 : tile * 16 + 16, column] += left[0, :, j]
    assert np.array_equal(back[:rows, :columns], weight)
    assert not back[rows:].any()
    assert not back[:, columns:].any()


def test_a_product_is_a_product() -> None:
    """The emulated instruction itself, on fragments filled by hand: 2:4 times anything, plus something."""
    rng = np.random.default_rng(0)
    left = np.where(np.tile([1, 0, 0, 1], 8), rng.integers(1, 9, (16, 32)), 0).astype(np.float16)
    right, into = rng.integers(-9, 9, (32, 8)).astype(np.float16), rng.integers(-9, 9, (16, 8))
    a, b = np.zeros((32, 8), np.float16), np.zeros((32, 8), np.float16)
    c = np.zeros((32, 4), np.float32)
    for lane in range(32):
        g, t = lane // 4, lane % 4
        for high in (0, 1):
            for half in (0, 1):
                chunk = left[g + 8 * half, 16 * high + 4 * t : 16 * high + 4 * t + 4]
                a[lane, 4 * high + 2 * half : 4 * high + 2 * half + 2] = chunk[[0, 3]]
        b[lane] = [right[2 * t + i % 2 + i // 2 * 8, g] for i in range(8)]
        c[lane] = [into[g, 2 * t], into[g, 2 * t + 1], into[g + 8, 2 * t], into[g + 8, 2 * t + 1]]
    metadata = np.full(32, 0xCCCC_CCCC, dtype=np.uint32)  # 0 and 3 of every four
    text = (
        "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32 "
        "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9, $10, $11}, {$12, $13, $14, $15}, $16, 0x0;"
    )
    inputs = [words[:, i] for words in (a.view(np.uint32), b.view(np.uint32), c) for i in range(4)]
    d = run(text, "=f,=f,=f,=f,r,r,r,r,r,r,r,r,f,f,f,f,r", [*inputs, metadata])
    out = np.zeros((16, 8))
    for lane in range(32):
        g, t = lane // 4, lane % 4
        out[g, 2 * t : 2 * t + 2], out[g + 8, 2 * t : 2 * t + 2] = (d[0][lane], d[1][lane]), (d[2][lane], d[3][lane])
    assert np.array_equal(out, left.astype(np.float64) @ right.astype(np.float64) + into)


def test_the_order_of_metadata_is_that_of_cutlass() -> None:
    """2:4 without empty places has one choice of columns: our words and CUTLASS's are the same, in one order or other.

    CUTLASS lays two tiles of 16 rows side by side; the second one is for lanes 2 and 3 of every four.
    """
    weight = fitting(Nm(2, 4), 64, 128, density=1.0, dtype="float16")
    ours = pack(weight, Vnm(64, 4)).buffers["metadata"].view(torch.int32).numpy()  # [4, 4, 16]
    _, theirs = cutlass_form(pack(weight, Nm(2, 4)))
    words = theirs.contiguous().reshape(-1).view(torch.int32).numpy().reshape(4, 2, 8, 4)  # [step, 32 rows, g, lane]
    for pair in range(2):
        for tile in range(2):
            for step in range(4):
                mine = ours[2 * pair + tile, step].reshape(8, 2)
                assert np.array_equal(mine, words[step, pair, :, 2 * tile : 2 * tile + 2])


@pytest.mark.parametrize(("v", "m"), [(16, 8), (64, 16), (32, 32), (64, 4)])
def test_bytes_are_those_of_the_docstring(v: int, m: int) -> None:
    """bfloat16 at 1024 x 4096: 2 bytes a value, 2 bits where it is, and a byte for each chosen column of v rows."""
    encoding, facts = Vnm(v, m), measure(fitting(Vnm(v, m), 1024, 4096, density=1.0, dtype="bfloat16"))
    values = 1024 * 4096 * 2 // m
    assert encoding.predict_nbytes(facts) == values * 2 + values // 4 + 1024 // v * 4096 // m * 4
    assert encoding.stored_values(facts) == values


def test_refusals_name_the_bound() -> None:
    dense = measure(torch.ones(20, 40))
    assert Vnm(16, 8).refuses(dense) == Refusal("a group of 8 columns has 8 nonzeros, and vnm(v=16, m=8) holds 2")
    spread = torch.zeros(32, 40)
    for i in range(5):
        spread[i, i] = 1
    spread[20, 32:34] = 1
    refusal = Vnm(32, 8).refuses(measure(spread))
    assert refusal is not None
    assert "more than 2 nonzeros in a row, or 5 columns with nonzeros; vnm(v=32, m=8) holds 2 and 4" in refusal.reason
    spread[4, 4] = 0
    assert Vnm(32, 8).refuses(measure(spread)) is None
    three = torch.zeros(16, 64)
    three[3, [0, 15, 31]] = 1  # two in every 16, three in 32
    assert Vnm(16, 16).refuses(measure(three)) is None
    assert Vnm(16, 32).refuses(measure(three)) is not None


@pytest.mark.parametrize("text", ["vnm(v=24, m=8)", "vnm(v=64, m=10)", "vnm(v=128, m=8)"])
def test_parameters_are_validated(text: str) -> None:
    with pytest.raises(EncodingError, match=r"v is none of \(16, 32, 64\), or m none of \(4, 8, 16, 32\)"):
        parse_encoding(text)


def test_asked_for_by_name() -> None:
    wanted = parse_wanted("VNM  64:2:8")
    assert wanted.allows(Vnm(64, 8))
    assert not wanted.allows(Vnm(32, 8))
    assert parse_wanted("vnm").allows(Vnm(32, 8))
    with pytest.raises(InputError, match=r"m none of"):
        parse_wanted("vnm 64:2:10")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("columns", 8, "columns points past a block or past column 100"),
        ("metadata", 0, "metadata names no two columns of four in ascending order"),
        ("metadata", 0xFFFF_FFFF, "in ascending order"),
    ],
)
def test_bad_indices_are_found(name: str, change: int, words: str) -> None:
    encoding, shape = Vnm(16, 8), (40, 100)
    buffers = encoding.pack_bits(weight_of(encoding, shape, 1).view(np.uint32))
    assert encoding.check(buffers, shape, "float32") is None
    buffers[name].reshape(-1)[5] = change
    assert words in str(encoding.check(buffers, shape, "float32"))


def test_values_outside_are_found() -> None:
    encoding, shape = Vnm(16, 8), (40, 100)
    for where, words in ((-1, "past row 40"), (0, "past column 100")):
        buffers = encoding.pack_bits(weight_of(encoding, shape, 1).view(np.uint32))
        last = buffers["values"][where, 0 if where else -1]
        last[31, 7 if not where else 2] = 1
        assert words in str(encoding.check(buffers, shape, "float32"))
    assert "values has shape" in str(encoding.check({**buffers, "values": buffers["values"][:1]}, shape, "float32"))


@pytest.mark.parametrize(("v", "m"), [(64, 8), (16, 16), (32, 32), (64, 4)])
def test_proposed_where_it_holds(v: int, m: int) -> None:
    """The widest groups, and of those the most rows."""
    facts = measure(fitting(Vnm(v, m), 256, 512, density=1.0))
    found = [e for e in encodings_for(facts) if isinstance(e, Vnm)]
    assert found == [Vnm(v, m)]
    assert not [e for e in encodings_for(measure(torch.ones(64, 64).tril())) if isinstance(e, Vnm)]


class _ByBytes:
    """A cost model for which only bytes count."""

    def seconds(self, call: KernelCall, m: int, *, cold_bytes: int = 0) -> float:
        return 1e-12 * (call.weight_nbytes + m)


def test_proposed_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the backend serves, a 64:2:8 weight is tried in no other encoding: none is smaller, none has no kernel."""
    monkeypatch.setattr(device, "unavailable", lambda: None)
    monkeypatch.setattr(device, "home", lambda: torch.device("cpu"))
    weight = fitting(Vnm(64, 8), 128, 256, density=1.0, dtype="bfloat16")
    site = Site(0, "fc", weight, None, Epilogue(), measure(weight), "fc.weight", None, [RowRange(1, None)])
    found = propose(site, {"triton": Triton()}, "cuda", _ByBytes(), [1, 16, 512], keep=1)  # type: ignore[arg-type]
    assert {candidate.encoding for candidate in found} == {Vnm(64, 8)}
    assert {candidate.nbytes for candidate in found} == {pack(weight, Vnm(64, 8)).nbytes}
    kinds = {"row_tiles" in dict(candidate.schedule) for candidate in found}
    assert kinds == {False, True}
    assert propose(site, {"triton": Triton()}, "cuda", _ByBytes(), [1], only=frozenset({"window"})) == []  # type: ignore[arg-type]


def test_sizes_round_up() -> None:
    assert Vnm(64, 8).sizes((70, 130)) == (ceil_div(70, 16), 3, 2)
