"""2:4 through torch's operators, which are faked here: padding, dtypes, dispatch; and the metadata, which is real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.sparse import SparseSemiStructuredTensorCUSPARSELT
from torch.sparse._semi_structured_conversions import (
    sparse_semi_structured_from_dense_cutlass,
    sparse_semi_structured_to_dense_cutlass,
)

import spcomp
from spcomp.codegen.cusparselt import linear as cusparselt
from spcomp.codegen.cusparselt.backend import CuSparseLt
from spcomp.codegen.cusparselt.linear import CuSparseLtLinear, Operators
from spcomp.codegen.cusparselt.metadata import cutlass_form
from spcomp.codegen.cusparselt.quantized import QuantizedLinear, quantize_rows
from spcomp.codegen.cusparselt.rules import RULES
from spcomp.codegen.reference.backend import activate
from spcomp.codegen.reference.backend import linear as reference
from spcomp.codegen.reference.int8 import linear_int8
from spcomp.codegen.table import BACKENDS
from spcomp.encodings.int8 import Int8Weight, quantize_weight
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import pack
from spcomp.errors import KernelError
from spcomp.plan import ACTIVATIONS, Epilogue
from spcomp.tolerance import TOLERANCES
from tests.device_cases import Table, fake
from tests.kernels import call_of, fitting, inputs, relative

CPU = torch.device("cpu")


@dataclass
class Fake:
    """Stands for the operators: refuses what they refuse, multiplies densely, and notes what it was asked."""

    seen: list[dict[str, Any]] = field(default_factory=list)
    searches: list[tuple[int, ...]] = field(default_factory=list)
    faster: bool = True
    """Which orientation of the result is the faster one."""
    refuses: bool = False
    """Whether the library writes y alone, not y.T."""
    capability: tuple[int, int] = (9, 0)

    def operators(self) -> Operators:
        return Operators(
            self.compress, self.multiply, self.search, self.linear, lambda _where: self.capability, self.timed
        )  # fmt: skip

    def compress(self, weight: torch.Tensor) -> torch.Tensor:
        rules = RULES[weight.dtype]
        assert weight.is_contiguous()
        assert weight.shape[0] % rules.n == 0
        assert weight.shape[1] % rules.k == 0
        groups = (weight.float() != 0).reshape(-1, 4).sum(1)
        assert int(groups.max()) <= 2
        return weight.clone()

    def multiply(self, compressed: torch.Tensor, right: torch.Tensor, **options: Any) -> torch.Tensor:
        rules = RULES[compressed.dtype]
        assert right.dtype == compressed.dtype
        assert right.shape[0] == compressed.shape[1]
        assert right.shape[1] % rules.m == 0
        assert right.t().is_contiguous()  # int8 and float8 take no other
        asked = options["out_dtype"]
        narrow = compressed.element_size() == 1
        assert asked in rules.results if narrow else asked is None  # torch: "available for int8/fp8 inputs"
        out_dtype = asked or compressed.dtype
        if asked is not torch.float32:  # torch 2.11's operator has it, its shape function has not
            torch.ops.aten._cslt_sparse_mm(
                compressed.to("meta"), right.to("meta"), out_dtype=asked, transpose_result=options["transpose_result"]
            )
        bias, alpha = options["bias"], options["alpha"]
        assert bias is None or (bias.shape == compressed.shape[:1] and bias.dtype == compressed.dtype)
        assert alpha is None or (alpha.shape == compressed.shape[:1] and alpha.dtype is torch.float32)
        self.seen.append(options)
        y = compressed.double() @ right.double()
        y = y if alpha is None else y * alpha.double()[:, None]
        y = y if bias is None else y + bias.double()[:, None]
        y = (y.t() if options["transpose_result"] else y).contiguous()
        return (y.clamp(-65504, 65504) if out_dtype is torch.float16 else y).to(out_dtype)

    def search(self, compressed: torch.Tensor, right: torch.Tensor, *rest: Any) -> tuple[int, ...]:
        if self.refuses and not rest[-1]:
            raise RuntimeError("no such layout")
        if rest[-1]:
            self.searches.append(tuple(right.shape))
        return (7, 2, 1, 40) if rest[-1] else (3, 1, -1, 40)

    def timed(self, run: Callable[[], object]) -> float:
        run()
        asked = self.seen.pop()
        return 1e-5 if asked["transpose_result"] is self.faster else 2e-5

    def linear(self, x: torch.Tensor, values: torch.Tensor, meta: torch.Tensor, **options: Any) -> torch.Tensor:
        assert x.shape[0] % 8 == 0
        assert x.shape[1] == 2 * values.shape[1]
        self.seen.append(options)
        dense = sparse_semi_structured_to_dense_cutlass(values, meta)
        y = x.double() @ dense.double().t()
        y = y if options["bias"] is None else y + options["bias"].double()
        assert options["activation"] in (None, "relu", "silu")
        return activate(y, options["activation"] or "none").to(x.dtype)


@pytest.mark.parametrize("library", [0, 1])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_agrees_with_the_reference(activation: str, dtype: str, library: int) -> None:
    for m, n, k in ((1, 5, 7), (8, 64, 64), (13, 50, 130), (1, 1, 1)):
        for bias, residual in ((False, False), (True, False), (True, True)):
            fake = Fake()
            weight = fitting(Nm(2, 4), n, k, dtype=dtype)
            given_bias = inputs(n, dtype=dtype, seed=5) if bias else None
            epilogue = Epilogue(bias, activation, residual=residual)
            call, packed = call_of(Nm(2, 4), weight, epilogue=epilogue, schedule=(("library", library),))
            kernel = CuSparseLt(operators=fake.operators()).kernel_of(call, packed, given_bias, CPU)
            x, other = inputs(2, m, k, dtype=dtype), inputs(2, m, n, dtype=dtype, seed=6)
            y = kernel(x, *((other,) if residual else ()))
            exact = reference(x, weight, given_bias, "none")
            exact = activate(exact + other.double() if residual else exact, activation)
            assert y.shape == (2, m, n)
            assert y.dtype is weight.dtype
            assert y.is_contiguous()
            assert relative(y, exact) <= TOLERANCES[dtype]


def test_relu_is_in_the_product_where_the_library_has_it() -> None:
    for activation, residual, fused in (("relu", False, "relu"), ("silu", False, "silu"), ("gelu", False, None),
                                        ("relu", True, None)):  # fmt: skip
        fake = Fake()
        call, packed = call_of(Nm(2, 4), fitting(Nm(2, 4), 32, 64, dtype="float16"), schedule=(("library", 1),))
        call = replace(call, epilogue=Epilogue(False, activation, residual=residual))
        kernel = CuSparseLt(operators=fake.operators()).kernel_of(call, packed, None, CPU)
        kernel(inputs(8, 64, dtype="float16"), *((inputs(8, 32, dtype="float16"),) if residual else ()))
        assert fake.seen[0]["activation"] == fused


def test_an_algorithm_is_searched_once_for_a_shape_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path))
    cusparselt._remembered.clear()
    fake = Fake()
    call, packed = call_of(Nm(2, 4), fitting(Nm(2, 4), 30, 60, dtype="bfloat16"), schedule=(("library", 0),))
    for _ in range(2):  # a second layer of these sizes searches no more
        kernel = CuSparseLt(operators=fake.operators()).kernel_of(call, packed, None, CPU)
        assert isinstance(kernel, CuSparseLtLinear)
        kernel(inputs(9, 60, dtype="bfloat16"))
        assert kernel.search(9) == (7, 2, 1, 1)
        assert kernel.search(16) == (7, 2, 1, 1)  # nine rows are padded to sixteen
    assert fake.searches == [(64, 16)]
    kernel(inputs(12, 60, dtype="bfloat16"))
    kernel(inputs(17, 60, dtype="bfloat16"))
    used = [(s["alg_id"], s["split_k"], s["split_k_mode"]) for s in fake.seen]
    assert used == [(0, 1, -1), (7, 2, 1), (7, 2, 1), (0, 1, -1)]
    cusparselt._remembered.clear()


def test_what_a_search_found_survives_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path))
    call, _ = call_of(Nm(2, 4), fitting(Nm(2, 4), 32, 64, dtype="bfloat16"), schedule=(("library", 0),))

    def searched(m: int, *, n: int = 32) -> tuple[list[tuple[int, ...]], tuple[int, int, int]]:
        """What a process that remembers nothing searches, and what it then uses."""
        cusparselt._remembered.clear()
        fake = Fake()
        weight = fitting(Nm(2, 4), n, 64, dtype="bfloat16")
        kernel = CuSparseLtLinear(replace(call, n=n), weight, None, fake.operators())
        assert kernel.search(m) == (7, 2, 1, 1)
        kernel(inputs(m, 64, dtype="bfloat16"))
        used = fake.seen[0]
        return fake.searches, (used["alg_id"], used["split_k"], used["split_k_mode"])

    assert searched(8) == ([(64, 8)], (7, 2, 1))
    assert searched(8) == ([], (7, 2, 1)), "found by the process before"
    assert searched(16)[0] == [(64, 16)], "other sizes are searched for themselves"
    assert searched(8, n=48)[0] == [(64, 8)]
    monkeypatch.setattr(cusparselt, "_versions", lambda: "another library")
    assert searched(8)[0] == [(64, 8)], "algorithms of another library have other numbers"
    cusparselt._remembered.clear()


@pytest.mark.parametrize("faster", [True, False])
def test_both_orientations_are_tried_and_the_faster_remembered(
    faster: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turning y.T counts; results are y either way; and the next process tries neither."""
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path))
    weight, x = fitting(Nm(2, 4), 40, 64, dtype="float16"), inputs(10, 64, dtype="float16")
    call, _ = call_of(Nm(2, 4), weight, epilogue=Epilogue(bias=True), schedule=(("library", 0),))
    bias = inputs(40, dtype="float16", seed=3)
    for known in (False, True):
        cusparselt._remembered.clear()
        fake = Fake(faster=faster)
        kernel = CuSparseLtLinear(call, weight, bias, fake.operators())
        assert kernel.search(10) == ((7, 2, 1, 1) if faster else (3, 1, -1, 0))
        assert bool(fake.searches) != known
        y = kernel(x)
        assert y.shape == (10, 40)
        assert y.is_contiguous()
        assert relative(y, reference(x, weight, bias, "none")) <= TOLERANCES["float16"]
        assert [s["transpose_result"] for s in fake.seen] == [faster]
        assert fake.seen[0]["alg_id"] == (7 if faster else 3)
    cusparselt._remembered.clear()


