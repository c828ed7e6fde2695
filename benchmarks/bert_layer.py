"""One BERT layer (768/3072, 12 heads) at 128 tokens, and a chain of twelve: compiled against the best dense program.

python -m benchmarks.bert_layer [--quick]
"""

from __future__ import annotations

import copy

import torch
from torch import nn

import spcomp
from benchmarks.dense import best_dense_inductor, plain_inductor
from benchmarks.harness import Benchmark, Flusher, Target, arguments, interleave, prune_, ratio
from benchmarks.models import BertLayer, bert_chain
from spcomp.check import relative_error

TOKENS = 128
CASES = {
    "csr_90": ("unstructured", 0.9, 2.3),
    "block8x8_90": ("8x8", 0.9, 4.0),
    "block8x8_50": ("8x8", 0.5, 1.4),
    "dense": ("unstructured", 0.0, 0.97),
}
CHAIN = 12
CHAIN_SHARE = 0.85

TARGETS = {f"layer_{case}_speedup": Target(goal) for case, (_, _, goal) in CASES.items()}
TARGETS |= {f"chain_{case}_speedup": Target(CHAIN_SHARE * goal) for case, (_, _, goal) in CASES.items()}
TARGETS |= {f"{kind}_{case}_error": Target(1e-5, "<=") for case in CASES for kind in ("layer", "chain")}


def measure(bench: Benchmark, key: str, model: nn.Module, *, rounds: int, flush: bool, budget: float) -> None:
    """Compile, compare with float64, race against both dense programs and against itself."""
    x = torch.randn(1, TOKENS, 768, generator=torch.Generator().manual_seed(1))
    compiled = spcomp.compile(model, x, memory_budget=budget)
    with torch.no_grad():
        exact = copy.deepcopy(model).double()(x.double())
        bench.report(f"{key}_error", relative_error(compiled(x), exact))
        dense, plain = best_dense_inductor(model, TOKENS), plain_inductor(model)
        work = {
            "compiled": lambda: compiled(x),
            "best dense": lambda: dense(x),
            "inductor": lambda: plain(x),
            "control": lambda: compiled(x),
        }
        times = interleave(work, rounds=rounds, warmup=3)
        cold = interleave(work, rounds=9, flush=Flusher()) if flush else None
    best = min(("best dense", "inductor"), key=lambda name: times[name].median)
    gain, control = ratio(times[best], times["compiled"]), ratio(times["control"], times["compiled"])
    note = (
        f"{1e3 * times['compiled'].median:.2f} ms, {best} {1e3 * times[best].median:.2f} ms, "
        f"lower bound {gain.lower:.2f}, A/A {control.value:.3f}"
    )
    bench.report(f"{key}_speedup", gain.value, note)
    bench.report(f"{key}_over_torch_compile", ratio(times["inductor"], times["compiled"]).value)
    if cold is not None:
        note = f"{1e3 * cold['compiled'].median:.2f} ms, {best} {1e3 * cold[best].median:.2f} ms, all caches flushed"
        bench.report(f"{key}_flushed_speedup", ratio(cold[best], cold["compiled"]).value, note)
    encodings = sorted({d.encoding for d in compiled.explain().decisions})
    bench.notes[f"{key}_encodings"] = ", ".join(encodings)
    print(f"    encodings: {', '.join(encodings)}; {compiled.nbytes / compiled.dense_nbytes:.0%} of the dense bytes")


def main() -> None:
    options = arguments(
        __doc__ or "",
        chain={"action": "store_true", "help": "the chain too, even with --quick"},
        memory_budget={"type": float, "default": 1.0, "help": "bytes that kernels may keep, over dense ones"},
    )
    bench = Benchmark("bert_layer", TARGETS, options.threads)
    bench.notes["memory_budget"] = str(options.memory_budget)
    rounds = 15 if options.quick else 31
    for case, (pattern, zeros, _) in CASES.items():
        torch.manual_seed(0)
        layer = BertLayer().eval()
        prune_(layer, zeros, pattern)
        measure(bench, f"layer_{case}", layer, rounds=rounds, flush=True, budget=options.memory_budget)
    if not options.quick or options.chain:
        for case, (pattern, zeros, _) in CASES.items():
            torch.manual_seed(0)
            chain = bert_chain(CHAIN).eval()
            prune_(chain, zeros, pattern)
            measure(bench, f"chain_{case}", chain, rounds=9, flush=False, budget=options.memory_budget)
    bench.finish(options.json)


if __name__ == "__main__":
    main()
