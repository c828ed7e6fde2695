"""compile() from the outside: what comes out equals eager, whatever goes in and however it is called."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import spcomp
from spcomp.errors import InputError
from tests.compiling import QUICK, SPARSE, agrees, small
from tests.kernels import relative
from tests.models import ConvNet, Structured, encoder_layer, mlp, prune

# --- models -----------------------------------------------------------------------------------------------------------


def test_mlp_at_any_batch() -> None:
    model, compiled = small()
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


def test_convolutions_may_stay_dense_and_the_head_is_compiled() -> None:
    model = prune(ConvNet())
    compiled = spcomp.compile(model, torch.randn(4, 1, 12, 12), torch.randn(6, 1, 12, 12), **SPARSE, exclude="conv")
    assert [(d.layer, d.sparse) for d in compiled.explain().decisions] == [("conv", False), ("fc", True)]
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


def test_autocast_around_it_changes_nothing() -> None:
    """Other ops would hand bfloat16 to kernels that read float32."""

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(32, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x @ x.mT @ x)  # type: ignore[no-any-return]

    compiled = spcomp.compile(prune(Mixed()), torch.randn(5, 32), **SPARSE)
    x = torch.randn(5, 32)
    wanted = compiled(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(compiled(x), wanted)


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_layers_without_elements_and_infinite_weights() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.none, self.some, self.inf = nn.Linear(32, 0), nn.Linear(0, 3), nn.Linear(32, 3)
            self.empty = nn.Linear(0, 5, bias=False)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            nothing = self.none(x)
            return self.some(nothing), self.empty(nothing), self.inf(x)

    model = prune(Odd())
    with torch.no_grad():
        model.inf.weight[1] = 0
        model.inf.weight[1, 4] = float("inf")
    compiled = spcomp.compile(model, torch.randn(5, 32), **{**SPARSE, "include": "inf"})
    x = torch.rand(5, 32) + 0.1
    found = compiled(x)
    assert torch.equal(found[0], model(x)[0])
    assert torch.equal(found[1], torch.zeros(5, 5))
    assert torch.isinf(found[2][:, 1]).all(), "zeros are skipped, not multiplied"
    torch.testing.assert_close(found[2][:, ::2], model(x)[2][:, ::2])


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
    assert "1 of 1 layers sparse" in repr(compiled)
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
    with pytest.raises(InputError, match="inputs of structure"):
        compiled(torch.randn(2, 8))


def test_inputs_that_require_grad() -> None:
    _, compiled = small()
    x = torch.randn(4, 70, requires_grad=True)
    with pytest.raises(InputError, match=r"an input that requires grad. Try: torch.no_grad\(\), or x.detach"):
        compiled(x)
    with torch.no_grad():
        assert not compiled(x).requires_grad
    with torch.inference_mode():
        assert torch.equal(compiled(x.detach()), compiled(x.detach()))
    assert not compiled(x.detach()).requires_grad


def test_two_python_threads() -> None:
    _, compiled = small()
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
