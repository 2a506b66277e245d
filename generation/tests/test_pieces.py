"""Songs in pieces, back in time, and on pitch."""

from __future__ import annotations

import numpy as np
import pytest

from generation.guide.pieces import (
    MARGIN_S,
    Piece,
    PieceTooLong,
    cut,
    in_time,
    joined,
    pieces,
)
from generation.guide.tuning import tuned
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, AudioError, Waveform
from voices.engine.features import LOUDNESS_FLOOR_DB, MEL_SPEC, f0_on_grid
from voices.engine.metrics import pitch_errors


def loudness(*spans_s: tuple[float, float], duration_s: float = 20.0) -> np.ndarray:
    times_s = np.arange(round(duration_s / MEL_SPEC.frame_s)) * MEL_SPEC.frame_s
    level_db = np.full(len(times_s), LOUDNESS_FLOOR_DB)
    for start_s, end_s in spans_s:
        level_db[(times_s >= start_s) & (times_s < end_s)] = -20.0
    return level_db


def test_a_long_rest_is_sent_to_nobody():
    found = pieces(loudness((2, 4), (4.5, 6), (12, 14)), 60.0)
    spans = [moment for piece in found for moment in (piece.start_s, piece.end_s)]
    assert spans == pytest.approx([1.75, 6.25, 11.75, 14.25], abs=0.02)


def test_pieces_are_as_long_as_may_be_and_no_longer():
    spans = [(start, start + 1.6) for start in range(0, 20, 2)]
    found = pieces(loudness(*spans), 7.0)
    assert len(found) == 4
    assert max(piece.duration_s for piece in found) <= 7.0
    # In rests, and all of the song.
    for before, after in zip(found, found[1:], strict=False):
        assert before.end_s <= after.start_s + 1e-6
        assert round(before.end_s % 2, 2) >= 1.6
    covered = sum(piece.duration_s for piece in found)
    assert covered >= 16.0


def test_a_stretch_without_a_rest_cannot_be_cut():
    with pytest.raises(PieceTooLong, match="longer than 5 seconds"):
        pieces(loudness((1, 8)), 5.0)
    assert len(pieces(loudness((1, 8)), 7.0 + 2 * MARGIN_S + 0.1)) == 1


def test_silence_has_no_pieces():
    with pytest.raises(AudioError):
        pieces(loudness(), 60.0)


@pytest.fixture(scope="module")
def speech(speech_dir) -> Waveform:
    return resample(read_audio(speech_dir / "en" / "agent-incorrect.wav"))


@pytest.mark.parametrize("late_s", [-0.06, -0.012, 0.0, 0.02, 0.08])
def test_what_comes_back_late_or_early_is_put_in_time(speech, late_s):
    shift = round(late_s * SAMPLE_RATE_HZ)
    mono = speech.mono()
    moved = np.pad(mono, (shift, 0)) if shift >= 0 else mono[-shift:]
    other_level = Waveform(0.3 * moved, SAMPLE_RATE_HZ)

    back = in_time(other_level, speech)

    assert back.n_samples == speech.n_samples
    edge = 6_000
    agreement = np.correlate(
        back.mono()[edge:-edge][:40_000], 0.3 * mono[edge - 400 :][:40_800], "valid"
    )
    off_s = (int(np.argmax(agreement)) - 400) / SAMPLE_RATE_HZ
    assert abs(off_s) <= 0.005


def test_pieces_joined_are_the_song_without_a_click(speech):
    mono = np.concatenate([np.zeros(22_050), speech.mono(), np.zeros(22_050)])
    song = Waveform(mono.astype(np.float32), SAMPLE_RATE_HZ)
    middle_s = song.duration_s / 2
    halves = [Piece(0.0, middle_s), Piece(middle_s, song.duration_s)]
    whole = joined([(half, cut(song, half)) for half in halves], song.duration_s)
    assert whole.n_samples == song.n_samples
    seam = round(middle_s * SAMPLE_RATE_HZ)
    away = np.abs(np.arange(song.n_samples) - seam) > 700
    away[:700] = away[-700:] = False
    assert np.allclose(whole.mono()[away], song.mono()[away], atol=1e-6)
    assert np.abs(np.diff(whole.mono())).max() <= np.abs(np.diff(song.mono())).max()


def test_speech_lands_on_the_pitch_asked_for_and_keeps_its_formants(speech):
    n_frames = MEL_SPEC.n_frames(speech.n_samples)
    own_hz, voiced = f0_on_grid(speech, n_frames, MEL_SPEC.frame_s)
    asked_hz = np.where(voiced, own_hz * 2 ** (3 / 12), 0.0).astype(np.float32)

    higher = tuned(speech, asked_hz)

    assert higher.n_samples == speech.n_samples
    errors = pitch_errors(higher, asked_hz)
    assert errors.median_cents < 10
    assert errors.over_50_cents < 0.1
    assert abs(moved_semitones(speech, higher)) <= 0.5
    # A tape played so much faster moves them along with the pitch.
    assert moved_semitones(speech, _faster(speech, 2 ** (3 / 12))) == pytest.approx(
        3.0, abs=0.5
    )


def test_where_nothing_is_asked_the_voice_keeps_its_pitch(speech):
    n_frames = MEL_SPEC.n_frames(speech.n_samples)
    own_hz, voiced = f0_on_grid(speech, n_frames, MEL_SPEC.frame_s)
    kept = tuned(speech, np.zeros(n_frames, np.float32))
    asked_hz = np.where(voiced, own_hz, 0.0)
    assert pitch_errors(kept, asked_hz).median_cents < 15


def _faster(sound: Waveform, factor: float) -> Waveform:
    at = np.arange(0, sound.n_samples - 1, factor)
    return Waveform(
        np.interp(at, np.arange(sound.n_samples), sound.mono()), sound.sample_rate_hz
    )


def moved_semitones(sound: Waveform, other: Waveform) -> float:
    """How much higher the other's formants lie: where the envelopes fit best."""
    grid = np.arange(-84, 85) / 4  # quarters of a semitone, about 1.5 kHz
    shifts = np.arange(-20, 21)
    one, two = _envelope_db(sound, grid), _envelope_db(other, grid)
    inner = one[20:-20] - one[20:-20].mean()
    fits = []
    for shift in shifts:
        there = two[20 + shift : len(two) - 20 + shift]
        fits.append(float(np.corrcoef(inner, there)[0, 1]))
    return float(shifts[int(np.argmax(fits))]) / 4


def _envelope_db(sound: Waveform, grid: np.ndarray) -> np.ndarray:
    """Mean log envelope of the voiced frames, at 1.5 kHz and so many semitones off."""
    import pyworld

    mono, rate_hz = sound.mono().astype(np.float64), sound.sample_rate_hz
    f0_hz, times_s = pyworld.dio(mono, rate_hz)
    envelope = pyworld.cheaptrick(mono, f0_hz, times_s, rate_hz)[f0_hz > 0]
    mean_db = 10 * np.log10(envelope).mean(axis=0)
    hz = np.linspace(0, rate_hz / 2, len(mean_db))
    return np.interp(1_500 * 2 ** (grid / 12), hz, mean_db)
