"""Mixtures of experts on GPUs that are none. As in :mod:`tests.device_cases`, Triton's interpreter must be on."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers.integrations.moe  # noqa: F401  # defines the op that its networks are exported with
from torch import Tensor, nn

import spcomp
from spcomp.compiled import CompiledModule
from spcomp.errors import ArtifactError, SpcompError
from spcomp.repack import without_sparsity
from tests.device_cases import Table, fake
from tests.device_updates import differs, encodings, ops_of

E, N, K = 4, 32, 48


def table() -> Table:
    return Table({"": 90e-6, "dense.": 80e-6, "triton block": 20e-6})


class Mixture(nn.Module):
    """Rows are sent to one of four experts by the signs of two features; weights in blocks of 16, one expert dead."""

    def __init__(self, *, turned: bool = True, kind: str = "fallback", dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(2)
        live = torch.rand(E, N // 16, K // 16) < 0.4
        live[1] = False
        live[:, 0, 0] |= torch.tensor([True, False, True, True])
        stack = torch.randn(E, N, K) * live.repeat_interleave(16, 1).repeat_interleave(16, 2)
        self.turned, self.kind = turned, kind
        self.stack = nn.Parameter((stack if turned else stack.transpose(1, 2).contiguous()).to(dtype))
        self.out = nn.Linear(N, 6, dtype=dtype)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        expert = (x[:, 0] > 0).long() * 2 + (x[:, 1] > 0).long()
        stack = self.stack.transpose(1, 2) if self.turned else self.stack
        if self.kind == "gathered":
            return self.out(torch.bmm(x.unsqueeze(1), stack[expert]).squeeze(1))  # type: ignore[no-any-return]
        order = torch.argsort(expert, stable=True)
        ends = (expert[:, None] <= torch.arange(E)).sum(0).to(torch.int32)
        if self.kind == "computed":
            stack = stack * x.abs().max().clamp(1, 1)
        if self.kind == "aten":
            y: Tensor = F.grouped_mm(x[order], stack, offs=ends)
        else:
            y = torch.ops.transformers.grouped_mm_fallback(x[order], stack, offs=ends)
        return self.out(torch.zeros_like(y).index_copy(0, order, y))  # type: ignore[no-any-return]


def compiled(folder: Path, model: nn.Module, *x: Any, timer: Table | None = None, **options: Any) -> CompiledModule:
    device = fake(timer or table(), f"for {'slow' if timer else 'fast'} experts")
    options = {"engine": "eager", "guard": False, "cache_dir": folder} | options
    return spcomp.compile(model, *x, target=lambda _name, _where: device, **options)


def whole_path(folder: Path, *, turned: bool, kind: str) -> dict[str, Any]:
    """Planned, spliced, run at any number of rows, saved, loaded, given new weights, held against its dense self."""
    dtype = torch.bfloat16 if kind == "aten" else torch.float32
    model = Mixture(turned=turned, kind=kind, dtype=dtype)
    x = torch.randn(20, K, dtype=dtype)
    ours = compiled(folder, model, x, x[:7])
    one_expert = torch.ones(3, K, dtype=dtype)
    exact = Mixture(turned=turned, kind="fallback", dtype=dtype)
    found: dict[str, Any] = {
        "errors": {m: differs(ours, exact, torch.randn(m, K, dtype=dtype)) for m in (1, 2, 20)},
        "one expert": differs(ours, exact, one_expert),
        "none": tuple(ours(x[:0]).shape),
        "encodings": encodings(ours),
        "ops": ops_of(ours),
        "lifted": [p.lifted for p in ours.parts.programs],
        "bytes": (ours.nbytes, ours.dense_nbytes),
        "verify": bool(ours.verify(x).ok),
        "state": all(torch.equal(t, ours.state_dict()[n]) for n, t in model.state_dict().items()),
        "calls": {(c.op, c.experts, c.n, c.k) for c in ours.plan.calls if c.experts},
        "text": str(ours.explain()),
        "edges": {d.layer: [r.kernel for r in d.ranges] for d in ours.explain().decisions},
    }
    path = ours.save(folder / "m.spcomp")
    device = fake(table(), "for fast experts")
    again = spcomp.load(path, target=lambda _name, _where: device)
    found["loaded"] = differs(again, exact, x), again.plan.digest == ours.plan.digest
    found["loaded state"] = all(torch.equal(t, again.state_dict()[n]) for n, t in model.state_dict().items())
    retuned = spcomp.load(path, target=lambda _name, _where: fake(table(), "another"), guard=False)
    found["retuned"] = differs(retuned, exact, x), encodings(retuned)
    dense = without_sparsity(ours)
    found["dense"] = differs(dense, exact, x), ops_of(dense)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.stack.mul_(2.0)
        other.stack[0, :16, :16] = 0
    exact.load_state_dict(other.state_dict())
    ours.update_weights(other)
    found["updated"] = differs(ours, exact, x), encodings(ours)
    return found


def left(folder: Path) -> dict[str, Any]:
    """Dense is faster, or the guard says so: the graph is as it was captured."""
    slow, x = Table({"": 100e-6, "dense.": 80e-6}), torch.randn(9, K)
    found: dict[str, Any] = {}
    for kind in ("fallback", "aten"):
        given = x.bfloat16() if kind == "aten" else x
        model = Mixture(kind=kind, dtype=given.dtype)
        ours = compiled(folder, model, given, timer=slow)
        with torch.no_grad():
            found[kind] = ops_of(ours), float((ours(given) - model(given)).abs().max())
    path = compiled(folder, Mixture(), x, timer=slow).save(folder / "left.spcomp")
    device = fake(slow, "for slow experts")
    found["loaded"] = differs(spcomp.load(path, target=lambda _name, _where: device), Mixture(), x)
    return found


def fallbacks(folder: Path) -> dict[str, str]:
    """What is not replaced, and what is said of it."""
    x, found = torch.randn(9, K), {}
    for kind in ("computed", "gathered"):
        model = Mixture(kind=kind)
        ours = compiled(folder, model, x)
        assert differs(ours, Mixture(kind="gathered"), x) < 1e-5
        assert not any("spcomp.grouped_v1" in op for op in ops_of(ours))
        found[kind] = str(ours.explain())
    narrow = Mixture()
    with torch.no_grad():
        narrow.stack = nn.Parameter(narrow.stack[:, :24].clone())
        narrow.out = nn.Linear(24, 6).eval()
    ours = compiled(folder, narrow, x)
    assert not any("spcomp.grouped_v1" in op for op in ops_of(ours))
    found["narrow"] = next(d.reason for d in ours.explain().decisions if d.layer == "stack")
    ours = compiled(folder, Mixture(), x)
    try:
        spcomp.simulate(ours, "systolic_ws", x)
    except SpcompError as error:
        found["simulated"] = str(error)
    return found


def hostile_ends() -> float:
    """Shares that overlap, fall, or lie outside of x: each row is some expert's or zero, and memory is not left."""
    from spcomp.codegen.triton.expert_layer import ExpertsLayer
    from spcomp.encodings.block import Block
    from spcomp.encodings.pack import pack
    from spcomp.experts import experts_dense
    from spcomp.sparsity.measure import measure
    from tests.triton_cases import call_of

    stack = Mixture().stack.detach()
    matrix = stack.reshape(E * N, K)
    call, _ = call_of(Block(16, 16), matrix)
    packed = pack(matrix, Block(16, 16), measure(matrix))
    call = replace(call, op="experts", experts=E)
    kernel, worst = ExpertsLayer(call, packed, torch.device("cpu")), 0.0
    for ends in ([3, 1, 5, 9], [-4, 2, 2, 3], [99, 0, 7, 7], [0, 0, 0, 0], [7, 8, 9, 1 << 40]):
        x, offs = torch.randn(7, K), torch.tensor(ends)
        worst = max(worst, float((kernel(x, offs) - experts_dense(x, offs, list(stack))).abs().max()))
    return worst


