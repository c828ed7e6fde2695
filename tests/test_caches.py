"""Decoders of transformers with their cache: as a result, as an input, saved and loaded."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import spcomp
from tests.models import prune

transformers = pytest.importorskip("transformers")
FORCED: dict[str, Any] = {"policy": "force", "engine": "eager", "encodings": ["csr"], "memory_budget": 8.0}
SIZES = {"vocab_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}


def decoder(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=64, n_positions=64, n_embd=32, n_layer=2, n_head=4)
        return prune(transformers.GPT2LMHeadModel(config).eval())
    config = transformers.LlamaConfig(**SIZES, intermediate_size=64, num_key_value_heads=2)
    return prune(transformers.LlamaForCausalLM(config).eval())


def held(cache: Any) -> list[Tensor]:
    return [t for layer in cache.layers for t in (layer.keys, layer.values)]


def agree(ours: Any, theirs: Any) -> None:
    for a, b in zip([ours.logits, *held(ours.past_key_values)], [theirs.logits, *held(theirs.past_key_values)],
                    strict=True):  # fmt: skip
        assert a.shape == b.shape
        assert float((a - b).abs().max()) < 1e-5


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_cache_is_made_given_and_saved(kind: str, tmp_path: Path) -> None:
    model, ids = decoder(kind), torch.randint(0, 64, (2, 7))
    with torch.no_grad():
        fill = spcomp.compile(model, {"input_ids": ids}, {"input_ids": ids.repeat(2, 1)}, **FORCED)
        first = fill(input_ids=ids)
        agree(first, model(input_ids=ids))
        assert type(first.past_key_values) is transformers.DynamicCache
        assert first.past_key_values.get_seq_length() == 7
        three = torch.randint(0, 64, (3, 7))
        agree(fill(input_ids=three), model(input_ids=three))

        token, cache = ids[:, :1], first.past_key_values
        step = spcomp.compile(model, {"input_ids": token, "past_key_values": copy.deepcopy(cache)}, **FORCED)
        before = [t.clone() for t in held(cache)]
        ours = step(input_ids=token, past_key_values=cache)
        assert all(map(torch.equal, held(cache), before)), "the cache that was given stays as it was"
        agree(ours, model(input_ids=token, past_key_values=copy.deepcopy(cache)))
        assert ours.past_key_values.get_seq_length() == 8
        again = spcomp.load(step.save(tmp_path / "step"), engine="eager")
        agree(again(input_ids=token, past_key_values=cache), ours)
