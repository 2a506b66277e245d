"""Content encoders and vocoders as others publish them, tiny and untrained.

The tensors are made here by their published names and shapes, not by the modules that
load them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: As in the config.json of HuBERT base, ContentVec and WavLM base, but small.
ENCODER_CONFIG: dict[str, Any] = {
    "model_type": "hubert",
    "conv_bias": False,
    "conv_dim": [8, 8, 8, 8, 8, 8, 8],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "do_stable_layer_norm": False,
    "feat_extract_activation": "gelu",
    "feat_extract_norm": "group",
    "hidden_act": "gelu",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_conv_pos_embedding_groups": 4,
    "num_conv_pos_embeddings": 8,
    "num_hidden_layers": 3,
    "vocab_size": 32,
}
WAVLM_CONFIG = ENCODER_CONFIG | {
    "model_type": "wavlm",
    "num_buckets": 8,
    "max_bucket_distance": 20,
}
#: As in the config.json of openvpi's NSF-HiFiGAN (44.1 kHz, hop 512), but narrow.
VOCODER_CONFIG: dict[str, Any] = {
    "discriminator_periods": [3, 5, 7],
    "fmax": 16000,
    "fmin": 40,
    "hop_size": 512,
    "n_fft": 2048,
    "num_mels": 128,
    "resblock": "1",
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5]],
    "resblock_kernel_sizes": [3, 7],
    "sampling_rate": 44100,
    "upsample_initial_channel": 32,
    "upsample_kernel_sizes": [16, 16, 4, 4, 4],
    "upsample_rates": [8, 8, 2, 2, 2],
    "win_size": 2048,
}
#: openvpi's pitch-controllable one.
MINI_VOCODER_CONFIG = VOCODER_CONFIG | {
    "mini_nsf": True,
    "noise_sigma": 0.0,
    "pc_aug": True,
}


def write_part(
    folder: Path,
    config: dict[str, Any],
    tensors: dict[str, torch.Tensor],
    *,
    licence: str | None = "MIT License\n",
) -> Path:
    """A part's folder as an operator lays it down."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    if licence is not None:
        (folder / "LICENSE").write_text(licence)
    return folder


def encoder_tensors(
    config: dict[str, Any] = ENCODER_CONFIG, *, seed: int = 0
) -> dict[str, torch.Tensor]:
    """By transformers' names, the position's convolution weight-normalised."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    kernels, channels = config["conv_kernel"], config["conv_dim"]
    layered = config["feat_extract_norm"] == "layer"
    groups, reach = (
        config["num_conv_pos_embedding_groups"],
        config["num_conv_pos_embeddings"],
    )
    shapes: dict[str, tuple[int, ...]] = {"masked_spec_embed": (width,)}
    for i, (before, after) in enumerate(zip([1, *channels], channels, strict=False)):
        conv = f"feature_extractor.conv_layers.{i}"
        shapes[f"{conv}.conv.weight"] = (after, before, kernels[i])
        if config["conv_bias"]:
            shapes[f"{conv}.conv.bias"] = (after,)
        if layered or i == 0:
            shapes |= _norm(f"{conv}.layer_norm", after)
    shapes |= _norm("feature_projection.layer_norm", channels[-1])
    shapes |= _linear("feature_projection.projection", channels[-1], width)
    shapes["encoder.pos_conv_embed.conv.bias"] = (width,)
    shapes["encoder.pos_conv_embed.conv.weight_g"] = (1, 1, reach)
    shapes["encoder.pos_conv_embed.conv.weight_v"] = (width, width // groups, reach)
    shapes |= _norm("encoder.layer_norm", width)
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layers.{i}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _linear(f"{layer}.attention.{name}", width, width)
        shapes |= _norm(f"{layer}.layer_norm", width)
        shapes |= _linear(f"{layer}.feed_forward.intermediate_dense", width, inner)
        shapes |= _linear(f"{layer}.feed_forward.output_dense", inner, width)
        shapes |= _norm(f"{layer}.final_layer_norm", width)
        if config["model_type"] == "wavlm":
            heads = config["num_attention_heads"]
            shapes[f"{layer}.attention.gru_rel_pos_const"] = (1, heads, 1, 1)
            shapes |= _linear(
                f"{layer}.attention.gru_rel_pos_linear", width // heads, 8
            )
            if i == 0:
                shapes[f"{layer}.attention.rel_attn_embed.weight"] = (
                    config["num_buckets"],
                    heads,
                )
    return _drawn(shapes, seed)


def vocoder_tensors(
    config: dict[str, Any] = VOCODER_CONFIG, *, seed: int = 0
) -> dict[str, torch.Tensor]:
    """By openvpi's names, every convolution but the source's weight-normalised."""
    widths = [config["upsample_initial_channel"] // 2**i for i in range(6)]
    kernels, rates = config["upsample_kernel_sizes"], config["upsample_rates"]
    shapes = _normalised("conv_pre", (widths[0], config["num_mels"], 7), widths[0])
    index = 0
    for stage, (before, width) in enumerate(zip(widths, widths[1:], strict=False)):
        shapes |= _normalised(f"ups.{stage}", (before, width, kernels[stage]), width)
        for kernel, dilations in zip(
            config["resblock_kernel_sizes"],
            config["resblock_dilation_sizes"],
            strict=True,
        ):
            twofold = config["resblock"] == "1"
            for convs in ("convs1", "convs2") if twofold else ("convs",):
                for i in range(len(dilations)):
                    shapes |= _normalised(
                        f"resblocks.{index}.{convs}.{i}", (width, width, kernel), width
                    )
            index += 1
        if not config.get("mini_nsf"):
            left = 1
            for rate in rates[stage + 1 :]:
                left *= rate
            shapes[f"noise_convs.{stage}.weight"] = (
                width,
                1,
                2 * left if left > 1 else 1,
            )
            shapes[f"noise_convs.{stage}.bias"] = (width,)
        elif stage == 1:
            shapes |= {
                "source_conv.weight": (width, 1, 1),
                "source_conv.bias": (width,),
            }
    if not config.get("mini_nsf"):
        shapes |= _linear("m_source.l_linear", 9, 1)
    return _drawn(shapes | _normalised("conv_post", (1, widths[5], 7), 1), seed)


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear(name: str, before: int, after: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}


def _normalised(
    name: str, shape: tuple[int, ...], bias: int
) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.weight_g": (shape[0], 1, 1),
        f"{name}.weight_v": shape,
        f"{name}.bias": (bias,),
    }


def _drawn(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: 0.3 * torch.randn(shape, generator=generator)
        for name, shape in shapes.items()
    }
    for name, tensor in tensors.items():
        if name.endswith(("weight_g", "layer_norm.weight")):
            tensor.copy_(1 + tensor.abs())
    return tensors