def test_a_library_that_writes_one_orientation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path))
    cusparselt._remembered.clear()
    fake = Fake(faster=False, refuses=True)
    call, _ = call_of(Nm(2, 4), weight := fitting(Nm(2, 4), 48, 64, dtype="float16"), schedule=(("library", 0),))
    assert CuSparseLtLinear(call, weight, None, fake.operators()).search(8) == (7, 2, 1, 1)
    cusparselt._remembered.clear()


class Faked(CuSparseLt):
    """The backend on a CPU, with operators that are none."""

    def unavailable(self) -> str | None:
        return None

    def build(self, call: Any, packed: Any, bias: torch.Tensor | None, scale: torch.Tensor | None = None) -> Any:
        return self.kernel_of(call, packed, bias, CPU)


class Turned(nn.Module):
    """As GPT-2 has its layers: the weight is [K, N]."""

    def __init__(self, along: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(32))
        weight = torch.randn(64, 32)  # [K, N]
        order = weight.unflatten(along, (-1, 4)).abs().argsort(along + 1).argsort(along + 1).flatten(along, along + 1)
        self.weight = nn.Parameter(weight * (order < 2))
        self.eval().half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, x.view(-1, 64), self.weight).view(*x.shape[:-1], 32)


@pytest.mark.parametrize("along", [0, 1])
def test_weights_that_are_turned(along: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """[K, N] that is 2:4 along K is found and served; along N it is not sparse tensor cores' to multiply."""
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path))
    cusparselt._remembered.clear()
    monkeypatch.setitem(BACKENDS, "cusparselt", Faked(operators=Fake().operators()))
    table = Table({"": 90e-6, "dense.": 80e-6, "cusparselt": 20e-6})
    model, x = Turned(along), torch.randn(2, 8, 64).half()
    ours = spcomp.compile(model, x, target=lambda _name, _where: fake(table), engine="eager", guard=False,
                          cache_dir=tmp_path)  # fmt: skip
    (decision,) = ours.explain().decisions
    assert decision.sparse == (along == 0)
    assert (decision.encoding == "nm(n=2, m=4)") == (along == 0)
    assert ("2:4 along N: sparse tensor cores multiply" in decision.reason) == (along == 1)
    with torch.no_grad():
        assert relative(ours(x), model(x).double()) <= 4e-3
    cusparselt._remembered.clear()


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_narrow_dtypes(dtype: torch.dtype) -> None:
    """Scales go in as alpha, a bias comes after, results are wider."""
    fake = Fake()
    call, _ = call_of(Nm(2, 4), fitting(Nm(2, 4), 40, 70), epilogue=Epilogue(bias=True))
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-8, 9, (40, 70), generator=generator).float()
    weight.view(-1)[::2] = 0
    weight, x = weight.to(dtype), torch.randint(-8, 9, (5, 70), generator=generator).float().to(dtype)
    scale, bias = torch.rand(40, generator=generator), inputs(40, dtype="bfloat16")
    kernel = CuSparseLtLinear(call, weight, bias, fake.operators(), torch.bfloat16, scale)
    y = kernel(x)
    exact = (x.double() @ weight.double().t()) * scale.double() + bias.double()
    assert y.dtype is torch.bfloat16
    assert fake.seen[0]["bias"] is None
    assert relative(y, exact) <= TOLERANCES["bfloat16"]
    with pytest.raises(KernelError, match=r"multiply 2:4 weights of torch.* into torch.float64: no such product"):
        CuSparseLtLinear(call, weight, bias, fake.operators(), torch.float64)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_int8_is_the_reference(dtype: str, activation: str) -> None:
    """Rows of the weight and tokens have their scales; sums are exact, and rounded to the call's dtype."""
    for m, n, k in ((1, 5, 7), (13, 50, 130), (16, 64, 64)):
        weight = fitting(Nm(2, 4), n, k, dtype=dtype)
        values = quantize_weight(weight)
        assert isinstance(values, Int8Weight)
        call, packed = call_of(Nm(2, 4), values.values, epilogue=Epilogue(True, activation))
        call = replace(call, dtype=dtype, quantize="int8", schedule=(("library", 0),))
        fake, bias = Fake(), inputs(n, dtype=dtype, seed=5)
        backend = CuSparseLt(operators=fake.operators())
        assert backend.schedules(call, m) == [(("library", 0),)]
        kernel = backend.kernel_of(call, packed, bias, CPU, values.scale)
        x = inputs(2, m, k, dtype=dtype) * 30
        y = kernel(x)
        assert y.dtype is weight.dtype
        assert relative(y, linear_int8(x, values.values, values.scale, bias, activation)) <= TOLERANCES[dtype]
        made = torch.int32 if dtype == "float32" else weight.dtype
        assert fake.seen[0]["out_dtype"] is made
        assert (fake.seen[0]["alpha"] is None) == (made is torch.int32)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_float8_rounds_rows_and_tokens(dtype: str) -> None:
    weight = fitting(Nm(2, 4), 50, 130, dtype=dtype)
    values, scale = quantize_rows(weight, torch.float8_e4m3fn)
    call, _ = call_of(Nm(2, 4), weight, epilogue=Epilogue(True, "silu"))
    bias, x = inputs(50, dtype=dtype, seed=5), inputs(13, 130, dtype=dtype)
    y = QuantizedLinear(call, values, scale, bias, Fake().operators())(x)
    numbers, tokens = quantize_rows(x, torch.float8_e4m3fn)
    sums = numbers.double() @ values.double().t() * scale.double() * tokens.double()[:, None]
    assert y.dtype is weight.dtype
    assert relative(y, activate(sums + bias.double(), "silu")) <= TOLERANCES[dtype]
    assert relative(y, reference(x, weight, bias, "silu")) <= 0.1  # three bits of mantissa


