"""Laws of planning for GPUs that need neither a GPU nor Triton: costs, timing, places, graphs, refusals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.artifact.devices import saved_devices
from spcomp.artifact.graph import graph_from_json, graph_to_json
from spcomp.codegen import dense_device
from spcomp.cost.cache import TuneCache
from spcomp.cost.device_model import DeviceModel
from spcomp.cost.device_tuner import HOT_CALLS, MOST_COPIES, DeviceTuner
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.errors import ArtifactError, InputError, KernelError
from spcomp.options import Options
from spcomp.passes.infer_sparsity import positive_zeros
from spcomp.passes.propose import Candidate
from spcomp.passes.propose_device import device_encodings_for, serves_on
from spcomp.passes.tune_device import Rotation, copied
from spcomp.plan import Epilogue, KernelCall, RowRange
from spcomp.planning import check_options
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
    return DeviceTuner("a GPU", device, TuneCache(tmp_path), "versions", table, l2)


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
