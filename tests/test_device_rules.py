"""Laws of planning for GPUs that need neither a GPU nor Triton: costs, timing, places, graphs, refusals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import spcomp
from spcomp import ops
from spcomp.artifact.devices import saved_devices
from spcomp.artifact.graph import graph_from_json, graph_to_json
from spcomp.capture import Example, capture
from spcomp.codegen import dense_device
from spcomp.codegen.cuda_graph import Graphed
from spcomp.cost.cache import TuneCache
from spcomp.cost.device_model import DeviceModel
from spcomp.cost.device_tuner import HOT_CALLS, MOST_COPIES, DeviceTuner
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.errors import ArtifactError, InputError, KernelError
from spcomp.options import Options
from spcomp.passes.base import PassContext, Site
from spcomp.passes.infer_sparsity import positive_zeros
from spcomp.passes.propose import Candidate
from spcomp.passes.propose_device import device_encodings_for, serves_on
from spcomp.passes.rewrite import add_constant
from spcomp.passes.tune_device import Rotation, copied
from spcomp.placing import Placing, homes, placed
from spcomp.plan import Epilogue, KernelCall, RowRange
from spcomp.planning import check_options, planners_for
from spcomp.sparsity.measure import measure
from spcomp.targets import cuda
from spcomp.targets.device import devices_found, host_device
from spcomp.warming import edges
from tests.device_cases import PEAKS, Mlp, Table, fake

CALL = KernelCall(
    "layer", 0, RowRange(1, 1), 4096, 4096, "bfloat16", Block(64, 64), 1 << 20, 1 << 20, 2 << 20, "", Epilogue(),
    "triton", "cuda", (("block_m", 16),),
)  # fmt: skip
DENSE = replace(CALL, encoding=Dense(), stored=1 << 24, weight_nbytes=2 << 24, backend="dense", schedule=())


# -- costs -------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(m=st.integers(1, 1 << 14), more=st.integers(0, 1 << 14))
def test_more_rows_never_take_less(m: int, more: int) -> None:
    model = DeviceModel(PEAKS)
    for call in (CALL, DENSE, replace(CALL, encoding=Csr(1 << 16))):
        assert model.seconds(call, m + more) >= model.seconds(call, m) > 0


def test_decoding_is_bytes_and_batches_are_products() -> None:
    model = DeviceModel(cuda.peaks_of("NVIDIA H200"))
    few = model.seconds(DENSE, 1, cold_bytes=1 << 30) - cuda.LAUNCH_SECONDS
    assert few == pytest.approx(2 * 4096**2 / (0.8 * 4800e9), rel=0.01)
    many = model.seconds(DENSE, 8192, cold_bytes=1 << 30) - cuda.LAUNCH_SECONDS
    assert many == pytest.approx(2 * 8192 * 4096**2 / (0.6 * 989.4e12), rel=0.01)
    assert model.seconds(CALL, 1, cold_bytes=1 << 30) < model.seconds(DENSE, 1, cold_bytes=1 << 30)


def test_figures_by_name() -> None:
    assert cuda.peaks_of("NVIDIA H100 PCIe").memory_gb_s == 2000
    assert cuda.peaks_of("NVIDIA H100 80GB HBM3").memory_gb_s == 3350
    assert all("datasheet" in peaks.source for _, peaks in cuda.KNOWN)


def test_a_device_in_no_table_is_measured() -> None:
    called = []

    def second(call: Callable[[], object]) -> float:
        called.append(call())
        return 1e-3

    found = cuda.probed(0, second)
    assert found.memory_gb_s == pytest.approx(2 * (1 << 16) / 1e-3 / 1e9)
    assert found.tensor_tflops == found.float32_tflops == pytest.approx(2 * 64**3 / 1e-3 / 1e12)
    assert found.source == "measured on the device"
    assert len(called) == 3


# -- timing ------------------------------------------------------------------------------------------------------


@dataclass
class Weighted:
    """A callable with a weight of ``nbytes``, and copies."""

    nbytes: int
    made: list[int] = field(default_factory=list)

    def __call__(self) -> None: ...

    def copies(self, count: int) -> Sequence[Callable[[], object]]:
        self.made.append(count)
        return [self] * count


def _tuner(tmp_path: Path, table: Table, l2: int = 1 << 20, device: str = "one") -> DeviceTuner:
    return DeviceTuner(device, TuneCache(tmp_path), "versions", table, l2)


def test_cold_weights_go_round_twice_the_cache(tmp_path: Path) -> None:
    table = Table({"": 1e-5})
    cold, hot, tiny = Weighted(1 << 18), Weighted(1 << 18), Weighted(1 << 4)
    tuner = _tuner(tmp_path, table)
    tuner.time({"cold": cold}, cold_bytes=1 << 22)
    tuner.time({"hot": hot}, cold_bytes=0)
    tuner.time({"tiny": tiny}, cold_bytes=1 << 22)
    assert cold.made == [2 * (1 << 20) // (1 << 18)]
    assert hot.made == []
    assert tiny.made == [MOST_COPIES]
    assert set(table.calls) == {8, HOT_CALLS, MOST_COPIES}


def test_hopeless_ones_are_given_up(tmp_path: Path) -> None:
    table = Table({"fast": 1e-5, "slow": 3e-5})
    found = _tuner(tmp_path, table).time({"fast": lambda: None, "slow": lambda: None})
    assert found == {"fast": pytest.approx(1e-5), "slow": pytest.approx(3e-5)}
    assert (table.asked.count("fast"), table.asked.count("slow")) == (7, 2)


def test_remembered_by_device(tmp_path: Path) -> None:
    table, key, work = Table({"": 1e-5}), {"n": 1}, {"a": lambda: None}
    for _ in range(2):
        _tuner(tmp_path, table).measure(key, lambda: work, frozenset("a"), cold_bytes=0)
    assert len(table.asked) == 7
    _tuner(tmp_path, table, device="two").measure(key, lambda: work, frozenset("a"), cold_bytes=0)
    assert len(table.asked) == 14


def test_copies_of_a_kernel_share_nothing() -> None:
    kernel = dense_device.best_dense(DENSE, torch.randn(8, 4), torch.randn(8), (1,)).member("cublas")
    other = copied(kernel)
    x = torch.randn(3, 4)
    torch.testing.assert_close(other(x), kernel(x))
    assert other.weight.data_ptr() != kernel.weight.data_ptr()  # type: ignore[attr-defined]
    assert Rotation(kernel, (x,)).nbytes == 4 * (32 + 8)
    assert len(Rotation(kernel, (x,)).copies(3)) == 3


# -- dense -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["none", "relu", "gelu", "gelu_tanh", "silu"])
@pytest.mark.parametrize("bias", [False, True])
def test_members_of_best_dense_agree(activation: str, bias: bool) -> None:
    call = replace(DENSE, n=12, k=8, dtype="float32", epilogue=Epilogue(bias, activation))
    weight, b, x = torch.randn(12, 8), torch.randn(12) if bias else None, torch.randn(2, 3, 8)
    best = dense_device.best_dense(call, weight, b, (1, 6))
    y = F.linear(x, weight, b)
    wanted = {"none": y, "relu": F.relu(y), "gelu": F.gelu(y), "gelu_tanh": F.gelu(y, approximate="tanh"),
              "silu": F.silu(y)}[activation]  # fmt: skip
    assert ("cublaslt" in best.names(1)) == (bias and activation in ("relu", "gelu_tanh"))
    on_cuda = {"cublaslt"} if activation == "gelu_tanh" else set()  # torch's own on the CPU is the exact GELU
    for name in set(best.names(1)) - on_cuda:
        torch.testing.assert_close(best.member(name)(x), wanted)
    best.settle({1: {"cublas": 2.0}, 6: {"cublas": 1.0}})
    torch.testing.assert_close(best(x), wanted)
    with pytest.raises(KernelError, match="no member 'mkl' on a GPU"):
        best.member("mkl")


# -- what is proposed --------------------------------------------------------------------------------------------


def test_encodings_for_a_gpu() -> None:
    model = Mlp(torch.float32)
    facts = {n: measure(positive_zeros(m.weight.detach())) for n, m in model.named_children()}
    names = {n: [str(e) for e in device_encodings_for(f)] for n, f in facts.items()}
    assert "block(rows=32, cols=32)" in names["a"]
    assert "csr(block_columns=65536)" in names["b"]
    assert not any(e.startswith("csr") and "65536" not in e for e in names["b"]), "one width alone has kernels"
    assert "nm(n=2, m=4)" in names["c"]
    assert names["d"] == []


def test_kernels_for_one_token_are_not_timed_at_many() -> None:
    one = Candidate(Block(64, 64), "triton", (("block_m", 1),), 0, 0)
    assert serves_on(one, 1)
    assert serves_on(one, 15)
    assert not serves_on(one, 16)
    assert not serves_on(replace(one, schedule=(("block_m", 16),), fewest_rows=2), 1)


def test_edges_of_ranges() -> None:
    assert edges(RowRange(0, 1), [RowRange(1, None)]) == [1]
    assert edges(RowRange(2, None), [RowRange(1, None)]) == [2, 512]
    assert edges(RowRange(2, 20), [RowRange(8, 8)]) == [8]
    assert edges(RowRange(2, 4), [RowRange(8, 8)]) == []


# -- refusals ----------------------------------------------------------------------------------------------------


def test_int8_is_refused() -> None:
    with pytest.raises(InputError, match=r"compile with quantize='int8': cuda: a GPU \(cpu\), whose kernels"):
        check_options(Options(quantize="int8"), fake(Table({}), "a GPU"))


def test_encodings_of_the_cpu_alone_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spcomp.codegen.triton.device.unavailable", lambda: None)
    device = fake(Table({}))
    with pytest.raises(InputError, match=r"restrict the encodings to split, window on cuda: kernels for the CPU alone"):
        check_options(Options(encodings=frozenset(("window", "split"))), device)
    check_options(Options(encodings=frozenset(("window", "block"))), device)


def test_devices_by_place() -> None:
    assert devices_found("a.weight", "cpu") == host_device()
    with pytest.raises(InputError, match="a weight on mps:0"):
        devices_found("a.weight", "mps:0")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="compile for target='cuda': torch"):
            devices_found("a.weight", "cuda:0")


def test_a_file_for_a_gpu_without_one(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    saved = {"target": "cuda", "where": "cuda:0", "name": "NVIDIA H200", "digest": "d"}
    with pytest.raises(ArtifactError, match=r"it was compiled for NVIDIA H200 \(cuda:0\), and torch .*target='cpu'"):
        saved_devices({"devices": [saved]}, tmp_path, here=False)
    with pytest.raises(ArtifactError, match=r"compiled for a GPU \(cuda:1\)"):
        saved_devices({"where": {"a.weight": "cuda:1"}}, tmp_path, here=False)
    assert saved_devices({"devices": [saved]}, tmp_path, here=True) == [saved]
    for broken in ([{**saved, "where": "cuda:999"}], [{"target": "cuda"}], {"a": 1}):
        with pytest.raises(ArtifactError):
            saved_devices({"devices": broken}, tmp_path, here=True)


def test_devices_in_a_saved_graph() -> None:
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    made = graph.call_function(torch.ops.aten.to.device, (x, torch.device("cuda:1"), torch.float16))
    graph.output((made,))
    data = graph_to_json(torch.fx.GraphModule({}, graph))
    again = [n for n in graph_from_json(data).graph.nodes if n.op == "call_function"]
    assert again[0].args[1] == torch.device("cuda:1")
    data[1]["args"][1] = {"device": "mps"}
    with pytest.raises(ArtifactError):
        graph_from_json(data)


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


def test_weights_of_a_gpu_model_are_not_updated() -> None:
    from spcomp.errors import StateError

    model = nn.Linear(8, 4).eval()
    ours = spcomp.compile(model, torch.zeros(2, 8), engine="eager", guard=False, policy="off")
    ours.parts.devices = (fake(Table({}), "a GPU"),)
    with pytest.raises(StateError, match=r"it was compiled for cuda: a GPU \(cpu\)"):
        ours.update_weights(model)