def test_rows_that_are_not_finite() -> None:
    x = torch.ones(4, 6)
    x[1, 2], x[2, 3], x[3] = float("inf"), float("nan"), 0.0
    for dtype in (torch.int8, torch.float8_e4m3fn):
        numbers, scales = quantize_rows(x, dtype)
        assert scales.isnan().tolist() == [False, True, True, False]
        assert numbers[3].float().tolist() == [0.0] * 6
        assert float(numbers[0, 0].float() * scales[0]) == pytest.approx(1.0)


def test_what_one_byte_takes() -> None:
    """Old GPUs, dtypes and calls are refused, and why."""
    weight = fitting(Nm(2, 4), 32, 64)
    call, packed = call_of(Nm(2, 4), weight)
    old = Fake(capability=(8, 0)).operators()
    small, scale = quantize_rows(weight, torch.float8_e4m3fn)
    words = r"compute capability 8.0; torch.float8_e4m3fn came with 8.9"
    with pytest.raises(KernelError, match=words):
        QuantizedLinear(call, small, scale, None, old)
    QuantizedLinear(call, *quantize_rows(weight, torch.int8), None, old)
    with pytest.raises(KernelError, match=r"weights of torch.float8_e4m3fn for inputs of float16"):
        QuantizedLinear(replace(call, dtype="float16"), small, scale, None, Fake().operators())
    with pytest.raises(KernelError, match=r"weights of torch.float32. Try: torch.int8"):
        QuantizedLinear(call, weight, scale, None, old)
    whole = replace(call, quantize="int8", schedule=(("library", 0),))
    with pytest.raises(KernelError, match="in int8: no scale, and weights of float32"):
        CuSparseLt(operators=old).kernel_of(whole, packed, None, CPU)


