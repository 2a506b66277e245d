from __future__ import annotations

import numpy as np
import pytest

from fxchains.effects.catalogue import validate_steps
from fxchains.effects.rendering import render_chain
from fxchains.models import FxChain
from fxchains.presets import PRESETS
from fxchains.seeding import seed_presets
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.loudness import integrated_loudness_lufs, true_peak_dbtp
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, Waveform
from voiceplatform.testing.factories import make_chain


def test_the_presets_are_the_three_by_name():
    assert [preset.name for preset in PRESETS] == ["Radio vocal", "Trap lead", "Choir"]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.slug)
def test_a_preset_obeys_the_catalogue_and_flatters_a_real_voice(preset, speech_dir):
    steps = validate_steps([step.as_dict() for step in preset.steps])
    assert steps == list(preset.steps)
    clips = sorted((speech_dir / "en").glob("*.wav"))[:4]
    dry = np.concatenate([resample(read_audio(clip)).mono() for clip in clips])
    vocal = Waveform(dry * (0.25 / np.abs(dry).max()), SAMPLE_RATE_HZ)
    wet = render_chain(steps, vocal, tempo_bpm=140)
    assert wet.channels == 2
    assert wet.n_samples > vocal.n_samples
    assert true_peak_dbtp(wet) <= -1.5
    # Worked on, neither lost nor blown up.
    change = integrated_loudness_lufs(wet) - integrated_loudness_lufs(vocal)
    assert -6 < change < 12


@pytest.mark.django_db
def test_seeding_twice_changes_nothing():
    assert seed_presets() == 3
    before = list(FxChain.objects.values())
    steps = [chain.definition() for chain in FxChain.objects.presets()]
    assert seed_presets() == 0
    assert list(FxChain.objects.values()) == before
    assert [chain.definition() for chain in FxChain.objects.presets()] == steps


def test_seeding_mends_a_preset_and_leaves_a_persons_chain(owner):
    seed_presets()
    own = make_chain(owner, name="Radio vocal", effects=["gain"])
    preset = FxChain.objects.presets().get(slug="radio-vocal")
    preset.steps.first().delete()
    preset.steps.last().delete()
    assert seed_presets() == 1
    wanted = next(p for p in PRESETS if p.slug == "radio-vocal")
    assert preset.definition()["steps"] == [s.as_dict() for s in wanted.steps]
    assert [step.effect for step in own.steps.all()] == ["gain"]
