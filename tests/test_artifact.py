"""The saved form: what comes back computes the same, is small, shares what was shared, and fits other machines."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import spcomp
from spcomp.artifact.pool import Pool, Views
from spcomp.artifact.saving import plain, unplain
from spcomp.compiled import CompiledModule
from spcomp.errors import ArtifactError
from spcomp.writes import written

ROOT = Path(__file__).parent.parent


class Attention(nn.Module):
    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        b, t, w = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in self.qkv(self.norm(x)).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return x + self.out(y.transpose(1, 2).reshape(b, t, w))


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(16, 8), nn.Linear(16, 4)

    def forward(self, x: dict[str, torch.Tensor], scale: float = 2.0) -> dict[str, Any]:
        return {"a": self.a(x["left"]), "rest": [self.b(x["right"]) * scale, (x["left"], None)]}


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(64, 32), nn.Linear(32, 64, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, i: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(i))


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.register_buffer("calls", torch.zeros(3))
        self.register_buffer("twin", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls[1:].add_(1.0)
        return self.fc(x) + self.calls.sum() + self.twin.sum()


def mlp(width: int = 64) -> nn.Sequential:
    return nn.Sequential(nn.Linear(32, width), nn.ReLU(), nn.Linear(width, 16), nn.GELU(approximate="tanh"))


def convolutional() -> nn.Sequential:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
    model[1].running_mean.normal_()
    return model.to(memory_format=torch.channels_last)


def prune_(model: nn.Module, zeros: float) -> None:
    with torch.no_grad():
        for weight in (m.weight for m in model.modules() if isinstance(m, nn.Linear)):
            weight[torch.rand(weight.shape) < zeros] = 0


def compiled(model: nn.Module, *examples: Any, **options: Any) -> CompiledModule:
    prune_(model, 0.9)
    return spcomp.compile(model.eval(), *examples, **{"engine": "eager", "guard": False, **options})


def again(model: CompiledModule, folder: Path, **options: Any) -> CompiledModule:
    return spcomp.load(model.save(folder / "model.spcomp"), **options)


def same(a: Any, b: Any) -> None:
    left, left_tree = torch.utils._pytree.tree_flatten(a)
    right, right_tree = torch.utils._pytree.tree_flatten(b)
    assert left_tree == right_tree
    for x, y in zip(left, right, strict=True):
        assert torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y


CASES: dict[str, Callable[[], tuple[nn.Module, tuple[Any, ...], list[tuple[Any, ...]]]]] = {
    "mlp": lambda: (mlp(), (torch.randn(7, 32),), [(torch.randn(7, 32),)]),
    "mlp, dynamic": lambda: (
        mlp(), (torch.randn(4, 32), torch.randn(9, 32)), [(torch.randn(m, 32),) for m in (1, 2, 5, 33, 0)],
    ),
    "attention": lambda: (Attention(), (torch.randn(2, 6, 32),), [(torch.randn(2, 6, 32),)]),
    "attention, dynamic": lambda: (
        Attention(), (torch.randn(2, 6, 32), torch.randn(3, 6, 32)), [(torch.randn(b, 6, 32),) for b in (1, 2, 5)],
    ),
    "nested": lambda: (
        Nested(), (({"left": torch.randn(3, 16), "right": torch.randn(2, 16)},),),
        [({"left": torch.randn(3, 16), "right": torch.randn(2, 16)},)],
    ),
    "tied": lambda: (Tied(), (torch.randint(64, (2, 5)),), [(torch.randint(64, (2, 5)),)]),
    "convolution": lambda: (convolutional(), (torch.randn(2, 3, 8, 8),), [(torch.randn(2, 3, 8, 8),)]),
    "bfloat16": lambda: (
        mlp().bfloat16(), (torch.randn(5, 32).bfloat16(),), [(torch.randn(5, 32).bfloat16(),)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("policy", ["auto", "force"])
def test_a_loaded_model_gives_the_same_bits(name: str, policy: str, tmp_path: Path) -> None:
    model, examples, calls = CASES[name]()
    try:
        first = compiled(model, *examples, policy=policy)
    except spcomp.SpcompError:
        pytest.skip("no sparse kernel for a layer so small")
    second = again(first, tmp_path)
    for call in calls:
        same(second(*call), first(*call))
    assert second.plan.digest == first.plan.digest
    assert second.nbytes == first.nbytes
    assert second.dense_nbytes == first.dense_nbytes
    assert str(second.explain()) == str(first.explain())
    for key, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[key], value)


def test_a_loaded_model_can_be_saved_again_and_is_the_same_file(tmp_path: Path) -> None:
    first = compiled(convolutional(), torch.randn(2, 3, 8, 8))
    path = first.save(tmp_path / "a")
    assert spcomp.load(path).save(tmp_path / "b").read_bytes() == path.read_bytes()


def test_a_loaded_model_runs_through_inductor_and_hits_its_cache(tmp_path: Path) -> None:
    from torch._dynamo.utils import counters

    x = torch.randn(4, 32)
    first = compiled(mlp(), x, torch.randn(9, 32), engine="auto")
    if first.parts.programs[0].engine != "inductor":
        pytest.skip(first.parts.programs[0].note)
    torch._dynamo.reset()
    before = counters["inductor"]["fxgraph_cache_hit"]
    second = again(first, tmp_path)
    assert counters["inductor"]["fxgraph_cache_hit"] - before == len(first.parts.programs)
    assert {p.engine for p in second.parts.programs} == {"inductor"}
    for m in (1, 4, 17):
        x = torch.randn(m, 32)
        same(second(x), first(x))
    eager = again(first, tmp_path, engine="eager")
    assert {p.note for p in eager.parts.programs} == {"asked for"}
    assert {p.note for p in again(eager, tmp_path, engine="inductor").parts.programs} == {""}


def test_buffers_that_the_model_writes_are_its_own(tmp_path: Path) -> None:
    model = Counter()
    first = compiled(model, torch.zeros(2, 8))
    path = first.save(tmp_path / "counter")
    bytes_before = path.read_bytes()
    a, b = spcomp.load(path), spcomp.load(path)
    assert written(a.parts.programs[0]) == {"calls"}
    x = torch.randn(2, 8)
    one, two = a(x), a(x)
    assert torch.allclose(two - one, torch.tensor(2.0), atol=1e-5)
    same(b(x), one)
    assert a.state_dict()["twin"].sum() == 0
    assert path.read_bytes() == bytes_before


def test_tied_weights_are_stored_once_and_shared_again(tmp_path: Path) -> None:
    first = compiled(Tied(), torch.randint(64, (2, 5)), policy="off")
    path = first.save(tmp_path / "tied")
    assert path.stat().st_size < 2 * 64 * 32 * 4 + 8192
    second = spcomp.load(path)
    (record,) = second.parts.slots
    assert record.weight is not None
    (embedding,) = second.parts.tensors.values()
    assert embedding.data_ptr() == record.weight.data_ptr()


def test_views_of_one_storage_are_views_again() -> None:
    base = torch.arange(24.0)
    tensors = {
        "t": base.view(4, 6).T, "slice": base[3:9], "same": base[3:9], "ints": base.view(torch.int32)[20:],
        "lone": torch.randn(2, 3, 4).permute(2, 0, 1), "empty": torch.empty(0, 3), "scalar": torch.tensor(4.0),
        "wide": torch.ones(1).expand(5),
    }  # fmt: skip
    pool = Pool()
    for name, tensor in tensors.items():
        pool.add(name, tensor)
    stored, references = pool.finish()
    assert all(t.is_contiguous() for t in stored.values())
    views = Views({name: t.clone() for name, t in stored.items()})
    found = {name: views.get(reference) for name, reference in references.items()}
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].stride() == tensor.stride() or tensor.numel() < 2
    found["slice"][0] = -7.0
    assert found["same"][0] == -7.0
    assert found["t"][3, 0] == -7.0
    with pytest.raises(ArtifactError, match="not there"):
        views.get([references["t"][0], "float32", [4, 7], [7, 1], 0])


def test_a_90_percent_model_takes_a_fifth(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(768, 768), nn.ReLU(), nn.Linear(768, 768))
    fast = compiled(model, torch.randn(64, 768), policy="force")
    dense = 2 * 768 * 768 * 4
    assert fast.save(tmp_path / "model").stat().st_size <= 0.2 * dense + 2 * 768 * 4 + 16384


def test_any_safetensors_reader_opens_the_file(tmp_path: Path) -> None:
    from safetensors import safe_open

    fast = compiled(convolutional(), torch.randn(2, 3, 8, 8))
    with safe_open(fast.save(tmp_path / "model"), "pt") as file:
        assert "tensors/1.running_mean" in file.keys()  # noqa: SIM118 - its own method
        assert torch.equal(file.get_tensor("tensors/1.running_mean"), fast.parts.tensors["1.running_mean"])
    assert all(t.data_ptr() % 64 == 0 for t in again(fast, tmp_path).parts.tensors.values() if t.numel())


def test_another_cpu_tunes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = mlp(256)
    x = torch.randn(48, 32)
    first = compiled(model, x, policy="force")
    first.save(tmp_path / "model")
    torch.save(x, tmp_path / "x.pt")
    torch.save(model(x), tmp_path / "y.pt")
    code = (
        "import sys, torch, spcomp; torch.set_num_threads(1)\n"
        "folder = sys.argv[1]; m = spcomp.load(folder + '/model', engine='eager', guard=False)\n"
        "x, y = (torch.load(f'{folder}/{n}.pt') for n in 'xy')\n"
        "assert torch.allclose(m(x), y, atol=1e-4), (m(x) - y).abs().max()\n"
        "print(m.parts.notes)"
    )
    environment = {**os.environ, "SPCOMP_MASK_CPU_FEATURES": "avx512f,avx512bw,avx512vl,avx512_vnni,avx512_bf16"}
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert "tuned again: saved for" in run.stdout or "tuned again: saved on another CPU" in run.stdout


@pytest.mark.parametrize("guard", [False, True])
def test_other_versions_tune_again(guard: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(48, 32)
    first = compiled(mlp(256), x)
    path = first.save(tmp_path / "model")
    monkeypatch.setattr("spcomp.artifact.kernels.versions", lambda: "torch=1.0")
    second = spcomp.load(path, guard=guard, cache_dir=tmp_path / "cache")
    assert any("tuned again: saved with torch=2" in note for note in second.parts.notes)
    assert torch.allclose(second(x), first(x), atol=1e-4)


def test_the_engine_can_be_chosen_and_progress_is_told(tmp_path: Path) -> None:
    lines: list[str] = []
    first = compiled(mlp(), torch.randn(4, 32))
    second = again(first, tmp_path, engine="eager", progress=lines.append)
    assert second.parts.options["engine"] == "eager"
    assert lines[0] == "reading the file"
    assert "generating the kernels of the plan" in lines


def test_floats_without_a_json_word_survive() -> None:
    data = {"a": [float("inf"), {"b": -0.5}], "c": None, "d": float("-inf")}
    assert unplain(plain(data)) == data


def test_saving_says_what_cannot_be_written(tmp_path: Path) -> None:
    fast = compiled(mlp(), torch.randn(4, 32))
    (program,) = fast.parts.programs
    graph = program.gm.graph
    last = next(iter(reversed(graph.nodes)))
    with graph.inserting_before(last):
        graph.call_function(os.getcwd)
    with pytest.raises(ArtifactError, match=r"the node getcwd is .*a function of Python.*Try: "):
        fast.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_unwritable_targets_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = compiled(mlp(), torch.randn(4, 32))
    with pytest.raises(ArtifactError, match=r"save to .*No such file or directory.*Try: a folder that exists"):
        fast.save(tmp_path / "missing" / "model")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArtifactError, match=r"save to .*directory"):
        fast.save(tmp_path / "folder")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    fast.save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left"):
        fast.save(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "model"]


def test_a_transformers_model_comes_back_with_its_output_class(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, vocab_size=50
    )
    inputs = {"input_ids": torch.randint(50, (1, 6)), "attention_mask": torch.ones(1, 6, dtype=torch.long)}
    first = compiled(transformers.BertModel(config), inputs)
    second = again(first, tmp_path)
    a, b = first(**inputs), second(**inputs)
    assert type(a) is type(b)
    assert torch.equal(a.last_hidden_state, b.last_hidden_state)