def test_rules_are_torchs() -> None:
    torchs = SparseSemiStructuredTensorCUSPARSELT._DTYPE_SHAPE_CONSTRAINTS
    assert set(torchs) - set(RULES) <= {torch.float8_e4m3fnuz}, "AMD's, from torch 2.15 on"
    for dtype, ours in RULES.items():
        constraint = torchs[dtype]
        theirs = (constraint.sparse_min_rows, constraint.sparse_min_cols, constraint.dense_min_cols)
        assert (ours.n, ours.k, ours.m) == theirs


@settings(max_examples=40)
@given(
    st.integers(1, 5), st.integers(1, 5), st.sampled_from(["float16", "bfloat16", "int8"]), st.integers(0, 9),
    st.sampled_from([0.2, 1.0]),
)  # fmt: skip
def test_metadata_is_torchs(down: int, across: int, dtype: str, seed: int, density: float) -> None:
    if dtype == "int8":
        weight = (fitting(Nm(2, 4), 16 * down, 64 * across, density=density, seed=seed) * 40).to(torch.int8)
    else:
        weight = fitting(Nm(2, 4), 32 * down, 32 * across, density=density, dtype=dtype, seed=seed)
    values, meta = cutlass_form(pack(weight, Nm(2, 4)))
    their_values, their_meta = sparse_semi_structured_from_dense_cutlass(weight)
    assert torch.equal(values, their_values)
    assert torch.equal(meta, their_meta)


