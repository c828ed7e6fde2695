"""``torch.compile(model, backend="spcomp")``: graph breaks are fine, each piece is compiled on its own.

Dynamo hands over a graph whose weights are inputs. They are bound as constants here; a call that brings another weight
(or one written to since) runs the piece densely through Inductor, as does whatever needs gradients, has dynamic sizes,
or does not export. The log (``logging.getLogger("spcomp")``) says which and why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import fx, nn

from spcomp.errors import SpcompError

log = logging.getLogger("spcomp.dynamo")


class _Bound(nn.Module):
    """A Dynamo graph with some of its inputs bound as constants."""

    def __init__(self, gm: fx.GraphModule, inputs: Sequence[Any], bound: Sequence[bool]) -> None:
        super().__init__()
        self.gm = gm
        self.bound = tuple(bound)
        self.names = [f"constant_{i}" for i, b in enumerate(bound) if b]
        for i, (value, b) in enumerate(zip(inputs, bound, strict=True)):
            if b:
                self.register_parameter(f"constant_{i}", nn.Parameter(value.detach(), requires_grad=False))

    def forward(self, *inputs: Any) -> Any:
        free, constants = iter(inputs), iter(self.names)
        return self.gm(*(getattr(self, next(constants)) if b else next(free) for b in self.bound))


def spcomp_backend(gm: fx.GraphModule, example_inputs: Sequence[Any], **options: Any) -> Callable[..., Any]:
    """The Dynamo backend. ``options`` are those of :func:`spcomp.compile`."""
    reason = _unfit(example_inputs)
    if reason is None:
        try:
            return _compile(gm, example_inputs, options)
        except SpcompError as error:
            if options.get("policy") == "force":
                raise
            reason = str(error)
    log.warning("a piece of the model stays dense: %s", reason)
    return _dense(gm, example_inputs)


def _unfit(inputs: Sequence[Any]) -> str | None:
    if torch.is_grad_enabled() and any(isinstance(t, torch.Tensor) and t.requires_grad for t in inputs):
        return "gradients are wanted (run under torch.no_grad() to compile it)"
    if any(isinstance(t, torch.SymInt) for t in inputs):
        return "it has dynamic sizes (use spcomp.compile with two examples)"
    if not any(isinstance(t, nn.Parameter) for t in inputs):
        return "it has no weights"
    return None


def _compile(gm: fx.GraphModule, inputs: Sequence[Any], options: dict[str, Any]) -> Callable[..., Any]:
    from spcomp.api import compile as spcomp_compile

    bound = [isinstance(t, nn.Parameter) for t in inputs]
    constants = [t for t, b in zip(inputs, bound, strict=True) if b]
    stamps = [(t.data_ptr(), t._version) for t in constants]
    module = _Bound(gm, inputs, bound).eval()
    module.train(False)
    free = tuple(t for t, b in zip(inputs, bound, strict=True) if not b)
    compiled = spcomp_compile(module, free, **options)
    spare: list[Callable[..., Any]] = []

    def run(*arguments: Any) -> Any:
        given = [t for t, b in zip(arguments, bound, strict=True) if b]
        if [(t.data_ptr(), t._version) for t in given] != stamps:
            if not spare:
                log.warning("a weight changed: this piece runs densely from now on; compile the model again")
                spare.append(_dense(gm, inputs))
            return spare[0](*arguments)
        return compiled(*(t for t, b in zip(arguments, bound, strict=True) if not b))

    return run


def _dense(gm: fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
    from torch._inductor.compile_fx import compile_fx

    from spcomp.codegen.inductor import unavailable

    if unavailable() is not None:
        return gm.forward
    return cast(Callable[..., Any], compile_fx(gm, list(inputs)))
