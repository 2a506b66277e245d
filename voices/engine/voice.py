"""A trained voice as one file: both networks, their shapes, what the takes covered."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from voiceplatform.audio.tensors import CheckpointError, load_tensors, write_tensors

from .acoustic import AcousticConfig, AcousticModel
from .features import MEL_SPEC
from .mel import MelSpec
from .vocoder import Vocoder, VocoderConfig

VOICE_FORMAT = "voice"
VOICE_VERSION = "1"


@dataclass(frozen=True)
class EngineConfig:
    """The shapes of both networks and the grid they work on."""

    mel: MelSpec = MEL_SPEC
    acoustic: AcousticConfig = field(default_factory=AcousticConfig)
    vocoder: VocoderConfig = field(default_factory=VocoderConfig)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EngineConfig:
        """Raises CheckpointError for anything but a configuration."""

        def of(kind: type, values: dict[str, Any]) -> Any:
            return kind(
                **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            )

        try:
            return cls(
                mel=of(MelSpec, data["mel"]),
                acoustic=of(AcousticConfig, data["acoustic"]),
                vocoder=of(VocoderConfig, data["vocoder"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                "the checkpoint's configuration is damaged"
            ) from error


@dataclass(frozen=True)
class Coverage:
    """What the takes behind a voice covered; the rest is a guess."""

    range_hz: tuple[float, float]
    bandwidth_hz: float
    recorded_s: float
    voiced_s: float


@dataclass(eq=False)
class VoiceModel:
    """Both networks, the person's vector (speaker_dim,), and what it was made from."""

    config: EngineConfig
    acoustic: AcousticModel
    vocoder: Vocoder
    speaker: torch.Tensor
    coverage: Coverage
    step: dict[str, int]
    summary: dict[str, Any]
    #: Gain on the noise under voiced sound, in dB: see breath.py.
    breath_db: float = 0.0

    @classmethod
    def untrained(cls, config: EngineConfig, coverage: Coverage) -> VoiceModel:
        """Fresh networks from torch's current random state."""
        return cls(
            config=config,
            acoustic=AcousticModel(config.acoustic),
            vocoder=Vocoder(config.vocoder, config.mel),
            speaker=torch.zeros(config.acoustic.speaker_dim),
            coverage=coverage,
            step={"acoustic": 0, "vocoder": 0},
            summary={},
        )

    def to(self, device: torch.device) -> VoiceModel:
        """The same one, on this device from now on."""
        self.acoustic.to(device)
        self.vocoder.to(device)
        self.speaker = self.speaker.to(device)
        return self

    def tensors(self) -> dict[str, np.ndarray]:
        named = {
            **{f"acoustic.{k}": v for k, v in self.acoustic.state_dict().items()},
            **{f"vocoder.{k}": v for k, v in self.vocoder.state_dict().items()},
            "speaker": self.speaker,
        }
        return {name: tensor.detach().cpu().numpy() for name, tensor in named.items()}

    def take_tensors(self, tensors: dict[str, np.ndarray]) -> None:
        """Load every tensor. Raises CheckpointError for a missing name or a shape."""
        expected = self.tensors()
        if set(expected) != set(tensors):
            odd = sorted(set(expected) ^ set(tensors))[0]
            raise CheckpointError(f"the checkpoint and the model disagree on {odd}")
        for name, value in expected.items():
            if value.shape != tensors[name].shape:
                raise CheckpointError(
                    f"{name} is {tensors[name].shape}, expected {value.shape}"
                )
            if not np.isfinite(tensors[name]).all():
                raise CheckpointError(f"{name} holds values that are not numbers")
        loaded = {k: torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items()}
        for prefix, module in (
            ("acoustic.", self.acoustic),
            ("vocoder.", self.vocoder),
        ):
            module.load_state_dict(
                {
                    name.removeprefix(prefix): tensor
                    for name, tensor in loaded.items()
                    if name.startswith(prefix)
                }
            )
        self.speaker = loaded["speaker"]

    def save(self, path: Path, *, half: bool = False) -> None:
        """Write the checkpoint, whole or not at all; `half` stores 16-bit floats."""
        tensors = self.tensors()
        if half:
            tensors = {k: v.astype(np.float16) for k, v in tensors.items()}
        write_tensors(
            path,
            VOICE_FORMAT,
            VOICE_VERSION,
            tensors,
            {
                "config": self.config.to_json(),
                "coverage": asdict(self.coverage),
                "step": self.step,
                "summary": self.summary,
                "breath_db": self.breath_db,
            },
        )

    @classmethod
    def load(cls, path: Path) -> VoiceModel:
        """Raises CheckpointError for another format, version or shape, or damage."""
        stored = load_tensors(Path(path), VOICE_FORMAT, VOICE_VERSION)
        details = stored.details
        config = EngineConfig.from_json(details.get("config", {}))
        if config.mel != MEL_SPEC:
            raise CheckpointError("the checkpoint was trained on another frame grid")
        try:
            coverage = Coverage(**details["coverage"])
            coverage = Coverage(
                **{**asdict(coverage), "range_hz": tuple(coverage.range_hz)}
            )
            model = cls.untrained(config, coverage)
            model.step = dict(details["step"])
            model.summary = dict(details["summary"])
            # Voices from before it was measured sing with the noise they learned.
            model.breath_db = float(details.get("breath_db", 0.0))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{Path(path).name} is damaged: {error}") from error
        model.take_tensors(stored.tensors)
        model.acoustic.eval()
        model.vocoder.eval()
        return model