def test_metadata_refuses() -> None:
    for weight, words in (
        (torch.zeros(32, 32), "values of four bytes"),
        (torch.zeros(30, 32).half(), "sides that are no multiples of 32 and 32"),
        (torch.zeros(0, 32).half(), "sides that are no multiples"),
    ):
        with pytest.raises(KernelError, match=words):
            cutlass_form(pack(weight, Nm(2, 4)))
    full = pack(fitting(Nm(3, 4), 32, 32, density=1.0, dtype="float16"), Nm(3, 4))
    with pytest.raises(KernelError, match="more than two nonzeros in a group of four"):
        cutlass_form(full)


def test_serves_two_of_four_alone() -> None:
    call, packed = call_of(Nm(1, 4), fitting(Nm(1, 4), 32, 64, dtype="float16"), schedule=(("library", 0),))
    backend = CuSparseLt(operators=Fake().operators())
    assert backend.schedules(call, 64) == []
    assert len(backend.schedules(replace(call, encoding=Nm(2, 4)), 64)) == 2
    assert backend.schedules(replace(call, encoding=Nm(2, 4), dtype="float32"), 64) == []
    with pytest.raises(KernelError, match="sparse tensor cores multiply 2:4 along K alone"):
        backend.kernel_of(call, packed, None, CPU)


def test_bytes_are_foretold() -> None:
    """cuSPARSELt's own are those of its compressed form, which the fake has not; CUTLASS's are exact."""
    call, packed = call_of(
        Nm(2, 4), fitting(Nm(2, 4), 64, 128, dtype="float16"), epilogue=Epilogue(True), schedule=(("library", 1),)
    )
    backend = CuSparseLt(operators=Fake().operators())
    kernel = backend.kernel_of(call, packed, torch.zeros(64).half(), CPU)
    assert kernel.extra_nbytes == backend.extra_nbytes(call)


def test_no_rows() -> None:
    call, packed = call_of(Nm(2, 4), fitting(Nm(2, 4), 64, 128, dtype="float16"), schedule=(("library", 0),))
    kernel = CuSparseLt(operators=Fake().operators()).kernel_of(call, packed, None, CPU)
    assert kernel(torch.zeros(0, 128).half()).shape == (0, 64)


def test_says_what_is_missing() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    backend = BACKENDS["cusparselt"]
    assert backend.unavailable() is not None
    assert backend.capabilities() == frozenset()
    call, packed = call_of(Nm(2, 4), fitting(Nm(2, 4), 64, 128, dtype="float16"), schedule=(("library", 0),))
    with pytest.raises(KernelError, match=r"build the 2:4 kernel of layer: torch .* (built|finds)"):
        backend.build(call, packed, None)
