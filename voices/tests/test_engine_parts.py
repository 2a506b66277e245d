"""An operator's own content encoder and vocoder: opened, checked, named, refused."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from functools import partial

import librosa
import numpy as np
import pytest
import torch
import torchaudio
from torch.nn import functional

from voiceplatform.audio.files import read_audio
from voiceplatform.audio.tensors import CheckpointError, load_tensors, write_tensors
from voiceplatform.audio.waveform import AudioError, Waveform
from voiceplatform.testing.parts import (
    ENCODER_CONFIG,
    MINI_VOCODER_CONFIG,
    VOCODER_CONFIG,
    WAVLM_CONFIG,
    encoder_tensors,
    vocoder_tensors,
    write_part,
)
from voiceplatform.testing.voices import CLIPS, tiny_config
from voices.engine.acoustic import AcousticConfig
from voices.engine.base import BASE_PATH, load_base
from voices.engine.basing import base_config, train_base
from voices.engine.choices import SHIPPED, Parts
from voices.engine.content import WHISPER
from voices.engine.converting import convert_weights
from voices.engine.corpus import prepare
from voices.engine.datasets import read_folder
from voices.engine.encoders import SpeechEncoder
from voices.engine.features import MEL_SPEC, Features, extract
from voices.engine.metrics import pitch_errors
from voices.engine.nsf_hifigan import NsfHifigan
from voices.engine.synthesis import LocalVoice
from voices.engine.training import CORPUS_FILE, train
from voices.engine.vocoder import VocoderConfig
from voices.engine.voice import Coverage, EngineConfig, VoiceModel

RATE = MEL_SPEC.sample_rate_hz
LARGE_CONFIG = ENCODER_CONFIG | {
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
SMALL = EngineConfig(
    acoustic=AcousticConfig(dim=16, trunk_dilations=(1, 2)),
    vocoder=VocoderConfig(dim=16, dilations=(1, 2), fine_dim=16, fine_dilations=(1,)),
)
COVERAGE = Coverage((100.0, 300.0), 22_050.0, 60.0, 40.0)
BLOCKS_OF_THE_SECOND_KIND = VOCODER_CONFIG | {
    "resblock": "2",
    "resblock_dilation_sizes": [[1, 3], [1, 3]],
}


def speech_like(n_samples, rate=16_000, seed=0):
    time = np.arange(n_samples) / rate
    tone = np.sin(2 * np.pi * 150 * time) + 0.3 * np.sin(2 * np.pi * 1200 * time)
    noise = np.random.default_rng(seed).normal(size=n_samples)
    return (0.1 * tone * (1 + np.sin(7 * time)) + 0.02 * noise).astype(np.float32)


@pytest.fixture
def encoder_folder(tmp_path):
    return write_part(tmp_path / "hubert", ENCODER_CONFIG, encoder_tensors())


@pytest.fixture
def vocoder_folder(tmp_path):
    return write_part(tmp_path / "nsf", VOCODER_CONFIG, vocoder_tensors())


@pytest.fixture
def parts(encoder_folder, vocoder_folder, tmp_path):
    return Parts.load(encoder_folder, vocoder_folder, bases=tmp_path / "base")


# --- content encoders


def torchaudios_own(config):
    """The network with its weight normalisation, filled by the names it has itself."""
    common = {
        "extractor_mode": f"{config['feat_extract_norm']}_norm",
        "extractor_conv_layer_config": list(
            zip(
                config["conv_dim"],
                config["conv_kernel"],
                config["conv_stride"],
                strict=True,
            )
        ),
        "extractor_conv_bias": config["conv_bias"],
        "encoder_embed_dim": config["hidden_size"],
        "encoder_projection_dropout": 0.1,
        "encoder_pos_conv_kernel": config["num_conv_pos_embeddings"],
        "encoder_pos_conv_groups": config["num_conv_pos_embedding_groups"],
        "encoder_num_layers": config["num_hidden_layers"],
        "encoder_num_heads": config["num_attention_heads"],
        "encoder_attention_dropout": 0.1,
        "encoder_ff_interm_features": config["intermediate_size"],
        "encoder_ff_interm_dropout": 0.1,
        "encoder_dropout": 0.1,
        "encoder_layer_norm_first": config["do_stable_layer_norm"],
        "encoder_layer_drop": 0.05,
        "aux_num_out": None,
    }
    if config["model_type"] == "wavlm":
        network = torchaudio.models.wavlm_model(
            **common,
            encoder_num_buckets=config["num_buckets"],
            encoder_max_distance=config["max_bucket_distance"],
        )
    else:
        network = torchaudio.models.wav2vec2_model(**common)
    tensors = encoder_tensors(config)
    wanted = network.state_dict()
    filled = {}
    for name in wanted:
        published = name.removeprefix("encoder.") if "feature_proj" in name else name
        published = published.replace("encoder.transformer.", "encoder.")
        for new, old in (
            ("parametrizations.weight.original0", "weight_g"),
            ("parametrizations.weight.original1", "weight_v"),
            ("attention.attention.out_proj", "attention.out_proj"),
        ):
            published = published.replace(new, old)
        if "attention.attention.in_proj_" in published:
            end = published.rsplit("_", 1)[1]
            stem = published.split("attention.attention.")[0] + "attention."
            joined = [tensors[f"{stem}{letter}_proj.{end}"] for letter in "qkv"]
            filled[name] = torch.cat(joined)
        else:
            filled[name] = tensors[published]
    network.load_state_dict(filled)
    return network.eval()


@pytest.mark.parametrize(
    ("config", "layer"),
    [
        (ENCODER_CONFIG, 3),
        (ENCODER_CONFIG | {"layer": 2}, 2),
        (LARGE_CONFIG, 3),
        (LARGE_CONFIG | {"model_type": "wav2vec2"}, 3),
        (WAVLM_CONFIG, 3),
    ],
    ids=["hubert", "a layer of it", "large", "wav2vec2", "wavlm"],
)
def test_published_weights_hear_what_torchaudios_network_hears(tmp_path, config, layer):
    folder = write_part(tmp_path / "encoder", config, encoder_tensors(config))
    encoder = SpeechEncoder.load(folder)
    sound = speech_like(8000)
    padded = functional.pad(torch.from_numpy(sound), (40, 320 - 240))
    padded = padded[: 25 * 320 + 400]
    padded = functional.pad(padded, (0, 25 * 320 + 400 - len(padded)))
    if config["feat_extract_norm"] == "layer":
        padded = functional.layer_norm(padded, padded.shape)
    with torch.inference_mode():
        layers, _ = torchaudios_own(config).extract_features(padded[None])
    assert encoder.encode(sound) == pytest.approx(
        layers[layer - 1][0].numpy(), abs=1e-5
    )
    assert encoder.part.kind == config["model_type"]


def test_torchaudios_own_file_is_the_same_encoder(tmp_path, encoder_folder):
    """What torchaudio lets one download, saved as safetensors."""
    tensors = dict(torchaudios_own(ENCODER_CONFIG).state_dict())
    other = write_part(tmp_path / "torchaudio", ENCODER_CONFIG, tensors)
    sound = speech_like(4000)
    heard = SpeechEncoder.load(other).encode(sound)
    assert heard == pytest.approx(SpeechEncoder.load(encoder_folder).encode(sound))


@pytest.mark.parametrize("n_samples", [1, 319, 320, 16_000, 16_001])
def test_there_is_a_vector_every_20_ms(encoder_folder, n_samples):
    encoder = SpeechEncoder.load(encoder_folder)
    heard = encoder.encode(speech_like(n_samples))
    assert heard.shape == (n_samples // 320 + 1, 16)
    assert heard.dtype == np.float32
    assert encoder.frame_s == 0.02


def test_a_vector_is_of_what_sounds_around_its_own_middle(tmp_path):
    """Without positions and attention, of which a click would reach everywhere."""
    tensors = encoder_tensors(LARGE_CONFIG)
    for name in tensors:
        if ("pos_conv" in name and "weight_g" in name) or "out_proj" in name:
            tensors[name].zero_()
    folder = write_part(tmp_path / "encoder", LARGE_CONFIG, tensors)
    encoder = SpeechEncoder.load(folder)
    sound = speech_like(32_000)
    clicked = sound.copy()
    clicked[16_000 + 155 : 16_000 + 165] += 1.0
    apart = np.abs(encoder.encode(clicked) - encoder.encode(sound)).sum(1)
    assert apart.argmax() == 50


def test_a_long_sound_is_heard_in_windows(encoder_folder, monkeypatch):
    encoder = SpeechEncoder.load(encoder_folder)
    sound = speech_like(16_000 * 6)
    whole = encoder.encode(sound)
    monkeypatch.setattr("voices.engine.encoders.WINDOW_FRAMES", 90)
    monkeypatch.setattr("voices.engine.encoders.CONTEXT_FRAMES", 40)
    pieces = encoder.encode(sound)
    assert pieces.shape == whole.shape
    one, other = whole - whole.mean(0), pieces - pieces.mean(0)
    assert (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum()) > 0.9


def test_features_say_who_heard_them_and_lie_on_the_grid(encoder_folder):
    encoder = SpeechEncoder.load(encoder_folder)
    features = extract(Waveform(speech_like(RATE, RATE), RATE), encoder=encoder)
    assert features.content.shape == (RATE // 512, 16)
    assert features.encoder == encoder.part
    assert features.at(np.arange(4) * 1.5).encoder == encoder.part


# --- vocoders


def test_weight_normalised_tensors_come_out_as_torch_would_apply_them(vocoder_folder):
    vocoder = NsfHifigan.load(vocoder_folder)
    tensors = vocoder_tensors()
    up = torch.nn.ConvTranspose1d(32, 16, 16, 8, padding=4)
    normed = torch.nn.utils.parametrizations.weight_norm(up)
    normed.load_state_dict(
        {
            "bias": tensors["ups.0.bias"],
            "parametrizations.weight.original0": tensors["ups.0.weight_g"],
            "parametrizations.weight.original1": tensors["ups.0.weight_v"],
        }
    )
    sound = torch.randn(1, 32, 20)
    assert torch.allclose(vocoder.ups[0](sound), normed(sound), atol=1e-6)


def by_the_paper(config, tensors, mel, cycles):
    """HiFi-GAN's generator with a sine source, spelled out over published tensors."""

    def weight(name):
        if f"{name}.weight" in tensors:
            return tensors[f"{name}.weight"]
        direction = tensors[f"{name}.weight_v"]
        length = direction.flatten(1).norm(dim=1)[:, None, None]
        return tensors[f"{name}.weight_g"] * direction / length

    def convolved(sound, name, **how):
        return functional.conv1d(sound, weight(name), tensors[f"{name}.bias"], **how)

    def same(sound, name, dilation):
        padding = (weight(name).shape[2] - 1) // 2 * dilation
        return convolved(sound, name, padding=padding, dilation=dilation)

    rates, mini = config["upsample_rates"], config.get("mini_nsf", False)
    if mini:
        source = torch.sin(2 * np.pi * cycles[:, ::8])[:, None]
    else:
        starts = torch.rand(9, generator=torch.Generator().manual_seed(0))
        starts[0] = 0
        turns = cycles[:, :, None] * torch.arange(1, 10) + starts
        merged = functional.linear(
            0.1 * torch.sin(2 * np.pi * turns),
            tensors["m_source.l_linear.weight"],
            tensors["m_source.l_linear.bias"],
        )
        source = torch.tanh(merged).transpose(1, 2)
    sound, block = convolved(mel.transpose(1, 2), "conv_pre", padding=3), 0
    for stage, rate in enumerate(rates):
        sound = functional.conv_transpose1d(
            functional.leaky_relu(sound, 0.1),
            weight(f"ups.{stage}"),
            tensors[f"ups.{stage}.bias"],
            stride=rate,
            padding=(config["upsample_kernel_sizes"][stage] - rate) // 2,
        )
        left = int(np.prod(rates[stage + 1 :]))
        if not mini:
            sound = sound + convolved(
                source, f"noise_convs.{stage}", stride=left, padding=left // 2
            )
        elif stage == 1:
            sound = sound + convolved(source, "source_conv")
        summed = 0
        for dilations in config["resblock_dilation_sizes"]:
            inner = sound
            for i, dilation in enumerate(dilations):
                name = f"resblocks.{block}.conv"
                step = functional.leaky_relu(inner, 0.1)
                if config["resblock"] == "1":
                    step = same(step, f"{name}s1.{i}", dilation)
                    step = same(functional.leaky_relu(step, 0.1), f"{name}s2.{i}", 1)
                else:
                    step = same(step, f"{name}s.{i}", dilation)
                inner = inner + step
            summed, block = summed + inner, block + 1
        sound = summed / len(config["resblock_dilation_sizes"])
    last = convolved(functional.leaky_relu(sound, 0.01), "conv_post", padding=3)
    return torch.tanh(last)[:, 0]


