"""Files that were cut, altered or forged: each is refused with asked, found and hint, and nothing in them runs."""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import spcomp
from spcomp.artifact import archive
from spcomp.errors import ArtifactError

RAN: list[str] = []
WATCHED = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "socket.connect")
_watching = False


def _audit(event: str, _: tuple[Any, ...]) -> None:
    if _watching and event in WATCHED:
        RAN.append(event)


sys.addaudithook(_audit)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a sparse layer, a dense one, a buffer, a dynamic size and a constant."""
    torch.manual_seed(0)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.big, self.small, self.norm = nn.Linear(96, 64), nn.Linear(64, 4), nn.LayerNorm(64)

        def forward(self, x: torch.Tensor, scale: float = 1.0) -> dict[str, torch.Tensor]:
            return {"y": self.small(self.norm(self.big(x).relu())) * scale}

    model = Model().eval()
    with torch.no_grad():
        model.big.weight[torch.rand(64, 96) < 0.9] = 0
    fast = spcomp.compile(
        model, torch.randn(4, 96), torch.randn(8, 96), engine="eager", guard=False, policy="force", include=["big"],
        encodings=["csr"],
    )  # fmt: skip
    return fast.save(tmp_path_factory.mktemp("saved") / "model.spcomp")


@pytest.fixture
def refused(tmp_path: Path) -> Iterator[Callable[..., ArtifactError]]:
    """``refused(path)``: loading raises ArtifactError with three parts, and starts, unpickles and connects nothing."""
    global _watching

    def check(path: Path, *words: str) -> ArtifactError:
        global _watching
        RAN.clear()
        _watching = True
        try:
            with pytest.raises(ArtifactError) as caught:
                spcomp.load(path, engine="eager", guard=False)
        finally:
            _watching = False
        assert not RAN
        assert not (tmp_path / "sentinel").exists()
        error = caught.value
        assert error.asked
        assert error.found
        assert error.hint
        for word in words:
            assert word in str(error), str(error)
        return error

    yield check
    _watching = False


def forge(source: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The file with its manifest changed and every checksum right again."""
    manifest, tensors = archive.read(source)
    change(manifest)
    return archive.write(target, tensors, {k: v for k, v in manifest.items() if k != "stored"})


def node(manifest: dict[str, Any], target: str) -> dict[str, Any]:
    return next(n for n in manifest["programs"][0]["graph"] if n["target"] == target)


def calls(name: str, args: Any = (), **kwargs: Any) -> Callable[[dict[str, Any]], object]:
    """A change that puts a call of ``name`` in front of the output."""

    def change(manifest: dict[str, Any]) -> None:
        entry = {"op": "call_function", "name": "evil", "target": name, "args": list(args), "kwargs": kwargs}
        manifest["programs"][0]["graph"].insert(-1, entry)

    return change


def sets(value: Any, *keys: Any) -> Callable[[dict[str, Any]], object]:
    def change(manifest: dict[str, Any]) -> None:
        inside: Any = manifest
        for key in keys[:-1]:
            inside = inside[key]
        inside[keys[-1]] = value

    return change


# -- other files ----------------------------------------------------------------------------------------------------


class _Bomb:
    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.sentinel}",)


def test_pickles_exports_and_archives_are_not_opened(tmp_path: Path, refused: Callable[..., ArtifactError]) -> None:
    bomb = _Bomb(tmp_path / "sentinel")
    (tmp_path / "pickle").write_bytes(pickle.dumps([bomb] * 3) + bytes(200))
    torch.save({"a": bomb}, tmp_path / "torch")
    torch.save({"a": bomb}, tmp_path / "legacy", _use_new_zipfile_serialization=False)
    exported = torch.export.export(nn.Linear(3, 3), (torch.randn(2, 3),), strict=False)
    torch.export.save(exported, tmp_path / "model.pt2")
    with zipfile.ZipFile(tmp_path / "zip", "w") as file:
        file.writestr("data.pkl", pickle.dumps(bomb) * 9)
    for name in ("pickle", "torch", "legacy", "model.pt2", "zip"):
        refused(tmp_path / name, "no safetensors file", "pickles and archives are never read")


