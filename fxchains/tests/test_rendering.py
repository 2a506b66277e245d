"""The effects against known answers: gains, times, ratios, peaks."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from fxchains.effects import rendering
from fxchains.effects.catalogue import EFFECTS, Parameter, validate_steps
from fxchains.effects.limiting import Limiter
from fxchains.effects.rendering import RenderingError, render_chain
from voiceplatform.audio.files import read_audio
from voiceplatform.audio.loudness import true_peak_dbtp
from voiceplatform.audio.resampling import resample
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, AudioError, Waveform

RATE = SAMPLE_RATE_HZ


def chain(*steps):
    return validate_steps(
        [{"effect": slug, "parameters": parameters} for slug, parameters in steps]
    )


def render(waveform, slug, *, tempo_bpm=None, **parameters):
    return render_chain(chain((slug, parameters)), waveform, tempo_bpm=tempo_bpm)


def sine(frequency_hz, amplitude=0.1, seconds=1.0):
    times_s = np.arange(round(seconds * RATE)) / RATE
    return Waveform(amplitude * np.sin(2 * np.pi * frequency_hz * times_s), RATE)


def click(at_s=0.0, seconds=1.0, channels=1):
    samples = np.zeros((channels, round(seconds * RATE)), np.float32)
    samples[:, round(at_s * RATE)] = 0.5
    return Waveform(samples, RATE)


def noise(seconds=1.0, channels=2, level=0.1, seed=0):
    samples = np.random.default_rng(seed).standard_normal(
        (channels, int(seconds * RATE))
    )
    return Waveform(level * samples, RATE)


def level_db(waveform, start_s=0.5):
    """RMS of the first channel after things have settled."""
    settled = waveform.samples[0, round(start_s * RATE) :].astype(np.float64)
    return 10 * np.log10((settled**2).mean())


def gain_db(frequency_hz, slug, **parameters):
    tone = sine(frequency_hz)
    return level_db(render(tone, slug, **parameters)) - level_db(tone)


@pytest.fixture(scope="module")
def speech(speech_dir):
    clip = sorted((speech_dir / "en").glob("*.wav"))[0]
    return resample(read_audio(clip))


# -- the chain ------------------------------------------------------------------


def test_every_effect_of_the_catalogue_can_be_rendered():
    assert list(rendering._RENDERERS) == [
        *("low_cut", "high_cut", "eq", "de_esser", "compressor", "saturation"),
        *("chorus", "delay", "reverb", "gain", "limiter"),
    ]
    assert set(rendering._RENDERERS) == set(EFFECTS)


@pytest.mark.parametrize("slug", EFFECTS)
@pytest.mark.parametrize("corner", ["minimum", "default", "maximum"])
def test_every_effect_is_finite_whole_and_repeatable_at_the_ends_of_its_ranges(
    slug, corner
):
    parameters = {
        parameter.name: getattr(parameter, corner)
        for parameter in EFFECTS[slug].parameters
        if isinstance(parameter, Parameter)
    }
    sound = noise(0.3, channels=1, level=0.3)
    first = render(sound, slug, tempo_bpm=90, **parameters)
    again = render(sound, slug, tempo_bpm=90, **parameters)
    assert np.isfinite(first.samples).all()
    assert first.n_samples >= sound.n_samples
    assert np.array_equal(first.samples, again.samples)


@pytest.mark.parametrize("slug", EFFECTS)
def test_a_long_sound_is_rendered_in_pieces_without_a_seam(slug, monkeypatch):
    sound = noise(1.0, level=0.3)
    whole = render(sound, slug)
    monkeypatch.setattr(rendering, "BLOCK_SAMPLES", 4099)
    monkeypatch.setattr("fxchains.effects.limiting.BLOCK_SAMPLES", 4099)
    pieces = render(sound, slug)
    np.testing.assert_allclose(pieces.samples, whole.samples, atol=2e-6)


def test_bypassed_steps_leave_every_bit_alone(speech):
    steps = validate_steps([{"effect": slug, "bypassed": True} for slug in EFFECTS])
    for chain_ in ([], steps):
        out = render_chain(chain_, speech)
        assert np.array_equal(out.samples, speech.samples)
        assert out.samples is not speech.samples


def test_the_order_of_the_steps_is_heard():
    loud, squash = ("gain", {"gain_db": 12}), ("saturation", {"drive_db": 12})
    tone = sine(300, 0.2)
    one = render_chain(chain(loud, squash), tone)
    other = render_chain(chain(squash, loud), tone)
    assert level_db(other) - level_db(one) > 3


def test_effects_that_need_stereo_make_it():
    assert render(click(), "reverb").channels == 2
    assert render(click(), "compressor").channels == 1


def test_memory_is_the_result_and_not_the_number_of_steps():
    sound = noise(60)
    steps = chain(("eq", {"mid_gain_db": 3}), *[(slug, {}) for slug in EFFECTS])
    tracemalloc.start()
    result = render_chain(steps, sound)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * result.samples.nbytes


def test_the_wrong_sound_is_refused():
    with pytest.raises(RenderingError, match="work at 44100 Hz"):
        render_chain(chain(("gain", {})), Waveform(np.zeros(100), 48_000))
    with pytest.raises(RenderingError, match="one or two channels"):
        render_chain(chain(("gain", {})), Waveform(np.zeros((3, 100)), RATE))
    with pytest.raises(AudioError, match="not numbers"):
        render_chain([], Waveform(np.full(100, np.nan), RATE))


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_a_chain_that_overflows_says_which_step():
    steps = chain(*[("gain", {"gain_db": 24})] * 16)
    huge = Waveform(np.full(100, 1e25), RATE)
    with pytest.raises(RenderingError, match=r"Step 12 \(Gain\)"):
        render_chain(steps, huge)


def test_an_empty_sound_stays_empty():
    out = render(Waveform(np.zeros((1, 0)), RATE), "reverb")
    assert out.n_samples == 0


# -- tone -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frequency_hz", "parameters", "expected_db"),
    [
        (1000, {"mid_frequency_hz": 1000, "mid_gain_db": 6, "mid_q": 2}, 6),
        (1000, {"mid_frequency_hz": 1000, "mid_gain_db": -12}, -12),
        (60, {"low_frequency_hz": 400, "low_gain_db": 9}, 9),
        (400, {"low_frequency_hz": 400, "low_gain_db": 9}, 4.5),
        (16000, {"high_frequency_hz": 4000, "high_gain_db": -9}, -9),
        (4000, {"high_frequency_hz": 4000, "high_gain_db": -9}, -4.5),
        (60, {"high_frequency_hz": 4000, "high_gain_db": 18}, 0),
        (1000, {}, 0),
    ],
)
def test_the_equaliser_gives_the_gain_it_says(frequency_hz, parameters, expected_db):
    measured = gain_db(frequency_hz, "eq", **parameters)
    assert measured == pytest.approx(expected_db, abs=0.5)


def test_the_three_bands_add_up_on_noise():
    sound = noise(8, channels=1)
    out = render(
        sound,
        "eq",
        **{"low_gain_db": 6, "low_frequency_hz": 200},
        **{"mid_gain_db": -6, "mid_frequency_hz": 2000},
        **{"high_gain_db": 6, "high_frequency_hz": 9000},
    )
    power_in, power_out = (
        np.abs(np.fft.rfft(w.samples[0].astype(np.float64))) ** 2 for w in (sound, out)
    )
    hz = np.fft.rfftfreq(sound.n_samples, 1 / RATE)
    for low_hz, high_hz, expected_db in (
        (30, 60, 6),
        (1950, 2050, -6),
        (17500, 19500, 6),
    ):
        band = (hz > low_hz) & (hz < high_hz)
        measured = 10 * np.log10(power_out[band].sum() / power_in[band].sum())
        assert measured == pytest.approx(expected_db, abs=0.5)


@pytest.mark.parametrize(("slug", "far_hz"), [("low_cut", 250), ("high_cut", 4000)])
@pytest.mark.parametrize("slope", ["12", "24"])
def test_cuts_halve_the_power_at_their_frequency_and_fall_by_their_slope(
    slug, far_hz, slope
):
    at_1000_hz = {"frequency_hz": 1000, "slope": slope}

    def measured_db(frequency_hz):
        tone = sine(frequency_hz)
        return level_db(render(tone, slug, **at_1000_hz)) - level_db(tone)

    assert measured_db(1000) == pytest.approx(-3, abs=0.1)
    # Two octaves out; the bilinear transform bends the high cut by half a dB.
    assert measured_db(far_hz) == pytest.approx(-2 * float(slope), abs=1.2)


def test_the_de_esser_turns_down_s_and_leaves_the_rest():
    settings = {"frequency_hz": 5000, "threshold_db": -40, "reduction_db": 9}
    sharp, quiet = sine(12_000, 0.3), sine(9000, 0.002)
    assert level_db(render(sharp, "de_esser", **settings)) - level_db(
        sharp
    ) == pytest.approx(-9, abs=0.5)
    for tone in (quiet, sine(300, 0.5), sine(4900, 0.002)):
        out = render(tone, "de_esser", **settings)
        assert level_db(out) == pytest.approx(level_db(tone), abs=0.2)


def test_saturation_adds_harmonics_and_none_that_fold_back():
    out = render(sine(9001, 0.5), "saturation", drive_db=18)
    spectrum = np.abs(np.fft.rfft(out.samples[0] * np.hanning(out.n_samples)))
    spectrum_db = 20 * np.log10(spectrum / spectrum.max() + 1e-12)
    # The third harmonic, 27 003 Hz, would fold back to 17 097 Hz, the fifth to 905.
    for ghost_hz in (17_097, 905):
        assert spectrum_db[ghost_hz - 5 : ghost_hz + 6].max() < -80
    low = render(sine(1000, 0.5), "saturation", drive_db=18)
    spectrum = np.abs(np.fft.rfft(low.samples[0]))
    assert 20 * np.log10(spectrum[3000] / spectrum[1000]) > -20


def test_saturation_is_in_time_and_keeps_its_level():
    tone = sine(440, rendering.SATURATION_ANCHOR)
    dry = render(tone, "saturation", drive_db=12, mix_percent=0)
    assert dry.n_samples == tone.n_samples
    np.testing.assert_allclose(
        dry.samples[0, 2000:-2000], tone.samples[0, 2000:-2000], atol=1e-4
    )
    wet = render(tone, "saturation", drive_db=12)
    assert np.abs(wet.samples[0, 2000:-2000]).max() == pytest.approx(0.25, rel=0.01)


# -- dynamics -------------------------------------------------------------------


def test_the_compressor_keeps_its_ratio_on_a_steady_tone():
    settings = {"threshold_db": -30, "ratio": 4, "attack_ms": 1, "release_ms": 200}
    out = [
        level_db(render(sine(1000, 10 ** (db / 20)), "compressor", **settings))
        for db in (-50, -20, -8)
    ]
    assert out[0] == pytest.approx(-50 - 3.01, abs=0.1)
    assert out[2] - out[1] == pytest.approx(12 / 4, abs=0.1)
    # 10 dB over the threshold become 2.5 dB (a little more: the detector's ripple).
    assert out[1] == pytest.approx(-27.5 - 3.01, abs=1.0)


def test_make_up_is_plain_level():
    settings = {"threshold_db": 0, "ratio": 1, "makeup_db": 6}
    assert gain_db(1000, "compressor", **settings) == pytest.approx(6, abs=0.01)


def test_attack_and_release_take_their_time():
    loud = np.concatenate([np.full(RATE // 2, 0.03), np.full(RATE // 2, 0.6)] * 2)
    tone = Waveform(loud * np.sign(np.sin(np.arange(2 * RATE) * 0.2 + 0.1)), RATE)
    settings = {"threshold_db": -24, "ratio": 10, "attack_ms": 20, "release_ms": 100}
    out = render(tone, "compressor", **settings)
    reduction = np.abs(out.samples[0] / tone.samples[0])
    onset = RATE // 2
    assert reduction[onset + 3] > 0.9
    assert reduction[onset + RATE // 4] == pytest.approx(
        reduction[onset + RATE // 3], abs=0.01
    )
    assert reduction[onset + RATE // 4] < 0.2
    assert reduction[RATE + 200] < 0.4  # not yet released
    assert reduction[RATE + RATE // 3] == pytest.approx(1, abs=0.01)


def test_the_compressor_leaves_the_stereo_image_where_it_is():
    sound = noise()
    sound.samples[1] *= 0.25
    out = render(sound, "compressor", threshold_db=-40, ratio=10)
    np.testing.assert_allclose(
        out.samples[1] * sound.samples[0],
        out.samples[0] * sound.samples[1],
        atol=1e-6,
    )


def _nasty():
    rng = np.random.default_rng(1)
    times = np.arange(2 * RATE)
    # A quarter of the rate, sampled beside its crests: 3 dB between the samples.
    yield "between samples", 0.99 * np.sign(np.sin(np.pi / 2 * times + np.pi / 4))
    yield "hot noise", 2 * rng.standard_normal((2, 2 * RATE))
    yield "bursts", 4 * rng.standard_normal(2 * RATE) * (times % 9000 < 700)
    yield "square", 0.99 * np.sign(np.sin(2 * np.pi * 997 / RATE * times))
    yield "bass", 3 * np.sin(2 * np.pi * 40 / RATE * times)
    clicks = np.zeros(2 * RATE)
    clicks[::4000], clicks[1::4000], clicks[2::4000] = 1, 1, -1
    yield "clicks", clicks
    yield "first and last sample", np.where((times < 3) | (times > 2 * RATE - 4), 1, 0)


@pytest.mark.parametrize("samples", [pytest.param(s, id=name) for name, s in _nasty()])
@pytest.mark.parametrize("ceiling_dbtp", [-1.0, -9.0])
def test_no_true_peak_passes_the_limiter(samples, ceiling_dbtp):
    hot = Waveform(samples, RATE)
    assert true_peak_dbtp(hot) > ceiling_dbtp
    out = render(hot, "limiter", ceiling_dbtp=ceiling_dbtp)
    peak_dbtp = true_peak_dbtp(out)
    assert ceiling_dbtp - 0.1 <= peak_dbtp <= ceiling_dbtp
    assert out.n_samples == hot.n_samples


def test_another_meter_agrees_with_the_limiter_on_speech(speech):
    hot = Waveform(speech.samples * 8, RATE)
    out = render(hot, "limiter", ceiling_dbtp=-1)
    peak = np.abs(resample_poly(out.samples, 8, 1, axis=1)).max()
    assert 20 * np.log10(peak) <= -0.9


def test_the_limiter_leaves_what_is_under_its_ceiling_bit_identical(speech):
    quiet = Waveform(speech.samples / np.abs(speech.samples).max() * 0.5, RATE)
    assert np.array_equal(render(quiet, "limiter").samples, quiet.samples)


def test_the_limiter_recovers_and_spares_what_is_far_from_a_peak():
    samples = sine(500, 0.3, 2.0).samples.copy()
    samples[0, RATE : RATE + 300] *= 6
    samples[0, -1] = 0.0
    out = np.empty_like(samples)
    out[:] = samples
    Limiter(-1.0, release_ms=50).limit(out, RATE)
    assert np.array_equal(out[0, : RATE - 400], samples[0, : RATE - 400])
    np.testing.assert_allclose(
        out[0, -RATE // 2 :], samples[0, -RATE // 2 :], atol=1e-4
    )


# -- time and space -------------------------------------------------------------


def lags_s(out, n_echoes):
    """When the dry click and its echoes are, by cross-correlation with a click."""
    strongest = np.argsort(-np.abs(out.samples[0]))[:n_echoes]
    return np.sort(strongest) / RATE


def test_the_delay_comes_after_its_time_and_fades_by_its_feedback():
    settings = {"time_ms": 250, "feedback_percent": 50, "mix_percent": 50}
    out = render(click(0.1), "delay", **settings)
    np.testing.assert_allclose(lags_s(out, 4), [0.1, 0.35, 0.6, 0.85], atol=1 / RATE)
    levels = [out.samples[0, round(s * RATE)] for s in (0.35, 0.6, 0.85)]
    np.testing.assert_allclose(levels, [0.25, 0.125, 0.0625], rtol=1e-4)


@pytest.mark.parametrize(("tempo_bpm", "expected_s"), [(60, 0.75), (140, 0.321429)])
def test_the_delay_follows_the_tempo(speech, tempo_bpm, expected_s):
    settings = {"follow": "beats", "time_beats": 0.75, "mix_percent": 50}
    out = render(
        speech, "delay", tempo_bpm=tempo_bpm, feedback_percent=0, **settings
    ).mono()
    size = 1 << 19
    dry = speech.mono()
    wet = out.copy()
    wet[: len(dry)] -= 0.5 * dry
    spectrum = np.fft.rfft(wet, size) * np.conj(np.fft.rfft(dry, size))
    lag = int(np.argmax(np.fft.irfft(spectrum, size)))
    assert lag / RATE == pytest.approx(expected_s, abs=1.5 / RATE)


def test_a_delay_in_beats_without_a_tempo_says_what_to_do():
    with pytest.raises(RenderingError, match="needs a tempo"):
        render(click(), "delay", follow="beats")
    with pytest.raises(RenderingError, match="20 to 400"):
        render(click(), "delay", follow="beats", tempo_bpm=999)
    with pytest.raises(RenderingError, match="20 to 400"):
        render(click(), "delay", tempo_bpm=float("nan"))


def reverberation_s(out):
    """RT60 from the -5 to -35 dB part of Schroeder's backward integral (ISO 3382)."""
    energy = np.cumsum((out.samples[0].astype(np.float64) ** 2)[::-1])[::-1]
    decay_db = 10 * np.log10(energy / energy[0] + 1e-30)
    return 2 * (np.argmax(decay_db < -35) - np.argmax(decay_db < -5)) / RATE


