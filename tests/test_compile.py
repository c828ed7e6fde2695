"""compile() from the outside: what comes out equals eager, whatever goes in and however it is called."""

from __future__ import annotations

import copy
import gc
import threading
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

import spcomp
from spcomp.compiled import CompiledModule
from spcomp.errors import InputError
from spcomp.report.verification import Verification
from tests.kernels import relative
from tests.models import Cache, ConvNet, Counter, Shared, Structured, Tied, encoder_layer, mlp, prune

QUICK: dict[str, Any] = {"engine": "eager", "guard": False}
SPARSE: dict[str, Any] = {**QUICK, "policy": "force", "encodings": ["csr", "nm"], "memory_budget": 9.0}
"""Sparse kernels everywhere, however small the layer."""


def flat(value: Any) -> list[torch.Tensor]:
    return [t for t in pytree.tree_leaves(value) if isinstance(t, torch.Tensor)]


def agrees(compiled: CompiledModule, model: nn.Module, *args: Any, **kwargs: Any) -> None:
    """Same structure, and for every tensor the tolerance: 1e-5 in float32, 2e-2 (or twice dense's) in bfloat16."""
    with torch.no_grad():
        wanted = model(*args, **kwargs)
        found = compiled(*args, **kwargs)
        exact = copy.deepcopy(model).double()(*_double(args), **_double(kwargs))
    assert pytree.tree_structure(found) == pytree.tree_structure(wanted)
    for y, dense, truth in zip(flat(found), flat(wanted), flat(exact), strict=True):
        assert (y.shape, y.dtype) == (dense.shape, dense.dtype)
        if not y.is_floating_point():
            assert torch.equal(y, dense)
            continue
        limit = 2e-2 if y.dtype is torch.bfloat16 else 1e-5
        assert relative(y, truth) <= max(limit, 2 * relative(dense, truth))


def _double(values: Any) -> Any:
    return pytree.tree_map(lambda t: t.double() if isinstance(t, torch.Tensor) and t.is_floating_point() else t, values)


@pytest.fixture(scope="session")
def small() -> tuple[nn.Module, CompiledModule]:
    """An MLP with GELU, all layers sparse, any batch."""
    torch.manual_seed(1)
    model = mlp(70, 48, 40, 10, activation=nn.GELU)
    return model, spcomp.compile(model, torch.randn(20, 70), torch.randn(33, 70), **SPARSE)


# --- models -----------------------------------------------------------------------------------------------------------


def test_mlp_at_any_batch(small: tuple[nn.Module, CompiledModule]) -> None:
    model, compiled = small
    assert all(d.sparse for d in compiled.explain().decisions)
    for m in (0, 1, 2, 15, 16, 17, 130):
        agrees(compiled, model, torch.randn(m, 70))
    agrees(compiled, model, torch.randn(70, 5).t())
    assert len(compiled.parts.programs) == 2, "one for any batch, one for a batch of 1"
    assert len(compiled.parts.table) == 3, "both programs share the kernels"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(dtype: torch.dtype) -> None:
    model = mlp(64, 32, 8, activation=nn.SiLU).to(dtype)
    options = SPARSE if dtype.itemsize == 2 else QUICK
    compiled = spcomp.compile(model, torch.randn(6, 64).to(dtype), **options)
    assert sum(d.sparse for d in compiled.explain().decisions) == (2 if dtype.itemsize == 2 else 0)
    agrees(compiled, model, torch.randn(6, 64).to(dtype))


def test_encoder_layer_with_two_dynamic_sizes() -> None:
    model = encoder_layer()
    compiled = spcomp.compile(model, torch.randn(2, 5, 32), torch.randn(3, 7, 32), **QUICK)
    assert len(compiled.parts.programs) == 4
    for shape in [(2, 5, 32), (4, 9, 32), (1, 6, 32), (3, 1, 32), (1, 1, 32)]:
        agrees(compiled, model, torch.randn(shape))


def test_small_bert() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=16, attn_implementation="sdpa",
    )  # fmt: skip
    model = prune(transformers.BertModel(config))
    ids = torch.randint(0, 50, (3, 8))
    mask = torch.ones(3, 8, dtype=torch.int64)
    mask[1, 5:] = 0
    first, second = (
        {"input_ids": i, "attention_mask": m} for i, m in ((ids, mask), (ids.repeat(2, 1), mask.repeat(2, 1)))
    )
    compiled = spcomp.compile(model, first, second, **QUICK)
    with torch.no_grad():
        for batch in (1, 2, 5):
            given = {"input_ids": torch.randint(0, 50, (batch, 8)), "attention_mask": mask.repeat(2, 1)[:batch]}
            wanted, found = model(**given), compiled(**given)
            assert type(found) is type(wanted)
            assert relative(found.last_hidden_state, wanted.last_hidden_state.double()) < 2e-5
            assert relative(found.pooler_output, wanted.pooler_output.double()) < 2e-5


