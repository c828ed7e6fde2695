"""The only door between graph nodes and what is known about their zeros: :func:`of` and :func:`annotate`."""

from __future__ import annotations

from typing import Protocol

from spcomp.sparsity.facts import SparsityFacts

_KEY = "spcomp_facts"


class HasMeta(Protocol):
    """A graph node: anything with a ``meta`` dictionary."""

    meta: dict[str, object]


def of(node: HasMeta) -> SparsityFacts | None:
    """The facts of the constant that ``node`` stands for, or None where nothing is known (which means dense)."""
    facts = node.meta.get(_KEY)
    return facts if isinstance(facts, SparsityFacts) else None


def annotate(node: HasMeta, facts: SparsityFacts) -> None:
    """Attach measured facts to a constant's node."""
    node.meta[_KEY] = facts
