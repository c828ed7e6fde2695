from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.errors import PatternError
from spcomp.sparsity.pattern import (
    NM,
    VNM,
    And,
    Block,
    DeadColumns,
    DeadRows,
    Pattern,
    Unstructured,
    parse_pattern,
)
from tests.strategies import masks, shapes

SINGLE: st.SearchStrategy[Pattern] = st.one_of(
    st.builds(
        lambda n, more, axis: NM(n, n + more, axis), st.integers(1, 20), st.integers(1, 20), st.sampled_from([0, 1])
    ),
    st.builds(lambda v, n, more: VNM(v, n, 2 * n + more), st.integers(1, 99), st.integers(1, 9), st.integers(0, 9)),
    st.builds(Block, st.integers(1, 99), st.integers(1, 99)),
    st.builds(Unstructured, st.floats(0, 1)),
    st.builds(DeadRows, st.integers(1, 99)),
    st.builds(DeadColumns, st.integers(1, 99)),
)
PATTERNS = st.one_of(SINGLE, st.lists(SINGLE, min_size=2, max_size=3).map(lambda some: And(tuple(some))))


@given(PATTERNS)
@settings(max_examples=100, deadline=None)
def test_parsing_inverts_printing(pattern: Pattern) -> None:
    assert parse_pattern(str(pattern)) == pattern


@pytest.mark.parametrize(
    ("text", "pattern", "printed"),
    [
        ("2:4", NM(2, 4), "nm 2:4"),
        ("nm 1:16 axis 0", NM(1, 16, 0), "nm 1:16 axis 0"),
        ("nm 2:4 axis 1", NM(2, 4), "nm 2:4"),
        ("VNM 64:2:8", VNM(64, 2, 8), "vnm 64:2:8"),
        ("8x1", Block(8, 1), "block 8x1"),
        ("Block  8x8", Block(8, 8), "block 8x8"),
        ("90%", Unstructured(0.9), "unstructured 90%"),
        ("unstructured 97.5%", Unstructured(0.975), "unstructured 97.5%"),
        ("100%", Unstructured(1.0), "unstructured 100%"),
        ("0%", Unstructured(0.0), "unstructured 0%"),
        ("dead rows", DeadRows(), "dead rows"),
        ("dead columns 3", DeadColumns(3), "dead columns 3"),
        ("2:4&dead rows", And((NM(2, 4), DeadRows())), "nm 2:4 & dead rows"),
    ],
)
def test_forms(text: str, pattern: Pattern, printed: str) -> None:
    assert parse_pattern(text) == pattern
    assert str(pattern) == printed


@pytest.mark.parametrize("text", ["", "2:4:8", "8x", "ninety", "-5%", "nm 2:4 axis 2", "2:4 &", "block 8", "٢:٤"])
def test_what_cannot_be_parsed_is_told_the_forms(text: str) -> None:
    with pytest.raises(PatternError, match=r"nm 2:4 .*vnm 64:2:8, block 8x8 .*unstructured 90%"):
        parse_pattern(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("4:4", "1 <= n < m"),
        ("0:4", "1 <= n < m"),
        ("vnm 64:2:3", "1 <= 2 \\* n <= m"),
        ("vnm 0:2:4", "1 <= v"),
        ("0x4", "below 1"),
        ("101%", "not within 0 to 1"),
        ("dead rows 0", "below 1"),
    ],
)
def test_parameters_are_validated(text: str, words: str) -> None:
    with pytest.raises(PatternError, match=words):
        parse_pattern(text)


def test_bad_axis_lone_and_nan() -> None:
    with pytest.raises(PatternError, match="axes 0 and 1"):
        NM(2, 4, 2)  # type: ignore[arg-type]
    with pytest.raises(PatternError, match="it was given 1"):
        And((NM(2, 4),))
    with pytest.raises(PatternError, match="not within"):
        Unstructured(float("nan"))


def test_nested_and_is_flat() -> None:
    assert And((And((NM(2, 4), DeadRows())), DeadColumns())) == And((NM(2, 4), DeadRows(), DeadColumns()))


@given(shapes().flatmap(masks), st.integers(1, 3), st.integers(1, 5), st.sampled_from([0, 1]))
@settings(max_examples=60, deadline=None)
def test_nm_holds_as_counted_slowly(mask: np.ndarray, n: int, more: int, axis: int) -> None:
    m = n + more
    lines = mask if axis == 1 else mask.T
    slow = all(line[i : i + m].sum() <= n for line in lines for i in range(0, len(line), m))
    assert NM(n, m, 1 if axis else 0).holds(mask) == slow


@given(shapes().flatmap(masks), st.sampled_from([1, 3, 16, 64]), st.integers(1, 3), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_vnm_holds_as_counted_slowly(mask: np.ndarray, v: int, n: int, more: int) -> None:
    m = 2 * n + more
    blocks = [mask[r : r + v, c : c + m] for r in range(0, mask.shape[0], v) for c in range(0, mask.shape[1], m)]
    slow = all((b.sum(axis=1) <= n).all() and b.any(axis=0).sum() <= 2 * n for b in blocks)
    assert VNM(v, n, m).holds(mask) == slow


@given(shapes().flatmap(masks), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_block_holds_as_counted_slowly(mask: np.ndarray, rows: int, cols: int) -> None:
    blocks = [
        mask[r : r + rows, c : c + cols] for r in range(0, mask.shape[0], rows) for c in range(0, mask.shape[1], cols)
    ]
    assert Block(rows, cols).holds(mask) == all(b.all() or not b.any() for b in blocks)


def test_unstructured_is_exact_at_the_edge() -> None:
    mask = np.ones((10, 10), dtype=np.bool_)
    mask.flat[:70] = False
    assert Unstructured(0.7).holds(mask)
    mask.flat[0] = True
    assert not Unstructured(0.7).holds(mask)


def test_dead_rows_and_columns() -> None:
    mask = np.ones((4, 5), dtype=np.bool_)
    assert not DeadRows().holds(mask)
    mask[2] = False
    assert DeadRows().holds(mask)
    assert not DeadRows(2).holds(mask)
    assert not DeadColumns().holds(mask)
    assert not And((DeadRows(), DeadColumns())).holds(mask)
    mask[:, 1] = False
    assert And((DeadRows(), DeadColumns())).holds(mask)


def test_light_modules_load_neither_torch_nor_numba() -> None:
    code = (
        "import spcomp.encodings.table, spcomp.encodings.spec, spcomp.sparsity.pattern, spcomp.sparsity.measure, sys; "
        "assert not {'torch', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