def test_convolutions_stay_and_the_head_is_compiled() -> None:
    model = prune(ConvNet())
    compiled = spcomp.compile(model, torch.randn(4, 1, 12, 12), torch.randn(6, 1, 12, 12), **SPARSE)
    assert [d.layer for d in compiled.explain().decisions] == ["fc"]
    for batch in (0, 1, 3):
        agrees(compiled, model, torch.randn(batch, 1, 12, 12))


def test_inductor_runs_the_rest() -> None:
    from spcomp.codegen.inductor import unavailable

    if (reason := unavailable()) is not None:
        pytest.skip(reason)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.LayerNorm(32), nn.Linear(32, 8))
    compiled = spcomp.compile(prune(model), torch.randn(4, 64), torch.randn(6, 64), **{**SPARSE, "engine": "inductor"})
    assert compiled.explain().engines == ("inductor", "inductor")
    for m in (0, 1, 2, 40):
        agrees(compiled, model, torch.randn(m, 64))
    assert compiled.verify(torch.randn(5, 64)).ok


def test_an_exported_program_is_compiled_as_it_is() -> None:
    model = mlp(64, 32, 8)
    exported = torch.export.export(model, (torch.randn(4, 64),))
    agrees(spcomp.compile(exported, **SPARSE), model, torch.randn(4, 64))
    with pytest.raises(InputError, match=r"further examples. Try: the program alone"):
        spcomp.compile(exported, torch.randn(4, 64))


def test_dynamic_shapes_as_torch_export_has_them() -> None:
    model = mlp(64, 8)
    compiled = spcomp.compile(model, torch.randn(4, 64), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), **SPARSE)
    for m in (0, 1, 9):
        agrees(compiled, model, torch.randn(m, 64))


# --- calling ----------------------------------------------------------------------------------------------------------


def test_structures_keywords_and_optional_arguments() -> None:
    model = prune(Structured())
    x, mask, extra = torch.randn(3, 16), torch.randn(3, 8), {"a": torch.ones(2), "b": [torch.zeros(3)]}
    plain = spcomp.compile(model, x, **SPARSE)
    agrees(plain, model, x)
    agrees(plain, model, x=x)
    agrees(plain, model, x, None)
    agrees(plain, model, x, mask=None, extra=None)
    masked = spcomp.compile(model, (x, mask), **QUICK)
    agrees(masked, model, x, mask)
    agrees(masked, model, mask=mask, x=x)
    everything = spcomp.compile(model, {"x": x, "scale": 2.0, "extra": extra}, **QUICK)
    agrees(everything, model, x, scale=2.0, extra=extra)
    with pytest.raises(InputError, match=r"input 1 is 3.0, captured as the constant 2.0"):
        everything(x, scale=3.0, extra=extra)
    with pytest.raises(InputError, match=r"inputs of structure .* Try: the captured one"):
        plain(x, mask)


def test_a_dataclass_comes_out() -> None:
    @dataclass
    class Out:
        logits: torch.Tensor
        hidden: torch.Tensor

    torch.export.register_dataclass(Out, serialized_type_name="tests.test_compile.Out")

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> Out:
            return Out(self.fc(x), x * 2)

    model = prune(Model())
    compiled = spcomp.compile(model, torch.randn(2, 16), **SPARSE)
    assert isinstance(compiled(torch.zeros(2, 16)), Out)
    agrees(compiled, model, torch.randn(2, 16))