@pytest.mark.parametrize("room_size_percent", [0, 50, 80])
def test_the_room_rings_as_long_as_its_size_says(room_size_percent):
    out = render(
        click(channels=2),
        "reverb",
        room_size_percent=room_size_percent,
        damping_percent=0,
        wet_percent=100,
    )
    # Freeverb's eight combs are 1116 to 1617 (+23) samples long with this feedback.
    feedback = 0.7 + 0.28 * room_size_percent / 100
    expected = np.array([1116, 1640]) / RATE * 60 / (-20 * np.log10(feedback))
    assert expected[0] < reverberation_s(out) < expected[1]


def test_damping_shortens_the_room():
    live, dead = (
        reverberation_s(
            render(click(), "reverb", damping_percent=percent, wet_percent=100)
        )
        for percent in (0, 100)
    )
    assert dead < 0.9 * live


def test_the_pre_delay_holds_the_room_back():
    def first_s(pre_delay_ms):
        settings = {"pre_delay_ms": pre_delay_ms, "wet_percent": 100}
        out = render(click(), "reverb", **settings)
        return np.flatnonzero(np.abs(out.samples[0]) > 1e-6)[0] / RATE

    assert first_s(100) - first_s(0) == pytest.approx(0.1, abs=1 / RATE)


def test_the_width_spreads_the_room_and_none_keeps_it_in_the_middle():
    narrow = render(click(), "reverb", width_percent=0, wet_percent=100)
    np.testing.assert_allclose(narrow.samples[0], narrow.samples[1], atol=1e-7)
    wide = render(click(), "reverb", width_percent=100, wet_percent=100)
    assert abs(np.corrcoef(wide.samples)[0, 1]) < 0.2


