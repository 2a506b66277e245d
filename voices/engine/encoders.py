"""Content encoders an operator may bring: HuBERT, ContentVec, WavLM, wav2vec 2.0.

The networks are torchaudio's; the weights go by torchaudio's names or by those of
transformers, in which most are published.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import torch
import torchaudio
from torch import nn
from torch.nn.utils.parametrize import remove_parametrizations

from .loading import fill, read_weights
from .parts import PartFolder, SpeechEncoderConfig, read_config

#: Encoded at once, and how much more is heard either side: attention grows with the
#: square of the length.
WINDOW_FRAMES = 1000
CONTEXT_FRAMES = 100

#: Heads and masks of training that nothing is asked of.
_UNUSED = ("aux.", "final_proj.", "label_embs_concat", "lm_head.", "masked_spec_embed")
_FAMILIES = ("hubert.", "wavlm.", "wav2vec2.")


class SpeechEncoder:
    """A self-supervised encoder's layer as content, a vector every 20 ms."""

    def __init__(self, folder: PartFolder) -> None:
        """Raises CheckpointError for weights that are not of the shapes it says."""
        self.config = read_config(SpeechEncoderConfig, folder.config)
        self.dim = self.config.dim
        self.frame_s = self.config.frame_s
        self._network = _network(self.config)
        named = _torchaudio_names(read_weights(folder), self.config)
        fill(self._network, named, folder)
        self.part = folder.part(self.config.model_type, self.config)

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(PartFolder.open(path))

    @torch.inference_mode()
    def encode(self, samples: np.ndarray) -> np.ndarray:
        """(n,) float32 at 16 kHz -> (n // 320 + 1, dim): see ContentEncoder."""
        config = self.config
        n_frames = len(samples) // config.stride + 1
        # So that frame j is made of what lies around the middle of its 20 ms.
        lead = (config.reach - config.stride) // 2
        length = (n_frames - 1) * config.stride + config.reach
        sound = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        sound = nn.functional.pad(sound, (lead, length - lead - len(samples)))
        encoded = np.empty((n_frames, self.dim), dtype=np.float32)
        for start in range(0, n_frames, WINDOW_FRAMES):
            end = min(start + WINDOW_FRAMES, n_frames)
            first = max(0, start - CONTEXT_FRAMES)
            last = min(n_frames, end + CONTEXT_FRAMES)
            until = (last - 1) * config.stride + config.reach
            heard = self._listen(sound[first * config.stride : until])
            encoded[start:end] = heard[start - first : end - first]
        return encoded

    def _listen(self, sound: torch.Tensor) -> np.ndarray:
        """(samples,) -> (frames, dim)."""
        if self.config.feat_extract_norm == "layer":
            # The large models, normalised by layer, were trained on unit variance.
            sound = nn.functional.layer_norm(sound, sound.shape)
        layers, _ = self._network.extract_features(
            sound[None], num_layers=self.config.listened
        )
        heard: np.ndarray = layers[-1][0].numpy()
        return heard


def _network(config: SpeechEncoderConfig) -> torchaudio.models.Wav2Vec2Model:
    shape = {
        "extractor_mode": f"{config.feat_extract_norm}_norm",
        "extractor_conv_layer_config": list(
            zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
        ),
        "extractor_conv_bias": config.conv_bias,
        "encoder_embed_dim": config.hidden_size,
        "encoder_projection_dropout": 0.0,
        "encoder_pos_conv_kernel": config.num_conv_pos_embeddings,
        "encoder_pos_conv_groups": config.num_conv_pos_embedding_groups,
        "encoder_num_layers": config.num_hidden_layers,
        "encoder_num_heads": config.num_attention_heads,
        "encoder_attention_dropout": 0.0,
        "encoder_ff_interm_features": config.intermediate_size,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.0,
        "encoder_layer_norm_first": config.do_stable_layer_norm,
        "encoder_layer_drop": 0.0,
        "aux_num_out": None,
    }
    if config.model_type == "wavlm":
        shape["encoder_num_buckets"] = config.num_buckets
        shape["encoder_max_distance"] = config.max_bucket_distance
        network = torchaudio.models.wavlm_model(**shape)
    else:
        network = torchaudio.models.wav2vec2_model(**shape)
    position = network.encoder.transformer.pos_conv_embed.conv
    remove_parametrizations(position, "weight")
    return network


def _torchaudio_names(
    tensors: dict[str, np.ndarray], config: SpeechEncoderConfig
) -> dict[str, np.ndarray]:
    named = {}
    for name, tensor in tensors.items():
        for family in _FAMILIES:
            name = name.removeprefix(family)
        if name.startswith(_UNUSED):
            continue
        if name.startswith("feature_projection."):
            name = f"encoder.{name}"
        elif name.startswith("encoder.") and not name.startswith(
            ("encoder.feature_projection.", "encoder.transformer.")
        ):
            name = f"encoder.transformer.{name.removeprefix('encoder.')}"
        named[name] = tensor
    if config.model_type == "wavlm":
        for layer in range(config.num_hidden_layers):
            _join_projections(named, f"encoder.transformer.layers.{layer}.attention")
    return named


def _join_projections(named: dict[str, np.ndarray], attention: str) -> None:
    """WavLM's query, key and value as one, as PyTorch's attention has them."""
    for end in ("weight", "bias"):
        parts = [f"{attention}.{letter}_proj.{end}" for letter in "qkv"]
        if all(part in named for part in parts):
            joined = np.concatenate([named.pop(part) for part in parts])
            named[f"{attention}.attention.in_proj_{end}"] = joined
        if f"{attention}.out_proj.{end}" in named:
            out = named.pop(f"{attention}.out_proj.{end}")
            named[f"{attention}.attention.out_proj.{end}"] = out