def test_any_number_of_arguments() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 8)

        def forward(self, x: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
            return self.fc(x) + sum(more)  # type: ignore[no-any-return]

    def call(batch: int) -> tuple[torch.Tensor, ...]:
        return torch.randn(batch, 16), torch.randn(batch, 8), torch.randn(batch, 8)

    model = prune(Sum())
    compiled = spcomp.compile(model, call(4), call(6), **SPARSE)
    for batch in (0, 1, 9):
        agrees(compiled, model, *call(batch))
    with pytest.raises(InputError, match="inputs of structure"):
        compiled(*call(4)[:2])


def test_the_first_call_captures() -> None:
    model = mlp(64, 8)
    compiled = spcomp.compile(model, **SPARSE)
    assert repr(compiled) == "CompiledModule(captured at its first call)"
    with pytest.raises(spcomp.SpcompError, match=r"not been captured yet. Try: call it once, or give compile"):
        compiled.explain()
    agrees(compiled, model, torch.randn(3, 64))
    assert "1 of 1 linear layers sparse" in repr(compiled)
    agrees(compiled, model, torch.randn(3, 64))


def test_a_single_tensor_is_no_list_of_one() -> None:
    class Lists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 4)

        def forward(self, xs: list[torch.Tensor]) -> torch.Tensor:
            return self.fc(xs[0])  # type: ignore[no-any-return]

    model = prune(Lists())
    compiled = spcomp.compile(model, ([torch.randn(2, 8)],), **QUICK)
    agrees(compiled, model, [torch.randn(2, 8)])
    with pytest.raises(InputError, match=r"inputs of structure"):
        compiled(torch.randn(2, 8))


def test_inputs_that_require_grad(small: tuple[nn.Module, CompiledModule]) -> None:
    _, compiled = small
    x = torch.randn(4, 70, requires_grad=True)
    with pytest.raises(InputError, match=r"an input that requires grad. Try: torch.no_grad\(\), or x.detach"):
        compiled(x)
    with torch.no_grad():
        assert not compiled(x).requires_grad
    with torch.inference_mode():
        assert torch.equal(compiled(x.detach()), compiled(x.detach()))
    assert not compiled(x.detach()).requires_grad


