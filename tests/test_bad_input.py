"""What goes in wrong comes back as words: what was asked, what was found, what to try."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import spcomp
from spcomp.compiled import CompiledModule
from spcomp.errors import CaptureError, InputError, SpcompError, StateError, WeightError
from tests.models import mlp, prune

QUICK: dict[str, Any] = {"engine": "eager", "guard": False, "policy": "off"}
X = torch.zeros(4, 16)


@pytest.fixture(scope="session")
def compiled() -> CompiledModule:
    """Two inputs, one optional; any batch of at least 1."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 8)

        def forward(self, x: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
            y = self.fc(x) + bias
            return y if mask is None else y * mask

    first, second = (torch.randn(4, 16), torch.randn(4, 8)), (torch.randn(5, 16), torch.randn(5, 8))
    return spcomp.compile(prune(Two()), first, second, **QUICK)


def says(error: pytest.ExceptionInfo[SpcompError], asked: str, found: str, hint: str) -> None:
    """The three parts, and that each is there in the text."""
    assert asked in error.value.asked
    assert found in error.value.found
    assert hint in error.value.hint
    assert str(error.value) == f"{error.value.asked}: {error.value.found}. Try: {error.value.hint}."


# --- the model --------------------------------------------------------------------------------------------------------


class NoWeights(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) if x.sum() > 0 else self.fc(-x)  # type: ignore[no-any-return]


def nan_weight() -> nn.Module:
    model = nn.Sequential(nn.Linear(16, 8)).eval()
    with torch.no_grad():
        model[0].weight[3, 2] = float("nan")
    return model


def half_trained() -> nn.Module:
    model = mlp(16, 8, 8)
    model[1].train()
    return model


@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        (lambda: lambda x: x, InputError, ("compile a model", "a function", "a torch.nn.Module")),
        (lambda: {"fc": 1}, InputError, ("compile a model", "a dict", "a torch.nn.Module")),
        (lambda: nn.Linear, InputError, ("compile a model", "a type", "a torch.nn.Module")),
        (lambda: NoWeights().eval(), WeightError, ("compile a model", "no weights in it", "parameters")),
        (
            lambda: mlp(16, 8).train(),
            StateError,
            ("compile a model", "training mode (the model)", "model.eval() first"),
        ),
        (half_trained, StateError, ("compile a model", "training mode (1)", "model.eval() first")),
        (nan_weight, WeightError, ("compile a model", "NaN in the weight 0.weight", "repair or retrain")),
        (
            lambda: nn.Linear(16, 8, device="meta").eval(),
            WeightError,
            ("for the CPU", "weight is on meta", "model.cpu()"),
        ),
    ],
)
def test_models_that_cannot_be_compiled(model: Any, kind: type[SpcompError], words: tuple[str, str, str]) -> None:
    with pytest.raises(kind) as error:
        spcomp.compile(model(), X, **QUICK)
    says(error, *words)


def test_control_flow_on_data_names_the_construct() -> None:
    with pytest.raises(CaptureError) as error:
        spcomp.compile(Branches().eval(), X, **QUICK)
    says(error, "capture Branches with torch.export", "data-dependent", "torch.compile(model, backend='spcomp')")
    assert "test_bad_input.py" in error.value.found, "the line of the user's code"
    assert "rewrite that construct" in error.value.hint
    assert error.value.__cause__ is not None


# --- the examples -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        ((torch.zeros(0, 16),), ("capture a model", "shape [0, 16] has no elements", "at least one element")),
        ((7,), ("use an example input", "a int", "a tensor, a tuple of arguments, or a dict")),
        (("x",), ("use an example input", "a str", "a tensor, a tuple")),
        (({1: X},), ("use an example input", "a dict", "a dict of keyword arguments")),
        (((X, X),), ("call a compiled model", "too many positional arguments", "the arguments of the original: input")),
        (({"y": X},), ("call a compiled model", "missing a required argument: 'input'", "original: input")),
        ((X, torch.zeros(4, 4, 16)), ("infer dynamic sizes", "input 0 differs in rank", "differ in sizes only")),
        ((X, {"input": X}, (X, X)), ("call a compiled model", "too many positional", "input")),
        ((torch.zeros(1, 16), X), ("infer dynamic sizes", "size 1 in input 0, dimension 0", "sizes of at least 2")),
        (((object(),),), ("capture a model", "example input 0 is a object", "tensors, numbers, strings or None")),
        ((torch.zeros(4, 16, device="meta"),), ("capture a model", "example input 0 on meta", "on the CPU")),
        ((X, X.double()), ("infer dynamic sizes", "input 0 differs in dtype", "differ in sizes only")),
        ((X, torch.zeros(4, 17)), ("capture Sequential", "specialized it to be a constant (16)", "rewrite")),
        ((torch.zeros(4, 17),), ("capture Sequential", "", "torch.compile(model, backend='spcomp')")),
    ],
)
def test_examples_that_cannot_be_used(examples: tuple[Any, ...], words: tuple[str, str, str]) -> None:
    with pytest.raises(SpcompError) as error:
        spcomp.compile(mlp(16, 8), *examples, **QUICK)
    says(error, *words)


