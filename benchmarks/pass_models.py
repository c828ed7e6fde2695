"""Networks that ``benchmarks.passes`` runs the passes on: two large ones, and small ones of six shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.zoo_models import ZOO, zero_channels_

SHARE = 0.4
TILE = 1 << 20
Made = tuple[nn.Module, Any]


def bert(kind: str) -> Made:
    """BERT-base."""
    import transformers

    return _zeroed(transformers.BertModel(transformers.BertConfig()).eval(), kind), _ids(128)


def llama(kind: str) -> Made:
    """1.1 billion weights in bfloat16, in the shape of TinyLlama; made without a second copy of them."""
    import transformers
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = transformers.LlamaConfig(
        hidden_size=2048, num_hidden_layers=22, num_attention_heads=32, num_key_value_heads=4, intermediate_size=5632,
        vocab_size=32000, use_cache=False, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model = model.to_empty(device="cpu").eval()
    model.model.rotary_emb = LlamaRotaryEmbedding(config)
    model.requires_grad_(False)
    g = torch.Generator().manual_seed(0)
    tile = torch.randn(TILE, generator=g).to(torch.bfloat16) / 50
    for weight in model.parameters():
        if weight.dim() == 1:
            weight.fill_(1.0)
            continue
        flat, shift = weight.view(-1), int(torch.randint(0, TILE, (), generator=g))
        for start in range(0, flat.numel(), TILE):
            some = flat[start : start + TILE]
            some.copy_(tile.roll(shift)[: some.numel()])
    return _zeroed(model, kind), _ids(64)


LARGE: dict[str, Callable[[str], Made]] = {"bert": bert, "llama": llama}


def _ids(tokens: int) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(3, 1000, (1, tokens))}


@torch.no_grad()
def _zeroed(model: nn.Module, kind: str) -> nn.Module:
    if kind == "channels":
        heads = model.config.hidden_size // model.config.num_attention_heads  # type: ignore[union-attr, operator]
        zero_channels_(model, SHARE, head=int(heads))
        return model
    keep = torch.rand(TILE, generator=torch.Generator().manual_seed(1)) >= 0.9
    for module in model.modules():
        if isinstance(module, nn.Linear):
            flat = module.weight.view(-1)
            for start in range(0, flat.numel(), TILE):
                flat[start : start + TILE].mul_(keep[: flat[start : start + TILE].numel()])
    return model


def _small(name: str) -> Callable[[], Made]:
    def made() -> Made:
        model = ZOO[name].build()
        zero_channels_(model, SHARE)
        return model, dict(ZOO[name].inputs(2))

    return made


COMPLETE: dict[str, Callable[[], Made]] = {
    name: _small(name) for name in ("bert", "gpt2", "llama", "vit", "mixtral", "resnet")
}


def against_groups(left: Callable[[nn.Module, Any], tuple[int, list[tuple[int, ...]]]]) -> tuple[float, str] | None:
    """Weights of a small residual network whose blocks lose the same channels by ``SHRINK`` and by Torch-Pruning's
    dependency groups: (ours over theirs, a note). None without ``torch_pruning``."""
    try:
        import torch_pruning
    except ImportError:
        return None
    example = torch.randn(2, 3, 16, 16)
    ours, theirs = ZOO["cnn resnet"].build(), ZOO["cnn resnet"].build()
    for name, module in list(ours.named_modules()):
        if not name.endswith(".first") or not isinstance(module, nn.Sequential):
            continue
        conv, norm = module[0], module[1]
        dead = list(range(round(SHARE * len(conv.weight))))
        with torch.no_grad():
            for tensor in (conv.weight, norm.weight, norm.bias):
                tensor[dead] = 0
        groups = torch_pruning.DependencyGraph().build_dependency(theirs, example_inputs=example)
        target = theirs.get_submodule(name)[0]  # type: ignore[index]
        groups.get_pruning_group(target, torch_pruning.prune_conv_out_channels, idxs=dead).prune()
    shapes = left(ours, example)[1]
    wanted = [tuple(m.weight.shape) for m in theirs.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    sizes = [sum(torch.Size(s).numel() for s in found) for found in (shapes, wanted)]
    alike = "the same shapes" if sorted(shapes) == sorted(wanted) else f"{sorted(shapes)} and {sorted(wanted)}"
    return sizes[0] / sizes[1], alike
