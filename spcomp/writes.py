"""Which of the tensors that a compiled graph was given it writes in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from spcomp.parts import Program


def written(program: Program) -> set[str]:
    """Names of the lifted tensors that the program writes in place, through views too."""
    roots: dict[Any, set[str]] = {}
    found: set[str] = set()
    placeholders = [n for n in program.gm.graph.nodes if n.op == "placeholder"]
    names = dict(zip(placeholders, program.lifted, strict=False))
    for node in program.gm.graph.nodes:
        if node in names:
            roots[node] = {names[node]}
            continue
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            roots[node] = set().union(*(roots.get(n, set()) for n in node.all_input_nodes))
            continue
        shared: set[str] = set()
        for i, argument in enumerate(schema.arguments):
            alias = argument.alias_info
            if alias is None:
                continue
            given = node.args[i] if i < len(node.args) else node.kwargs.get(argument.name)
            for value in given if isinstance(given, list | tuple) else [given]:
                reached = roots.get(value, set()) if isinstance(value, torch.fx.Node) else set()
                shared |= reached
                if alias.is_write:
                    found |= reached
        roots[node] = shared
    return found