def test_a_failed_capture_leaves_the_example_as_it_was() -> None:
    """torch.export marks sizes as dynamic on the tensors that it is given."""
    x = torch.zeros(4, 16)
    with pytest.raises(CaptureError):
        spcomp.compile(mlp(16, 8), x, torch.zeros(4, 17), **QUICK)
    assert spcomp.compile(mlp(16, 8), x, **QUICK)(x).shape == (4, 8)


def test_examples_with_different_numbers() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 8)

        def forward(self, x: torch.Tensor, scale: float) -> torch.Tensor:
            return self.fc(x) * scale  # type: ignore[no-any-return]

    with pytest.raises(InputError) as error:
        spcomp.compile(Scaled().eval(), (X, 1.0), (X, 2.0), **QUICK)
    says(error, "infer dynamic sizes", "input 1 differs in value", "differ in sizes only")


def test_examples_of_different_structure() -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 8)

        def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.fc(x["a"])  # type: ignore[no-any-return]

    with pytest.raises(InputError) as error:
        spcomp.compile(Nested().eval(), ({"a": X},), ({"a": X, "b": X},), **QUICK)
    says(error, "infer dynamic sizes", "examples of different structure", "differ in sizes only")


# --- the options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"policy": "fast"}, ("choose a policy", "'fast'", "'auto', 'force' or 'off'")),
        ({"engine": "tvm"}, ("choose an engine", "'tvm'", "'auto', 'inductor' or 'eager'")),
        ({"memory_budget": 0}, ("set memory_budget", "0", "a positive multiple")),
        ({"memory_budget": -1.0}, ("set memory_budget", "-1.0", "a positive multiple")),
        ({"memory_budget": float("nan")}, ("set memory_budget", "nan", "a positive multiple")),
        ({"memory_budget": "all"}, ("set memory_budget", "'all'", "a positive multiple")),
        ({"encodings": ["csr", "ellpack", "coo"]}, ("restrict the encodings", "coo, ellpack", "block, csr, dense, nm")),
        ({"encodings": "ellpack"}, ("restrict the encodings", "ellpack", "csr")),
        ({"include": [1]}, ("choose layers by include", "1", "globs over module names")),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], words: tuple[str, str, str]) -> None:
    with pytest.raises(InputError) as error:
        spcomp.compile(mlp(16, 8), X, **options)
    assert words[0] in error.value.asked
    assert words[1] in error.value.found
    assert all(part in error.value.hint for part in words[2].split(", "))


# --- calls ------------------------------------------------------------------------------------------------------------

B = torch.zeros(4, 8)


@pytest.mark.parametrize(
    ("args", "kwargs", "found"),
    [
        ((torch.zeros(4, 17), B), {}, "input 0 has shape [4, 17], captured as ["),
        ((X.double(), B), {}, "input 0 is float64, captured as float32"),
        ((X[0], B), {}, "input 0 has shape [16], captured as ["),
        ((X, torch.zeros(5, 8)), {}, "input 1 has 5 in dimension 0, but"),
        ((X, B.to("meta")), {}, "input 1 lives on meta, captured on cpu"),
        ((X, 3.0), {}, "input 1 is a float, captured as a tensor"),
        ((X.to_sparse(), B), {}, "input 0 is sparse_coo, captured as strided"),
        ((X,), {}, "missing a required argument: 'bias'"),
        ((), {}, "missing a required argument: 'x'"),
        ((X, B, None, B), {}, "too many positional arguments"),
        ((X, B), {"gain": 2}, "got an unexpected keyword argument 'gain'"),
        ((X, B), {"x": X}, "multiple values for argument 'x'"),
        ((X, B, torch.ones(4, 8)), {}, "inputs of structure"),
        (([X], B), {}, "inputs of structure"),
    ],
)
def test_calls_unlike_the_captured_one(
    compiled: CompiledModule, args: tuple[Any, ...], kwargs: dict[str, Any], found: str
) -> None:
    with pytest.raises(InputError) as error:
        compiled(*args, **kwargs)
    assert error.value.asked == "call a compiled model"
    assert found in error.value.found
    assert "\n" not in str(error.value)
    assert any(
        word in error.value.hint
        for word in ("second example", "the arguments of the original: x, bias, mask", "the captured one")
    )
    assert torch.equal(compiled(X, B), compiled(X, B)), "and it still works"


