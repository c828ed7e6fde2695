"""``target=`` of :func:`spcomp.compile`, where there is no GPU."""

from __future__ import annotations

import pytest
import torch

import spcomp
from spcomp.errors import InputError
from spcomp.options import Options


def _model() -> torch.nn.Module:
    return torch.nn.Linear(8, 4).eval()


def test_cuda_says_what_is_missing() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(
        InputError, match=r"compile for target='cuda': torch .* (was built without CUDA|finds no device)"
    ):
        spcomp.compile(_model(), torch.zeros(2, 8), target="cuda")


def test_cuda_with_a_gpu_is_not_planned_for_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spcomp.options.cuda_missing", lambda: None)
    with pytest.raises(InputError, match="layers are planned and timed on the CPU alone so far"):
        Options(target="cuda")


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
