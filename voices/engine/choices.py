"""Which content encoder and vocoder there are here, and which a voice needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from voiceplatform.audio.tensors import CheckpointError

from .content import WHISPER, ContentEncoder, default_encoder
from .encoders import SpeechEncoder
from .features import MEL_SPEC
from .mel import log_mel_envelope
from .nsf_hifigan import NsfHifigan
from .parts import Part

WEIGHTS_DIR = Path(__file__).parent / "weights"


class MissingPartError(CheckpointError):
    """A voice needs a content encoder or a vocoder that is not here."""


@dataclass(frozen=True)
class Needs:
    """The parts a voice was made with; no vocoder is the one it learned itself."""

    encoder: Part = WHISPER
    vocoder: Part | None = None

    def __str__(self) -> str:
        vocoder = self.vocoder or "the engine's own vocoder"
        return f"the content encoder {self.encoder} and {vocoder}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any] | None) -> Self:
        """None, as in checkpoints from before there was a choice, is what ships.

        Raises CheckpointError for anything but parts.
        """
        if data is None:
            return cls()
        try:
            encoder, vocoder = data["encoder"], data["vocoder"]
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                "the checkpoint's list of parts is damaged"
            ) from error
        return cls(
            Part.from_json(encoder),
            None if vocoder is None else Part.from_json(vocoder),
        )


@dataclass(frozen=True, eq=False)
class Parts:
    """What this machine has: the parts that ship, and one of each an operator chose.

    New voices are made with the chosen ones. `bases` is where base weights made with
    them are kept.
    """

    encoder: SpeechEncoder | None = None
    vocoder: NsfHifigan | None = None
    bases: Path = WEIGHTS_DIR

    @classmethod
    def load(
        cls, encoder: Path | None, vocoder: Path | None, *, bases: Path = WEIGHTS_DIR
    ) -> Self:
        """Open the folders given. Raises CheckpointError for one that does not fit."""
        return cls(
            encoder=SpeechEncoder.load(encoder) if encoder else None,
            vocoder=NsfHifigan.load(vocoder) if vocoder else None,
            bases=bases,
        )

    @cached_property
    def needs(self) -> Needs:
        """What a voice made here will need."""
        return Needs(
            self.encoder.part if self.encoder else WHISPER,
            self.vocoder.part if self.vocoder else None,
        )

    @property
    def base_path(self) -> Path:
        """Where base weights for these parts are."""
        if self.needs == Needs():
            return WEIGHTS_DIR / "base.safetensors"
        vocoder = self.needs.vocoder.digest[:12] if self.needs.vocoder else "own"
        name = f"base-{self.needs.encoder.digest[:12]}-{vocoder}.safetensors"
        return self.bases / name

    def must_have(self, needs: Needs) -> None:
        """Raises MissingPartError, saying what to do, if a needed part is not here.

        What ships always is.
        """
        if needs.encoder not in (WHISPER, self.needs.encoder):
            raise _missing(
                "content encoder", needs.encoder, self.needs.encoder, "CONTENT_ENCODER"
            )
        if needs.vocoder is not None and needs.vocoder != self.needs.vocoder:
            raise _missing("vocoder", needs.vocoder, self.needs.vocoder, "VOCODER")

    def encoder_of(self, needs: Needs, device: str = "cpu") -> ContentEncoder:
        """The encoder a voice needs; the one that ships may run on another device.

        Raises MissingPartError if it is not here.
        """
        self.must_have(needs)
        if self.encoder is not None and needs.encoder == self.encoder.part:
            return self.encoder
        return default_encoder(device)

    def vocoder_of(self, needs: Needs) -> NsfHifigan | None:
        """The vocoder it needs, None for its own. Raises MissingPartError likewise."""
        self.must_have(needs)
        return self.vocoder if needs.vocoder is not None else None

    def mel(self, samples: np.ndarray, f0_hz: np.ndarray) -> np.ndarray:
        """What the acoustic model learns to draw: the vocoder's mel, (frames, bands).

        samples (n,) at 44.1 kHz, f0_hz (frames,).
        """
        if self.vocoder is None:
            return log_mel_envelope(samples, f0_hz, MEL_SPEC)
        return self.vocoder.mel(samples)

    def mel_centres_hz(self) -> np.ndarray:
        """Centre frequency of every band of that mel, (bands,)."""
        return (self.vocoder or MEL_SPEC).mel_centres_hz()


def _missing(
    what: str, needed: Part, here: Part | None, setting: str
) -> MissingPartError:
    found = f"the chosen one is {here}" if here else "none is chosen here"
    if here and here.sha256 == needed.sha256:
        found = "the same weights are set up otherwise here"
    return MissingPartError(
        f"this voice was made with the {what} {needed}, and {found}. Train the voice "
        f"again, or have OWNVOICE_{setting} set back"
    )


#: What the engine is without anybody's choice.
SHIPPED = Parts()