def mixtral(folder: Path) -> dict[str, Any]:
    """A small network of transformers, its experts in blocks of 32."""
    from benchmarks.zoo_models import ZOO

    entry = ZOO["mixtral"]
    model = entry.build()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".experts." in name and parameter.dim() == 3:
                e, n, k = parameter.shape
                live = torch.rand(e, -(-n // 32), -(-k // 32)) < 0.3
                parameter.mul_(live.repeat_interleave(32, 1)[:, :n].repeat_interleave(32, 2)[:, :, :k])
    asked = entry.inputs(2)
    ours = compiled(folder, model, asked, include=["*experts*"])
    with torch.no_grad():
        wanted = model(**asked).logits
    sizes = [tuple(p.shape) for n, p in model.named_parameters() if ".experts." in n]
    sparse = [(d.layer, d.encoding) for d in ours.explain().decisions if d.sparse]
    gap = float((ours(**asked).logits - wanted).abs().max() / wanted.abs().max())
    return {"sizes": sizes, "sparse": sparse, "error": gap, "ops": ops_of(ours), "text": str(ours.explain())}


def forged(folder: Path) -> list[str]:
    """Files whose graph gives the kernel of all experts something else."""
    from spcomp.artifact import archive

    x = torch.randn(11, K)
    path = compiled(folder, Mixture(), x).save(folder / "whole.spcomp")
    changes: list[tuple[int, Any]] = [(2, 99), (2, 1), (3, N + 1), (3, E * N), (1, {"node": "index"})]
    found = []
    for at, value in changes:
        manifest, stored = archive.read(path)
        (node,) = (n for n in manifest["programs"][0]["graph"] if n["target"] == "spcomp.grouped_v1.default")
        node["args"][at] = (node["args"][2] + 1) % 2 if (at, value) == (2, 1) else value
        archive.write(folder / "forged", stored, manifest)
        device = fake(table(), "for fast experts")
        try:
            spcomp.load(folder / "forged", target=lambda _name, _where, device=device: device)
        except ArtifactError as error:
            found.append(str(error))
    return found
