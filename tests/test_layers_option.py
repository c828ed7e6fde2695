"""``layers=``: what single layers should be, by a glob over their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import spcomp
from spcomp.codegen.table import BACKENDS
from spcomp.compiled import CompiledModule
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.wanted import parse_wanted
from spcomp.encodings.window import Window
from spcomp.errors import InputError, PolicyError
from spcomp.options import Options
from spcomp.passes.told import told, why_not
from spcomp.passes.worth import encodings_for
from spcomp.sparsity.measure import measure
from tests.compiling import agrees
from tests.models import prune

EAGER: dict[str, Any] = {"engine": "eager", "guard": False}
FORCE: dict[str, Any] = {**EAGER, "policy": "force", "memory_budget": 9.0}
pytestmark = pytest.mark.skipif(BACKENDS["mlir_cpu"].unavailable() is not None, reason="needs torch-mlir")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU())
        self.head = nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))  # type: ignore[no-any-return]


def net(sparsity: float = 0.9) -> Net:
    torch.manual_seed(0)
    return prune(Net(), sparsity)  # type: ignore[no-any-return]


def encodings(compiled: CompiledModule) -> dict[str, str]:
    return {d.layer: d.encoding for d in compiled.explain().decisions}


# --- the text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "encoding"),
    [
        ("csr", "csr", None),
        (" Block  8x8 ", "block", Block(8, 8)),
        ("nm 2:4", "nm", Nm(2, 4)),
        ("bitmap", "bitmap", None),
        ("window", "window", None),
        ("dense", "dense", None),
        (str(Csr(64)), "csr", Csr(64)),
        (str(Window(64)), "window", Window(64)),
    ],
)
def test_encodings_are_asked_for_by_name_or_as_they_print(text: str, name: str, encoding: object) -> None:
    wanted = parse_wanted(text)
    assert (wanted.name, wanted.encoding) == (name, encoding)
    assert parse_wanted(str(wanted)) == wanted
    assert wanted.dense == (name == "dense")
    if encoding is not None:
        assert wanted.allows(encoding)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("blok 8x8", r"use the encoding 'blok 8x8': .* Try: .*block 8x8"),
        ("nm 3:5", r"m is not one of .* Try: nm"),
        ("block 0x8", r"a side of the block is below 1. Try: block"),
        ("csr(columns=3)", r"csr has no parameter columns. Try: csr"),
        ("zzzzqqqq", r"Try: dense, csr, block, nm, bitmap, window"),
        ("", r"Try: dense, csr"),
    ],
)
def test_texts_that_are_no_encoding_list_near_names(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Options(layers=(("*", text),))
    with pytest.raises(InputError, match=words):
        spcomp.compile(net(), torch.randn(4, 64), layers={"head": text})


# --- the options ------------------------------------------------------------------------------------------------------


def test_options_round_trip_and_old_ones_load() -> None:
    options = Options(layers=(("body.*", "block 8x8"), ("*", "csr")))
    assert Options.from_dict(options.to_dict()) == options
    old = {k: v for k, v in options.to_dict().items() if k != "layers"}
    assert Options.from_dict(old).layers == ()


def test_the_first_glob_that_matches_counts() -> None:
    options = Options(layers=(("body.0", "dense"), ("body.*", "block 8x8"), ("*", "csr")))
    assert [str(options.wanted(name)) for name in ("body.0", "body.2", "head")] == ["dense", "block 8x8", "csr"]
    assert Options().wanted("head") is None


@pytest.mark.parametrize("layers", [["head=csr"], {"head": 3}, {3: "csr"}])
def test_layers_of_another_type_are_refused(layers: Any) -> None:
    with pytest.raises(InputError, match=r"choose encodings by layers: .*Try: .*block 8x8"):
        spcomp.compile(net(), torch.randn(4, 64), layers=layers)


def test_a_glob_that_matches_no_layer_lists_near_names() -> None:
    with pytest.raises(InputError, match=r"the layers 'boddy.0': it matches none of the 3 .*Try: body.0"):
        spcomp.compile(net(), torch.randn(4, 64), layers={"boddy.0": "csr"}, **EAGER)
    with pytest.raises(InputError, match=r"Try: body.0, body.2, head"):
        spcomp.compile(net(), torch.randn(4, 64), layers={"Q": "csr"}, **EAGER)


# --- what is proposed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["csr", "sorted_csr", "block", "block 8x8", "window", "bitmap", "quad"])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_only_what_was_asked_for_is_meant_and_nothing_that_refuses(text: str, density: float) -> None:
    facts = measure(torch.where(torch.rand(48, 80) < density, 1.0, 0.0))
    found = told(facts, parse_wanted(text))
    assert found
    assert all(parse_wanted(text).allows(e) and e.refuses(facts) is None for e in found)


def test_a_weight_that_does_not_fit_is_refused_with_the_reason() -> None:
    facts = measure(torch.rand(32, 32) + 1)
    wanted = parse_wanted("nm 2:4")
    assert encodings_for(facts) == told(facts, wanted) == []
    assert "a group of 4 columns has 4 nonzeros" in why_not(facts, wanted, [4], "cpu")
    assert told(facts, parse_wanted("nm")) == []
    assert told(facts, parse_wanted("dense")) == []
    assert "no kernel on cpu computes it in float32 at M = 4, 8" in why_not(facts, parse_wanted("csr"), [4, 8], "cpu")


# --- compiled ---------------------------------------------------------------------------------------------------------


def test_forced_layers_are_what_was_asked_for() -> None:
    model = net()
    layers = {"body.0": "block 8x8", "head": "dense", "*": "csr"}
    compiled = spcomp.compile(model, torch.randn(20, 64), layers=layers, exclude="body.0", encodings="nm", **FORCE)
    found = encodings(compiled)
    assert found["body.0"] == "block(rows=8, cols=8)", "layers goes before exclude and encodings"
    assert found["body.2"].startswith("csr(")
    assert found["head"] == "dense"
    agrees(compiled, model, torch.randn(20, 64))
    reasons = {d.layer: d.reason for d in compiled.explain().decisions}
    assert reasons["body.0"].startswith("layers asks for block 8x8: ")
    assert reasons["head"].endswith("layers keeps it dense")


def test_auto_is_never_slower_and_says_what_was_asked() -> None:
    model = net(0.0)
    compiled = spcomp.compile(model, torch.randn(20, 64), layers={"*": "csr"}, **EAGER)
    for d in compiled.explain().decisions:
        assert d.encoding == "dense"
        assert d.reason.startswith("layers asks for csr: csr(block_columns=")
        assert "of dense" in d.reason or "x dense" in d.reason
    refused = spcomp.compile(model, torch.randn(20, 64), layers={"head": "nm 2:4"}, **EAGER).explain()
    assert "layers asks for nm 2:4: a group of 4 columns has 4 nonzeros" in refused.decisions[2].reason


def test_force_names_layer_bound_and_value() -> None:
    model = net(0.0)
    with pytest.raises(PolicyError, match=r"compile body.0 sparse .*layers asks for csr: csr.* needs \d+ B, more than"):
        spcomp.compile(model, torch.randn(9, 64), layers={"body.0": "csr"}, **{**FORCE, "memory_budget": 0.2})
    with pytest.raises(PolicyError, match=r"compile head .*nm 2:4: a group of 4 columns has 4 nonzeros, and"):
        spcomp.compile(model, torch.randn(9, 64), layers={"head": "nm 2:4", "*": "dense"}, **FORCE)


def test_int8_keeps_to_it_too() -> None:
    if not any(key.dtype == "int8" for key in BACKENDS["mlir_cpu"].capabilities()):
        pytest.skip("needs AVX-512 VNNI")
    model = net(0.5)
    compiled = spcomp.compile(model, torch.randn(4, 64), layers={"*": "quad"}, quantize="int8", **FORCE)
    assert all(d.encoding.startswith("int8 quad(") for d in compiled.explain().decisions)
    none = spcomp.compile(model, torch.randn(4, 64), layers={"*": "csr"}, quantize="int8", **FORCE)
    assert all(d.encoding.startswith("csr(") for d in none.explain().decisions)


def test_off_is_dense_whatever_layers_says() -> None:
    compiled = spcomp.compile(net(), torch.randn(4, 64), layers={"*": "csr"}, engine="eager", policy="off")
    assert set(encodings(compiled).values()) == {"dense"}


def test_a_convolution_takes_what_it_has_kernels_for() -> None:
    if BACKENDS["baked_cpu"].unavailable() is not None:
        pytest.skip("needs baked code")
    model = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.ReLU()).eval()
    spcomp.sparsify(model, spcomp.Recipe(spcomp.Unstructured(0.9))).remove()
    x = torch.randn(1, 16, 8, 8)
    compiled = spcomp.compile(model, x, layers={"0": "csr"}, **FORCE)
    assert encodings(compiled)["0"].startswith("csr(")
    agrees(compiled, model, x)
    dense = spcomp.compile(model, x, layers={"0": "bitmap"}, **EAGER).explain().decisions[0]
    assert "layers asks for bitmap: no kernel on" in dense.reason


def test_other_weights_and_a_saved_model_keep_to_it(tmp_path: Path) -> None:
    layers = {"body.*": "block 8x8", "head": "csr"}
    compiled = spcomp.compile(net(0.5), torch.randn(20, 64), layers=layers, **FORCE)
    other = net(0.4)
    compiled.update_weights(other)
    assert encodings(compiled)["body.0"] == "block(rows=8, cols=8)"
    agrees(compiled, other, torch.randn(20, 64))
    loaded = spcomp.load(compiled.save(tmp_path / "model.spc"))
    assert Options.from_dict(loaded.parts.options).layers == tuple(layers.items())
    loaded.update_weights(net(0.5))
    assert encodings(loaded)["body.2"] == "block(rows=8, cols=8)"
