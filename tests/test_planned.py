"""Results in memory that Inductor plans: which layers get it, and that nothing is shared between calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

from spcomp import ops, ops_planned
from spcomp.codegen import inductor
from spcomp.encodings.bitmap import Bitmap
from spcomp.kernel import IntoKernel
from spcomp.plan import KernelCall
from tests.kernels import call_of, fitting

K, N = 24, 40
needs_compiler = pytest.mark.skipif(inductor.unavailable() is not None, reason="needs a C++ compiler")


@dataclass(eq=False)
class Counted:
    """Multiplies in plain torch; notes where it was told to write, and how often it made a result."""

    weight: torch.Tensor
    into_served: bool = True
    given: list[int] = field(default_factory=list)
    made: int = 0
    source: str = ""
    extra_nbytes: int = 0

    @property
    def call(self) -> KernelCall:
        return call_of(Bitmap(), self.weight)[0]

    def into(self, y: torch.Tensor, x: torch.Tensor, *residual: torch.Tensor) -> None:
        assert y.is_contiguous()
        self.given.append(y.data_ptr())
        torch.matmul(x, self.weight.t(), out=y)

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        self.made += 1
        return x @ self.weight.t()


def two_layers(rows: int, *, into: bool = True) -> tuple[fx.GraphModule, list[Counted], list[ops.SlotKernels]]:
    """x [rows, K] -> slot 0 -> GELU -> slot 1 -> (its result, and that plus x), with fake values."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    first = graph.call_function(ops.LINEAR, (x, 0, N))
    middle = graph.call_function(torch.ops.aten.gelu.default, (first,))
    last = graph.call_function(ops.LINEAR, (middle, 1, K))
    more = graph.call_function(torch.ops.aten.add.Tensor, (last, x))
    graph.output((last, more))
    gm = fx.GraphModule(torch.nn.Module(), graph)
    mode = FakeTensorMode()
    FakeTensorProp(gm, mode).propagate(mode.from_tensor(torch.empty(rows, K), static_shapes=True))
    kernels = [Counted(fitting(Bitmap(), n, k), into) for n, k in ((N, K), (K, N))]
    return gm, kernels, [ops.SlotKernels((1,), (kernel,), kernel.weight.shape[1]) for kernel in kernels]


def run_of(gm: fx.GraphModule, slots: frozenset[int]) -> Callable[..., tuple[torch.Tensor, ...]]:
    graph = inductor.planned(gm, slots)
    return inductor.compile_graph(graph)


def exact(x: torch.Tensor, kernels: list[Counted]) -> torch.Tensor:
    return torch.nn.functional.gelu(x @ kernels[0].weight.t()) @ kernels[1].weight.t()


@needs_compiler
def test_inductor_plans_the_memory_and_no_two_calls_share_it() -> None:
    gm, kernels, table = two_layers(9)
    run = run_of(gm, frozenset((0, 1)))
    xs = [torch.randn(9, K) for _ in range(2)]
    with ops.active(table), torch.no_grad():
        results = [run(x) for x in xs]
    for x, (last, more) in zip(xs, results, strict=True):
        torch.testing.assert_close(last, exact(x, kernels))
        torch.testing.assert_close(more, last + x)
    assert [kernel.made for kernel in kernels] == [0, 0]
    assert [len(kernel.given) for kernel in kernels] == [2, 2]
    assert {r[0].data_ptr() for r in results} == set(kernels[1].given), "the last layer writes what is handed out"
    assert len({t.data_ptr() for r in results for t in r}) == 4


@needs_compiler
def test_layers_that_make_their_own_result_are_left_as_they_are() -> None:
    gm, kernels, table = two_layers(5)
    run = run_of(gm, frozenset((1,)))
    with ops.active(table), torch.no_grad():
        last, _ = run(x := torch.randn(5, K))
    torch.testing.assert_close(last, exact(x, kernels))
    assert [(kernel.made, len(kernel.given)) for kernel in kernels] == [(1, 0), (0, 1)]


def test_graphs_say_which_layers_those_are() -> None:
    gm, _, _ = two_layers(5)
    targets = [n.target for n in inductor.planned(gm, frozenset((1,))).graph.nodes if n.op == "call_function"]
    assert targets[0] is ops.LINEAR
    assert targets[2] is ops_planned.LINEAR_PLANNED
    assert inductor.planned(gm, frozenset((7,))) is gm
    assert all(n.target is not ops_planned.LINEAR_PLANNED for n in gm.graph.nodes), "the program's own graph stays"


def test_a_kernel_that_writes_nowhere_is_copied_from() -> None:
    _, kernels, table = two_layers(5, into=False)
    assert isinstance(kernels[0], IntoKernel)
    assert not table[0].writes_into
    x, y = torch.randn(5, K), torch.empty(5, N)
    with ops.active(table):
        assert ops_planned.linear_into(x, slot=0, n=N, out=y) is y
        torch.testing.assert_close(torch.ops.spcomp.linear_planned_v1(x, 0, N), y)
    torch.testing.assert_close(y, x @ kernels[0].weight.t())
    assert kernels[0].given == []