def test_a_static_size_says_how_to_make_it_dynamic() -> None:
    static = spcomp.compile(mlp(16, 8), X, **QUICK)
    for batch in (0, 1, 5):
        with pytest.raises(InputError) as error:
            static(torch.zeros(batch, 16))
        says(error, "call a compiled model", f"input 0 has shape [{batch}, 16], captured as [4, 16] (dimension 0)",
             "compile with a second example whose sizes differ to make them dynamic")  # fmt: skip


def test_an_empty_batch_of_another_width_is_no_empty_batch(compiled: CompiledModule) -> None:
    with pytest.raises(InputError, match=r"input 0 has shape \[0, 17\]"):
        compiled(torch.zeros(0, 17), torch.zeros(0, 8))
    assert compiled(torch.zeros(0, 16), torch.zeros(0, 8)).shape == (0, 8)


# --- what a compiled model is not -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (
            lambda c: c.train(),
            ("train a compiled model", "compiled for inference", "compiled.update_weights(original)"),
        ),
        (
            lambda c: c.load_state_dict({}),
            ("load a state into", "tensors are missing", "strict=False"),
        ),
        (
            lambda c: c.half(),
            ("move a compiled model to torch.float16", "one dtype and device", "converting the original"),
        ),
        (
            lambda c: c.to("meta"),
            ("move a compiled model to torch.float32 on meta", "one dtype", "spcomp.compile again"),
        ),
        (
            pickle.dumps,
            ("pickle a compiled model", "it holds machine code", "compiled.save(path) and spcomp.load(path)"),
        ),
        (
            lambda c: c.state_dict(prefix="a."),
            ("nest a compiled model", "a prefix was asked for", "saving it by itself"),
        ),
    ],
)
def test_what_it_cannot_do_says_what_can(compiled: CompiledModule, action: Any, words: tuple[str, str, str]) -> None:
    with pytest.raises(StateError) as error:
        action(compiled)
    says(error, *words)


def test_what_changes_nothing_is_allowed(compiled: CompiledModule) -> None:
    assert compiled.eval() is compiled
    assert compiled.float() is compiled
    assert compiled.to("cpu") is compiled
    assert compiled.train(False) is compiled
    assert not compiled.training


def test_errors_are_pickled_with_their_parts() -> None:
    error = pickle.loads(pickle.dumps(InputError("a", "b", "c")))
    assert (type(error), error.asked, error.found, error.hint) == (InputError, "a", "b", "c")
    assert isinstance(error, ValueError)


def test_an_uncaptured_model_has_nothing_to_copy() -> None:
    import copy

    with pytest.raises(
        StateError, match=r"copy a compiled model: it has not been captured yet. Try: calling it once first"
    ):
        copy.deepcopy(spcomp.compile(mlp(16, 8), **QUICK))


# --- the disk ---------------------------------------------------------------------------------------------------------


def test_an_unwritable_cache_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    model = mlp(16, 8)
    with caplog.at_level(logging.WARNING, "spcomp"):
        compiled = spcomp.compile(model, X, engine="eager", guard=False, cache_dir=blocked)
    assert torch.allclose(compiled(X), model(X), atol=1e-6)
    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert f"cannot write the tuning cache in {blocked}" in caplog.text


def test_a_debug_dir_that_is_a_file(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(InputError, match=r"write debug_dir: .*file.* Try: a folder that can be made and written"):
        spcomp.compile(mlp(16, 8), X, **QUICK, debug_dir=blocked)
