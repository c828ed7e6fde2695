"""Compiled models for GPUs that are none, given other weights, and held against their dense selves.

As in :mod:`tests.device_cases`, whoever runs these must have Triton's interpreter on.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spcomp
from spcomp import guard
from spcomp.compiled import CompiledModule
from spcomp.errors import InputError, StateError
from spcomp.placing import Placing
from spcomp.repack import without_sparsity
from tests.device_cases import Mlp, Table, compiled, fake, sparse_wins


def differs(ours: nn.Module, model: nn.Module, *x: Tensor) -> float:
    """max|difference| from a model in float64, of its largest result."""
    with torch.no_grad():
        exact, found = copy.deepcopy(model).double()(*(t.double() for t in x)), ours(*x)
    return float((found.double() - exact).abs().max() / exact.abs().max())


def other_weights() -> Mlp:
    """The same zeros, other numbers."""
    model = Mlp()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(torch.rand_like(parameter) + 0.5)
    return model


def encodings(ours: CompiledModule) -> dict[str, str]:
    return {d.layer: d.encoding.split("(")[0] for d in ours.explain().decisions}


def ops_of(ours: CompiledModule) -> list[str]:
    return [str(n.target) for p in ours.parts.programs for n in p.gm.graph.nodes if n.op == "call_function"]


def updated(folder: Path) -> dict[str, Any]:
    """Other numbers; zeros elsewhere; zeros where there were none."""
    x, found = torch.randn(5, 64).half(), dict[str, Any]()
    ours = compiled(folder, sparse_wins(), x)
    old, first, digest = copy.deepcopy(ours), ours.parts.programs, ours.plan.digest
    model = other_weights()
    assert ours.update_weights(model) is ours
    found["same zeros"] = differs(ours, model, x), encodings(ours)
    found["graphs kept"] = [p.gm for p in first] == [p.gm for p in ours.parts.programs]
    found["same digest"] = ours.plan.digest == digest
    found["copy"] = differs(old, Mlp(), x)
    found["targets"] = {c.target for c in ours.plan.calls}
    with torch.no_grad():
        model.a.weight.copy_(torch.where(torch.rand(128, 64) < 0.05, torch.randn(128, 64), 0.0))
        model.c.weight.copy_(torch.randn(64, 64))
    ours.update_weights(model)
    found["zeros moved"] = differs(ours, model, x), encodings(ours)
    found["still kept"] = [p.gm for p in first] == [p.gm for p in ours.parts.programs]
    found["state"] = all(torch.equal(t, model.state_dict()[n] + 0.0) for n, t in ours.state_dict().items())
    with torch.no_grad():
        model.d.weight *= torch.rand(8, 64) < 0.05
        model.a.weight[0], model.a.bias[0] = 1.0, 0.25  # a row that nothing takes for dead
    ours.update_weights(model)
    found["left layer pruned"] = differs(ours, model, x), encodings(ours)
    found["compiled again"] = ops_of(ours).count("spcomp.linear_v1.default")
    return found


def refused(folder: Path) -> dict[str, str]:
    """What the CPU refuses is refused in the same words."""
    x, found = torch.randn(5, 64).half(), {}
    ours = compiled(folder, sparse_wins(), x)
    wrong: dict[str, nn.Module] = {"shape": Mlp(), "dtype": Mlp(torch.float32), "missing": nn.Linear(3, 3)}
    wrong["shape"].a = nn.Linear(64, 96).half()
    for name, model in wrong.items():
        with pytest.raises(InputError) as raised:
            ours.update_weights(model)
        found[name] = str(raised.value)
    return found


def loaded(folder: Path) -> dict[str, Any]:
    """A file's model: its graph is all there is, and layers that it left to torch stay dense."""
    x = torch.randn(5, 64).half()
    path = compiled(folder, sparse_wins(), x).save(folder / "mlp.spcomp")
    again, model = spcomp.load(path, target=lambda _name, _where: fake(sparse_wins())), other_weights()
    with torch.no_grad():
        model.d.weight *= torch.rand(8, 64) < 0.05
    again.update_weights(model)
    found = {"error": differs(again, model, x), "encodings": encodings(again), "text": str(again.explain())}
    with torch.no_grad():
        dead = Mlp()
        dead.a.weight[:8] = 0
        dead.b.weight[:, :8] = 0
    cut = spcomp.compile(
        dead, x, target=lambda _name, _where: fake(sparse_wins()), engine="eager", guard=False, cache_dir=folder
    ).save(folder / "cut.spcomp")
    with pytest.raises(StateError) as raised:
        spcomp.load(cut, target=lambda _name, _where: fake(sparse_wins())).update_weights(dead)
    return found | {"cut": str(raised.value)}


