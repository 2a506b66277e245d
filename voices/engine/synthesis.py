"""Singing with a trained voice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from voiceplatform.audio.waveform import AudioError, Waveform

from .acoustic import TEMPERATURE
from .choices import SHIPPED, Parts
from .content import ContentEncoder
from .corpus import reference_db
from .features import SILENCE_DB, Features
from .mel import MelSpec
from .vocoder import octaves
from .voice import VoiceModel

#: Frames rendered at once, and how many more each network sees either side.
CHUNK_FRAMES = 1024
CONTEXT_FRAMES = 48
#: A rest's edges, and the shortest quiet that is a rest and not a stop consonant, in s.
FADE_S = 0.012
SHORTEST_REST_S = 0.12
#: Pitches this many octaves past the takes sound as the edge of the takes does.
REACH_OCTAVES = 0.25
#: Peaks are kept under this.
CEILING = 0.95


class LocalVoice:
    """One person's voice, ready to sing any features."""

    def __init__(self, model: VoiceModel, parts: Parts = SHIPPED) -> None:
        self._model = model
        self._parts = parts

    @classmethod
    def load(cls, path: Path, parts: Parts = SHIPPED) -> LocalVoice:
        """Raises CheckpointError for anything but a checkpoint of this version.

        And for one that needs a content encoder or vocoder that is not among `parts`.
        """
        return cls(VoiceModel.load(Path(path), parts), parts)

    @property
    def encoder(self) -> ContentEncoder:
        """What must hear the features it is to sing."""
        return self._parts.encoder_of(self._model.needs)

    @property
    def range_hz(self) -> tuple[float, float]:
        """The pitches the takes covered: 2nd to 98th percentile, in Hz."""
        return self._model.coverage.range_hz

    @property
    def bandwidth_hz(self) -> float:
        """How high the takes reach; the voice is silent above it."""
        return self._model.coverage.bandwidth_hz

    @property
    def summary(self) -> dict[str, Any]:
        """What is known of it: minutes, range, steps, similarity if measured."""
        coverage = self._model.coverage
        return {
            **asdict(coverage),
            "range_hz": list(coverage.range_hz),
            "minutes": coverage.recorded_s / 60,
            "steps": dict(self._model.step),
            **self._model.summary,
        }

    def sing(
        self,
        features: Features,
        *,
        seed: int = 0,
        temperature: float = TEMPERATURE,
        breath_db: float = 0.0,
        on_progress: Callable[[float], None] | None = None,
    ) -> Waveform:
        """These features in this voice: mono 44.1 kHz, n_frames * hop samples.

        The pitch is features.f0_hz exactly, where voiced. Levels follow the features'
        loudness against its own mean. Rests come out as zeros. `temperature` scales
        the scatter of the drawn spectra (0: the smooth middle); the noise under voiced
        sound is `breath_db` above what the takes have. `on_progress` gets the share
        done and may raise. An operator's vocoder makes no use of `breath_db`. Raises
        AudioError if another encoder heard the content, or it is of another size.
        """
        acoustic = self._model.acoustic
        spec = self._model.config.mel
        if features.encoder != self._model.needs.encoder:
            raise AudioError(
                f"this content was heard by {features.encoder}; this voice was trained "
                f"on that of {self._model.needs.encoder}"
            )
        if features.content.shape[1] != acoustic.config.content_dim:
            raise AudioError(
                f"content of {features.content.shape[1]} numbers a frame; this voice "
                f"was trained on {acoustic.config.content_dim}"
            )
        n_frames = features.n_frames
        n_samples = n_frames * spec.hop_length
        sound = np.zeros(n_samples, dtype=np.float32)
        gate = _gate(features.loudness_db, spec)
        if not gate.any():
            return Waveform(sound, spec.sample_rate_hz)
        random = np.random.default_rng(seed)
        spread = random.standard_normal((acoustic.config.noise_dim, n_frames))
        spread = (temperature * spread).astype(np.float32)
        noise = random.standard_normal(n_samples).astype(np.float32)
        source = self._model.vocoder.source(features.f0_hz, features.voiced)
        hearing = self._hearing(features)
        for start in range(0, n_frames, CHUNK_FRAMES):
            end = min(start + CHUNK_FRAMES, n_frames)
            if gate[start * spec.hop_length : end * spec.hop_length].any():
                first = max(0, start - CONTEXT_FRAMES)
                last = min(n_frames, end + CONTEXT_FRAMES)
                part = self._render(
                    {name: value[first:last] for name, value in hearing.items()},
                    spread[:, first:last],
                    source[first * spec.hop_length : last * spec.hop_length],
                    noise[first * spec.hop_length : last * spec.hop_length],
                    self._model.breath_db + breath_db,
                )
                inner = slice(
                    (start - first) * spec.hop_length, (end - first) * spec.hop_length
                )
                sound[start * spec.hop_length : end * spec.hop_length] = part[inner]
            if on_progress is not None:
                on_progress(end / n_frames)
        sound *= gate
        peak = float(np.abs(sound).max(initial=0.0))
        if peak > CEILING:
            sound *= CEILING / peak
        return Waveform(sound, spec.sample_rate_hz)

    def _hearing(self, features: Features) -> dict[str, np.ndarray]:
        """What the networks are told of each frame."""
        pitch = octaves(features.f0_hz)
        low, high = octaves(np.array(self.range_hz))
        audible = features.voiced & (features.loudness_db > SILENCE_DB)
        own = reference_db(features.loudness_db[audible])
        return {
            "content": features.content,
            "octaves": pitch,
            # The spectrum beyond the takes is the spectrum at their edge.
            "octaves_within": pitch.clip(low - REACH_OCTAVES, high + REACH_OCTAVES),
            "voiced": features.voiced.astype(np.float32),
            "loudness": (features.loudness_db - own).astype(np.float32),
        }

    @torch.inference_mode()
    def _render(
        self,
        hearing: dict[str, np.ndarray],
        spread: np.ndarray,
        source: np.ndarray,
        noise: np.ndarray,
        breath_db: float,
    ) -> np.ndarray:
        model = self._model
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(value))[None]
            for name, value in hearing.items()
        }
        hidden = model.acoustic.understand(
            tensors["content"],
            tensors["octaves_within"],
            tensors["voiced"],
            tensors["loudness"],
            torch.zeros_like(tensors["loudness"]),
            model.speaker[None],
        )
        mel = model.acoustic.draw(
            hidden, torch.from_numpy(np.ascontiguousarray(spread))[None]
        )
        sound = model.vocoder(
            mel,
            tensors["octaves"],
            tensors["voiced"],
            torch.from_numpy(source)[None],
            torch.from_numpy(noise)[None, None],
            bandwidth_hz=self.bandwidth_hz,
            breath_db=breath_db,
        )
        rendered: np.ndarray = sound[0, 0].numpy()
        return rendered


def _gate(loudness_db: np.ndarray, spec: MelSpec) -> np.ndarray:
    """1 where there is sound, 0 in rests, with short fades, (frames * hop,) float32.

    Only what is at or under SILENCE_DB for SHORTEST_REST_S is a rest: breaths are far
    louder and stay.
    """
    audible = loudness_db > SILENCE_DB
    edges = np.flatnonzero(np.diff(audible.astype(np.int8), prepend=1, append=1))
    shortest = SHORTEST_REST_S / spec.frame_s
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        at_an_end = start == 0 or end == len(audible)
        if end - start < shortest and not at_an_end:
            audible[start:end] = True
    gate = np.repeat(audible.astype(np.float32), spec.hop_length)
    fade = np.hanning(2 * round(FADE_S * spec.sample_rate_hz) + 1)
    half = len(fade) // 2
    # The fade lies inside the sound, so that a rest is zeros to its very edges.
    for edge in np.flatnonzero(np.diff(audible.astype(np.int8))) + 1:
        at = edge * spec.hop_length
        if audible[edge]:
            stretch = gate[at : at + half]
            stretch *= fade[: len(stretch)]
        else:
            stretch = gate[max(0, at - half) : at]
            stretch *= fade[-len(stretch) :]
    return gate
