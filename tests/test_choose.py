"""The decision itself, from made-up measurements."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.passes.choose import CODE, NEVER_SLOWER, WORTH, Choice, choose, dense_choice, doubtful, open_gaps
from spcomp.passes.propose import Candidate, points_of
from spcomp.plan import RowRange

CSR = Candidate(Csr(128), "b", (("tiles", 8),), 400, 90)
NM = Candidate(Nm(2, 4), "b", (("tiles", 8),), 600, 128)
NM_ROWS = Candidate(Nm(2, 4), "b", (("tokens", 1),), 600, 128)


def times(dense: float, **sparse: float) -> dict[str, float]:
    """Seconds by name: csr, nm, rows; dense is both members, onednn the faster."""
    names = {"csr": CSR.name, "nm": NM.name, "rows": NM_ROWS.name}
    return {"dense.onednn": dense, "dense.mkl": dense * 2, **{names[n]: s for n, s in sparse.items()}}


def pick(measured: dict[int, dict[str, float]], *candidates: Candidate, **options: object) -> Choice:
    return choose(measured, candidates, dense_nbytes=1000, **options)  # type: ignore[arg-type]


# --- choose -----------------------------------------------------------------------------------------------------------


def test_generated_code_counts_in_the_budget() -> None:
    """Packed bytes once and the code of one kernel once, however many could share or have their own."""
    code = Candidate(Csr(128), "c", (("panel", 8),), 400, 90, extra_nbytes=500, fewest_rows=16)
    other = Candidate(Csr(128), "c", (("panel", 16),), 400, 90, extra_nbytes=550, fewest_rows=16)
    few, many = times(4, csr=2.0), {**times(4, csr=2.0), code.name: 0.5, other.name: 0.495}
    choice = pick({1: few, 64: many}, CSR, code, other)
    assert choice.ranges == ((RowRange(0, 63), CSR.name), (RowRange(64, None), code.name))
    assert pick({1: few, 64: many}, CSR, code, budget=0.8).ranges == ((RowRange(0, None), CSR.name),)
    refused = pick({64: {"dense.onednn": 4, code.name: 1.0}}, code, budget=0.8)
    assert not refused.sparse
    assert "csr(block_columns=128) with c needs 900 B, more than 0.8 x dense" in refused.reason


def test_generated_code_must_be_worth_its_bytes() -> None:
    code = Candidate(Csr(128), "c", (("panel", 8),), 400, 90, extra_nbytes=500, fewest_rows=16)
    for gain, kept in ((1.1, CSR.name), (CODE * 1.05, code.name)):
        choice = pick({64: {**times(4, csr=1.0), code.name: 1 / gain}}, CSR, code)
        assert choice.ranges == ((RowRange(0, None), kept),)
    fast = pick({64: {**times(4, csr=1.0), code.name: 0.95}}, CSR, code, budget=1.1)
    assert fast.ranges == ((RowRange(0, None), code.name),), "a budget above 1 asks for speed"
    alone = pick({64: {"dense.onednn": 1.1, code.name: 1.0}}, code)
    assert alone.sparse, "against dense it need only be faster"
    assert alone.reason.startswith("1.10x of best dense")


def test_the_fastest_wins() -> None:
    choice = pick({1: times(4, csr=1.0, nm=2.0), 64: times(4, csr=1.0, nm=2.0)}, CSR, NM)
    assert choice.ranges == ((RowRange(0, None), CSR.name),)
    assert choice.encodings == (Csr(128),)
    assert choice.reason == "4.00x of best dense on average over M = 1, 64"
    assert choice.sparse


def test_never_slower_at_any_point() -> None:
    measured = {1: times(1, csr=0.1), 64: times(1, csr=1 / NEVER_SLOWER + 0.01)}
    choice = pick(measured, CSR)
    assert not choice.sparse
    assert choice.ranges == ((RowRange(0, None), "dense.onednn"),)
    assert choice.reason == "csr(block_columns=128) would be 0.99x of dense at some row count"
    assert pick({1: times(1, csr=0.1), 64: times(1, csr=1 / NEVER_SLOWER - 0.01)}, CSR).sparse


def test_worth_it_on_average() -> None:
    """A gain that other work on the machine can turn into a loss is none, if it is all that there is."""
    choice = pick({64: times(1, csr=1 / WORTH + 0.01)}, CSR)
    assert not choice.sparse
    assert choice.reason.startswith("csr(block_columns=128) gains 1.04x, less than")
    assert pick({64: times(1, csr=1 / WORTH - 0.01)}, CSR).sparse
    assert pick({64: times(1, csr=1 / WORTH + 0.01)}, CSR, force=True).sparse


def test_force_drops_never_slower_but_not_the_budget() -> None:
    measured = {1: times(1, csr=3.0)}
    assert pick(measured, CSR, force=True).sparse
    refused = pick(measured, CSR, force=True, budget=0.3)
    assert not refused.sparse
    assert refused.reason == "csr(block_columns=128) needs 400 B, more than 0.3 x dense"


def test_the_budget_counts_both_encodings() -> None:
    measured = {1: times(4, csr=3.9, nm=0.5), 64: times(4, csr=0.5, nm=3.9)}
    assert set(pick(measured, CSR, NM).encodings) == {Csr(128), Nm(2, 4)}
    one = pick(measured, CSR, NM, budget=0.9)
    assert len(one.encodings) == 1


def test_a_second_encoding_must_be_worth_it() -> None:
    measured = {1: times(4, csr=1.0, nm=0.98), 64: times(4, csr=1.0, nm=1.1)}
    assert pick(measured, CSR, NM).encodings == (Csr(128),)


def test_near_ties_go_to_fewer_bytes() -> None:
    assert pick({1: times(4, csr=1.01, nm=1.0)}, CSR, NM).encodings == (Csr(128),)
    assert pick({1: times(4, csr=1.05, nm=1.0)}, CSR, NM).encodings == (Nm(2, 4),)


def test_kernels_of_one_encoding_split_the_rows() -> None:
    choice = pick({1: times(4, rows=1.0), 16: times(4, nm=1.0, rows=2.0), 512: times(4, nm=1.0)}, NM, NM_ROWS)
    assert choice.ranges == ((RowRange(0, 15), NM_ROWS.name), (RowRange(16, None), NM.name))
    both = {1: times(4, rows=1.0, nm=2.0), 100: times(4, nm=1.0, rows=2.0)}
    assert pick(both, NM, NM_ROWS).ranges == ((RowRange(0, 10), NM_ROWS.name), (RowRange(11, None), NM.name))


def test_an_encoding_without_a_kernel_somewhere_is_refused() -> None:
    choice = pick({1: times(4, csr=1.0), 64: times(4)}, CSR)
    assert not choice.sparse
    assert choice.reason == "csr(block_columns=128) has no kernel for some row count"


def test_nothing_to_choose_from() -> None:
    choice = pick({1: {"dense.onednn": 2.0, "dense.mkl": 1.0}, 64: times(1)})
    assert choice.reason == "no sparse encoding fits this weight"
    assert [name for _, name in choice.ranges] == ["dense.mkl", "dense.onednn"]


@given(
    st.dictionaries(
        st.integers(1, 600),
        st.tuples(*(st.floats(1e-6, 1.0) for _ in range(4))),
        min_size=1,
        max_size=6,
    ),
    st.floats(0.2, 2.0),
    st.booleans(),
)
@settings(max_examples=200)
def test_whatever_was_measured_the_promises_hold(
    points: dict[int, tuple[float, ...]], budget: float, force: bool
) -> None:
    measured = {m: times(d, csr=c, nm=n, rows=r) for m, (d, c, n, r) in sorted(points.items())}
    choice = pick(measured, CSR, NM, NM_ROWS, budget=budget, force=force)
    ranges = [rows for rows, _ in choice.ranges]
    assert ranges[0].lo == 0
    assert ranges[-1].hi is None
    assert all(a.hi is not None and a.hi + 1 == b.lo for a, b in pairwise(ranges))
    if choice.sparse:
        assert sum({CSR.encoding: 400, NM.encoding: 600}[e] for e in choice.encodings) <= budget * 1000
    for m, seconds in measured.items():
        (served,) = [name for rows, name in choice.ranges if m in rows]
        assert seconds["dense.onednn"] / seconds[served] >= (NEVER_SLOWER if choice.sparse and not force else 0.0)
        if not choice.sparse:
            assert served == "dense.onednn"


def test_open_gaps_asks_for_the_middle() -> None:
    split = Choice(((RowRange(0, 40), "a"), (RowRange(41, None), "b")), "", ())
    assert open_gaps(split, {16: 0, 100: 0}) == [40]
    assert open_gaps(split, {40: 0, 41: 0}) == []
    assert open_gaps(split, {16: 0, 40: 0, 100: 0}) == [63]
    assert open_gaps(Choice(((RowRange(0, None), "a"),), "", ()), {1: 0, 512: 0}) == []


@pytest.mark.parametrize(
    ("domains", "points"),
    [
        ([RowRange(7, 7)], [7]),
        ([RowRange(0, 0)], [1]),
        ([RowRange(1, None)], [1, 2, 15, 16, 127, 128, 512]),
        ([RowRange(2, None)], [2, 15, 16, 127, 128, 512]),
        ([RowRange(2, None), RowRange(1, 1)], [1, 2, 15, 16, 127, 128, 512]),
        ([RowRange(20, 60)], [20, 60]),
        ([RowRange(1000, None)], [1000]),
    ],
)
def test_points_of(domains: list[RowRange], points: list[int]) -> None:
    assert points_of(domains) == points


# --- doubtful ---------------------------------------------------------------------------------------------------------


def test_near_refusals_are_looked_at_again_and_clear_ones_are_not() -> None:
    near = {1: times(1, csr=1.1), 64: times(4, csr=1.0), 512: times(1, csr=1.2)}
    assert doubtful(pick(near, CSR), near, [CSR]) == [1, 512]
    clear = {1: times(1, csr=2.0), 64: times(1, csr=1.1)}
    assert doubtful(pick(clear, CSR), clear, [CSR]) == []
    fine = {1: times(4, csr=1.0)}
    assert doubtful(pick(fine, CSR), fine, [CSR]) == []
    assert doubtful(pick(near), near, []) == []


def test_gemv_serves_no_rows_beyond_those_it_can() -> None:
    """It was the fastest at four rows and not asked at seven: five and six are not its own."""
    able = {"dense.gemv": 1.0, "dense.mkl": 2.0, "dense.onednn": 3.0}
    rest = {"dense.mkl": 2.0, "dense.onednn": 1.0}
    choice = dense_choice({4: able, 7: rest, 15: rest}, "")
    assert choice.ranges == ((RowRange(0, 4), "dense.gemv"), (RowRange(5, None), "dense.onednn"))


def test_what_was_measured_at_one_end_alone_does_not_serve_between() -> None:
    low = {"dense.gemv": 1.0, "dense.mkl": 2.0, "dense.x": 4.0}
    high = {"dense.tiles": 1.0, "dense.mkl": 3.0, "dense.x": 1.5}
    names = [(str(rows), name) for rows, name in dense_choice({4: low, 16: high}, "").ranges]
    assert names == [("0-4", "dense.gemv"), ("5-15", "dense.mkl"), ("16+", "dense.tiles")]


@given(
    st.dictionaries(
        st.integers(1, 40), st.dictionaries(st.sampled_from("abcd"), st.floats(0.1, 9), min_size=1), min_size=1
    )
)
def test_between_two_points_serves_what_was_measured_at_both(found: dict[int, dict[str, float]]) -> None:
    measured = {m: {f"dense.{n}": s for n, s in {**seconds, "e": 99.0}.items()} for m, seconds in found.items()}
    ranges = dense_choice(measured, "").ranges
    assert ranges[0][0].lo == 0
    assert ranges[-1][0].hi is None
    assert all(a.hi is not None and a.hi + 1 == b.lo for (a, _), (b, _) in pairwise(ranges))
    for rows, name in ranges:
        for a, b in pairwise(sorted(measured)):
            for m in range(a, b + 1):
                if m in rows:
                    assert m == b or name in measured[a]
                    assert m == a or name in measured[b]
        for m in measured:
            if m in rows:
                assert measured[m][name] == min(measured[m].values())
