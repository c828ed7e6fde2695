"""What every tuner does with times once it has them: file them, find them, and look again where a verdict was close."""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch

from spcomp.cost.cache import TuneCache

LOOKS = (2, 3)
"""Further looks at a point whose verdict was close: one in the same compilation, one in a later one; then it stands."""
Work = Mapping[str, Callable[[], object]]


def as_of_now(known: Mapping[str, float], measured: Mapping[str, float]) -> dict[str, float]:
    """What was known before, by the clock of a new run: by the median of how names in both changed.

    A shared machine is twice as fast at one time as at another; without this, what ran in a slow minute loses against
    what a later compilation added in a fast one.
    """
    changes = [s / known[name] for name, s in measured.items() if name in known]
    change = statistics.median(changes) if changes else 1.0
    return {name: s * change for name, s in known.items()}


class Remembering(ABC):
    """Measures what its cache does not know."""

    cache: TuneCache

    @abstractmethod
    def filed_under(self, key: Mapping[str, object]) -> dict[str, object]:
        """The key with everything about the device that can change a time."""

    @abstractmethod
    def time(
        self,
        work: Work,
        *,
        cold_bytes: int = 0,
        warm: Callable[[], object] | None = None,
        own: torch.Tensor | None = None,
    ) -> dict[str, float]:
        """Seconds of every named callable by the clock, without the cache."""

    def remembered(
        self, key: Mapping[str, object], names: frozenset[str], *, again: bool = False
    ) -> dict[str, float] | None:
        """Seconds of every named callable if the cache has all of them; ``again``: and all looks were taken."""
        full = self.filed_under(key)
        looks = [full, *({**full, "look": look} for look in LOOKS if again)]
        known = [self.cache.get(entry) for entry in looks]
        if any(found is None or not names <= found.keys() for found in known):
            return None
        return {name: known[0][name] for name in names} if known[0] is not None else None

    def remember(self, key: Mapping[str, object], seconds: Mapping[str, float]) -> None:
        """Keep what was found out otherwise under a key, beside what is there."""
        full = self.filed_under(key)
        self.cache.put(full, {**(self.cache.get(full) or {}), **seconds})

    def measure(
        self,
        key: Mapping[str, object],
        work: Callable[[], Work],
        names: frozenset[str],
        *,
        cold_bytes: int,
        warm: Callable[[], object] | None = None,
        again: bool = False,
        own: torch.Tensor | None = None,
    ) -> dict[str, float]:
        """Seconds of every named callable; from the cache if all of ``names`` are there.

        ``work`` builds the callables, and is not called on a cache hit. ``cold_bytes`` of other data are read before
        every run; ``warm`` is called after that, to bring back what the layer before would have left in the caches.
        ``again`` measures though the cache knows, and keeps the lesser times, but not more often than there are
        :data:`LOOKS`. The layer's ``own`` weight is not read to cool the caches.
        """
        if (seconds := self.remembered(key, names, again=again)) is not None:
            return seconds
        full = self.filed_under(key)
        known = self.cache.get(full) or {}
        measured = self.time(work(), cold_bytes=cold_bytes, warm=warm, own=own)
        if again:  # other work on the machine only ever adds time
            self._looked(full, measured)
            measured = {name: min(s, known.get(name, s)) for name, s in measured.items()}
        else:
            known = as_of_now(known, measured)
        self.cache.put(full, {**known, **measured})
        return measured

    def _looked(self, full: Mapping[str, object], measured: Mapping[str, float]) -> None:
        """File a further look as the first that is still missing."""
        for look in LOOKS:
            found = self.cache.get({**full, "look": look}) or {}
            if not measured.keys() <= found.keys():
                self.cache.put({**full, "look": look}, {**found, **measured})
                return