def places(folder: Path) -> dict[str, Any]:
    """Weights are brought home to be looked at, and constants of the graph go back, once each."""
    x, model = torch.randn(5, 64).half(), other_weights()
    ours = compiled(folder, sparse_wins(), x)
    ours.parts.where = {"d.weight": "cuda:0", "d.bias": "cuda:0"}
    home, there = list[Tensor](), list[str]()

    class Seen(Placing):
        def home(self, tensor: Tensor) -> Tensor:
            home.append(tensor)
            return super().home(tensor)

        def there(self, tensor: Tensor, where: str) -> Tensor:
            if where == "cpu":
                return tensor
            there.append(where)
            return tensor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spcomp.repack.Placing", Seen)
        ours.update_weights(model)
    return {
        "home": len(home) == len(model.state_dict()), "there": there, "where": dict(ours.parts.where),
        "error": differs(ours, model, x),
    }  # fmt: skip


def rival(folder: Path) -> dict[str, Any]:
    """The dense rival of a model with linear layers: in this process, loaded, and after an update."""
    x, model = torch.randn(5, 64).half(), other_weights()
    ours = compiled(folder, sparse_wins(), x, torch.randn(3, 64).half())
    dense = without_sparsity(ours)
    path = ours.save(folder / "mlp.spcomp")
    again = without_sparsity(spcomp.load(path, target=lambda _name, _where: fake(sparse_wins())))
    found = {
        "errors": [differs(m, Mlp(), t) for m in (dense, again) for t in (x, x[:1])], "ops": ops_of(dense),
        "encodings": encodings(dense), "text": str(dense.explain()), "sparse still": encodings(ours),
        "state": all(torch.equal(t, Mlp().state_dict()[n] + 0.0) for n, t in dense.state_dict().items()),
    }  # fmt: skip
    ours.update_weights(model)
    return found | {"updated": differs(without_sparsity(ours), model, x)}


def guarded(folder: Path) -> dict[str, Any]:
    """The guard found dense faster: new weights are planned, and held against the dense program, once more."""
    x, model, verdicts = torch.randn(4, 64).half(), other_weights(), [0.5, 1.5]
    plain = guard.slowest_speedup
    guard.slowest_speedup = lambda *_given: (worst := verdicts.pop(0), [worst])
    try:
        ours = compiled(folder, sparse_wins(), x, guard=True)
        first = [d.sparse for d in ours.explain().decisions]
        ours.update_weights(model)
    finally:
        guard.slowest_speedup = plain
    return {"first": first, "then": [d.sparse for d in ours.explain().decisions], "error": differs(ours, model, x),
            "text": str(ours.explain())}  # fmt: skip


def stays_dense(folder: Path) -> dict[str, Any]:
    """No sparse kernel pays: new weights change nothing of what was compiled."""
    x, model = torch.randn(4, 64).half(), other_weights()
    slow = fake(Table({"": 100e-6, "dense.": 80e-6}), "where sparse is slow")
    ours = compiled(folder, sparse_wins(), x, target=lambda _name, _where: slow)
    first = ours.parts.programs[0].gm
    ours.update_weights(model)
    return {"kept": ours.parts.programs[0].gm is first, "error": differs(ours, model, x), "ops": ops_of(ours)}


def along_n(folder: Path) -> dict[str, Any]:
    """A layer that is 2:4 along N, at one token: what is proposed, chosen and said."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64)).half().eval()
    with torch.no_grad():
        order = torch.rand(16, 4, 64).argsort(1).argsort(1)
        model[0].weight *= (order < 2).reshape(64, 64)
    table, x = Table({"": 90e-6, "dense.": 80e-6, "triton bitmap": 20e-6}), torch.randn(1, 64).half()
    ours = spcomp.compile(
        model, x, target=lambda _name, _where: fake(table, "for bitmaps"), engine="eager", guard=False, cache_dir=folder
    )
    (decision,) = ours.explain().decisions
    return {
        "asked": set(table.asked), "encoding": decision.encoding, "reason": decision.reason,
        "share": decision.nbytes / decision.dense_nbytes, "error": differs(ours, model, x),
    }  # fmt: skip
