"""Random networks with dead rows, columns, channels and heads: what analyses and rewrites of graphs are tested on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

BATCH, TOKENS = 2, 3
Step = Callable[[list[Tensor]], Tensor]
ACTIVATIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    F.relu, F.gelu, F.silu, torch.tanh, torch.sigmoid, lambda x: F.leaky_relu(x, 0.1), torch.abs, torch.square,
    lambda x: x.clamp(-0.5, 0.5), lambda x: F.dropout(x, 0.5, False), lambda x: F.relu(x.clone(), inplace=True),
)  # fmt: skip


class RandomNet(nn.Module):
    """Steps over a growing list of values; every step appends one. Returns the last and some others."""

    def __init__(self, draw: st.DrawFn, image: bool) -> None:
        super().__init__()
        self.draw, self.tensors = draw, 0
        self.generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
        self.steps: list[Step] = []
        self.masks: dict[int, Tensor] = {}
        self.shapes: list[tuple[int, ...]] = []
        self.image = image
        self.example = torch.randn((BATCH, 4, 4, 4) if image else (BATCH, TOKENS, 6), generator=self.generator).double()
        self.values = [self.example]
        for _ in range(draw(st.integers(1, 4))):
            self.step(producers=True)
            for _ in range(draw(st.integers(0, 3))):
                self.step(producers=False)
        self.step(producers=True)  # it reads what came before in part only
        self.extra = [i for i in range(1, len(self.values)) if draw(st.integers(0, 29)) == 0]
        self.double().eval()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        values = [x]
        for step in self.steps:
            values.append(step(values))
        return (values[-1], *(values[i] for i in self.extra))

    def step(self, *, producers: bool) -> None:
        """Append a layer with weights, or something between two of them."""
        table = IMAGE if self.values[-1].dim() == 4 else SEQUENCE
        names = sorted(name for name in table if (name in PRODUCERS) == producers)
        made = table[self.draw(st.sampled_from(names))](self, self.values[-1])
        if made is not None:
            self.steps.append(made)
            with torch.no_grad():
                self.values.append(made(self.values))

    # -- drawing ----------------------------------------------------------------------------------------------------

    def some(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def mask(self, n: int) -> Tensor:
        """True for what is alive."""
        share = self.pick(0.2, 0.5, 0.8)
        if n not in self.masks or self.pick(True, False):  # the same one now and then: streams are dead in all places
            self.masks[n] = torch.rand(n, generator=self.generator) >= share
        return self.masks[n]

    def tensor(self, *shape: int, dead: tuple[int, ...] = ()) -> str:
        """The name of a new parameter; slices along the dimensions ``dead`` may be zero."""
        value = torch.randn(shape, generator=self.generator).double() * 0.7
        for dim in dead:
            alive = self.mask(shape[dim]).reshape([-1 if d == dim else 1 for d in range(len(shape))])
            value = value * alive
        name = f"t{self.tensors}"
        self.tensors += 1
        self.register_buffer(name, value)
        return name

    def bias(self, n: int) -> str | None:
        return self.tensor(n, dead=(0,)) if self.pick(True, True, False) else None

    def get(self, name: str | None) -> Any:
        return None if name is None else getattr(self, name)

    def other(self, shape: torch.Size, *, same: tuple[int, ...]) -> int | None:
        """An earlier value that has these dimensions of ``shape``, or None."""
        found = [
            i for i, v in enumerate(self.values)
            if v.dim() == len(shape) and all(v.shape[d] == shape[d] for d in same)
        ]  # fmt: skip
        return self.draw(st.sampled_from(found)) if found else None


def _linear_of(net: RandomNet, k: int, n: int, heads: int = 1) -> Callable[[Tensor], Tensor]:
    weight, bias = net.tensor(n, k, dead=net.pick((0,), (0,), (1,), (0, 1))), net.bias(n)
    if heads > 1:  # whole heads
        alive = net.mask(heads).repeat_interleave(n // heads)
        getattr(net, weight).mul_(alive[:, None])
        if bias is not None:
            getattr(net, bias).mul_(alive)
    form = net.pick("linear", "linear", "matmul", "addmm")
    if form == "matmul" and bias is None:
        setattr(net, weight, getattr(net, weight).t().contiguous())
        return lambda x: x @ net.get(weight)
    if form == "addmm" and bias is not None:
        setattr(net, weight, getattr(net, weight).t().contiguous())
        return lambda x: torch.addmm(net.get(bias), x.reshape(-1, k), net.get(weight)).view(*x.shape[:-1], n)
    return lambda x: F.linear(x, net.get(weight), net.get(bias))


def _linear(net: RandomNet, x: Tensor) -> Step:
    layer = _linear_of(net, x.shape[-1], net.pick(3, 6, 6, 8))
    return lambda v: layer(v[-1])


def _mlp(net: RandomNet, x: Tensor) -> Step:
    hidden, act = net.some(2, 9), net.pick(*ACTIVATIONS)
    up, down = _linear_of(net, x.shape[-1], hidden), _linear_of(net, hidden, x.shape[-1])
    residual = net.pick(True, False)
    at = len(net.values) - 1
    return lambda v: v[at] + down(act(up(v[at]))) if residual else down(act(up(v[at])))


def _gated(net: RandomNet, x: Tensor) -> Step:
    hidden, act = net.some(2, 9), net.pick(*ACTIVATIONS)
    gate, up, down = (_linear_of(net, x.shape[-1], hidden), _linear_of(net, x.shape[-1], hidden),
                      _linear_of(net, hidden, x.shape[-1]))  # fmt: skip
    return lambda v: down(act(gate(v[-1])) * up(v[-1]))


def _glu(net: RandomNet, x: Tensor) -> Step:
    hidden = net.some(2, 5)
    both, parts = _linear_of(net, x.shape[-1], 2 * hidden), net.pick("chunk", "split", "sizes", "slice")

    def step(v: list[Tensor]) -> Tensor:
        y = both(v[-1])
        if parts == "slice":
            return torch.sigmoid(y[..., :hidden]) * y[..., hidden:]
        a, b = (
            y.chunk(2, -1) if parts == "chunk"
            else y.split(hidden, -1) if parts == "split" else y.split([hidden, hidden], -1)
        )  # fmt: skip
        return torch.sigmoid(a) * b

    return step


def _activation(net: RandomNet, x: Tensor) -> Step:
    act = net.pick(*ACTIVATIONS)
    return lambda v: act(v[-1])


def _add(net: RandomNet, x: Tensor) -> Step | None:
    i = net.other(x.shape, same=tuple(range(x.dim())))
    alpha = net.pick(1, 1, 0.5)
    return None if i is None else lambda v: torch.add(v[-1], v[i], alpha=alpha)


def _times(net: RandomNet, x: Tensor) -> Step | None:
    i = net.other(x.shape, same=tuple(range(x.dim())))
    return None if i is None else lambda v: v[-1] * v[i]


def _cat(net: RandomNet, x: Tensor) -> Step | None:
    dim = 1 if x.dim() == 4 else 2
    i = net.other(x.shape, same=tuple(d for d in range(x.dim()) if d != dim))
    return None if i is None or x.shape[dim] > 12 else lambda v: torch.cat([v[-1], v[i]], dim)


def _scale(net: RandomNet, x: Tensor) -> Step:
    n = x.shape[1] if x.dim() == 4 else x.shape[-1]
    name, op = net.tensor(n, dead=(0,)), net.pick(torch.mul, torch.add, torch.sub, torch.maximum)
    return lambda v: op(v[-1], net.get(name).reshape(-1, 1, 1) if x.dim() == 4 else net.get(name))


def _layer_norm(net: RandomNet, x: Tensor) -> Step:
    n = x.shape[-1]
    weight, bias = net.tensor(n, dead=net.pick((), (0,))), net.bias(n)
    return lambda v: F.layer_norm(v[-1], [n], net.get(weight), net.get(bias))


def _norm_planes(net: RandomNet, x: Tensor) -> Step:
    n = x.shape[1]
    weight, bias = net.tensor(n, dead=net.pick((), (0,))), net.bias(n)
    if net.pick(True, False):
        mean, var = net.tensor(n), net.tensor(n)
        getattr(net, var).abs_().add_(0.1)
        return lambda v: F.batch_norm(v[-1], net.get(mean), net.get(var), net.get(weight), net.get(bias))
    groups = net.pick(*(g for g in range(1, n + 1) if n % g == 0))
    if x.shape[0] * x[0].numel() // n // (n // groups) <= 1:
        return lambda v: v[-1] * 1.5
    return lambda v: F.group_norm(v[-1], groups, net.get(weight), net.get(bias))


def _part(net: RandomNet, x: Tensor) -> Step:
    dim = 1 if x.dim() == 4 else 2
    n = x.shape[dim]
    low = net.some(0, n - 1)
    high = net.some(low + 1, n)
    if net.pick(True, False):
        return lambda v: v[-1].narrow(dim, low, high - low)
    index = net.tensor(1)
    setattr(net, index, torch.randint(0, n, (net.some(1, 6),), generator=net.generator))
    return lambda v: v[-1].index_select(dim, net.get(index))


def _attention(net: RandomNet, x: Tensor) -> Step:
    heads, size, k = net.some(1, 3), net.some(1, 3), x.shape[-1]
    q, key, value = (_linear_of(net, k, heads * size, net.pick(1, heads)) for _ in range(3))
    out, eager, scale = _linear_of(net, heads * size, k), net.pick(True, False), net.pick(None, 0.3)
    mask = net.tensor(heads, 1, 1) if net.pick(True, False) else None

    def split(t: Tensor) -> Tensor:
        return t.view(t.shape[0], -1, heads, size).transpose(1, 2)

    def step(v: list[Tensor]) -> Tensor:
        a, b, c = split(q(v[-1])), split(key(v[-1])), split(value(v[-1]))
        if eager:
            scores = a @ b.transpose(-1, -2) / size**0.5
            y = torch.softmax(scores if mask is None else scores + net.get(mask), -1) @ c
        else:
            wide = None if mask is None else net.get(mask).expand(heads, a.shape[2], b.shape[2])
            y = F.scaled_dot_product_attention(a, b, c, wide, scale=scale)
        return out(y.transpose(1, 2).reshape(v[-1].shape[0], -1, heads * size))

    return step


def _fold_heads(net: RandomNet, x: Tensor) -> Step | None:
    """Heads apart, something per head, and back."""
    n = x.shape[-1]
    sizes = [h for h in range(1, n + 1) if n % h == 0]
    heads, act = net.pick(*sizes), net.pick(*ACTIVATIONS)
    name = net.tensor(heads, n // heads, dead=(0, 1))
    way = net.pick("unflatten", "permute", "flat")

    def step(v: list[Tensor]) -> Tensor:
        y = v[-1].unflatten(-1, (heads, -1)) if way == "unflatten" else v[-1].view(*v[-1].shape[:-1], heads, -1)
        y = act(y * net.get(name))
        if way == "permute":
            return y.permute(0, 1, 3, 2).reshape(*v[-1].shape[:-1], -1)
        return y.flatten(-2)

    return step


def _stop(net: RandomNet, x: Tensor) -> Step:
    dim = 1 if x.dim() == 4 else net.pick(1, 2)
    op = net.pick(lambda t: t.flip(dim), lambda t: torch.softmax(t, dim), lambda t: t.cumsum(dim),
                  lambda t: t.roll(1, dim), lambda t: t - t.mean(dim, keepdim=True))  # fmt: skip
    return lambda v: op(v[-1])


def _mean(net: RandomNet, x: Tensor) -> Step:
    if x.dim() == 4:
        return lambda v: v[-1].mean((2, 3), keepdim=True)
    return lambda v: v[-1] + v[-1].mean(1, keepdim=True)


def _across(net: RandomNet, x: Tensor) -> Step:
    """Transposed, normalised by channel, and back."""
    inner = _norm_planes(net, x.transpose(1, 2))
    return lambda v: inner([v[-1].transpose(1, 2)]).transpose(1, 2)


def _conv(net: RandomNet, x: Tensor) -> Step:
    k, size = x.shape[1], net.pick(1, 3)
    groups = net.pick(1, 1, 1, *(g for g in range(1, k + 1) if k % g == 0))
    n = groups * max(1, net.pick(4, 4, 6, 8) // groups)
    weight, bias = net.tensor(n, k // groups, size, size, dead=net.pick((0,), (0,), (0, 1))), net.bias(n)
    stride, padding = net.pick(1, 1, 2), net.pick(0, 1, "same", "valid")
    if min(x.shape[2:]) < 3:
        padding = "same"
    if padding == "same":
        stride = 1
    return lambda v: F.conv2d(v[-1], net.get(weight), net.get(bias), stride, padding, 1, groups)


def _pool(net: RandomNet, x: Tensor) -> Step:
    size, padding = net.pick(2, 3), net.pick(0, 1)
    if min(x.shape[2:]) < 3:
        return lambda v: F.adaptive_avg_pool2d(v[-1], 1)
    op = net.pick(
        lambda t: F.max_pool2d(t, size, 1, padding), lambda t: F.avg_pool2d(t, size, 1, padding),
        lambda t: F.avg_pool2d(t, size, 1, padding, count_include_pad=False), lambda t: F.adaptive_avg_pool2d(t, 2),
        lambda t: F.max_pool2d(t, 2, ceil_mode=True),
    )  # fmt: skip
    return lambda v: op(v[-1])


def _upsample(net: RandomNet, x: Tensor) -> Step | None:
    mode = net.pick("nearest", "bilinear")
    return None if x.shape[-1] > 6 else lambda v: F.interpolate(v[-1], scale_factor=2, mode=mode)


def _pad(net: RandomNet, x: Tensor) -> Step | None:
    value = net.pick(0.0, 0.5)
    return None if x.shape[-1] > 6 else lambda v: F.pad(v[-1], (1, 0, 0, 1), value=value)


def _squeeze_excite(net: RandomNet, x: Tensor) -> Step:
    n, hidden = x.shape[1], net.some(1, 5)
    down, up = _linear_of(net, n, hidden), _linear_of(net, hidden, n)

    def step(v: list[Tensor]) -> Tensor:
        s = torch.sigmoid(up(F.relu(down(v[-1].mean((2, 3))))))
        return v[-1] * s[:, :, None, None]

    return step


def _to_sequence(net: RandomNet, x: Tensor) -> Step:
    if net.pick(True, False):
        return lambda v: v[-1].flatten(2).transpose(1, 2)
    return lambda v: v[-1].flatten(1).unsqueeze(1)


Maker = Callable[[RandomNet, Tensor], Step | None]
BOTH: dict[str, Maker] = {
    "activation": _activation, "activation2": _activation, "add": _add, "times": _times, "cat": _cat, "scale": _scale,
    "part": _part, "stop": _stop, "mean": _mean,
}  # fmt: skip
SEQUENCE: dict[str, Maker] = BOTH | {
    "linear": _linear, "linear2": _linear, "linear3": _linear, "mlp": _mlp, "gated": _gated, "glu": _glu,
    "attention": _attention, "layer_norm": _layer_norm, "heads": _fold_heads, "across": _across,
}  # fmt: skip
IMAGE: dict[str, Maker] = BOTH | {
    "conv": _conv, "norm": _norm_planes, "norm2": _norm_planes, "pool": _pool, "pool2": _pool, "upsample": _upsample,
    "pad": _pad, "gate": _squeeze_excite, "sequence": _to_sequence,
}  # fmt: skip
PRODUCERS = frozenset(("linear", "linear2", "linear3", "mlp", "gated", "glu", "attention", "conv"))


@st.composite
def networks(draw: st.DrawFn) -> RandomNet:
    """A network in eval mode, in float64, with an example input in ``example``."""
    return RandomNet(draw, draw(st.booleans()))
