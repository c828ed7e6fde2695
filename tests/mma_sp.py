"""What ``mma.sp.m16n8k32`` of 16-bit numbers does, in numpy, written from the PTX ISA and from nothing of ours.

PTX ISA, "Warp-level matrix instructions", sparse: "Sparse matrix storage", "Matrix fragments for sparse mma.m16n8k32
with .f16 and .bf16 types", and for C and D those of mma.m16n8k16.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Lanes = NDArray[Any]
"""One register of each lane of a warp, [32]."""
LANE = np.arange(32)
GROUP = (LANE >> 2)[:, None]
THREAD = (LANE % 4)[:, None]
_I = np.arange(8)[None, :]
A_ROW = np.where((_I < 2) | ((_I >= 4) & (_I < 6)), GROUP, GROUP + 8)
"""Row of element i of a lane, [32, 8]."""
A_FIRST = np.where(_I < 4, THREAD * 4, THREAD * 4 + 16)
"""The first of the four columns that element i of a lane is in one of."""
B_ROW = THREAD * 2 + (_I & 1) + _I // 2 * 8
B_COLUMN = GROUP + 0 * _I
C_ROW = np.where(_I[:, :4] >= 2, GROUP + 8, GROUP)
C_COLUMN = THREAD * 2 + (_I[:, :4] & 1)
_FORM = re.compile(
    r"mma\.sp::ordered_metadata\.sync\.aligned\.m16n8k32\.row\.col\.f32\.(?P<type>bf16|f16)\.(?P=type)\.f32 "
    r"\{(?P<d>[^}]*)\}, \{(?P<a>[^}]*)\}, \{(?P<b>[^}]*)\}, \{(?P<c>[^}]*)\}, \$(?P<e>\d+), (?P<selector>0x[01]);"
)


def run(text: str, constraints: str, inputs: Sequence[Lanes]) -> list[Lanes]:
    """The registers that the instruction in an inline assembly text gives, from those given to it, [32 * warps]."""
    found = _FORM.fullmatch(text.strip())
    assert found is not None, f"not the instruction that is known here: {text}"
    kinds = constraints.split(",")
    outputs = sum(kind.startswith("=") for kind in kinds)
    assert len(kinds) == outputs + len(inputs)
    numbers = {key: [int(number.strip()[1:]) for number in found[key].split(",")] for key in "dabc"}
    assert numbers["d"] == list(range(outputs)) == [0, 1, 2, 3]
    assert all(kinds[i] == "=f" for i in numbers["d"])
    assert all(kinds[i] == "f" for i in numbers["c"])
    assert all(kinds[i] == "r" for i in (*numbers["a"], *numbers["b"], int(found["e"])))
    a, b, c = ([inputs[i - outputs] for i in numbers[key]] for key in "abc")
    metadata = inputs[int(found["e"]) - outputs]
    kind, warps = found["type"], len(metadata) // 32
    left, stored = sparse_a(_numbers(kind, a), metadata.reshape(warps, 32), int(found["selector"], 16))
    right = np.zeros((warps, 32, 8))
    right[:, B_ROW, B_COLUMN] = _numbers(kind, b)
    into = np.zeros((warps, 16, 8))
    into[:, C_ROW, C_COLUMN] = np.stack([register.reshape(warps, 32) for register in c], axis=2)
    with np.errstate(all="ignore"):
        products = np.where(stored[..., None], left[..., None] * right[:, None], 0.0).sum(axis=2) + into
    d = products[:, C_ROW, C_COLUMN].astype(np.float32)
    return [np.ascontiguousarray(d[:, :, i]).reshape(-1) for i in range(4)]


def sparse_a(
    numbers: NDArray[np.float64], metadata: NDArray[Any], selector: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(A, where something of it is stored), both [warps, 16, 32], from numbers [warps, 32, 8] and metadata [warps, 32].

    Of every four lanes, two tell for all four which two of four columns are there; the selector says which two lanes.
    """
    holder = LANE[:, None] // 4 * 4 + 2 * selector + A_FIRST // 16
    shift = np.where(A_ROW >= 8, 16, 0) + A_FIRST % 16
    nibble = (metadata.astype(np.int64) & 0xFFFFFFFF)[:, holder] >> shift & 15
    low, high = nibble & 3, nibble >> 2
    assert (low < high).all(), "metadata that names no two columns in ascending order"
    column = A_FIRST + np.where(np.arange(8) % 2 == 0, low, high)
    left = np.zeros((len(metadata), 16, 32))
    stored = np.zeros(left.shape, dtype=np.bool_)
    warp = np.arange(len(metadata))[:, None, None]
    left[warp, A_ROW, column] = numbers
    stored[warp, A_ROW, column] = True
    assert np.count_nonzero(stored) == stored.size // 2
    return left, stored


def _numbers(kind: str, registers: Sequence[Lanes]) -> NDArray[np.float64]:
    """The two numbers in each of four registers of each lane, the lower half first: [warps, 32, 8]."""
    words = np.stack([register.astype(np.int64) & 0xFFFFFFFF for register in registers], axis=1)
    halves = np.stack([words & 0xFFFF, words >> 16], axis=2).reshape(-1, 32, 8)
    if kind == "f16":
        return halves.astype(np.uint16).view(np.float16).astype(np.float64)
    return (halves.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