def test_other_safetensors_missing_files_and_folders(tmp_path: Path, refused: Callable[..., ArtifactError]) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(99)}, tmp_path / "weights")
    refused(tmp_path / "weights", "holds no compiled model")
    refused(tmp_path / "missing", "No such file", "Try: the path that save() returned")
    refused(tmp_path, "directory")
    (tmp_path / "empty").write_bytes(b"")
    refused(tmp_path / "empty", "0 bytes")
    for text in (b"[1]", b'{"__metadata__": 3}', b'{"a": ' * 30, b"[" * 9000 + b"]" * 9000, b"\xff" * 99):
        (tmp_path / "odd").write_bytes(len(text).to_bytes(8, "little") + text + bytes(200))
        refused(tmp_path / "odd")


# -- cut and altered ------------------------------------------------------------------------------------------------


def test_every_kind_of_truncation_is_found(saved: Path, tmp_path: Path, refused: Callable[..., ArtifactError]) -> None:
    data = saved.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    for cut in (0, 1, 7, 8, 9, 100, header - 1, header, header + 1, (header + len(data)) // 2, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:cut])
        refused(tmp_path / "cut")
    (tmp_path / "cut").write_bytes(data + b"\0")
    refused(tmp_path / "cut", "the manifest asks for")


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_altered_byte_is_found(
    saved: Path, tmp_path: Path, refused: Callable[..., ArtifactError], data: st.DataObject
) -> None:
    octets = bytearray(saved.read_bytes())
    header = 8 + int.from_bytes(octets[:8], "little")
    parts = (st.integers(0, 7), st.integers(8, header - 1), st.integers(header, len(octets) - 1))
    at = data.draw(st.one_of(*parts))
    octets[at] ^= data.draw(st.integers(1, 255))
    (tmp_path / "altered").write_bytes(octets)
    refused(tmp_path / "altered")


def test_other_versions_of_the_form_are_named(
    saved: Path, tmp_path: Path, refused: Callable[..., ArtifactError]
) -> None:
    for version in (1, 0, "2", True, None):
        refused(forge(saved, tmp_path / "v", sets(version, "version")), "reads version 3")
    refused(forge(saved, tmp_path / "v", sets("onnx", "format")), "of the format 'onnx'")


def test_a_forged_file_that_changes_nothing_loads(saved: Path, tmp_path: Path) -> None:
    path = forge(saved, tmp_path / "same", lambda m: None)
    assert path.read_bytes() == saved.read_bytes()
    x = torch.randn(5, 96)
    assert torch.equal(spcomp.load(path, engine="eager")(x)["y"], spcomp.load(saved, engine="eager")(x)["y"])


# -- poisoned graphs ------------------------------------------------------------------------------------------------

KERNEL = "spcomp.linear_v1.default"
POISONED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "os.system": (calls("os.system", ["touch sentinel"]), "evil calls 'os.system'"),
    "builtins": (calls("builtins.eval", ["1"]), "evil calls 'builtins.eval'"),
    "from_file": (calls("aten.from_file.default", ["x", False, 8]), "evil calls 'aten.from_file.default'"),
    "set_": (calls("aten.set_.source_Storage", []), "reaches past tensors"),
    "unsafe": (calls("aten._sparse_csr_tensor_unsafe.default", []), "private operator"),
    "no such": (calls("aten.add.Nothing", []), "no operator of this version"),
    "dunder": (calls("aten.__class__.__init__", []), "evil calls"),
    "dotted": (calls("aten.add.Tensor.__globals__", []), "evil calls"),
    "attribute": (calls("operator.attrgetter", ["__class__"]), "evil calls"),
    "methodcaller": (calls("operator.methodcaller", ["system"]), "evil calls"),
    "other namespace": (calls("prims.add.default", []), "evil calls"),
    "higher order": (calls("higher_order.cond", []), "evil calls"),
    "huge power": (calls("operator.pow", [9, 999999999]), "size arithmetic"),
    "huge list": (calls("operator.mul", [[1], 1 << 40]), "size arithmetic"),
    "text getitem": (calls("operator.getitem", [{"node": "x"}, "a"]), "size arithmetic"),
    "forward": (calls("aten.relu.default", [{"node": "later"}]), "'later', which is not before it"),
    "itself": (calls("aten.relu.default", [{"node": "evil"}]), "not before it"),
    "huge int": (calls("aten.zeros.default", [[1 << 80]]), "the argument"),
    "huge tensor": (calls("aten.zeros.default", [[1 << 62, 1 << 62]]), "do not fit together"),
    "code": (calls("aten.pad.default", [{"node": "x"}, [1, 1], "');import os;os.system('x')#"]), "the argument"),
    "message": (calls("aten._assert_scalar.default", [1, 'a"; system("x'] ), "the argument"),
    "tag": (calls("aten.relu.default", [{"object": "os"}]), "the argument"),
    "gpu": (calls("aten.zeros.default", [[2]], device={"device": "cuda"}), "the argument"),
    "keyword": (calls("aten.relu.default", [{"node": "x"}], **{"a b": 1}), "keyword"),
    "name": (lambda m: m["programs"][0]["graph"][0].update(name="x: __import__('os')"), "no new identifier"),
    "placeholder": (lambda m: m["programs"][0]["graph"][0].update(target="x=__import__('os').system('x')"), "an input"),
    "module": (lambda m: m["programs"][0]["graph"][-2].update(op="call_module"), "the operation 'call_module'"),
    "method": (lambda m: m["programs"][0]["graph"][-2].update(op="call_method"), "the operation 'call_method'"),
    "get_attr": (lambda m: m["programs"][0]["graph"][-2].update(op="get_attr"), "the operation 'get_attr'"),
    "wrong kernel": (lambda m: node(m, KERNEL)["args"].__setitem__(1, 1), "an input that is not its own"),
    "no kernel": (lambda m: node(m, KERNEL)["args"].__setitem__(1, 77), "an input that is not its own"),
    "kernel width": (lambda m: node(m, "spcomp.linear_v1.default")["args"].__setitem__(2, 7777), "do not fit together"),
    "no graph": (sets([], "programs", 0, "graph"), "no list of nodes"),
    "no programs": (sets([], "programs"), "no programs"),
}  # fmt: skip