@pytest.mark.parametrize(
    "config",
    [VOCODER_CONFIG, MINI_VOCODER_CONFIG, BLOCKS_OF_THE_SECOND_KIND],
    ids=["nsf", "mini nsf", "resblock 2"],
)
def test_its_sound_is_what_the_published_network_makes(tmp_path, config):
    tensors = vocoder_tensors(config)
    vocoder = NsfHifigan.load(write_part(tmp_path / "nsf", config, tensors))
    # Of unit scale throughout, so that tanh hides nothing.
    tensors["conv_post.weight_g"] *= 0.01
    vocoder.conv_post.weight.mul_(0.01)
    generator = torch.Generator().manual_seed(1)
    mel = torch.randn(2, 12, 128, generator=generator) - 5
    f0_hz = np.geomspace(150, 200, 12).astype(np.float32)
    cycles = torch.from_numpy(vocoder.source(f0_hz, f0_hz > 0)).expand(2, -1)
    still = torch.zeros(2, 12)
    with torch.inference_mode():
        made = vocoder(mel, still, still, cycles, torch.zeros(1, 2, 12 * 512))[0]
        expected = by_the_paper(config, tensors, mel, cycles)
    assert 0.01 < expected.std() < 0.9
    assert made.numpy() == pytest.approx(expected.numpy(), abs=1e-4)


