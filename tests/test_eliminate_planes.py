"""The same for planes: convolutions, pooling, upsampling, norms; what padding and groups stop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.shrinking import Planes, shrunk, weights

C = (0.7, -0.4)
ZERO = (0.0, 0.0)


def x(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


PASSES_ON: dict[str, Any] = {
    "relu": lambda h, m: F.relu(h),
    "in_place": lambda h, m: F.relu_(h),
    "batch_norm": lambda h, m: m.norm(h),
    "max_pool": lambda h, m: F.max_pool2d(h, 3, 2, 1),
    "max_pool_ceil": lambda h, m: F.max_pool2d(h, 3, 2, ceil_mode=True),
    "avg_pool": lambda h, m: F.avg_pool2d(h, 2),
    "avg_pool_own_count": lambda h, m: F.avg_pool2d(h, 3, 1, 1, count_include_pad=False),
    "adaptive_pool": lambda h, m: F.adaptive_avg_pool2d(h, 2),
    "nearest": lambda h, m: F.interpolate(h, scale_factor=2),
    "mean": lambda h, m: h.mean((2, 3), keepdim=True),
    "dropout2d": lambda h, m: F.dropout2d(h, 0.5, False),
    "cat": lambda h, m: torch.cat([h[:, :3], h[:, 3:]], 1),
    "to_tokens_and_back": lambda h, m: h.flatten(2).transpose(1, 2).tanh().transpose(1, 2).unflatten(2, (6, 6)),
    "gate": lambda h, m: h * h.mean((2, 3), keepdim=True).sigmoid(),
    "channels_last": lambda h, m: h.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
}


@pytest.mark.parametrize("constants", [ZERO, C], ids=["zero", "constant"])
@pytest.mark.parametrize("rule", PASSES_ON)
def test_planes_of_constants_pass_on(rule: str, constants: tuple[float, float]) -> None:
    gm = shrunk(Planes(PASSES_ON[rule], constants), x(2, 3, 6, 6))
    assert weights(gm) == [(6, 3, 3, 3), (5, 6, 1, 1)]


ZERO_ONLY: dict[str, Any] = {
    "avg_pool_counts_padding": lambda h, m: F.avg_pool2d(h, 3, 1, 1),
    "avg_pool_divisor": lambda h, m: F.avg_pool2d(h, 2, divisor_override=3),
    "bilinear": lambda h, m: F.interpolate(h, scale_factor=2, mode="bilinear"),
    "pad": lambda h, m: F.pad(h, (1, 0, 0, 0)),
}


@pytest.mark.parametrize("rule", ZERO_ONLY)
def test_planes_that_only_zeros_pass(rule: str) -> None:
    assert weights(shrunk(Planes(ZERO_ONLY[rule], ZERO), x(2, 3, 6, 6))) == [(6, 3, 3, 3), (5, 6, 1, 1)]
    assert weights(shrunk(Planes(ZERO_ONLY[rule], C), x(2, 3, 6, 6))) == [(8, 3, 3, 3), (5, 8, 1, 1)]


def test_padding_with_the_constant_itself() -> None:
    gm = shrunk(Planes(lambda h, m: F.pad(h, (1, 0, 0, 1), value=0.5), (0.5, -0.4)), x(2, 3, 6, 6))
    assert weights(gm) == [(7, 3, 3, 3), (5, 7, 1, 1)]


@pytest.mark.parametrize(
    ("size", "padding", "wanted"), [(3, 0, 6), (3, 1, 8), (1, 0, 6), (3, "same", 8), (3, "valid", 6)]
)  # fmt: skip
def test_a_padded_convolution_stops_constants_but_no_zeros(size: int, padding: Any, wanted: int) -> None:
    model = Planes(lambda h, m: h, C, size, 0)
    model.last.padding = padding if isinstance(padding, str) else (padding, padding)
    assert weights(shrunk(model, x(2, 3, 6, 6)))[1][1] == wanted
    model = Planes(lambda h, m: F.relu(h), (-0.1, 0.0), size, 0)
    model.last.padding = padding if isinstance(padding, str) else (padding, padding)
    assert weights(shrunk(model, x(2, 3, 6, 6)))[1][1] == 6


def test_a_norm_without_scale_makes_constants() -> None:
    class Scaled(nn.Module):
        def __init__(self, norm: nn.Module) -> None:
            super().__init__()
            self.a, self.norm, self.b = nn.Conv2d(3, 8, 3), norm, nn.Conv2d(8, 2, 1)
            with torch.no_grad():
                norm.weight[[2, 3]] = 0  # type: ignore[index, operator]
                norm.bias.normal_()  # type: ignore[union-attr, operator]
            self.double()

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.norm(self.a(x)))  # type: ignore[no-any-return]

    assert weights(shrunk(Scaled(nn.BatchNorm2d(8)), x(2, 3, 6, 6))) == [(6, 3, 3, 3), (2, 6, 1, 1)]
    assert weights(shrunk(Scaled(nn.GroupNorm(4, 8)), x(2, 3, 6, 6))) == [(6, 3, 3, 3), (2, 6, 1, 1)], "a whole group"
    assert weights(shrunk(Scaled(nn.GroupNorm(2, 8)), x(2, 3, 6, 6))) == [(8, 3, 3, 3), (2, 8, 1, 1)], "half a group"


@pytest.mark.parametrize(("groups", "out", "wanted"), [(8, 8, 6), (8, 16, 12), (4, 8, 8), (2, 8, 8)])
def test_groups_of_convolutions_go_as_a_whole(groups: int, out: int, wanted: int) -> None:
    class Grouped(Planes):
        def __init__(self) -> None:
            super().__init__(lambda h, m: m.mid(h), ZERO, features=out)
            self.mid = nn.Conv2d(8, out, 3, padding=1, groups=groups).double()

    model = Grouped()
    found = weights(shrunk(model, x(2, 3, 6, 6)))
    assert found[1][0] == found[2][1] == wanted
    assert found[0][0] == 8 * wanted // out
    if groups == 4:
        with torch.no_grad():
            model.first.weight[[0, 1, 4, 5]] = 0  # two whole groups
            model.first.bias[[0, 1, 4, 5]] = 0  # type: ignore[index]
        assert [s[0] for s in weights(shrunk(model, x(2, 3, 6, 6)))] == [4, 4, 5]


def test_flattened_planes() -> None:
    """A linear layer after flattening reads every pixel of a channel: all of them go, or none."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5)).double()
    with torch.no_grad():
        model[0].weight[[1, 4]] = 0
        model[3].weight[:, :16] = 0
        model[3].weight[:, 32:40] = 0
    assert weights(shrunk(model, x(2, 3, 4, 4))) == [(5, 3, 3, 3), (5, 80)]


def test_stopped_by_what_mixes_channels() -> None:
    for op in (lambda h, m: h.roll(1, 1), lambda h, m: F.group_norm(h, 2), lambda h, m: F.pixel_shuffle(h, 2)):
        features = 2 if op(torch.ones(1, 8, 2, 2), None).shape[1] == 2 else 8
        assert weights(shrunk(Planes(op, C, features=features), x(2, 3, 6, 6)))[0] == (8, 3, 3, 3)
