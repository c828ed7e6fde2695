"""Where the constants of a model are, and programs as CUDA graphs: rules that need neither a GPU nor Triton."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from spcomp import ops
from spcomp.capture import Example, capture
from spcomp.codegen.cuda_graph import Graphed
from spcomp.options import Options
from spcomp.passes.base import PassContext, Site
from spcomp.passes.origins import identity
from spcomp.passes.rewrite import add_constant
from spcomp.placing import Placing, homes, placed
from spcomp.plan import Epilogue
from spcomp.planning import planners_for
from spcomp.sparsity.measure import measure
from tests.device_cases import Table, fake

# -- places ------------------------------------------------------------------------------------------------------


def on_cuda(gm: torch.fx.GraphModule) -> None:
    """Make the fake values of a captured graph say ``cuda:0``."""
    mode = next(n.meta["val"].fake_mode for n in gm.graph.nodes if "val" in n.meta)
    for node in gm.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor):
            with mode:
                node.meta["val"] = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda:0")


def test_places_follow_the_graph() -> None:
    """Weights that the passes cut or make are where those were that they are made of; everything propagates."""
    from spcomp.build import lower
    from spcomp.passes.base import run_passes
    from spcomp.passes.pipelines import COLLECT, SHRINK

    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8)).eval()
    with torch.no_grad():
        model[0].weight[::4] = 0
        model[0].bias[::4] = -1
        model[2].weight *= torch.rand(8, 32) < 0.5
    captured = capture(model, [Example.of(torch.randn(4, 16))])
    on_cuda(captured.gm)
    ctx, tensors = PassContext(), dict[str, torch.Tensor]()
    gm = run_passes((*SHRINK, *COLLECT), captured.gm, ctx)
    assert {s.where for s in ctx.sites.values()} == {"cuda:0"}
    assert any(s.weight.shape == (24, 16) for s in ctx.sites.values()), "rows of the first layer are constant"
    ctx.left = frozenset(s.slot for s in ctx.sites.values())
    program = lower(gm, captured, ctx, tensors)
    assert set(homes([program])) == set(tensors)
    with FakeTensorMode() as mode:
        inputs = [torch.empty(t.shape, device="cuda:0") for t in tensors.values()]
        (y,) = program.gm(*inputs, torch.empty(4, 16, device="cuda:0"))
    assert mode is not None
    assert str(y.device) == "cuda:0"


def test_half_of_a_model_on_each_of_two_devices() -> None:
    """Each layer's kernel is on its weight's device, and torch's own transfer stays in the graph between them."""
    from spcomp.build import lower
    from spcomp.passes.base import run_passes
    from spcomp.passes.pipelines import COLLECT, SHRINK

    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8)).eval()
    with torch.no_grad():
        model[0].weight *= torch.rand(32, 16) < 0.5
        model[2].weight *= torch.rand(8, 32) < 0.5
    captured = capture(model, [Example.of(torch.randn(4, 16))])
    on_cuda(captured.gm)
    graph = captured.gm.graph
    first, second = (n for n in graph.nodes if n.target is torch.ops.aten.linear.default)
    with graph.inserting_before(second):
        moved = graph.call_function(torch.ops.aten.to.device, (second.args[0], torch.device("cuda:1"), torch.float32))
    second.update_arg(0, moved)
    with first.meta["val"].fake_mode:
        moved.meta["val"] = second.args[0].args[0].meta["val"].to("cuda:1")
        for node in (*second.args[1:], second):
            node.meta["val"] = node.meta["val"].to("cuda:1")
    captured.gm.recompile()
    ctx, tensors = PassContext(), dict[str, torch.Tensor]()
    gm = run_passes((*SHRINK, *COLLECT), captured.gm, ctx)
    assert sorted(s.where for s in ctx.sites.values()) == ["cuda:0", "cuda:1"]
    program = lower(gm, captured, ctx, tensors)
    assert sum(n.target is ops.LINEAR for n in program.gm.graph.nodes) == 2
    assert any(n.target is torch.ops.aten.to.device for n in program.gm.graph.nodes)
    with FakeTensorMode():
        (y,) = program.gm(torch.empty(4, 16, device="cuda:0"))
    assert str(y.device) == "cuda:1"


def test_ops_are_where_their_inputs_are() -> None:
    with FakeTensorMode():
        x = torch.empty(2, 8, device="cuda:1", dtype=torch.float16)
        assert str(torch.ops.spcomp.linear_v1(x, 0, 5).device) == "cuda:1"
        planes = torch.empty(2, 3, 4, 4, device="cuda:1")
        assert str(torch.ops.spcomp.conv_v1(planes, None, 0, [5, 4, 4]).device) == "cuda:1"
        ids = torch.zeros(3, dtype=torch.int64, device="cuda:1")
        rows = torch.ops.spcomp.embedding_v1(ids, 0, 5, torch.float16)
        assert (str(rows.device), rows.dtype) == ("cuda:1", torch.float16)
    for name in ("linear_v1", "conv_v1", "embedding_v1"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"spcomp::{name}", "CUDA")
    assert not torch._C._dispatch_has_kernel_for_dispatch_key("spcomp::tiles_linear_v1", "CUDA")


