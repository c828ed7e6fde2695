"""Models whose embedding's table is the head's weight, and ways to look at them compiled."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from spcomp import ops
from spcomp.compiled import CompiledModule
from tests.models import prune

ROWS, WIDTH = 300, 64


class Tied(nn.Module):
    """Two linear layers between an embedding and a head of the same weight; gives the rows, too."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.tokens = nn.Embedding(ROWS, WIDTH, padding_idx=3, dtype=dtype)
        self.first, self.second = nn.Linear(WIDTH, WIDTH, dtype=dtype), nn.Linear(WIDTH, WIDTH, dtype=dtype)
        self.head = nn.Linear(WIDTH, ROWS, bias=False, dtype=dtype)
        self.head.weight = self.tokens.weight

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.tokens(ids)  # type: ignore[no-any-return]

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self.embed(ids)
        return rows, self.head(self.second(self.first(rows).relu()))


class Again(Tied):
    """Embeds twice, by a function too, with flags that do not matter in inference."""

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.tokens(ids) + F.embedding(ids.flip(-1), self.tokens.weight, None, None, 2.0, True, False)


class Sibling(Tied):
    """A second embedding of the same weight."""

    def __init__(self) -> None:
        super().__init__()
        self.types = nn.Embedding(ROWS, WIDTH)
        self.types.weight = self.tokens.weight

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.tokens(ids) + self.types(ids // 2)


class Viewed(Tied):
    """Embeds in a slice of the weight: other memory."""

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return F.embedding(ids % 100, self.tokens.weight[:100])


class Transposed(Tied):
    """Embeds in the transposed weight of the square layer between."""

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return F.embedding(ids % WIDTH, self.first.weight.t())


class ReadOtherwise(Tied):
    """Reads the whole table besides, once and for all."""

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.tokens(ids) + self.tokens.weight.sum(0)


def made(kind: type[Tied] = Tied, **options: Any) -> Any:
    model = prune(kind(**options), 0.85)
    with torch.no_grad():
        model.tokens.weight.copy_(special_table(model.tokens.weight.dtype))
    return model


def special_table(dtype: torch.dtype) -> torch.Tensor:
    """Finite, and with -0.0 among its zeros, as ``weight * mask`` leaves them."""
    table = torch.randn(ROWS, WIDTH).to(dtype)
    return table * (torch.rand(ROWS, WIDTH) < 0.15)


def ids_of(*shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.randint(ROWS, shape, dtype=dtype)


def targets(compiled: CompiledModule) -> list[Any]:
    return [n.target for p in compiled.parts.programs for n in p.gm.graph.nodes if n.op == "call_function"]


def gathers(compiled: CompiledModule) -> bool:
    """Whether its graphs gather, and none of them holds a table."""
    found = targets(compiled)
    assert (ops.EMBEDDING in found) != (torch.ops.aten.embedding.default in found)
    assert (ops.EMBEDDING in found) == any(slot.gather is not None for slot in compiled.parts.table)
    return ops.EMBEDDING in found
