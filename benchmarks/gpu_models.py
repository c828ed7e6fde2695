"""Whole models on a GPU: a Llama-shaped decoder of eight layers at one token, a ViT-H/14-shaped encoder at batch 64.

Dense: ``torch.compile(mode="max-autotune")`` of the model. Ours: the same model with its linear layers replaced by the
fastest kernel or cuBLAS, layer by layer, the rest compiled around them, all in one CUDA graph.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.gpu_cases import Case, call_of, encodings_of, weight_of
from benchmarks.gpu_timing import Clock
from spcomp.codegen.cusparselt.backend import CuSparseLt
from spcomp.codegen.cusparselt.linear import CuSparseLtLinear
from spcomp.codegen.triton.backend import Triton, kernel_of
from spcomp.kernel import Kernel


class Attention(nn.Module):
    """Grouped-query attention; with a cache of keys and values where it decodes."""

    def __init__(self, width: int, heads: int, key_heads: int, cached: int, bias: bool) -> None:
        super().__init__()
        self.heads, self.key_heads, self.head = heads, key_heads, width // heads
        self.qkv = nn.Linear(width, (heads + 2 * key_heads) * self.head, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)
        for name in ("keys", "values"):
            self.register_buffer(name, torch.randn(1, key_heads, cached, self.head) if cached else None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, width = x.shape
        q, k, v = self.qkv(x).split([width, self.key_heads * self.head, self.key_heads * self.head], dim=-1)
        q = q.reshape(b, t, self.heads, self.head).transpose(1, 2)
        k, v = (p.reshape(b, t, self.key_heads, self.head).transpose(1, 2) for p in (k, v))
        if self.keys is not None:
            k, v = torch.cat([self.keys, k], dim=2), torch.cat([self.values, v], dim=2)
        y = F.scaled_dot_product_attention(q, k, v, enable_gqa=self.heads != self.key_heads)
        return self.out(y.transpose(1, 2).reshape(b, t, width))


class Gated(nn.Module):
    """SwiGLU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.both, self.down = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.both(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Mlp(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.gelu(self.up(x)))


class Layer(nn.Module):
    def __init__(self, attention: nn.Module, mlp: nn.Module, norm: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.attention, self.mlp, self.before, self.between = attention, mlp, norm(), norm()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.before(x))
        return x + self.mlp(self.between(x))


def llama(real: bool) -> tuple[nn.Module, torch.Tensor]:
    """Eight layers of Llama-3-8B's sizes, one token, 1024 cached; and its input."""
    width, inner, heads, key_heads, layers, cached = (4096, 14336, 32, 8, 8, 1024) if real else (64, 96, 4, 2, 1, 4)
    body = [
        Layer(Attention(width, heads, key_heads, cached, False), Gated(width, inner), lambda: nn.RMSNorm(width))
        for _ in range(layers)
    ]
    return nn.Sequential(*body), torch.randn(1, 1, width)


def vit(real: bool) -> tuple[nn.Module, torch.Tensor]:
    """ViT-H/14: 32 layers of 1280, 16 heads, 257 tokens, batch 64; and its input."""
    width, inner, heads, layers, batch, tokens = (1280, 5120, 16, 32, 64, 257) if real else (64, 128, 4, 1, 2, 3)
    body = [
        Layer(Attention(width, heads, heads, 0, True), Mlp(width, inner), lambda: nn.LayerNorm(width))
        for _ in range(layers)
    ]
    return nn.Sequential(*body), torch.randn(batch, tokens, width)


class SparseLinear(nn.Module):
    """A linear layer that is a kernel; the compiled graph breaks around it."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel = kernel

    @torch.compiler.disable
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.kernel(x)


def model_ratio(name: str, clock: Clock) -> tuple[float, str]:
    """(dense seconds / ours, what served) of one of the models by the name of its figure."""
    kind, pattern, *zeros = name.split("_")
    torch.manual_seed(0)
    model, x = (llama if kind == "llama" else vit)(clock.real)
    model, x = model.to(clock.dtype).to(clock.device).eval(), x.to(clock.dtype).to(clock.device)
    sparse = copy.deepcopy(model)
    served: dict[str, int] = {}
    known: dict[tuple[int, int], int] = {}
    for parent, child, layer in list(linears(sparse)):
        if kind == "vit" and child not in ("up", "down"):
            continue
        m = x.numel() // x.shape[-1]
        case = Case(pattern, int(zeros[0]) if zeros else 50, m, layer.out_features, layer.in_features)
        kernel, what = _fastest(case, layer, clock, known)
        served[what] = served.get(what, 0) + 1
        if kernel is not None:
            setattr(parent, child, SparseLinear(kernel))
    note = ", ".join(f"{count} x {what}" for what, count in served.items())
    if not clock.real:
        sparse(x)
        return 0.0, note
    dense = torch.compile(model, mode="max-autotune-no-cudagraphs")
    ours = torch.compile(sparse, mode="max-autotune-no-cudagraphs")
    ratio, _, _ = clock.ratio([lambda: dense(x)], [lambda: ours(x)])
    return ratio, note


def linears(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Every linear layer, with its parent and its name there."""
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                yield parent, name, child


def _fastest(
    case: Case, layer: nn.Linear, clock: Clock, known: dict[tuple[int, int], int]
) -> tuple[Kernel | None, str]:
    """The fastest kernel for a layer pruned as the case says, or None where cuBLAS is; one race for each size."""
    weight = weight_of(case, clock.dtype)
    bias = None if layer.bias is None else layer.bias.detach().cpu()
    x = torch.randn(case.m, case.k).to(weight.dtype).to(clock.device)
    call, packed = call_of(case, weight, encodings_of(case)[0], bias=bias is not None)
    backends = [Triton(), CuSparseLt()] if clock.real else [Triton()]
    options = [(backend, s) for backend in backends for s in backend.schedules(call, case.m)]

    def built(index: int) -> Kernel:
        backend, schedule = options[index]
        whole = replace(call, schedule=schedule)
        if isinstance(backend, Triton):
            return kernel_of(whole, packed, bias, clock.device)
        kernel = backend.kernel_of(whole, packed, bias, clock.device)
        if isinstance(kernel, CuSparseLtLinear):
            kernel.search(case.m)
        return kernel

    size = (case.n, case.k)
    if size not in known:
        dense = weight.to(clock.device)
        times = [clock.seconds([lambda: F.linear(x, dense)])]
        for index in range(len(options)):
            kernel = built(index)
            times.append(clock.seconds([lambda k=kernel: k(x)]))
        known[size] = times.index(min(times)) - 1 if clock.real else 0
    if known[size] < 0:
        return None, "cuBLAS"
    return built(known[size]), options[known[size]][0].name
