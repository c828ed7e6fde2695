"""``target=`` of :func:`spcomp.compile`, where there is no GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import spcomp
from spcomp.capture import Example, capture
from spcomp.errors import InputError, WeightError
from spcomp.options import Options
from spcomp.signature import Signature


def _model() -> torch.nn.Module:
    return torch.nn.Linear(8, 4).eval()


def _on_a_gpu() -> torch.nn.Module:
    """Its weights are no more than fake values: there is no GPU."""
    model = torch.nn.Linear(8, 4, device="meta").eval()
    with FakeTensorMode():
        for name, parameter in list(model.named_parameters()):
            fake = torch.empty(parameter.shape, device="cuda:0")
            setattr(model, name, torch.nn.Parameter(fake, requires_grad=False))
    return model


def test_cuda_says_what_is_missing() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(
        InputError, match=r"compile for target='cuda': torch .* (was built without CUDA|finds no device)"
    ):
        spcomp.compile(_model(), torch.zeros(2, 8), target="cuda")


def test_cuda_wants_the_weights_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spcomp.options.cuda_missing", lambda: None)
    with pytest.raises(WeightError, match=r"compile for target='cuda': weight is on cpu\. Try: model\.cuda\(\) first"):
        spcomp.compile(_model(), torch.zeros(2, 8), target="cuda")


def test_cpu_wants_the_weights_there() -> None:
    model = _on_a_gpu()
    with pytest.raises(WeightError, match=r"compile for the CPU: weight is on cuda:0\. Try: model\.cpu\(\) first, or"):
        spcomp.compile(model, torch.zeros(2, 8), target="cpu")


def test_examples_are_where_the_weights_are() -> None:
    with pytest.raises(InputError, match="example input 0 on cpu, the weights on cuda:0"):
        capture(_on_a_gpu(), [Example.of(torch.zeros(2, 8))])


def test_inputs_are_where_the_examples_were() -> None:
    signature = capture(_model(), [Example.of(torch.zeros(2, 8))]).signature
    moved = replace(signature, devices=("cuda:0",))
    assert moved.mismatch([torch.zeros(2, 8)]) == "input 0 lives on cpu, captured on cuda:0"
    assert signature.mismatch([torch.zeros(2, 8, device="meta")]) == "input 0 lives on meta, captured on cpu"
    assert Signature.from_dict(moved.to_dict()).devices == ("cuda:0",)
    assert "devices" not in signature.to_dict(), "what is on the CPU is saved as ever"


def test_auto_and_cpu_are_the_cpu() -> None:
    model, x = _model(), torch.randn(2, 8)
    for target in ("auto", "cpu"):
        compiled = spcomp.compile(model, x, target=target, engine="eager", guard=False)
        torch.testing.assert_close(compiled(x), model(x))
        assert Options.from_dict(Options(target=target).to_dict()).target == target


def test_other_targets_are_refused() -> None:
    with pytest.raises(InputError, match="choose a target: 'tpu'"):
        Options(target="tpu")  # type: ignore[arg-type]


def test_a_torch_with_cuda_that_finds_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    from spcomp.targets.cuda import cuda_missing

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert cuda_missing() == f"torch {torch.__version__} was built for CUDA 13.0, but finds no device"
    monkeypatch.setattr(torch.version, "cuda", None)
    assert cuda_missing() == f"torch {torch.__version__} was built without CUDA"
