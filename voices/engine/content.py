"""What is being said, frame by frame, with as little of who says it as we can get.

The encoder of Whisper tiny.en (Radford et al. 2022): 384 numbers every 20 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from voiceplatform.audio.words import WHISPER_TINY_EN

from .parts import Part
from .whisper import WhisperNetwork, read_encoder


class ContentEncoder(Protocol):
    """Anything that turns 16 kHz speech into content vectors at a fixed rate."""

    dim: int
    frame_s: float
    part: Part

    def encode(self, samples: np.ndarray) -> np.ndarray:
        """(n,) float32 at 16 kHz -> (frames, dim) float32, frame j at j * frame_s."""


CONTENT_RATE_HZ = 16_000
#: The encoder that ships.
WHISPER = Part(
    kind="whisper-tiny.en",
    sha256=WHISPER_TINY_EN.sha256,
    shape={"dim": 384, "frame_s": 0.02},
    licence="MIT",
)


class WhisperEncoder:
    """Whisper tiny.en's encoder through CTranslate2, freed of its clock.

    A third of the variance of its vectors says only how far into the window a frame
    is: the same second of speech at two places in a window correlates at 0.45 to 0.75.
    A song is not where a take was, so every frame is encoded at four places (windows
    of 2 s every 0.5 s) and averaged; the correlation is then 0.98.
    """

    dim = 384
    frame_s = 0.02
    part = WHISPER

    window_s = 2.0
    every_s = 0.5
    batch = 16  # windows

    def __init__(self, device: str = "cpu") -> None:
        from faster_whisper.feature_extractor import FeatureExtractor

        path = WHISPER_TINY_EN.locate()
        self._run = _on_cpu(path) if device == "cpu" else _on_device(path, device)
        self._filters = torch.from_numpy(
            np.asarray(FeatureExtractor().mel_filters, dtype=np.float32)
        )

    def encode(self, samples: np.ndarray) -> np.ndarray:
        """(n,) float32 at 16 kHz -> (n // 320 + 1, 384): see ContentEncoder."""
        n_frames = len(samples) // round(CONTENT_RATE_HZ * self.frame_s) + 1
        width = round(self.window_s / self.frame_s)
        every = round(self.every_s / self.frame_s)
        lead = width - every
        n_windows = -(-(lead + n_frames) // every)
        n_mel_frames = 2 * ((n_windows - 1) * every + width)
        log_mel = self._log_mel(samples, 2 * lead, n_mel_frames)
        windows = log_mel.unfold(1, 2 * width, 2 * every).permute(1, 0, 2)
        # Whisper's own scaling, per window: 8 decades under the loudest, about -1..1.
        loudest = windows.amax(dim=(1, 2), keepdim=True)
        windows = (torch.maximum(windows, loudest - 8) + 4) / 4
        taper = np.sqrt(np.hanning(width + 2)[1:-1])[:, np.newaxis].astype(np.float32)
        total = np.zeros((n_mel_frames // 2, self.dim), dtype=np.float32)
        weight = np.zeros((n_mel_frames // 2, 1), dtype=np.float32)
        for first in range(0, n_windows, self.batch):
            batch = np.ascontiguousarray(windows[first : first + self.batch].numpy())
            encoded = self._run(batch)
            for index, vectors in enumerate(encoded, start=first):
                total[index * every : index * every + width] += vectors * taper
                weight[index * every : index * every + width] += taper
        kept = slice(lead, lead + n_frames)
        return total[kept] / weight[kept]

    def _log_mel(self, samples: np.ndarray, lead: int, n_frames: int) -> torch.Tensor:
        """Whisper's log10 mel, (80, n_frames), after `lead` frames of silence."""
        n_fft, hop = 400, 160
        padded = torch.nn.functional.pad(
            torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)),
            (lead * hop, max(0, (n_frames - lead) * hop - len(samples))),
        )
        transform = torch.stft(
            padded, n_fft, hop, window=torch.hann_window(n_fft), return_complex=True
        )[:, :n_frames]
        return (self._filters @ transform.abs() ** 2).clamp(min=1e-10).log10()


#: Scaled log mel (batch, 80, 2 frames) -> vectors (batch, frames, 384).
_Run = Callable[[np.ndarray], np.ndarray]


def _on_cpu(path: Path) -> _Run:
    import ctranslate2

    model = ctranslate2.models.Whisper(
        str(path.parent), device="cpu", compute_type="float32", intra_threads=2
    )
    storage = ctranslate2.StorageView
    return lambda batch: np.array(model.encode(storage.from_array(batch)))


def _on_device(path: Path, device: str) -> _Run:
    network = WhisperNetwork(read_encoder(path)).to(device)

    @torch.inference_mode()
    def run(batch: np.ndarray) -> np.ndarray:
        vectors: np.ndarray = network(torch.from_numpy(batch).to(device)).cpu().numpy()
        return vectors

    return run


@lru_cache(maxsize=2)
def default_encoder(device: str) -> WhisperEncoder:
    """The encoder that ships, loaded once a process and device."""
    return WhisperEncoder(device)


def encode_packed(
    encoder: ContentEncoder, takes: Sequence[np.ndarray], *, packed_s: float = 20.0
) -> list[np.ndarray]:
    """Encode many short takes together, a gap between them, (frames, dim) each.

    A take alone is mostly the silence its windows reach out into.
    """
    step = round(CONTENT_RATE_HZ * encoder.frame_s)
    gap = np.zeros(step * 20, dtype=np.float32)
    encoded: list[np.ndarray] = []
    group: list[np.ndarray] = []

    def flush() -> None:
        pieces: list[np.ndarray] = []
        starts: list[int] = []
        length = 0
        for take in group:
            starts.append(length // step)
            padding = np.zeros(-len(take) % step, dtype=np.float32)
            pieces += [take, padding, gap]
            length += len(take) + len(padding) + len(gap)
        together = encoder.encode(np.concatenate(pieces))
        encoded.extend(
            together[start : start + len(take) // step + 1]
            for start, take in zip(starts, group, strict=True)
        )
        group.clear()

    for take in takes:
        if group and sum(map(len, group)) + len(take) > packed_s * CONTENT_RATE_HZ:
            flush()
        group.append(take)
    if group:
        flush()
    return encoded


def content_on_grid(
    encoded: np.ndarray, content_frame_s: float, n_frames: int, frame_s: float
) -> np.ndarray:
    """Interpolate (content_frames, dim) to (n_frames, dim) at i * frame_s."""
    # A Whisper frame spans its 20 ms: its vector belongs to the middle of them.
    position = np.arange(n_frames) * (frame_s / content_frame_s) - 0.5
    position = np.clip(position, 0, len(encoded) - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, len(encoded) - 1)
    weight = (position - low).astype(np.float32)[:, np.newaxis]
    blended: np.ndarray = encoded[low] * (1 - weight) + encoded[high] * weight
    return blended.astype(np.float32)


def release() -> Any:
    """Forget the loaded encoder (a worker that is done with it frees 150 MB)."""
    default_encoder.cache_clear()