def test_two_python_threads(small: tuple[nn.Module, CompiledModule]) -> None:
    _, compiled = small
    xs = [torch.randn(m, 70) for m in (1, 40, 7, 16)]
    wanted = [compiled(x) for x in xs]
    wrong: list[int] = []

    def work(i: int) -> None:
        wrong.extend(i for _ in range(30) if not torch.equal(compiled(xs[i]), wanted[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_several_threads_capture_once() -> None:
    model = mlp(64, 8)
    lines: list[str] = []
    compiled = spcomp.compile(model, progress=lines.append, **SPARSE)
    x = torch.randn(3, 64)
    found: list[torch.Tensor] = []
    threads = [threading.Thread(target=lambda: found.append(compiled(x))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines.count("planning 0") == 1
    assert len(found) == 3
    assert all(torch.equal(y, found[0]) for y in found)


# --- weights and buffers ----------------------------------------------------------------------------------------------


def test_tied_and_shared_weights_are_packed_once() -> None:
    shared = prune(Shared())
    shared.third.load_state_dict(shared.first.state_dict())
    compiled = spcomp.compile(shared, torch.randn(2, 64), **SPARSE)
    agrees(compiled, shared, torch.randn(2, 64))
    assert len(compiled.parts.table) == 2, "two modules of one weight are one slot"
    assert compiled.parts.slots[0].packed[0] is compiled.parts.slots[1].packed[0], "equal contents are packed once"
    one = spcomp.compile(prune(nn.Linear(64, 64)), torch.randn(2, 64), **SPARSE)
    assert compiled.nbytes < 1.5 * one.nbytes

    tied = Tied()
    with torch.no_grad():
        tied.embedding.weight[torch.rand(40, 16) < 0.8] = 0
    tied.body.weight.data[torch.rand(16, 16) < 0.8] = 0
    compiled = spcomp.compile(tied.eval(), torch.tensor([[1, 2, 3]]), **SPARSE)
    agrees(compiled, tied, torch.tensor([[4, 39, 0]]))
    assert compiled.dense_nbytes == sum(p.nbytes for p in tied.parameters())
    assert list(compiled.state_dict()) == list(tied.state_dict())


def test_a_counter_counts_and_a_copy_has_its_own() -> None:
    model = prune(Counter())
    compiled = spcomp.compile(model, torch.randn(3, 32), **SPARSE)
    x = torch.randn(3, 32)
    assert [int(compiled(x)[1]) for _ in range(3)] == [1, 2, 3]
    compiled.warmup()
    assert int(compiled(x)[1]) == 4, "warming up changes nothing"
    assert compiled.verify(x).ok
    assert int(compiled(x)[1]) == 5, "nor does verifying"
    other = copy.deepcopy(compiled)
    assert [int(other(x)[1]), int(other(x)[1])] == [6, 7]
    assert int(compiled(x)[1]) == 6
    assert torch.equal(other(x)[0], compiled(x)[0])


def test_a_cache_written_in_place() -> None:
    model, reference = prune(Cache()), prune(Cache())
    reference.load_state_dict(model.state_dict())
    compiled = spcomp.compile(model, (torch.randn(2, 16), torch.tensor([0, 1])), **SPARSE)
    other = copy.deepcopy(compiled)
    with torch.no_grad():
        for at in ([0, 1], [2, 3], [0, 5]):
            x, where = torch.randn(2, 16), torch.tensor(at)
            torch.testing.assert_close(compiled(x, where), reference(x, where))
    torch.testing.assert_close(compiled.state_dict()["rows"], reference.rows)
    assert not other.state_dict()["rows"].any()


def test_state_dict_is_the_originals(small: tuple[nn.Module, CompiledModule]) -> None:
    model, compiled = small
    state = compiled.state_dict()
    assert list(state) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[name], tensor)
    fresh = mlp(70, 48, 40, 10, activation=nn.GELU)
    fresh.load_state_dict(state)


def test_tensors_made_in_forward_are_no_state() -> None:
    class Constants(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._fc = nn.Linear(8, 3)
            self.register_buffer("scratch", torch.ones(3), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (
                self._fc(x)
                + torch.tensor([1.0, 2.0, 3.0]) * (3.0 if x.shape[0] == 1 else torch.tensor([2.0]))
                + self.scratch
            )  # type: ignore[attr-defined]

    model = prune(Constants())
    compiled = spcomp.compile(model, torch.randn(4, 8), torch.randn(6, 8), **SPARSE)
    assert list(compiled.state_dict()) == ["_fc.weight", "_fc.bias"]
    for m in (1, 3):
        agrees(compiled, model, torch.randn(m, 8))
    compiled.update_weights(model)
    agrees(compiled, model, torch.randn(3, 8))


def test_update_weights() -> None:
    model = mlp(64, 32, 8)
    compiled = spcomp.compile(model, torch.randn(3, 64), **SPARSE)
    first = compiled.plan.digest
    with torch.no_grad():
        model[0].weight.copy_(torch.where(torch.rand(32, 64) < 0.1, torch.randn(32, 64), 0.0))
        model[0].bias.add_(1)
    assert compiled.update_weights(model) is compiled
    agrees(compiled, model, torch.randn(3, 64))
    assert compiled.plan.digest != first
    assert list(compiled.state_dict()) == list(model.state_dict())
    with pytest.raises(
        InputError, match=r"update the weights: 0.weight is torch.float32 of shape \(16, 64\).*\(32, 64\)"
    ):
        compiled.update_weights(mlp(64, 16, 8))
    with pytest.raises(InputError, match=r"update the weights: the model has no 2\.weight"):
        compiled.update_weights(mlp(64, 32))
    agrees(compiled, model, torch.randn(3, 64))


# --- verify -----------------------------------------------------------------------------------------------------------


def test_verify_names_the_first_broken_layer(small: tuple[nn.Module, CompiledModule]) -> None:
    _model, compiled = small
    x = torch.randn(9, 70)
    fine: Verification = compiled.verify(x)
    assert fine
    assert fine.first_bad is None
    assert [c.layer for c in fine.layers] == ["0", "2", "4"]
    assert fine.output_error is not None
    assert "DIFFERS" not in str(fine)
    broken = copy.deepcopy(compiled)
    packed = broken.parts.slots[1].packed[0]
    values = packed.buffers["values"]
    saved = values.clone()
    record = broken.parts.slots[1]
    slots = list(broken.parts.slots)
    slots[1] = replace(record, weight=record.dense_weight())  # what it should compute
    broken.parts.slots = tuple(slots)
    try:
        values.mul_(1.01)
        found = broken.verify(x)
    finally:
        values.copy_(saved)
    assert found.first_bad == "2"
    assert not found
    assert "DIFFERS" in str(found)
    assert compiled.verify(x).ok
    with pytest.raises(InputError, match="verify a compiled model: input 0 has shape"):
        compiled.verify(torch.randn(9, 71))


def test_verify_after_the_original_is_gone() -> None:
    compiled = spcomp.compile(mlp(64, 8), torch.randn(3, 64), **SPARSE)
    gc.collect()
    found = compiled.verify(torch.randn(3, 64))
    assert found.ok
    assert found.output_error is None
    assert "the original is gone" in str(found)