@pytest.mark.parametrize("name", POISONED)
def test_poisoned_graphs_are_refused(
    name: str, saved: Path, tmp_path: Path, refused: Callable[..., ArtifactError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change, words = POISONED[name]
    refused(forge(saved, tmp_path / "poisoned", change), words)


def _leaf(size: Any) -> Callable[[dict[str, Any]], object]:
    return lambda m: m["programs"][0]["signature"]["leaves"][0]["shape"].__setitem__(0, size)


SIGNATURES: dict[str, Callable[[dict[str, Any]], object]] = {
    "call": _leaf("__import__('os').system('touch sentinel')"),
    "power": _leaf("9**9**9"),
    "lambda": _leaf("(lambda: 3)()"),
    "attribute": _leaf("s0.__class__"),
    "unknown": _leaf("s99"),
    "zero": _leaf("4 // (2 - 2)"),
    "long": _leaf("1+" * 5000 + "1"),
    "deep": _leaf("(" * 400 + "1" + ")" * 400),
    "minus": _leaf("-" * 199 + "1"),
    "float": _leaf(1.5),
    "negative": _leaf(-3),
    "huge": _leaf(1 << 70),
    "list": _leaf([1]),
    "dtype": lambda m: m["programs"][0]["signature"]["leaves"][0].update(dtype="load"),
    "parameter": lambda m: m["programs"][0]["signature"]["parameters"][0].__setitem__(0, "x=1"),
    "kind": lambda m: m["programs"][0]["signature"]["parameters"][0].__setitem__(1, "__class__"),
    "symbol": lambda m: m["programs"][0]["signature"].update(symbols={"os.system": [1, 2]}),
    "hints": sets({}, "programs", 0, "hints"),
    "lifted": sets(["nothing"], "programs", 0, "lifted"),
    "no tree": lambda m: m["programs"][0]["signature"].update(in_tree="[1, 2"),
    "engine": sets("cuda", "programs", 0, "engine"),
    "options": sets("sometimes", "options", "policy"),
    "plan version": sets(99, "plan", "version"),
    "plan of fewer": sets([], "plan", "calls"),
    "plan width": sets(1 << 20, "plan", "calls", 0, "k"),
    "plan rows": sets("all", "plan", "calls", 0, "rows", "lo"),
    "plan layer": sets("other", "plan", "calls", 0, "layer"),
    "activation": sets("tan", "plan", "calls", 0, "epilogue", "activation"),
    "dtype of a call": sets("complex64", "plan", "calls", 0, "dtype"),
    "decisions": sets([], "decisions"),
    "decision": sets({"layer": 3}, "decisions", 0),
    "domains": sets([], "slots", 0, "domains"),
    "no bias": sets(None, "slots", 0, "bias"),
    "other bias": sets("slots/1/bias", "slots", 0, "bias"),
    "packed": sets([], "slots", 0, "packed"),
    "packed shape": sets([9, 9], "slots", 0, "packed", 0, "manifest", "shape"),
    "packed nonzeros": sets(1, "slots", 0, "packed", 0, "manifest", "nonzeros"),
    "no buffers": sets({}, "slots", 0, "packed", 0, "buffers"),
    "no reference": sets({}, "references"),
    "outside": sets(["slots/1/weight", "float32", [9999, 64], [64, 1], 0], "references", "slots/1/weight"),
    "no slots": sets([], "slots"),
    "no host": sets({}, "host"),
    "a list": sets([], "references"),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_forged_manifests_are_refused(
    name: str, saved: Path, tmp_path: Path, refused: Callable[..., ArtifactError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(forge(saved, tmp_path / "forged", SIGNATURES[name]))


def test_calls_that_no_backend_offers_are_tuned_again(saved: Path, tmp_path: Path) -> None:
    x = torch.randn(5, 96)
    y = spcomp.load(saved, engine="eager")(x)["y"]
    for change in (
        sets({"tiles": 1 << 40}, "plan", "calls", 0, "schedule"),
        sets("nobody", "plan", "calls", 0, "backend"),
        sets("dense.nobody", "plan", "calls", -1, "backend"),
    ):
        again = spcomp.load(forge(saved, tmp_path / "other", change), engine="eager", guard=False)
        assert "could not be generated" in again.parts.notes[0]
        assert torch.allclose(again(x)["y"], y, atol=1e-4)


@pytest.mark.parametrize("source", ["x", "wide"])
def test_free_strides_run_where_they_are_checked(source: str, saved: Path, tmp_path: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        calls("aten.expand.default", [{"node": "x"}, [1 << 14, -1, -1]])(manifest)
        manifest["programs"][0]["graph"][-2]["name"] = "wide"
        calls("aten.as_strided.default", [{"node": source}, [1 << 20], [1]])(manifest)
        manifest["programs"][0]["graph"][-1]["args"] = [{"tuple": [{"node": "evil"}]}]

    model = spcomp.load(forge(saved, tmp_path / "strides", change), engine="auto")
    assert "cannot be checked ahead" in model.parts.programs[0].note
    assert model.parts.programs[0].engine == "eager"
    with pytest.raises(RuntimeError, match="out of bounds"):
        model(torch.randn(5, 96))


def test_indices_outside_the_weight_are_found(
    saved: Path, tmp_path: Path, refused: Callable[..., ArtifactError]
) -> None:
    manifest, tensors = archive.read(saved)
    for name, tensor in tensors.items():
        if not name.startswith("slots/0/0/") or name.endswith("values") or not tensor.numel():
            continue
        wrong = tensor.clone()
        wrong.view(torch.uint8).fill_(255)
        plain = {k: v for k, v in manifest.items() if k != "stored"}
        refused(archive.write(tmp_path / "indices", {**tensors, name: wrong}, plain))