def test_its_mel_is_that_of_librosa(vocoder_folder):
    sound = speech_like(RATE, RATE)
    mel = NsfHifigan.load(vocoder_folder).mel(sound)
    # Frames begin 768 samples, half of what a window has more than a hop, earlier.
    padded = np.pad(sound, (768, 2048))
    amplitudes = librosa.feature.melspectrogram(
        y=padded, sr=RATE, n_fft=2048, hop_length=512, power=1, center=False,
        n_mels=128, fmin=40, fmax=16_000,
    )[:, : RATE // 512]  # fmt: skip
    expected = np.log(np.maximum(amplitudes, 1e-5)).T
    assert mel.shape == (RATE // 512, 128)
    assert mel == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("n_samples", [0, 100, 512, 700])
def test_a_sound_shorter_than_a_window_has_a_mel_too(vocoder_folder, n_samples):
    mel = NsfHifigan.load(vocoder_folder).mel(np.zeros(n_samples, dtype=np.float32))
    assert mel.shape == (n_samples // 512, 128)
    assert mel == pytest.approx(np.log(1e-5))


def test_its_source_is_at_exactly_the_asked_pitch(vocoder_folder):
    vocoder = NsfHifigan.load(vocoder_folder)
    with torch.no_grad():
        vocoder.m_source.l_linear.weight.fill_(0.5)
        vocoder.m_source.l_linear.bias.zero_()
    f0_hz = np.geomspace(110, 440, 200).astype(np.float32)
    cycles = torch.from_numpy(vocoder.source(f0_hz, np.ones(200, dtype=bool)))[None]
    sines = vocoder.m_source(cycles, torch.randn_like(cycles))[0].numpy()
    errors = pitch_errors(Waveform(sines, RATE), f0_hz)
    assert errors.median_cents < 5
    assert errors.over_50_cents < 0.02


def voice_of(parts, **changed):
    torch.manual_seed(3)
    coverage = replace(COVERAGE, **changed)
    config = SMALL.fitted_to(parts)
    return VoiceModel.untrained(config, coverage, parts.needs, parts)


def performance(parts, n_frames=150, **changed):
    encoder = parts.needs.encoder
    dim = encoder.shape.get("hidden_size") or encoder.shape["dim"]
    frames = {
        "content": np.random.default_rng(0).normal(size=(n_frames, dim)),
        "f0_hz": np.geomspace(140, 280, n_frames),
        "voiced": np.ones(n_frames, dtype=bool),
        "loudness_db": np.full(n_frames, -20.0),
        "encoder": encoder,
    }
    return Features(**{**frames, **changed})


@pytest.mark.parametrize(
    "config",
    [VOCODER_CONFIG, MINI_VOCODER_CONFIG, BLOCKS_OF_THE_SECOND_KIND],
    ids=["nsf", "mini nsf", "resblock 2"],
)
def test_a_song_sounds_the_same_in_pieces(tmp_path, config, monkeypatch):
    folder = write_part(tmp_path / "nsf", config, vocoder_tensors(config))
    parts = Parts.load(None, folder)
    voice = LocalVoice(voice_of(parts), parts)
    song = performance(parts, 330)
    whole = voice.sing(song).samples
    assert whole.shape == (1, 330 * 512)
    assert whole.std() > 1e-3
    assert np.array_equal(voice.sing(song).samples, whole)
    monkeypatch.setattr("voices.engine.synthesis.CHUNK_FRAMES", 150)
    assert np.abs(voice.sing(song).samples - whole).max() < 1e-4


def test_the_source_reaches_the_sound(tmp_path):
    """Another pitch is another sound, whatever the mel."""
    for config in (VOCODER_CONFIG, MINI_VOCODER_CONFIG):
        folder = write_part(tmp_path / "nsf", config, vocoder_tensors(config))
        vocoder = NsfHifigan.load(folder)
        mel = torch.zeros(1, 40, 128) - 3
        still = torch.zeros(1, 40)

        def sound(hz, vocoder=vocoder, mel=mel, still=still):
            f0_hz = np.full(40, hz, dtype=np.float32)
            cycles = vocoder.source(f0_hz, np.ones(40, dtype=bool))
            noises = torch.zeros(2, 1, 40 * 512)
            cycles = torch.from_numpy(cycles)[None]
            return vocoder(mel, still, still, cycles, noises)

        low, high = sound(100.0), sound(200.0)
        assert low.shape == (2, 1, 40 * 512)
        assert torch.equal(low[0], low[1])
        assert (low - high).abs().max() > 1e-3


def test_a_voice_that_moves_leaves_the_others_their_vocoder(vocoder_folder):
    parts = Parts.load(None, vocoder_folder)
    moved = voice_of(parts).to(torch.device("meta"))
    assert {p.device.type for p in moved.vocoder.parameters()} == {"meta"}
    assert {p.device.type for p in parts.vocoder.parameters()} == {"cpu"}


def test_bands_the_takes_do_not_reach_are_silent_to_the_vocoder(vocoder_folder):
    vocoder = NsfHifigan.load(vocoder_folder)
    still = torch.zeros(1, 20)
    cycles = torch.from_numpy(vocoder.source(np.full(20, 150.0), still[0].numpy()))
    run = partial(vocoder, octaves=still, voiced=still, cycles=cycles[None])
    mel = torch.full((1, 20, 128), -4.0)
    louder = mel.clone()
    louder[:, :, vocoder.mel_centres_hz() > 8000] = 2.0
    noises = torch.zeros(1, 1, 20 * 512)
    below = run(mel, noises=noises, bandwidth_hz=8000.0)
    assert torch.equal(run(louder, noises=noises, bandwidth_hz=8000.0), below)
    assert not torch.equal(run(louder, noises=noises), run(mel, noises=noises))


# --- what is refused


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model_type": "bert"}, "model_type is bert"),
        ({"conv_stride": [5, 2, 2, 2, 2, 2, 1]}, "every 10 ms, not every 20"),
        ({"conv_kernel": [10, 3]}, "lists differ in length"),
        ({"feat_extract_norm": "batch"}, "feat_extract_norm is batch"),
        ({"hidden_act": "relu"}, "activation is not gelu"),
        ({"num_attention_heads": 3}, "do not divide"),
        ({"layer": 4}, "layer 4 is asked for, it has 3"),
        ({"layer": 0}, "layer is 0 in config.json"),
        ({"hidden_size": "16"}, 'hidden_size is "16" in config.json'),
        ({"conv_dim": []}, "conv_dim is"),
        ({"conv_bias": 1}, "conv_bias is 1"),
        ({"hidden_size": None}, "lacks something.*hidden_size"),
        ({"hidden_size": 32}, "is .*, expected"),
        ({"num_hidden_layers": 4}, "disagree on encoder.transformer.layers.3"),
        ({"num_hidden_layers": 2}, "disagree on encoder.transformer.layers.2"),
        ({"model_type": "wavlm"}, "disagree on"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(tmp_path, changed, words):
    config = {k: v for k, v in (ENCODER_CONFIG | changed).items() if v is not None}
    folder = write_part(tmp_path / "encoder", config, encoder_tensors())
    with pytest.raises(CheckpointError, match=words):
        SpeechEncoder.load(folder)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sampling_rate": 24_000}, "works at 24000 Hz with a hop of 512"),
        ({"hop_size": 256}, "with a hop of 256"),
        ({"upsample_rates": [8, 8, 2, 2, 4]}, "do not multiply to its hop_size"),
        ({"win_size": 1024}, "win_size is not its n_fft"),
        ({"fmax": 30_000}, "from 40 to 30000 Hz"),
        ({"upsample_kernel_sizes": [16, 16, 4, 4, 3]}, "upsample_kernel_sizes do not"),
        ({"upsample_kernel_sizes": [16, 16, 4, 4]}, "upsample_kernel_sizes do not"),
        ({"upsample_initial_channel": 33}, "cannot be halved"),
        ({"resblock": "3"}, "resblock is 3"),
        ({"resblock_kernel_sizes": [3]}, "resblock_kernel_sizes do not go"),
        ({"mini_nsf": True, "noise_sigma": 0.1}, "noise_sigma is not 0"),
        ({"fmin": float("nan")}, "fmin is NaN"),
        ({"num_mels": 80}, "conv_pre.weight of model.safetensors is"),
        ({"mini_nsf": True}, "disagree on m_source"),
        ({"num_mels": None}, "lacks something.*num_mels"),
    ],
)
def test_a_vocoder_that_does_not_fit_is_refused(tmp_path, changed, words):
    config = {k: v for k, v in (VOCODER_CONFIG | changed).items() if v is not None}
    folder = write_part(tmp_path / "nsf", config, vocoder_tensors())
    with pytest.raises(CheckpointError, match=words):
        NsfHifigan.load(folder)


def test_weights_that_are_not_numbers_or_half_there_are_refused(tmp_path):
    tensors = vocoder_tensors()
    tensors["conv_post.bias"].fill_(float("nan"))
    folder = write_part(tmp_path / "nan", VOCODER_CONFIG, tensors)
    with pytest.raises(CheckpointError, match=r"conv_post\.bias .* not numbers"):
        NsfHifigan.load(folder)
    tensors = vocoder_tensors()
    del tensors["ups.1.weight_v"]
    folder = write_part(tmp_path / "half", VOCODER_CONFIG, tensors)
    with pytest.raises(CheckpointError, match=r"lacks ups\.1\.weight_v"):
        NsfHifigan.load(folder)


@pytest.mark.parametrize("load", [SpeechEncoder.load, NsfHifigan.load])
def test_a_folder_without_its_files_is_refused(tmp_path, load):
    with pytest.raises(CheckpointError, match="there is nothing at"):
        load(tmp_path / "absent")
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(CheckpointError, match=r"holds no \.safetensors file"):
        load(folder)
    (folder / "model.safetensors").write_bytes(b"\x80\x04 no tensors")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        load(folder)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="holds no object"):
        load(folder)
    (folder / "other.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"2 \.safetensors files: name the one"):
        load(folder)


def test_a_damaged_file_is_refused_and_a_named_one_opened(vocoder_folder):
    good = vocoder_folder / "model.safetensors"
    (vocoder_folder / "other.safetensors").write_bytes(b"\x80\x04 no tensors")
    assert NsfHifigan.load(good).part.kind == "nsf-hifigan"
    with pytest.raises(CheckpointError, match=r"other\.safetensors cannot be read"):
        NsfHifigan.load(vocoder_folder / "other.safetensors")


def test_weights_without_a_licence_note_are_refused(tmp_path):
    config, tensors = VOCODER_CONFIG, vocoder_tensors()
    folder = write_part(tmp_path / "none", config, tensors, licence=None)
    with pytest.raises(CheckpointError, match="says nothing about a licence"):
        NsfHifigan.load(folder)
    (folder / "LICENSE.txt").write_text("  \n")
    with pytest.raises(CheckpointError, match="says nothing about a licence"):
        NsfHifigan.load(folder)
    (folder / "LICENSE.txt").write_text("CC BY-NC-SA 4.0\n")
    assert NsfHifigan.load(folder).part.licence == "CC BY-NC-SA 4.0"
    named = config | {"license": "MIT"}
    folder = write_part(tmp_path / "named", named, tensors, licence=None)
    assert NsfHifigan.load(folder).part.licence == "MIT"


# --- pickles


class RunsAProgram:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["model", "model.ckpt", "pytorch_model.bin"])
def test_a_pickle_is_never_opened(tmp_path, name):
    trap = tmp_path / "it ran"
    folder = tmp_path / "part"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(VOCODER_CONFIG))
    (folder / "LICENSE").write_text("MIT")
    (folder / name).write_bytes(pickle.dumps(RunsAProgram(trap)))
    for path in (folder, folder / name):
        with pytest.raises(CheckpointError, match=r"manage\.py convert_weights"):
            NsfHifigan.load(path)
    (folder / name).rename(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        NsfHifigan.load(folder)
    with pytest.raises(CheckpointError):
        LocalVoice.load(folder / "model.safetensors")
    assert not trap.exists()


def test_converting_does_not_run_what_a_pickle_asks_for(tmp_path):
    trap = tmp_path / "it ran"
    for index, content in enumerate(
        [
            RunsAProgram(trap),
            {"generator": {"a": torch.zeros(1)}, "args": RunsAProgram(trap)},
        ]
    ):
        source = tmp_path / f"{index}.ckpt"
        torch.save(content, source)
        with pytest.raises(CheckpointError, match="no plain file of weights"):
            convert_weights(source, tmp_path / "out.safetensors")
    assert not trap.exists()
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda tensors: {"generator": tensors},
        lambda tensors: tensors,
        lambda tensors: {
            "epoch": 3,
            "state_dict": {f"generator.{k}": v for k, v in tensors.items()}
            | {"discriminator.weight": torch.zeros(3)},
        },
    ],
    ids=["exported", "plain", "as trained"],
)
def test_a_converted_pickle_is_the_vocoder_it_was(tmp_path, vocoder_folder, wrapped):
    source = tmp_path / "model.ckpt"
    torch.save(wrapped(vocoder_tensors()), source)
    folder = write_part(tmp_path / "converted", VOCODER_CONFIG, vocoder_tensors())
    (folder / "model.safetensors").unlink()
    count = convert_weights(source, folder / "model.safetensors")
    assert count == len(vocoder_tensors())
    converted = NsfHifigan.load(folder).state_dict()
    for name, tensor in NsfHifigan.load(vocoder_folder).state_dict().items():
        assert torch.equal(converted[name], tensor), name


