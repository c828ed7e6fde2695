"""Small networks of the zoo: architectures of ``transformers`` with random weights, and convolutional ones by hand.

Nothing is downloaded: every model is made from its configuration alone.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, HEADS, LAYERS, INNER, WORDS, TOKENS = 128, 4, 2, 256, 96, 8
TEXT: dict[str, Any] = {
    "vocab_size": WORDS, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
BODY: dict[str, Any] = {**TEXT, "intermediate_size": INNER}
IMAGE: dict[str, Any] = {
    "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
SOUND: dict[str, Any] = {
    **BODY, "conv_dim": (32, 32), "conv_stride": (5, 2), "conv_kernel": (10, 3), "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "feat_extract_norm": "group",
}  # fmt: skip
LISTED = {"num_key_value_heads": 2, "max_position_embeddings": 64}
Inputs = Callable[[int], Mapping[str, Tensor]]


def words(batch: int) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(3, WORDS, (batch, TOKENS)), "attention_mask": torch.ones(batch, TOKENS).long()}


def bare_words(batch: int) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(3, WORDS, (batch, TOKENS))}


def pairs(batch: int) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(3, WORDS, (batch, TOKENS)), "decoder_input_ids": torch.full((batch, 5), 4)}


def images(batch: int) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(batch, 3, 32, 32)}


def sounds(batch: int) -> dict[str, Tensor]:
    return {"input_values": torch.randn(batch, 400)}


def spectra(batch: int) -> dict[str, Tensor]:
    return {"input_features": torch.randn(batch, 16, 32)}


def steps(batch: int) -> dict[str, Tensor]:
    """One more token, with the keys and values of the tokens before: a decoder's step."""
    one = {"input_ids": torch.randint(3, WORDS, (batch, 1))}
    return one | {f"past_{i}": torch.randn(batch, HEADS, TOKENS, WIDTH // HEADS) for i in range(2 * LAYERS)}


def plain(*shape: int) -> Inputs:
    return lambda batch: {"input": torch.randn(batch, *shape)}


class Step(nn.Module):
    """A decoder with its cache as plain inputs and outputs: keys and values, layer by layer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, past_0: Tensor, past_1: Tensor, past_2: Tensor, past_3: Tensor
    ) -> tuple[Tensor, ...]:
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer, pair in enumerate(((past_0, past_1), (past_2, past_3))):
            cache.update(*pair, layer)
        out = self.model(input_ids=input_ids, past_key_values=cache, use_cache=True)
        return out.logits, *(t for layer in cache.layers for t in (layer.keys, layer.values))


@dataclass(frozen=True)
class Entry:
    """One network: how it is made, and what it is called with."""

    task: str
    inputs: Inputs
    model: str = ""
    """Class in ``transformers``; its configuration is ``config``."""
    config: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    wrap: Callable[[Any], nn.Module] | None = None
    made: Callable[[], nn.Module] | None = None
    """For networks that are written by hand."""

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        if self.made is not None:
            return self.made().eval()
        import transformers

        config = getattr(transformers, self.config)(**self.settings)
        model = getattr(transformers, self.model)(config)
        return (model if self.wrap is None else self.wrap(model)).eval()


def _decoder(name: str, *, config: str = "", use_cache: bool = False, head: str = "ForCausalLM", **more: Any) -> Entry:
    settings = {**BODY, **more, "use_cache": use_cache}
    return Entry("decoder", bare_words, name + head, config or f"{name}Config", settings)


def _encoder(name: str, inputs: Inputs = bare_words, task: str = "encoder", **settings: Any) -> Entry:
    return Entry(task, inputs, f"{name}Model", f"{name}Config", {**BODY, **settings})


def _vision(name: str, **settings: Any) -> Entry:
    return Entry("vision", images, f"{name}Model", f"{name}Config", settings)


def block(channels: int, out: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU())


class Residual(nn.Module):
    """As in ResNet (He et al., 2015)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = block(channels, out, stride=stride), nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.down = nn.Conv2d(channels, out, 1, stride) if stride > 1 or channels != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.second(self.first(x))) + self.down(x))


