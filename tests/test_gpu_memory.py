"""What GPU kernels allocate in a call: their result, and nothing else. Nothing is launched here."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spcomp.codegen.cusparselt.backend import CuSparseLt
from spcomp.codegen.cusparselt.quantized import QuantizedLinear, quantize_rows
from spcomp.codegen.scratch import Scratch
from spcomp.codegen.triton import device
from spcomp.conv_shape import ConvShape
from spcomp.encodings.block import Block
from spcomp.encodings.nm import Nm
from spcomp.encodings.table import parse_encoding
from spcomp.plan import Epilogue
from tests.cusparselt_fake import Fake
from tests.kernels import call_of, fitting, inputs

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
CPU = torch.device("cpu")


class Fresh(TorchDispatchMode):
    """Counts storages that come out of an op and did not go in."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: list[int] = []
        self._seen: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        leaves = torch.utils._pytree.tree_leaves((args, kwargs))
        old = {t.untyped_storage()._cdata for t in leaves if isinstance(t, torch.Tensor)}
        for made in torch.utils._pytree.tree_leaves(found):
            if isinstance(made, torch.Tensor) and made.untyped_storage()._cdata not in old:
                self.bytes.append(made.untyped_storage().nbytes())
                self._seen.append(made)  # or another takes its place
        return found


def allocated(run: Callable[[], torch.Tensor]) -> tuple[list[int], torch.Tensor, torch.Tensor]:
    """Bytes of every tensor that the second call makes, and the results of two calls."""
    first = run()
    with Fresh() as fresh:
        second = run()
    return fresh.bytes, first, second


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from spcomp.codegen.triton.launch import Launch

    monkeypatch.setattr(Launch, "run", lambda _launch: None)
    monkeypatch.setattr(device, "unavailable", lambda: None)


@pytest.mark.parametrize(
    "encoding",
    ["block(rows=32, cols=32)", "bitmap", "csr(block_columns=65536)", "nm(n=4, m=8)", "vnm(v=16, m=8)"],
)
@pytest.mark.parametrize("m", [1, 5, 40])
def test_linear_layers_make_their_result_alone(encoding: str, m: int) -> None:
    """Of inputs as they should be, and of those that are turned or begin anywhere."""
    from spcomp.codegen.triton.backend import kernel_of
    from spcomp.codegen.triton.schedules import schedules_of

    found = parse_encoding(encoding)
    weight = fitting(found, 70, 150, dtype="bfloat16")
    call, packed = call_of(found, weight, epilogue=Epilogue(residual=True), backend="triton")
    wide = inputs(150, m + 1, dtype="bfloat16")
    xs = (inputs(m, 150, dtype="bfloat16"), wide[:, :m].t(), wide.reshape(-1)[1 : 1 + m * 150].view(m, 150))
    other = inputs(m, 70, dtype="bfloat16")
    for schedule in schedules_of(call, m, 132):
        kernel = kernel_of(replace(call, schedule=schedule), packed, None, CPU)
        for x in xs:
            made, first, second = allocated(lambda k=kernel, x=x: k(x, other))  # type: ignore[misc]
            assert made == [m * 70 * 2], dict(schedule)
            assert first.data_ptr() != second.data_ptr()
            with Fresh() as fresh:
                kernel.into(first, x, other)
            assert fresh.bytes == []


def test_convolutions_turn_planes_in_their_own_memory() -> None:
    from spcomp.codegen.triton.backend import Triton
    from spcomp.codegen.triton.conv_layer import BlocksConv

    conv = ConvShape(2, 16, 8, 8, (3, 3), padding=(1, 1))
    call, packed = call_of(Block(16, 16), fitting(Block(16, 16), 32, conv.k), epilogue=Epilogue(residual=True))
    call = replace(call, op="conv", conv=conv)
    x, other = inputs(2, 16, 8, 8), inputs(2, 32, 8, 8)
    for schedule in Triton().schedules(call, 2 * conv.pixels):
        kernel = BlocksConv(replace(call, schedule=schedule), packed, None, CPU)
        made, first, second = allocated(lambda k=kernel: k(x, other))  # type: ignore[misc]
        assert made == [2 * 32 * 8 * 8 * 4]
        assert first.data_ptr() != second.data_ptr()
        made, _, _ = allocated(lambda k=kernel: k.on_last(x, other))  # type: ignore[misc]
        assert made == [2 * 32 * 8 * 8 * 4]


@pytest.mark.parametrize("library", [0, 1])
@pytest.mark.parametrize(("k", "m"), [(64, 16), (60, 13)])
def test_what_the_operator_made_is_the_result(library: int, k: int, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Residual and GELU in place, padding in memory that is kept. The operator's own work is not counted."""
    fake = Fake()
    epilogue = Epilogue(False, "gelu", residual=True)
    weight = fitting(Nm(2, 4), 64, k, dtype="bfloat16")
    call, packed = call_of(Nm(2, 4), weight, epilogue=epilogue, schedule=(("library", library),))
    kernel = CuSparseLt(operators=fake.operators()).kernel_of(call, packed, None, CPU)
    results = [torch.zeros(16, 64, dtype=torch.bfloat16) for _ in range(2)]
    left = iter(results)
    operators = replace(kernel.operators, multiply=lambda *_a, **_k: next(left), linear=lambda *_a, **_k: next(left))  # type: ignore[attr-defined]
    monkeypatch.setattr(kernel, "operators", operators)
    x, other = inputs(m, k, dtype="bfloat16"), inputs(m, 64, dtype="bfloat16")
    made, first, second = allocated(lambda: kernel(x, other))  # type: ignore[call-arg]
    assert made == []
    assert [first.data_ptr(), second.data_ptr()] == [t.data_ptr() for t in results]
    assert first.shape == (m, 64)
    assert first.is_contiguous()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_rounded_inputs_lie_in_memory_that_is_kept(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = fitting(Nm(2, 4), 64, 60, dtype=dtype)
    call, _ = call_of(Nm(2, 4), weight, epilogue=Epilogue(True, "relu"))
    values, scale = quantize_rows(weight, torch.int8)
    kernel = QuantizedLinear(call, values, scale, inputs(64, dtype=dtype), Fake().operators())
    assert kernel.result_dtype.itemsize == weight.element_size()
    results = [torch.zeros(16, 64, dtype=kernel.result_dtype) for _ in range(2)]
    left = iter(results)
    monkeypatch.setattr(kernel, "operators", replace(kernel.operators, multiply=lambda *_a, **_k: next(left)))
    x = inputs(13, 60, dtype=dtype)
    made, first, second = allocated(lambda: kernel(x))
    assert made == []
    assert [first.data_ptr(), second.data_ptr()] == [t.data_ptr() for t in results]
    assert first.dtype is weight.dtype


def test_pieces_are_kept_apart_and_given_again() -> None:
    scratch = Scratch()
    x, y = (scratch.piece(name, (3, 5), torch.bfloat16, CPU) for name in ("x", "y"))
    assert x.shape == (3, 5)
    assert x.data_ptr() != y.data_ptr()
    assert scratch.piece("x", (7,), torch.int8, CPU).data_ptr() == x.data_ptr(), "smaller: the same memory"
    assert scratch.piece("x", (64,), torch.float32, CPU).numel() == 64
    assert scratch.nbytes == 64 * 4 + 30
    wide = scratch.padded("z", torch.full((2, 3), float("nan")), 4, 4)
    scratch.padded("z", torch.ones(3, 2), 4, 4)
    assert wide.tolist() == [[1, 1, 0, 0]] * 3 + [[0] * 4], "zeros where something stood before"
