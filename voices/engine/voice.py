"""A trained voice as one file: both networks, their shapes, what the takes covered."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from voiceplatform.audio.tensors import (
    CheckpointError,
    check_tensors,
    load_tensors,
    write_tensors,
)

from .acoustic import AcousticConfig, AcousticModel
from .choices import SHIPPED, Needs, Parts
from .features import MEL_SPEC
from .mel import MelSpec
from .nsf_hifigan import NsfHifigan
from .vocoder import Vocoder, VocoderConfig

VOICE_FORMAT = "voice"
VOICE_VERSION = "1"


@dataclass(frozen=True)
class EngineConfig:
    """The shapes of both networks and the grid they work on.

    No `vocoder` is an operator's, which has a configuration of its own.
    """

    mel: MelSpec = MEL_SPEC
    acoustic: AcousticConfig = field(default_factory=AcousticConfig)
    vocoder: VocoderConfig | None = field(default_factory=VocoderConfig)

    def fitted_to(self, parts: Parts) -> EngineConfig:
        """The same, of the widths that an operator's parts have."""
        config = self
        if parts.encoder is not None:
            acoustic = replace(config.acoustic, content_dim=parts.encoder.dim)
            config = replace(config, acoustic=acoustic)
        if parts.vocoder is not None:
            n_mels = parts.vocoder.config.num_mels
            acoustic = replace(config.acoustic, n_mels=n_mels)
            config = replace(config, acoustic=acoustic, vocoder=None)
        return config

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
                vocoder=(
                    None
                    if data["vocoder"] is None
                    else of(VocoderConfig, data["vocoder"])
                ),
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
    """Both networks, the person's vector (speaker_dim,), and what it was made from.

    An operator's vocoder is named in the checkpoint (`needs`), never kept in it.
    """

    config: EngineConfig
    acoustic: AcousticModel
    vocoder: Vocoder | NsfHifigan
    speaker: torch.Tensor
    coverage: Coverage
    step: dict[str, int]
    summary: dict[str, Any]
    #: Gain on the noise under voiced sound, in dB: see breath.py.
    breath_db: float = 0.0
    needs: Needs = field(default_factory=Needs)

    @classmethod
    def untrained(
        cls,
        config: EngineConfig,
        coverage: Coverage,
        needs: Needs = SHIPPED.needs,
        parts: Parts = SHIPPED,
    ) -> VoiceModel:
        """Fresh networks from torch's current random state.

        Raises CheckpointError if what it needs is not among `parts`, or does not go
        with the configuration.
        """
        parts.must_have(needs)
        return cls(
            config=config,
            acoustic=AcousticModel(config.acoustic),
            vocoder=_vocoder(config, parts.vocoder_of(needs)),
            needs=needs,
            speaker=torch.zeros(config.acoustic.speaker_dim),
            coverage=coverage,
            step={"acoustic": 0, "vocoder": 0},
            summary={},
        )

    def to(self, device: torch.device) -> VoiceModel:
        """The same one, on this device from now on."""
        self.acoustic.to(device)
        if self.needs.vocoder is not None:
            # All voices that need it share it: a copy goes.
            self.vocoder = copy.deepcopy(self.vocoder)
        self.vocoder.to(device)
        self.speaker = self.speaker.to(device)
        return self

    def tensors(self) -> dict[str, np.ndarray]:
        named = {
            **{f"acoustic.{k}": v for k, v in self.acoustic.state_dict().items()},
            "speaker": self.speaker,
        }
        if self.needs.vocoder is None:
            own = self.vocoder.state_dict()
            named |= {f"vocoder.{name}": tensor for name, tensor in own.items()}
        return {name: tensor.detach().cpu().numpy() for name, tensor in named.items()}

    def take_tensors(self, tensors: dict[str, np.ndarray]) -> None:
        """Load every tensor. Raises CheckpointError for a missing name or a shape."""
        expected = {name: value.shape for name, value in self.tensors().items()}
        check_tensors(tensors, expected, "the checkpoint")
        loaded = {k: torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items()}
        modules: dict[str, nn.Module] = {"acoustic.": self.acoustic}
        if self.needs.vocoder is None:
            modules["vocoder."] = self.vocoder
        for prefix, module in modules.items():
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
                "needs": self.needs.to_json(),
            },
        )

    @classmethod
    def load(cls, path: Path, parts: Parts = SHIPPED) -> VoiceModel:
        """Raises CheckpointError for another format, version or shape, or damage.

        And for a voice that needs a content encoder or vocoder that is not among
        `parts`.
        """
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
            needs = Needs.from_json(details.get("needs"))
            model = cls.untrained(config, coverage, needs, parts)
            model.step = dict(details["step"])
            model.summary = dict(details["summary"])
            # Voices from before it was measured sing with the noise they learned.
            model.breath_db = float(details.get("breath_db", 0.0))
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{Path(path).name} is damaged: {error}") from error
        model.take_tensors(stored.tensors)
        model.acoustic.eval()
        model.vocoder.eval()
        return model


def _vocoder(config: EngineConfig, chosen: NsfHifigan | None) -> Vocoder | NsfHifigan:
    """The voice's own to be trained, or an operator's."""
    if chosen is None and config.vocoder is not None:
        return Vocoder(config.vocoder, config.mel)
    n_mels = config.acoustic.n_mels
    if chosen is None or config.vocoder is not None or chosen.config.num_mels != n_mels:
        raise CheckpointError("the checkpoint's configuration is not its vocoder's")
    return chosen
