"""The array that moves numbers: its product is numpy's, its cycles are the closed form's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spcomp.errors import InputError
from spcomp.sim.parts.systolic import DATAFLOWS, SystolicArray
from spcomp.sim.parts.systolic_array import step_product

sides, edges = st.integers(1, 24), st.integers(1, 16)


@given(sides, sides, sides, edges, edges, st.sampled_from(DATAFLOWS), st.integers(0, 99))
@example(17, 33, 18, 16, 16, "ws", 0)
@example(17, 33, 18, 16, 16, "os", 0)
@example(17, 33, 18, 16, 16, "is", 0)
@settings(deadline=None, max_examples=150)
def test_steps_as_the_closed_form_says(m: int, k: int, n: int, rows: int, cols: int, dataflow: str, seed: int) -> None:
    g = np.random.default_rng(seed)
    inputs, weights = g.integers(-99, 100, (m, k)), g.integers(-99, 100, (k, n))
    array = SystolicArray(rows, cols, dataflow)
    found = step_product(array, inputs, weights)
    np.testing.assert_array_equal(found.output, inputs @ weights)
    assert found.cycles == array.cycles(m, k, n)
    assert found.macs == m * k * n
    assert found.folds == array.fold_count(m, k, n)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_sums_of_floats_are_taken_in_ascending_order(dataflow: str) -> None:
    g = np.random.default_rng(0)
    inputs, weights = g.standard_normal((9, 7)), g.standard_normal((7, 6))
    wanted = np.zeros((9, 6))
    for k in range(7):
        wanted = wanted + inputs[:, k : k + 1] * weights[k]
    found = step_product(SystolicArray(16, 4, dataflow), inputs, weights)
    np.testing.assert_array_equal(found.output, wanted)


def test_what_cannot_be_stepped_is_refused() -> None:
    eye = np.eye(4, dtype=np.int64)
    with pytest.raises(InputError, match=r"step an array of 4x4: operands of \(4, 4\) and \(3, 4\)"):
        step_product(SystolicArray(4, 4), eye, eye[:3])
    with pytest.raises(InputError, match=r"step an array of 32x4: mode 'exact'\. Try: at most 16x16"):
        step_product(SystolicArray(32, 4), eye, eye)
    with pytest.raises(InputError, match="step an array of 4x4: mode 'scalesim'"):
        step_product(SystolicArray(4, 4, mode="scalesim"), eye, eye)