def test_a_new_constant_is_where_its_layer_is() -> None:
    captured = capture(nn.Linear(4, 3).eval(), [Example.of(torch.randn(2, 4))])
    on_cuda(captured.gm)
    (linear,) = (n for n in captured.gm.graph.nodes if n.op == "call_function")
    node = add_constant(captured.gm, "weight", torch.zeros(3, 2), "kept", linear)
    assert str(node.meta["val"].device) == "cuda:0"


def test_constants_are_placed_once() -> None:
    placing, weight = Placing(), torch.randn(4, 3)
    assert placing.home(weight) is weight
    assert placing.there(weight, "cpu") is weight
    first = placing.there(weight, "meta")
    assert first is placing.there(weight, "meta")
    assert placing.there(weight.t(), "meta") is not first
    tensors = {"a": weight}
    assert placed(tensors, {}, placing) is tensors
    assert placed(tensors, {"a": "meta"}, placing)["a"].device.type == "meta"


def test_copies_share_what_their_originals_share() -> None:
    """Tied weights, views and slices of one memory; and back to the model's own tensor."""
    placing, base = Placing(), torch.randn(6, 4)
    whole, rows, turned = placing.copied(base), placing.copied(base[2:4]), placing.copied(base.t())
    for made, own in ((whole, base), (rows, base[2:4]), (turned, base.t())):
        assert torch.equal(made, own)
        assert made.stride() == own.stride()
    assert whole.untyped_storage().data_ptr() != base.untyped_storage().data_ptr()
    assert rows.data_ptr() == whole[2:4].data_ptr()
    assert turned.data_ptr() == whole.data_ptr()
    assert placing.copied(base).data_ptr() == whole.data_ptr()
    assert placing._back[identity(rows)].data_ptr() == base[2:4].data_ptr()


def test_sites_are_planned_for_their_devices(tmp_path: Path) -> None:
    weight = torch.randn(16, 16)
    sites = [
        Site(i, name, weight, None, Epilogue(), measure(weight), f"{name}.weight", None, where="cpu")
        for i, name in enumerate(("a", "b", "c"))
    ]
    one, two = fake(Table({}), "one"), fake(Table({}), "two")
    planners = planners_for(Options(cache_dir=tmp_path), sites, lambda name, _where: two if name == "b.weight" else one)
    assert planners.of(sites[0]) is planners.of(sites[2])
    assert planners.of(sites[0]) is not planners.of(sites[1])
    assert planners.of(sites[1]).title == "cuda: two (cpu)"


# -- CUDA graphs -------------------------------------------------------------------------------------------------


@dataclass
class Recording:
    """Captures by running once, and replays into the same results."""

    captured: int = 0
    refuses: bool = False
    taken: bool = False

    def busy(self) -> bool:
        return self.taken

    def capture(self, run: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        if self.refuses:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.captured += 1
        results = run()

        def replay() -> None:
            for old, new in zip(results, run(), strict=True):
                old.copy_(new)

        return results, replay

    def order(self, before: Any) -> Any:
        return lambda: (before or 0) + 1


def _graphed(recording: Recording) -> tuple[Graphed, torch.Tensor, list[int]]:
    weight, runs = torch.randn(3, 4), []

    def run(w: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
        runs.append(len(ops.running()))
        return (x @ w.t(),)

    return Graphed(run, 1, recording), weight, runs


def test_a_graph_is_captured_once_for_a_table() -> None:
    recording = Recording()
    graphed, weight, _ = _graphed(recording)
    one: ops.KernelTable = ()
    other: ops.KernelTable = []
    with ops.active(one):
        first, x = graphed(weight, torch.zeros(2, 4))[0], torch.randn(2, 4)
        second = graphed(weight, x)[0]
        torch.testing.assert_close(second, x @ weight.t())
        assert float(first.abs().max()) == 0, "an earlier result stays what it was"
        assert recording.captured == 1
    with ops.active(other):
        graphed(weight, x)
    assert recording.captured == 2


def test_without_a_graph_where_none_can_be() -> None:
    refusing, taken = Recording(refuses=True), Recording(taken=True)
    for recording in (refusing, taken):
        graphed, weight, runs = _graphed(recording)
        with ops.active(()):
            x = torch.randn(2, 4)
            torch.testing.assert_close(graphed(weight, x)[0], x @ weight.t())
        assert len(runs) == 1
        assert graphed.failure == ("no CUDA graph: operation not permitted when stream is capturing"
                                   if recording is refusing else "")  # fmt: skip


# -- what is loaded ----------------------------------------------------------------------------------------------


def test_planning_for_a_gpu_imports_no_torch_mlir() -> None:
    """The modules that a GPU needs import where torch-mlir is missing, and load none where it is there."""
    code = (
        "import sys; sys.modules['torch_mlir'] = None\n"
        "import spcomp, spcomp.planning, spcomp.device_program, spcomp.artifact, spcomp.codegen.inductor\n"
        "spcomp.compile, spcomp.load\nprint('fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "fine", done.stderr[-500:]
