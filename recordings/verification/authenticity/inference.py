"""Is this take a live microphone, a replay or a synthesis, and how sure is that?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recordings.verification.measuring import Layer, Measurement, Value
from voiceplatform.audio.resampling import at_speech_rate
from voiceplatform.audio.tensors import CheckpointError, load_tensors, write_tensors
from voiceplatform.audio.waveform import AudioError, Waveform

from .calibration import probabilities
from .features import SpectrumSpec
from .network import LABELS, AuthenticityNetwork, NetworkConfig

KIND = "authenticity"
FORMAT_VERSION = "2"
WEIGHTS_FILE = "authenticity.safetensors"
WEIGHTS_PATH = Path(__file__).parent / "weights" / WEIGHTS_FILE

#: A shorter take is heard over and over until it is this long.
SHORTEST_S = 1.0
#: A longer one is heard in equal windows of at most this, whose verdicts are averaged.
WINDOW_S = 10.0


@dataclass(frozen=True)
class Authenticity:
    """What one take was heard as.

    `label` is the likeliest of LABELS, `confidence` its probability; `scores` holds
    the calibrated probability of each; `model` names the weights.
    """

    label: str
    confidence: float
    scores: dict[str, float]
    model: str

    def measurements(self) -> list[Measurement]:
        """The same for the record of the take."""
        values: list[tuple[str, Value, str]] = [
            ("label", self.label, ""),
            ("confidence", self.confidence, "probability"),
        ]
        for label in LABELS:
            values.append((f"{label}_probability", self.scores[label], "probability"))
        return [
            Measurement(Layer.AUTHENTICITY, name, value, unit, self.model)
            for name, value, unit in values
        ]


def load() -> Classifier:
    """The classifier that ships, loaded once a process.

    Raises CheckpointError if its file is missing, damaged, or of another version.
    """
    return load_from(WEIGHTS_PATH)


def load_from(path: Path) -> Classifier:
    """The same from any file, read again only when it has changed."""
    try:
        modified_ns = path.stat().st_mtime_ns
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}") from error
    return _loaded(path, modified_ns)


@lru_cache(maxsize=2)
def _loaded(path: Path, modified_ns: int) -> Classifier:
    return Classifier.read(path)


def classify(take: Waveform) -> Authenticity:
    """Hear a take of any rate and length with the classifier that ships.

    Raises AudioError for a take without any signal, CheckpointError if the weights
    cannot be used.
    """
    return load().classify(take)


class Classifier:
    """A trained network, the temperature of its probabilities, and its name."""

    def __init__(
        self, network: AuthenticityNetwork, temperature: float, model: str = ""
    ) -> None:
        self.network = network.eval()
        self.temperature = temperature
        self.model = model

    def classify(self, take: Waveform) -> Authenticity:
        """Raises AudioError for a take without any signal."""
        samples = at_speech_rate(take)
        if samples.size == 0 or samples.min() == samples.max():
            raise AudioError("there is no sound in this take")
        scores = probabilities(self.logits(samples), self.temperature)
        best = int(scores.argmax())
        return Authenticity(
            label=LABELS[best],
            confidence=float(scores[best]),
            scores=dict(zip(LABELS, scores.tolist(), strict=True)),
            model=self.model,
        )

    def logits(self, samples: np.ndarray) -> np.ndarray:
        """(n_samples,) at SPEECH_RATE_HZ to uncalibrated log-probabilities (3,)."""
        spec = self.network.config.spectrum
        samples = np.ascontiguousarray(samples, np.float32)
        samples = fitted(samples, round(SHORTEST_S * spec.sample_rate_hz))
        count = -(-len(samples) // round(WINDOW_S * spec.sample_rate_hz))
        size = len(samples) // count
        windows = torch.from_numpy(samples[: count * size].reshape(count, size))
        with torch.inference_mode():
            heard = torch.log_softmax(self.network(windows), dim=1).mean(dim=0)
        logits: np.ndarray = heard.numpy()
        return logits

    def save(self, path: Path, details: Mapping[str, Any]) -> None:
        """Raises OSError when the disk is full; an older file is then still there."""
        tensors = self.network.tensors()
        told = {
            **details,
            "labels": list(LABELS),
            "network": asdict(self.network.config),
            "temperature": self.temperature,
        }
        write_tensors(path, KIND, FORMAT_VERSION, tensors, told)

    @classmethod
    def read(cls, path: Path) -> Classifier:
        """Raises CheckpointError for a file of another kind, version or shape."""
        stored = load_tensors(path, KIND, FORMAT_VERSION)
        try:
            settings = dict(stored.details["network"])
            config = NetworkConfig(
                **settings
                | {
                    "spectrum": SpectrumSpec(**settings["spectrum"]),
                    "channels": tuple(settings["channels"]),
                    "blocks": tuple(settings["blocks"]),
                }
            )
            temperature = float(stored.details["temperature"])
            labels = tuple(stored.details["labels"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path.name} does not say what it is") from error
        if labels != LABELS:
            raise CheckpointError(f"{path.name} knows other labels: {labels}")
        network = AuthenticityNetwork(config)
        try:
            network.take_tensors(stored.tensors)
        except ValueError as error:
            raise CheckpointError(
                f"{path.name} is of another shape: {error}"
            ) from error
        # Not of the file: safetensors writes its header in no order.
        digest = hashlib.sha256(repr((config, temperature)).encode())
        for name, tensor in sorted(stored.tensors.items()):
            digest.update(name.encode() + np.ascontiguousarray(tensor).tobytes())
        name = f"{KIND}-{FORMAT_VERSION}-{digest.hexdigest()[:12]}"
        return cls(network, temperature, name)


def fitted(samples: np.ndarray, least: int) -> np.ndarray:
    """The sound, said over and over where it is shorter than `least` samples."""
    if len(samples) >= least:
        return samples
    repeated: np.ndarray = np.tile(samples, -(-least // max(1, len(samples))))[:least]
    return repeated
