"""The command line: each subcommand, and errors by their words and exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

import spcomp
import spcomp.api
from spcomp.cli import app
from spcomp.cli.examples import parse_example, with_batch
from spcomp.errors import InputError, SpcompError

MODELS = """
import torch
from torch import nn

def pruned():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    for layer in (model[0], model[2]):
        layer.weight.data *= torch.rand_like(layer.weight) > 0.9
    return model

def with_example():
    return pruned(), torch.randn(8, 64)

def nothing():
    return 3
"""
EAGER = ("--engine", "eager")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test runs in a folder with a module of models, under a name of its own."""
    name = re.sub(r"\W", "_", f"models_{tmp_path.name}")
    (tmp_path / f"{name}.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def models(folder: Path) -> str:
    return next(folder.glob("models_*.py")).stem


def run(*arguments: str) -> Result:
    """Raises what is no error of ours, which the result would only mention."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit | SpcompError):
        raise result.exception
    return result


def words(result: Result) -> str:
    """What went to stderr, with line breaks made spaces."""
    return " ".join(result.stderr.split())


def test_compile_explains_and_saves(models: str, folder: Path) -> None:
    result = run("compile", f"{models}:with_example", "--out", "model.spc", "--threads", "1", *EAGER)
    assert result.exit_code == 0, result.stderr
    assert "layers sparse" in result.stdout
    assert "saved model.spc" in result.stdout
    assert (folder / "model.spc").stat().st_size > 0


def test_compile_takes_examples_and_options(models: str, folder: Path) -> None:
    result = run(
        "compile", f"{models}:pruned", "--example", "4x64", "--example", "8x64", "--policy", "off",
        "--exclude", "2", "--encodings", "csr", "--debug-dir", "dump", *EAGER,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "0 of 2 layers sparse" in result.stdout
    assert any((folder / "dump").iterdir())


def test_explain_in_every_form(models: str, folder: Path) -> None:
    assert run("compile", f"{models}:with_example", "--out", "model.spc", *EAGER).exit_code == 0
    table = run("explain", "model.spc", "--html", "model.html")
    assert table.exit_code == 0, table.stderr
    assert "64" in table.stdout
    assert "<table>" in (folder / "model.html").read_text()
    explained = json.loads(run("explain", "model.spc", "--json").stdout)
    assert {layer["layer"] for layer in explained["layers"]} == {"0", "2"}
    shown = run("explain", "model.spc", "--plan")
    assert all(text in shown.stdout for text in ("2 kernel calls", " x 64", "bias + relu"))
    plan = spcomp.KernelPlan.from_json(run("explain", "model.spc", "--plan", "--json").stdout)
    assert plan == spcomp.load("model.spc").plan
    assert plan.digest in shown.stdout


def test_layers_are_chosen_one_by_one(models: str) -> None:
    chosen = ("--layer", "0=dense", "--layer", "*=csr", "--layer", "0=bitmap")
    result = run("compile", f"{models}:with_example", *chosen, *EAGER)
    assert result.exit_code == 0, result.stderr
    assert re.search(r"0: dense: .*layers keeps it dense", " ".join(result.stdout.split()))
    explained = run("explain", f"{models}:with_example", "--json", "--layer", "2=dense")
    assert json.loads(explained.stdout)["layers"][1]["reason"].endswith("layers keeps it dense")


def test_an_artifact_is_not_told_other_encodings(models: str) -> None:
    assert run("compile", f"{models}:with_example", "--out", "model.spc", *EAGER).exit_code == 0
    for command in (("explain",), ("benchmark", "--example", "8x64")):
        result = run(command[0], "model.spc", *command[1:], "--layer", "*=csr")
        assert result.exit_code == 2
        assert "use --layer: a model that is compiled already" in words(result)


def test_what_if_in_every_form(models: str, folder: Path) -> None:
    asked = ("what-if", f"{models}:with_example", "--pattern", "unstructured", "--pattern", "2:4")
    table = run(*asked, "--zeros", "0.5,90%", "--html", "map.html")
    assert table.exit_code == 0, table.stderr
    assert all(text in table.stdout for text in ("estimated", "nm 2:4", " x 64", "all layers", "pays from"))
    assert "96 x 64" not in table.stdout, "rows that nobody reads are gone, as when it is compiled"
    assert "background:#" in (folder / "map.html").read_text()
    found = json.loads(run(*asked, "--zeros", "0.9", "--include", "2", "--json").stdout)
    assert (found["origin"], found["zeros"]) == ("estimated", [0.9])
    assert [layer["layers"] for layer in found["layers"]] == [["2"]]
    measured = run(
        "what-if", f"{models}:with_example", "--pattern", "block 8x8", "--zeros", "0.9", "--measure", "--json"
    )
    assert json.loads(measured.stdout)["origin"] == "measured"


def test_what_if_of_an_artifact_is_refused(models: str) -> None:
    assert run("compile", f"{models}:with_example", "--out", "model.spc", *EAGER).exit_code == 0
    result = run("what-if", "model.spc")
    assert result.exit_code == 2
    assert "look ahead for model.spc: a model that is compiled already" in words(result)


def test_benchmark_of_a_factory_and_of_its_artifact(models: str, folder: Path) -> None:
    short = ("--rounds", "3", "--warmup", "1", "--threads", "1", "--json", "rows.json", *EAGER)
    result = run("benchmark", f"{models}:with_example", "--batch", "1", "--batch", "8", *short)
    assert result.exit_code == 0, result.stderr
    found = json.loads((folder / "rows.json").read_text())
    assert (found["threads"], found["rounds"], found["warmup"]) == (1, 3, 1)
    assert {(r["batch"], r["program"]) for r in found["rows"]} == {
        (batch, program) for batch in (1, 8) for program in ("sparse", "spcomp", "eager")
    }
    assert all(r["median_ms"] > 0 and r["spread"] >= 0 for r in found["rows"]), found["rows"]
    compiled = run("compile", f"{models}:with_example", "--out", "model.spc", *EAGER)
    assert compiled.exit_code == 0, compiled.stderr
    result = run("benchmark", "model.spc", "--example", "8x64", *short)
    assert result.exit_code == 0, result.stderr
    assert "spcomp dense" in result.stdout


def test_benchmark_of_a_quantised_model(models: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = spcomp.api.compile

    def watched(*arguments: Any, **options: Any) -> spcomp.CompiledModule:
        asked.append(options["quantize"])
        return real(*arguments, **options)

    monkeypatch.setattr("spcomp.api.compile", watched)
    short = ("--rounds", "3", "--warmup", "1", "--quantize", "int8", "--json", "rows.json", *EAGER)
    result = run("benchmark", f"{models}:with_example", *short)
    assert result.exit_code == 0, result.stderr
    assert asked == ["int8"], "the dense rivals are not quantised"
    assert "sparse" in {row["program"] for row in json.loads((folder / "rows.json").read_text())["rows"]}


def test_an_artifact_is_not_quantised_by_a_benchmark(models: str) -> None:
    assert run("compile", f"{models}:with_example", "--out", "model.spc", *EAGER).exit_code == 0
    result = run("benchmark", "model.spc", "--example", "8x64", "--quantize", "int8", *EAGER)
    assert result.exit_code == 2
    assert "quantise model.spc: a model that is compiled already" in words(result)


def test_a_pt2_file_is_read_only_when_trusted(models: str, folder: Path) -> None:
    model = torch.nn.Linear(64, 32).eval()
    torch.export.save(torch.export.export(model, (torch.randn(4, 64),)), folder / "model.pt2")
    refused = run("compile", "model.pt2", *EAGER)
    assert refused.exit_code == 2
    assert "error: read model.pt2: torch.export.load runs pickled code" in words(refused)
    assert "Try: --trust" in words(refused)
    trusted = run("compile", "model.pt2", "--trust", *EAGER)
    assert trusted.exit_code == 0, trusted.stderr
    assert "1 layers sparse" in trusted.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compile", "nowhere"), "find the model 'nowhere': no such file, and no factory"),
        (("compile", "no_such_module:f"), "ModuleNotFoundError: No module named 'no_such_module'"),
        (("compile", "{models}:missing"), "has no 'missing'"),
        (("compile", "{models}:nothing"), "it returned a int"),
        (("compile", "{models}:pruned"), "no example input. Try: --example 1x128x768"),
        (("compile", "{models}:pruned", "--example", "4 by 64"), "'4 by 64' is no list of sizes"),
        (("compile", "{models}:pruned", "--example", "4x64:float7"), "the dtype 'float7'"),
        (("compile", "{models}:with_example", "--policy", "maybe"), "choose a policy: 'maybe'"),
        (("compile", "{models}:with_example", "--encodings", "zip"), "restrict the encodings: zip"),
        (("compile", "{models}:with_example", "--layer", "csr"), "it is not of the form GLOB=ENCODING"),
        (("compile", "{models}:with_example", "--layer", "0=blok"), "Try: block"),
        (("compile", "{models}:with_example", "--layer", "7=csr"), "it matches none of the 2 layers"),
        (("what-if", "{models}:with_example", "--zeros", "much"), "read --zeros: 'much' is no number"),
        (("what-if", "{models}:with_example", "--zeros", "90"), "look at shares of zeros: 90.0"),
        (("what-if", "{models}:with_example", "--pattern", "blok 8x8"), "Try: block 8x8"),
        (("compile", "missing.pt2", "--trust"), "no such file"),
        (("benchmark", "{models}:with_example", "--quantize", "int4"), "quantise: quantize='int4'"),
        (("benchmark", "{models}:pruned", "--batch", "2"), "no example input"),
    ],
)
def test_errors_are_one_message(models: str, arguments: tuple[str, ...], said: str) -> None:
    result = run(*(a.format(models=models) for a in arguments))
    assert result.exit_code == 2
    assert said in words(result)
    assert "Traceback" not in result.stderr
    assert not result.stdout


def test_an_artifact_that_is_none_is_refused(folder: Path) -> None:
    (folder / "model.spc").write_bytes(b"not a model at all, but long enough to look")
    result = run("explain", "model.spc")
    assert result.exit_code == 2
    assert "error:" in words(result)


def test_verbose_raises(models: str) -> None:
    result = run("--verbose", "compile", "nowhere")
    assert isinstance(result.exception, InputError)


def test_help_names_every_subcommand() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in ("compile", "explain", "what-if", "benchmark", "demo"))


def test_examples_become_tensors() -> None:
    x, ids, mask = parse_example("1x128x768, 1x128:int64,1x128:bool")
    assert (x.shape, x.dtype) == ((1, 128, 768), torch.float32)
    assert (ids.shape, ids.dtype) == ((1, 128), torch.int64)
    assert (mask.shape, mask.dtype) == ((1, 128), torch.bool)
    assert [len(t) for t in with_batch((x, ids), 3)] == [3, 3]
    with pytest.raises(InputError, match="inputs with one batch size"):
        with_batch((torch.zeros(2), torch.zeros(3)), 1)
