"""What the engine hears in a sound: content, pitch, voicing, loudness on one grid.

Frame i is centred on sample i * hop at 44.1 kHz (`MelSpec`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from voiceplatform.audio.f0 import f0_on_grid
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import AudioError, Waveform

from .content import (
    CONTENT_RATE_HZ,
    WHISPER,
    ContentEncoder,
    content_on_grid,
    default_encoder,
    encode_packed,
)
from .mel import MelSpec, loudness_db
from .parts import Part

MEL_SPEC = MelSpec()
#: Frames quieter than this are rests: the engine sings them as digital silence.
SILENCE_DB = -80.0
#: The loudness of digital silence.
LOUDNESS_FLOOR_DB = -100.0


@dataclass(frozen=True, eq=False)
class Features:
    """Everything about a sound but the voice that made it.

    content: (frames, content_dim) float32, the phonetic encoder's vectors.
    f0_hz: (frames,) float32, > 0 everywhere, interpolated through unvoiced frames.
    voiced: (frames,) bool.
    loudness_db: (frames,) float32, A-weighted, dB re full-scale RMS; at or under
        SILENCE_DB a frame is a rest.
    encoder: what heard the content; a voice sings only what its own encoder heard.

    Raises AudioError for shapes that disagree or values that are not numbers.
    """

    content: np.ndarray
    f0_hz: np.ndarray
    voiced: np.ndarray
    loudness_db: np.ndarray
    encoder: Part = WHISPER

    def __post_init__(self) -> None:
        if self.content.ndim != 2:
            raise AudioError(f"content must be (frames, dim), got {self.content.shape}")
        frames = (len(self.content),)
        for name in ("f0_hz", "voiced", "loudness_db"):
            if getattr(self, name).shape != frames:
                shape = getattr(self, name).shape
                raise AudioError(f"{name} must be {frames}, got {shape}")
        for name in ("content", "f0_hz", "loudness_db"):
            value = np.asarray(getattr(self, name), dtype=np.float32)
            if not np.isfinite(value).all():
                raise AudioError(f"{name} holds values that are not numbers")
            object.__setattr__(self, name, value)
        if (self.f0_hz <= 0).any():
            raise AudioError("f0_hz must be above zero everywhere")
        object.__setattr__(self, "voiced", np.asarray(self.voiced, dtype=bool))

    @property
    def n_frames(self) -> int:
        return len(self.f0_hz)

    @property
    def duration_s(self) -> float:
        return self.n_frames * MEL_SPEC.frame_s

    def at(self, positions: np.ndarray) -> Features:
        """These features read at fractional frame `positions`, (new_frames,).

        Warping time this way keeps the sound of what is stretched: values are
        interpolated, voicing taken from the nearest frame. Positions are clipped.
        """
        positions = np.clip(np.asarray(positions, dtype=float), 0, self.n_frames - 1)
        grid = np.arange(self.n_frames)
        low = np.floor(positions).astype(int)
        high = np.minimum(low + 1, self.n_frames - 1)
        weight = (positions - low).astype(np.float32)[:, np.newaxis]
        return Features(
            content=self.content[low] * (1 - weight) + self.content[high] * weight,
            f0_hz=np.exp2(np.interp(positions, grid, np.log2(self.f0_hz))),
            voiced=self.voiced[np.round(positions).astype(int)],
            loudness_db=np.interp(positions, grid, self.loudness_db),
            encoder=self.encoder,
        )


def extract(waveform: Waveform, *, encoder: ContentEncoder | None = None) -> Features:
    """Features of one sound of any rate; n_frames = samples at 44.1 kHz // hop.

    Raises AudioError if it is shorter than one frame.
    """
    return extract_many([waveform], encoder=encoder)[0]


def extract_many(
    waveforms: Sequence[Waveform], *, encoder: ContentEncoder | None = None
) -> list[Features]:
    """Features of several sounds at once: short ones share the encoder's windows."""
    encoder = encoder or default_encoder("cpu")
    at_full_rate = [mono_at_full_rate(waveform) for waveform in waveforms]
    for samples in at_full_rate:
        if MEL_SPEC.n_frames(len(samples)) == 0:
            raise AudioError("this sound is too short to hear anything in")
    at_content_rate = [
        soxr.resample(samples, MEL_SPEC.sample_rate_hz, CONTENT_RATE_HZ)
        for samples in at_full_rate
    ]
    encoded = encode_packed(encoder, at_content_rate)
    extracted = []
    for samples, speech, vectors in zip(
        at_full_rate, at_content_rate, encoded, strict=True
    ):
        n_frames = MEL_SPEC.n_frames(len(samples))
        f0_hz, voiced = f0_on_grid(
            Waveform(speech, CONTENT_RATE_HZ), n_frames, MEL_SPEC.frame_s
        )
        extracted.append(
            Features(
                content=content_on_grid(
                    vectors, encoder.frame_s, n_frames, MEL_SPEC.frame_s
                ),
                f0_hz=f0_hz,
                voiced=voiced,
                loudness_db=loudness_db(samples, MEL_SPEC),
                encoder=encoder.part,
            )
        )
    return extracted


def mono_at_full_rate(waveform: Waveform) -> np.ndarray:
    """One channel at 44.1 kHz, (n,) float32."""
    mono = Waveform(waveform.mono(), waveform.sample_rate_hz)
    return np.ascontiguousarray(resample(mono, MEL_SPEC.sample_rate_hz).samples[0])
