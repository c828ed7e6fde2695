"""The race: a compiled model against the fastest dense program of the same architecture, interleaved.

Dense programs are built once an architecture, from the dense weights: what a dense program takes does not depend on
the values of its weights. All are screened at every batch size; those within reach of the fastest run the race.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spcomp.api import compile as spcomp_compile
from spcomp.codegen import inductor
from spcomp.codegen.rivals import best_dense_inductor, plain_inductor
from spcomp.options import Engine
from spcomp.profiling.timing import Ratio, Timing, Work, interleave, interleave_for, ratio

WITHIN = 1.15
"""Dense programs up to this much slower than the fastest in the screening run in the race too."""
HOPELESS = 1.5
"""Dense programs that much slower in the first round are not looked at again."""
SLOW = 1.0
"""Where one run of every program takes this many seconds, the screening looks at each twice, not four times."""


@dataclass(frozen=True)
class Race:
    """Times of all that ran, the fastest dense program among them, the ratio to it, and the A/A control."""

    times: Mapping[str, Timing]
    best: str
    gain: Ratio
    control: Ratio


class Rivals:
    """Every dense program of one model, built and screened at every batch size."""

    def __init__(
        self,
        model: nn.Module,
        inputs: Mapping[int, tuple[Tensor, ...]],
        engine: Engine = "auto",
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        say = on_progress or (lambda _done, _total: None)
        total = 1 + len(inputs)
        say(0, total)
        own = spcomp_compile(model, *examples(inputs), policy="off", engine=engine)
        self.work: dict[int, dict[str, Work]] = {}
        self._screened: dict[int, dict[str, float]] = {}
        for done, (batch, x) in enumerate(inputs.items(), start=1):
            say(done, total)
            programs: dict[str, nn.Module] = {"spcomp": own, "eager": model}
            if engine != "eager" and inductor.unavailable() is None:
                programs["best dense"] = best_dense_inductor(model, _rows(model, x))
                programs["torch.compile"] = plain_inductor(model)
            self.work[batch] = {name: call(program, x) for name, program in programs.items()}
            self._screened[batch] = _screen(self.work[batch])
        say(total, total)

    def screened(self, batch: int) -> Mapping[str, float]:
        """Seconds of every program at this batch size, the best of a few runs."""
        return self._screened[batch]

    def fastest(self, batch: int) -> dict[str, Work]:
        """The programs that may be the fastest at this batch size."""
        seconds = self._screened[batch]
        limit = WITHIN * min(seconds.values())
        return {name: work for name, work in self.work[batch].items() if seconds[name] <= limit}


def _screen(work: Mapping[str, Work]) -> dict[str, float]:
    """Seconds of each, the best of a few rounds."""
    seconds = {name: min(t.seconds) for name, t in interleave(work, rounds=1, warmup=1).items()}
    limit = HOPELESS * min(seconds.values())
    close = {name: run for name, run in work.items() if seconds[name] <= limit}
    again = interleave(close, rounds=3 if sum(seconds.values()) < SLOW else 1, warmup=0)
    return seconds | {name: min(seconds[name], *t.seconds) for name, t in again.items()}


def race(compiled: nn.Module, rivals: Mapping[str, Work], x: tuple[Tensor, ...], seconds: float) -> Race:
    """Run the compiled model twice (the second is the control) and the rivals, in turn, for about ``seconds``."""
    work = {"compiled": call(compiled, x), **rivals, "control": call(compiled, x)}
    times = interleave_for(work, seconds)
    best = min(rivals, key=lambda name: times[name].median)
    return Race(times, best, ratio(times[best], times["compiled"]), ratio(times["control"], times["compiled"]))


def examples(inputs: Mapping[int, tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
    """What to capture with: of one batch size, that input; of several, two above 1, which makes the batch dynamic."""
    large = [inputs[batch] for batch in sorted((b for b in inputs if b > 1), reverse=True)[:2]]
    if len(inputs) > 1 and len(large) == 1:
        large.append(tuple(torch.cat([x, x]) for x in large[0]))
    return large or list(inputs.values())


def call(program: nn.Module, x: tuple[Tensor, ...]) -> Work:
    """The program on these inputs, without gradients."""

    def run() -> object:
        with torch.no_grad():
            return program(*x)

    return run


def _rows(model: nn.Module, x: tuple[Tensor, ...]) -> int:
    """Rows that the model's linear layers meet for ``x``, at most."""
    met = [1]
    hooks = [
        layer.register_forward_pre_hook(lambda m, args: met.append(args[0].numel() // m.in_features))
        for layer in model.modules()
        if isinstance(layer, nn.Linear)
    ]
    with torch.no_grad():
        model(*x)
    for hook in hooks:
        hook.remove()
    return max(met)