class Inverted(nn.Module):
    """As in MobileNetV2 (Sandler et al., 2018), with a gate as in V3."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.wide, self.deep = block(channels, inner, 1), block(inner, inner, 3, groups=inner)
        self.squeeze, self.excite = nn.Conv2d(inner, 16, 1), nn.Conv2d(16, inner, 1)
        self.narrow = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.deep(self.wide(x))
        gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        return x + self.narrow(y * gate)  # type: ignore[no-any-return]


class UNet(nn.Module):
    """Two levels (Ronneberger et al., 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = block(3, 32), block(32, 64), block(64, 64)
        self.up = nn.ConvTranspose2d(64, 32, 2, 2)
        self.d, self.e, self.out = block(96, 32), block(64, 32), nn.Conv2d(32, 2, 1)

    def forward(self, input: Tensor) -> Tensor:
        a = self.a(input)
        b = self.b(F.max_pool2d(a, 2))
        c = F.interpolate(self.c(F.max_pool2d(b, 2)), scale_factor=2)
        d = self.up(torch.cat([self.d(torch.cat([c, b[:, :32]], 1)), b[:, 32:]], 1)[:, :64])
        return self.out(self.e(torch.cat([d, a], 1)))  # type: ignore[no-any-return]


def resnet() -> nn.Module:
    blocks = [Residual(32, 32, 1), Residual(32, 64, 2), Residual(64, 64, 1)]
    return nn.Sequential(block(3, 32), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def mobilenet() -> nn.Module:
    blocks = [Inverted(32, 96), Inverted(32, 96)]
    return nn.Sequential(block(3, 32), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def conv1d() -> nn.Module:
    body = [nn.Conv1d(8, 64, 5, padding=2), nn.ReLU(), nn.Conv1d(64, 64, 5, 2), nn.GELU(), nn.Conv1d(64, 64, 3)]
    return nn.Sequential(*body, nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(64, 10))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(64, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, input: Tensor) -> Tensor:
        return self.head(self.lstm(input)[0][:, -1])  # type: ignore[no-any-return]


def torch_encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, batch_first=True)
    return nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)


ZOO: dict[str, Entry] = {
    "bert": _encoder("Bert", words),
    "roberta": _encoder("Roberta"),
    "distilbert": Entry(
        "encoder", bare_words, "DistilBertModel", "DistilBertConfig",
        {"vocab_size": WORDS, "dim": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": INNER},
    ),
    "albert": _encoder("Albert", embedding_size=64),
    "electra": _encoder("Electra", embedding_size=64),
    "deberta_v2": _encoder("DebertaV2", relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=16),
    "mpnet": _encoder("MPNet"),
    "gpt2": _decoder("GPT2", head="LMHeadModel", n_positions=64),
    "gpt2+cache": _decoder("GPT2", head="LMHeadModel", n_positions=64, use_cache=True),
    "gpt2 step": Entry(
        "decoder step", steps, "GPT2LMHeadModel", "GPT2Config", {**TEXT, "n_positions": 64}, wrap=Step
    ),
    "llama": _decoder("Llama", **LISTED),
    "llama+cache": _decoder("Llama", use_cache=True, **LISTED),
    "llama step": Entry("decoder step", steps, "LlamaForCausalLM", "LlamaConfig", BODY, wrap=Step),
    "mistral": _decoder("Mistral", sliding_window=4, **LISTED),
    "qwen2": _decoder("Qwen2", **LISTED),
    "gemma": _decoder("Gemma", head_dim=32, **LISTED),
    "opt": _decoder("OPT", ffn_dim=INNER, word_embed_proj_dim=WIDTH),
    "bloom": _decoder("Bloom"),
    "gpt_neox": _decoder("GPTNeoX"),
    "phi": _decoder("Phi"),
    "falcon": _decoder("Falcon", alibi=False),
    "t5": Entry(
        "encoder-decoder", pairs, "T5Model", "T5Config",
        {"vocab_size": WORDS, "d_model": WIDTH, "d_kv": 32, "d_ff": INNER, "num_layers": LAYERS, "num_heads": HEADS,
         "use_cache": False, "decoder_start_token_id": 0},
    ),
    "bart": Entry(
        "encoder-decoder", pairs, "BartModel", "BartConfig",
        {"vocab_size": WORDS, "d_model": WIDTH, "encoder_layers": LAYERS, "decoder_layers": LAYERS,
         "encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS, "encoder_ffn_dim": INNER,
         "decoder_ffn_dim": INNER, "max_position_embeddings": 64, "use_cache": False},
    ),
    "vit": _vision("ViT", **IMAGE),
    "deit": _vision("DeiT", **IMAGE),
    "swin": _vision(
        "Swin", image_size=32, patch_size=2, embed_dim=64, depths=[2, 1], num_heads=[2, 4], window_size=4
    ),
    "convnext": _vision("ConvNext", hidden_sizes=[64, 128], depths=[1, 1], num_stages=2, image_size=32),
    "resnet": _vision("ResNet", embedding_size=32, hidden_sizes=[64, 128], depths=[1, 1]),
    "clip_vision": Entry("vision", images, "CLIPVisionModel", "CLIPVisionConfig", IMAGE),
    "wav2vec2": _encoder("Wav2Vec2", sounds, "audio", **SOUND),
    "hubert": _encoder("Hubert", sounds, "audio", **SOUND),
    "whisper": Entry(
        "audio", spectra, "WhisperModel", "WhisperConfig",
        {"vocab_size": WORDS, "d_model": WIDTH, "encoder_layers": LAYERS, "decoder_layers": 1, "num_mel_bins": 16,
         "encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS, "encoder_ffn_dim": INNER,
         "decoder_ffn_dim": INNER, "max_source_positions": 16, "max_target_positions": 16, "pad_token_id": 0,
         "decoder_start_token_id": 1},
        wrap=lambda model: model.encoder,
    ),
    "mixtral": _decoder("Mixtral", num_local_experts=4, num_experts_per_tok=2, **LISTED),
    "qwen2_moe": _decoder(
        "Qwen2Moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=INNER,
        shared_expert_intermediate_size=INNER, decoder_sparse_step=1, **LISTED,
    ),
    "mamba": Entry(
        "state space", bare_words, "MambaModel", "MambaConfig",
        {"vocab_size": WORDS, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "state_size": 8, "use_cache": False},
    ),
    "cnn resnet": Entry("vision, by hand", plain(3, 16, 16), made=resnet),
    "cnn mobilenet": Entry("vision, by hand", plain(3, 16, 16), made=mobilenet),
    "cnn unet": Entry("vision, by hand", plain(3, 16, 16), made=UNet),
    "cnn 1-d": Entry("signal, by hand", plain(8, 64), made=conv1d),
    "lstm": Entry("sequence, by hand", plain(6, 64), made=Recurrent),
    "torch encoder": Entry("encoder, by hand", lambda batch: {"src": torch.randn(batch, TOKENS, WIDTH)},
                           made=torch_encoder),
}  # fmt: skip

INNERS = (
    "*.intermediate.dense", "*.lin1", "*.ffn", "*.fc1", "*.gate_proj", "*.up_proj", "*.dense_h_to_4h", "*.wi",
    "*.intermediate_dense", "*.pwconv1", "*.linear1", "*.w1", "*.w3",
)  # fmt: skip
"""Layers whose rows are the inner channels of a network's feed-forward parts."""
HEADED = ("*.query", "*.key", "*.value", "*.q_proj", "*.k_proj", "*.v_proj", "*.q_lin", "*.k_lin", "*.v_lin",
          "*.query_proj", "*.key_proj", "*.value_proj", "*.SelfAttention.[qkv]", "*.attn.[qkv]")  # fmt: skip
"""Layers whose rows are heads, one after the other."""


def scatter_zeros_(model: nn.Module, share: float = 0.9) -> None:
    """Zero a random share of every weight but embeddings, norms and biases."""
    g = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            continue
        for weight in module.parameters(recurse=False):
            if weight.dim() > 1 and weight.numel() >= 256:
                with torch.no_grad():
                    weight.mul_(torch.rand(weight.shape, generator=g) >= share)


def zero_channels_(model: nn.Module, share: float = 0.4, head: int = WIDTH // HEADS) -> None:
    """Zero the first rows of feed-forward parts, whole heads, experts' inner channels, and channels of convolutions
    with their BatchNorm."""
    with torch.no_grad():
        for name, module in model.named_modules():
            _zero(f".{name}", module, share, head)


def _zero(name: str, module: nn.Module, share: float, head: int) -> None:
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if isinstance(module, nn.Linear) and any(fnmatch.fnmatch(name, p) for p in (*INNERS, *HEADED)):
        rows = len(module.weight)
        heads = rows // head
        headed = any(fnmatch.fnmatch(name, p) for p in HEADED)
        dead = round(heads * share) * (rows // max(1, heads)) if headed else round(rows * share)
    elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.BatchNorm2d) and isinstance(weight, Tensor):
        dead = round(len(weight) * share)
    elif type(module).__name__ == "Conv1D" and name.endswith(".c_fc") and isinstance(weight, Tensor):
        dead, weight = round(weight.shape[1] * share), weight.t()
    elif isinstance(stacked := getattr(module, "gate_up_proj", None), Tensor):
        half = stacked.shape[1] // 2  # [experts, gate and up, inputs]
        stacked[:, : round(half * share)] = 0
        stacked[:, half : half + round(half * share)] = 0
        return
    else:
        return
    assert isinstance(weight, Tensor)
    weight[:dead] = 0
    if isinstance(bias, Tensor):
        bias[:dead] = 0