@pytest.mark.parametrize("content", [b"", b"not a pickle", None])
def test_what_is_no_weights_is_not_converted(tmp_path, content):
    source = tmp_path / "model.ckpt"
    if content is None:
        torch.save([1, 2, 3], source)
    else:
        source.write_bytes(content)
    with pytest.raises(CheckpointError):
        convert_weights(source, tmp_path / "out.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        convert_weights(tmp_path / "absent.ckpt", tmp_path / "out.safetensors")


# --- voices made with them


def nothing(progress):
    pass


@pytest.fixture(scope="module")
def takes(speech_dir):
    return [read_audio(speech_dir / "en" / clip) for clip in CLIPS]


def small(**changed):
    return tiny_config(engine=SMALL, from_base=False, **changed)


def test_a_voice_is_trained_with_them_named_in_it_and_sings(parts, takes, tmp_path):
    told, samples = [], []
    path = train(
        takes,
        tmp_path / "work",
        config=small(),
        seed=0,
        on_progress=told.append,
        on_sample=samples.append,
        parts=parts,
    )
    assert samples[-1].samples.any()
    assert {progress.stage for progress in told} == {"listening", "acoustic"}
    assert told[-1].fraction == 1.0
    stored = load_tensors(path, "voice", "1")
    assert stored.details["needs"] == {
        "encoder": {
            "kind": "hubert",
            "sha256": parts.encoder.part.sha256,
            "shape": parts.encoder.part.shape,
            "licence": "MIT License",
        },
        "vocoder": {
            "kind": "nsf-hifigan",
            "sha256": parts.vocoder.part.sha256,
            "shape": parts.vocoder.part.shape,
            "licence": "MIT License",
        },
    }
    # The operator's weights stay where they are.
    assert not [name for name in stored.tensors if name.startswith("vocoder.")]
    voice = LocalVoice.load(path, parts)
    assert voice.summary["steps"] == {"acoustic": 6}
    sung = voice.sing(extract(takes[0], encoder=voice.encoder))
    assert sung.samples.any()
    # And is trained no second time, but is by other parts.
    again = train(
        takes,
        tmp_path / "work",
        config=small(),
        seed=0,
        on_progress=nothing,
        parts=parts,
    )
    assert again == path
    assert load_tensors(again, "voice", "1").details == stored.details
    train(takes, tmp_path / "work", config=small(), seed=0, on_progress=nothing)
    assert VoiceModel.load(path).needs == SHIPPED.needs


def test_the_acoustic_model_learns_the_vocoders_mel_and_the_encoders_content(
    parts, takes, tmp_path
):
    corpus = prepare(
        takes,
        tmp_path / CORPUS_FILE,
        seed=0,
        minimum_s=1.0,
        on_progress=nothing,
        parts=parts,
    )
    samples = corpus.samples[: corpus.n_plain * 512].astype(np.float32) / 8192
    mel = parts.vocoder.mel(samples)[4:100]
    loud = mel > -5.5  # where the 16 bits that samples are kept in do not matter
    assert loud.mean() > 0.1
    assert corpus.mel[4:100][loud] == pytest.approx(mel[loud], abs=0.05)
    assert corpus.content.shape == (corpus.n_frames, 16)


def test_a_voice_is_refused_where_a_part_it_needs_is_missing(
    parts, encoder_folder, vocoder_folder, tmp_path
):
    path = tmp_path / "voice.safetensors"
    voice_of(parts).save(path)
    assert LocalVoice.load(path, parts).encoder is parts.encoder
    hubert = r"this voice was made with the content encoder hubert \(SHA-256 \w{12}\)"
    for others, words in [
        (SHIPPED, f"{hubert}, and the chosen one is whisper-tiny.en"),
        (Parts.load(None, vocoder_folder), f"{hubert}.*OWNVOICE_CONTENT_ENCODER"),
        (
            Parts.load(encoder_folder, None),
            "the vocoder nsf-hifigan .* none is chosen here.*OWNVOICE_VOCODER",
        ),
    ]:
        with pytest.raises(CheckpointError, match=words):
            LocalVoice.load(path, others)

    other = write_part(tmp_path / "b", ENCODER_CONFIG, encoder_tensors(seed=1))
    with pytest.raises(CheckpointError, match="chosen one is hubert"):
        LocalVoice.load(path, Parts.load(other, vocoder_folder))
    layer = write_part(tmp_path / "c", ENCODER_CONFIG | {"layer": 2}, encoder_tensors())
    with pytest.raises(CheckpointError, match="same weights are set up otherwise"):
        LocalVoice.load(path, Parts.load(layer, vocoder_folder))
    # The licence's wording is no reason.
    (encoder_folder / "LICENSE").write_text("MIT, as its makers say")
    LocalVoice.load(path, Parts.load(encoder_folder, vocoder_folder))


def test_what_ships_still_sings_where_something_else_is_chosen(parts, tmp_path):
    path = tmp_path / "voice.safetensors"
    voice_of(SHIPPED).save(path)
    stored = load_tensors(path, "voice", "1")
    song = performance(SHIPPED)
    before = LocalVoice.load(path).sing(song).samples
    assert np.array_equal(LocalVoice.load(path, parts).sing(song).samples, before)
    # As do voices from before there was a choice.
    del stored.details["needs"]
    write_tensors(path, "voice", "1", stored.tensors, stored.details)
    assert np.array_equal(LocalVoice.load(path, parts).sing(song).samples, before)


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ({}, "list of parts is damaged"),
        ({"encoder": {"kind": "hubert"}, "vocoder": None}, "list of parts is damaged"),
        ("hubert", "list of parts is damaged"),
    ],
)
def test_a_checkpoint_whose_needs_are_damaged_is_refused(tmp_path, needs, words):
    path = tmp_path / "voice.safetensors"
    voice_of(SHIPPED).save(path)
    stored = load_tensors(path, "voice", "1")
    write_tensors(path, "voice", "1", stored.tensors, stored.details | {"needs": needs})
    with pytest.raises(CheckpointError, match=words):
        LocalVoice.load(path)