def test_no_wet_is_the_dry_sound(speech):
    out = render(speech, "reverb", wet_percent=0)
    for channel in out.samples:
        assert np.array_equal(channel, speech.samples[0])


@pytest.mark.parametrize(
    "steps",
    [
        [("reverb", {"room_size_percent": 70})],
        [("delay", {"time_ms": 500, "feedback_percent": 60})],
        [("delay", {"time_ms": 400}), ("reverb", {})],
    ],
)
def test_tails_ring_out_to_silence(steps):
    sound = noise(0.5, channels=1)
    out = render_chain(chain(*steps), sound)
    assert out.duration_s > 1.0
    last = np.abs(out.samples[:, -50:]).max()
    assert last < 10 ** (-85 / 20)
    # Longer silence after the sound changes nothing of the tail.
    padded = Waveform(np.pad(sound.samples, ((0, 0), (0, 20 * RATE))), RATE)
    longer = render_chain(chain(*steps), padded)
    n = out.n_samples
    np.testing.assert_allclose(out.samples, longer.samples[:, :n], atol=1e-6)
    assert np.abs(longer.samples[:, n:]).max() < 10 ** (-85 / 20)


def test_an_endless_tail_is_faded_out():
    endless = {"time_ms": 2000, "feedback_percent": 90, "mix_percent": 100}
    out = render(noise(2.0, channels=1, level=0.3), "delay", **endless)
    assert 30 < out.duration_s <= 2.0 + rendering.MAX_TAIL_S
    assert np.abs(out.samples[0, -100:]).max() < 1e-3


# -- what may be imported where -------------------------------------------------


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("fxchains.effects.rendering", ["django", "torch"]),
        ("fxchains.effects.limiting", ["django", "torch", "pedalboard"]),
        ("fxchains.effects.catalogue", ["django", "torch", "pedalboard", "numpy"]),
        ("fxchains.presets", ["django", "torch", "pedalboard", "numpy"]),
        ("generation.mixing", ["django", "torch", "librosa", "pedalboard"]),
    ],
)
def test_sound_code_loads_nothing_it_does_not_need(module, absent):
    code = f"import sys, {module}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"