def test_a_checkpoint_whose_shapes_are_not_its_vocoders_is_refused(parts, tmp_path):
    path = tmp_path / "voice.safetensors"
    voice_of(parts).save(path)
    stored = load_tensors(path, "voice", "1")
    for changed in (
        {"vocoder": SMALL.to_json()["vocoder"]},
        {"acoustic": stored.details["config"]["acoustic"] | {"n_mels": 80}},
    ):
        details = stored.details | {"config": stored.details["config"] | changed}
        write_tensors(path, "voice", "1", stored.tensors, details)
        with pytest.raises(CheckpointError, match="is not its vocoder's"):
            LocalVoice.load(path, parts)


def test_content_another_encoder_heard_is_refused_though_it_is_as_wide(parts):
    voice = LocalVoice(voice_of(parts), parts)
    assert voice.sing(performance(parts)).samples.any()
    other = replace(parts.encoder.part, sha256="0" * 64)
    with pytest.raises(
        AudioError, match=r"heard by hubert .* trained on that of hubert"
    ):
        voice.sing(performance(parts, encoder=other))
    with pytest.raises(AudioError, match="heard by whisper"):
        voice.sing(performance(parts, encoder=WHISPER))


# --- base weights


def test_training_does_not_start_from_base_weights_of_other_parts(
    parts, encoder_folder, vocoder_folder, takes, tmp_path
):
    for some in (
        parts,
        Parts.load(encoder_folder, None, bases=tmp_path / "base"),
        Parts.load(None, vocoder_folder, bases=tmp_path / "base"),
    ):
        with pytest.raises(CheckpointError, match="train_base --speech FOLDER"):
            load_base(parts=some)
        with pytest.raises(CheckpointError, match="train_base --speech FOLDER"):
            load_base(BASE_PATH, some)
    said = []
    with pytest.raises(CheckpointError, match="train_base"):
        train(
            takes, tmp_path, config=tiny_config(), seed=0, on_progress=said.append,
            parts=parts,
        )  # fmt: skip
    assert said == []


def test_base_weights_made_with_them_are_where_their_voices_start(
    parts, real_voice_dir, takes, tmp_path
):
    assert parts.base_path != BASE_PATH
    out = train_base(
        read_folder(real_voice_dir / "librispeech")[:4],
        parts.base_path,
        tmp_path,
        config=base_config(acoustic_steps=1, vocoder_steps=1),
        seed=0,
        on_progress=nothing,
        parts=parts,
    )
    base = load_base(parts=parts)
    assert base.needs == parts.needs
    assert base.config.acoustic.content_dim == 16
    assert out == parts.base_path
    path = train(
        takes,
        tmp_path / "work",
        config=tiny_config(acoustic_steps=1),
        seed=0,
        on_progress=nothing,
        parts=parts,
    )
    assert VoiceModel.load(path, parts).needs == parts.needs
    with pytest.raises(CheckpointError, match="made with the content encoder hubert"):
        load_base(out)
