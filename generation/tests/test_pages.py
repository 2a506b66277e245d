"""The room of songs, as pages and as an API."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils.html import escape

from generation.models import Generation, Mixdown, Song
from generation.scoring import EXPRESSION, score_of
from generation.views import SONGS_A_PAGE
from voiceplatform.jobs import Status
from voiceplatform.testing.factories import (
    make_chain,
    make_generation,
    make_mixdown,
    make_song,
    make_tone,
    make_voice_model,
)
from voices.models import VoiceModel

LIST = reverse("generation:song_list")


@pytest.fixture
def page(client, owner):
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def song(owner):
    return make_song(owner)


def text(response) -> str:
    return " ".join(response.content.decode().split())


def url_of(song) -> str:
    return reverse("generation:song_detail", args=[song.pk])


def filled(song, **changes):
    """What the song's form sends."""
    fields = {
        name: getattr(song, name)
        for name in (
            *("title", "lyrics", "style", "tempo_bpm", "tonic", "mode", "melody"),
            *("beat", "vocal_gain_db", "beat_gain_db", *EXPRESSION),
        )
    }
    return fields | {"fx_chain": song.fx_chain_id or "", "action": "save"} | changes


# --- writing


def test_the_empty_room_says_what_to_do(page):
    assert "No songs yet" in text(page.get(LIST))


def test_a_song_begins_with_a_title(page, owner):
    response = page.post(LIST, {"title": "Home", "style": "rap"})
    song = Song.objects.get()
    assert (song.user, song.title, song.style) == (owner, "Home", "rap")
    assert response.headers["Location"] == url_of(song)
    assert "Write four lines" in text(page.get(url_of(song)))
    assert "Give your song a title." in text(page.post(LIST, {"style": "rap"}))


def test_the_lyrics_are_shown_in_syllables(page, song):
    shown = text(page.get(url_of(song)))
    score = score_of(song)
    assert f"{len(score.syllables)} syllables in 4 lines" in shown
    assert 'wa<span class="muted">·</span>ter' in shown
    assert 'class="melody-picture"' in shown


def test_saving_keeps_all_that_was_written(page, song, owner):
    chain = make_chain(owner)
    changes = {
        "title": "Coming home again",
        "lyrics": "One line\r\nand another",
        "tempo_bpm": "132.5",
        "tonic": "F#",
        "mode": "minor",
        "melody": "C4 D4 E4 F4 G4 A4",
        "beat": "trap",
        "fx_chain": chain.pk,
        "vocal_gain_db": "2.5",
        "beat_gain_db": "-9",
    }
    response = page.post(url_of(song), filled(song, **changes))
    assert response.headers["Location"] == url_of(song)
    song.refresh_from_db()
    assert song.lyrics == "One line\nand another"
    assert (song.tempo_bpm, song.tonic, song.mode) == (132.5, "F#", "minor")
    assert (song.melody, song.beat, song.fx_chain) == (
        "C4 D4 E4 F4 G4 A4",
        "trap",
        chain,
    )
    assert (song.vocal_gain_db, song.beat_gain_db) == (2.5, -9.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lyrics": ""}, "There are no lyrics yet. Write at least one line."),
        ({"lyrics": "la " * 6_667}, "These lyrics have 20,000 characters"),
        ({"lyrics": "?!? ..."}, "There is no word to sing in these lyrics."),
        ({"lyrics": "привет мир"}, "Line 1 has Cyrillic letters."),
        ({"tempo_bpm": "0"}, "Choose a tempo from 40 to 240 beats a minute."),
        ({"tempo_bpm": "999"}, "Choose a tempo from 40 to 240 beats a minute."),
        ({"tempo_bpm": "NaN"}, "Choose a tempo from 40 to 240 beats a minute."),
        ({"tempo_bpm": ""}, "Choose a tempo from 40 to 240 beats a minute."),
        ({"melody": "C4 H4 D4"}, "Line 1, note 2: “H4” is not a note."),
        ({"melody": "C4"}, "The melody has 1 note for"),
        ({"melody": "C4:999"}, "the length in “C4:999” is not one."),
        ({"title": " "}, "Give your song a title."),
        ({"beat": "nosuch"}, "Select a valid choice."),
        ({"vocal_gain_db": "99"}, "less than or equal to 12"),
        ({"fx_chain": "999999"}, "Select a valid choice."),
    ],
)
@pytest.mark.parametrize("action", ["save", "take"])
def test_bad_input_is_told_and_nothing_typed_is_lost(
    page, song, owner, action, changes, words
):
    model = make_voice_model(owner)
    before = Song.objects.values().get()
    data = filled(song, title="Typed title", melody="", action=action)
    data |= {"voice_model": model.pk} | changes
    response = page.post(url_of(song), data)
    assert response.status_code == 422
    shown = text(response)
    assert words in shown
    assert "What you typed is all here" in shown
    for name in ("title", "lyrics", "melody", "tempo_bpm"):
        typed = escape(" ".join(str(data[name]).split()))
        assert typed in shown, name
    assert Song.objects.values().get() == before
    assert not Generation.objects.exists()


def test_another_melody_is_suggested(page, song):
    first = score_of(song)
    data = filled(song, melody="C4 H4", action="suggest")
    response = page.post(url_of(song), data)
    assert response.headers["Location"] == url_of(song) + "#melody"
    song.refresh_from_db()
    assert (song.melody, song.melody_seed) == ("", 1)
    assert score_of(song).notes != first.notes


def test_syllables_follow_the_typing_and_save_nothing(page, song):
    url = reverse("generation:song_lines", args=[song.pk])
    answer = page.post(url, filled(song, lyrics="Water falls"), HTTP_HX_REQUEST="true")
    assert answer.status_code == 200
    shown = text(answer)
    assert "<html" not in shown
    assert "3 syllables in 1 line" in shown
    assert "Cyrillic" in text(page.post(url, filled(song, lyrics="привет")))
    assert page.post(url, {"tempo_bpm": "x"}).status_code == 200
    before = song.lyrics
    song.refresh_from_db()
    assert song.lyrics == before


# --- takes


def test_generating_asks_for_a_take_of_what_is_on_the_page(page, song, owner):
    model = make_voice_model(owner)
    data = filled(song, lyrics="Only this", action="take", voice_model=model.pk)
    response = page.post(url_of(song), data)
    take = Generation.objects.get()
    assert response.headers["Location"] == f"{url_of(song)}#take-{take.pk}"
    assert take.score["lines"] == ["Only this"]
    assert "Waiting for its turn" in text(page.get(url_of(song)))


def test_without_a_ready_voice_it_says_so(page, song, owner):
    shown = text(page.get(url_of(song)))
    assert "You have no voice that is ready yet." in shown
    response = page.post(url_of(song), filled(song, action="take", title="Kept"))
    assert response.status_code == 422
    song.refresh_from_db()
    assert song.title == "Kept"
    make_voice_model(owner, status=VoiceModel.Status.TRAINING)
    assert "Your voice is still in training." in text(page.get(url_of(song)))


def test_a_voice_deleted_meanwhile_is_told(page, song, owner):
    gone = make_voice_model(owner)
    make_voice_model(owner)
    pk = gone.pk
    gone.voice.delete()
    data = filled(song, action="take", voice_model=pk, title="Still here")
    response = page.post(url_of(song), data)
    assert response.status_code == 422
    shown = text(response)
    assert "This voice is not there any more" in shown
    assert 'value="Still here"' in shown
    assert not Generation.objects.exists()


def test_a_voice_of_somebody_else_cannot_sing(page, song, stranger):
    theirs = make_voice_model(stranger)
    data = filled(song, action="take", voice_model=theirs.pk)
    assert page.post(url_of(song), data).status_code == 422
    assert not Generation.objects.exists()


def test_a_take_in_progress_polls_until_it_ends(page, song, owner):
    take = make_generation(
        owner,
        song=song,
        status=Status.RUNNING,
        stage="Singing",
        fraction=0.6,
        seconds_left=34.0,
    )
    shown = text(page.get(url_of(song)))
    assert "Singing, 60 %, about 40 seconds left" in shown
    assert shown.count('hx-trigger="every 2s"') == 1
    url = reverse("generation:take_detail", args=[take.pk])
    assert page.get(url).headers["Location"] == f"{url_of(song)}#take-{take.pk}"
    partial = page.get(url, headers={"HX-Request": "true"})
    assert f'id="take-{take.pk}-progress"' in text(partial)
    assert "HX-Retarget" not in partial.headers

    Generation.objects.update(status=Status.FAILED, error="The disk is full.")
    ended = page.get(url, headers={"HX-Request": "true"})
    assert ended.headers["HX-Retarget"] == f"#take-{take.pk}"
    assert ended.headers["HX-Reselect"] == f"#take-{take.pk}"
    assert "The disk is full." in text(ended)
    assert "hx-trigger" not in text(ended)


def test_a_waiting_take_is_stopped(page, song, owner):
    take = make_generation(owner, song=song, status=Status.QUEUED)
    page.post(reverse("generation:take_stop", args=[take.pk]))
    assert "You stopped this take" in text(page.get(url_of(song)))
    finished = make_generation(owner, song=song)
    mix = make_mixdown(owner, generation=finished, status=Status.QUEUED)
    page.post(reverse("generation:mix_stop", args=[mix.pk]))
    mix.refresh_from_db()
    assert mix.status == Status.STOPPED


def test_a_finished_take_is_seen_heard_and_downloaded(page, song, owner):
    take = make_generation(owner, song=song)
    mix = make_mixdown(
        owner,
        generation=take,
        chain={"name": "Radio vocal", "steps": []},
        beat="boom-bap",
        loudness_lufs=-14.02,
        true_peak_dbtp=-1.3,
    )
    shown = text(page.get(url_of(song)))
    mix_url = reverse("generation:mix_audio", args=[mix.audio_id])
    vocal_url = reverse("generation:vocal_audio", args=[take.vocal_id])
    assert f'src="{mix_url}"' in shown
    assert f'href="{mix_url}?download"' in shown
    assert f'href="{vocal_url}?download"' in shown
    assert "Radio vocal" in shown
    assert "Boom bap" in shown
    assert "−14.0\u00a0LUFS" in response_text(page, song)
    assert shown.count("data-from=") == 4

    part = page.get(mix_url, headers={"Range": "bytes=0-3"})
    assert (part.status_code, b"".join(part)) == (206, b"RIFF")
    download = page.get(f"{vocal_url}?download")
    assert download.headers["Content-Disposition"] == (
        'attachment; filename="Coming home (dry).wav"'
    )
    assert len(b"".join(download)) == take.vocal.size


def response_text(page, song) -> str:
    return page.get(url_of(song)).content.decode()


def test_sounds_are_for_their_owner(client, page, owner, stranger, song):
    take = make_generation(owner, song=song)
    mix = make_mixdown(owner, generation=take)
    urls = [
        reverse("generation:vocal_audio", args=[take.vocal_id]),
        reverse("generation:mix_audio", args=[mix.audio_id]),
    ]
    client.force_login(stranger, backend="django.contrib.auth.backends.ModelBackend")
    for url in urls:
        assert client.get(url).status_code == 404
    client.logout()
    for url in urls:
        assert client.get(url).status_code == 302


def test_a_take_is_mixed_again_with_the_sound_on_the_page(page, song, owner):
    take = make_generation(
        owner, song=song, waveform=make_tone(2.0), score=score_of(song).to_json()
    )
    data = filled(song, lyrics="", beat="trap", action=f"mix:{take.pk}")
    response = page.post(url_of(song), data)
    assert response.headers["Location"] == f"{url_of(song)}#take-{take.pk}"
    assert Mixdown.objects.get().beat == "trap"
    theirs = filled(song, action="mix:999999")
    assert page.post(url_of(song), theirs).status_code == 404
    assert page.post(url_of(song), filled(song, action="mix:x")).status_code == 404


def test_deleting_a_take_and_a_song(page, song, owner):
    first = make_generation(owner, song=song)
    make_mixdown(owner, generation=first)
    second = make_generation(owner, song=song, voice_model=first.voice_model)
    shown = text(page.get(reverse("generation:take_delete", args=[second.pk])))
    assert "Delete take 2 of “Coming home”?" in shown
    page.post(reverse("generation:take_delete", args=[second.pk]))
    assert list(song.generations.all()) == [first]
    shown = text(page.get(reverse("generation:song_delete", args=[song.pk])))
    assert "<li>1 sung take</li><li>1 mix</li>" in shown
    response = page.post(reverse("generation:song_delete", args=[song.pk]))
    assert response.headers["Location"] == LIST
    assert not Song.objects.exists()
    assert VoiceModel.objects.count() == 1


# --- how much it asks, and how fast it is


@pytest.mark.parametrize("rows", [1, 3])
def test_the_list_asks_the_database_as_often_for_three(
    page, owner, rows, django_assert_num_queries
):
    for _ in range(rows):
        make_generation(owner)
    with django_assert_num_queries(4):  # session, person, songs counted, songs
        page.get(LIST)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_song_asks_the_database_as_often_for_three_takes(
    page, owner, song, rows, django_assert_num_queries
):
    for _ in range(rows):
        take = make_generation(owner, song=song)
        make_mixdown(owner, generation=take)
        make_chain(owner)
    page.get(url_of(song))
    # Session, person, song, takes, mixes, a voice in training?, voices, chains.
    with django_assert_num_queries(8):
        page.get(url_of(song))


def test_many_songs_come_in_pages(page, owner):
    for number in range(SONGS_A_PAGE + 1):
        make_song(owner, title=f"Song number {number}")
    make_generation(owner, song=Song.objects.last())
    first, second = text(page.get(LIST)), text(page.get(f"{LIST}?page=2"))
    assert f"1 to {SONGS_A_PAGE} of {SONGS_A_PAGE + 1}" in first
    assert "Song number 0<" not in first
    assert "Song number 0<" in second
    assert page.get(f"{LIST}?page=nonsense").status_code == 200


# --- the API


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(
    ("name", "queries"), [("song", 4), ("generation", 5), ("mixdown", 4)]
)
def test_lists_of_the_api_ask_as_often_for_three(
    page, owner, rows, name, queries, django_assert_num_queries
):
    for _ in range(rows):
        make_mixdown(owner, generation=make_generation(owner))
    with django_assert_num_queries(queries):
        answer = page.get(reverse(f"api:{name}-list")).json()
    assert answer["count"] == rows


def test_a_program_writes_a_song_and_asks_for_takes(page, owner):
    model = make_voice_model(owner)
    made = page.post(
        reverse("api:song-list"),
        {"title": "By program", "lyrics": "Hello there", "tempo_bpm": 90},
    )
    assert made.status_code == 201, made.json()
    song = made.json()
    assert (song["tempo_bpm"], song["style"], song["beat"]) == (90.0, "sing", "")
    takes = reverse("api:generation-list")
    asked = {"song": song["id"], "voice_model": model.pk, "seed": 5}
    take = page.post(takes, asked)
    assert take.status_code == 201, take.json()
    assert (take.json()["status"], take.json()["seed"]) == ("queued", 5)
    detail = reverse("api:generation-detail", args=[take.json()["id"]])
    assert page.get(detail).json()["vocal"] is None
    score = page.get(reverse("api:generation-score", args=[take.json()["id"]])).json()
    assert score["lines"] == ["Hello there"]
    stop = reverse("api:generation-stop", args=[take.json()["id"]])
    assert page.post(stop).json()["status"] == "stopped"
    changed = page.patch(
        reverse("api:song-detail", args=[song["id"]]),
        {"beat": "trap"},
        content_type="application/json",
    )
    assert changed.json()["beat"] == "trap"
    assert page.delete(detail).status_code == 204
    assert not Generation.objects.exists()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lyrics": ""}, "lyrics"),
        ({"lyrics": "x" * 20_000}, "lyrics"),
        ({"lyrics": "?!"}, "lyrics"),
        ({"tempo_bpm": 0}, "tempo_bpm"),
        ({"tempo_bpm": 999}, "tempo_bpm"),
        ({"tempo_bpm": "NaN"}, "tempo_bpm"),
        ({"melody": "H4"}, "melody"),
        ({"beat": "nosuch"}, "beat"),
        ({"fx_chain": 10**6}, "fx_chain"),
    ],
)
def test_a_program_is_told_what_is_wrong(page, owner, changes, field):
    data = {"title": "T", "lyrics": "Hello"} | changes
    answer = page.post(reverse("api:song-list"), data)
    assert answer.status_code == 400
    assert set(answer.json()) == {field}
    assert not Song.objects.exists()


def test_a_program_mixes_and_fetches_sound(page, owner, song):
    take = make_generation(owner, song=song)
    mixes = reverse("api:mixdown-list")
    made = page.post(mixes, {"generation": take.pk})
    assert (made.status_code, made.json()["status"]) == (201, "queued")
    done = make_mixdown(owner, generation=take)
    audio = page.get(reverse("api:mixdown-detail", args=[done.pk])).json()["audio"]
    sound = page.get(audio, headers={"Range": "bytes=0-3"})
    assert (sound.status_code, b"".join(sound)) == (206, b"RIFF")
    unfinished = make_generation(owner, song=song, status=Status.QUEUED)
    assert page.post(mixes, {"generation": unfinished.pk}).status_code == 400


def test_a_program_reaches_nothing_of_somebody_else(page, owner, stranger, song):
    theirs = make_generation(stranger)
    chain = make_chain(stranger)
    own = make_voice_model(owner)
    takes = reverse("api:generation-list")
    for data, field in (
        ({"song": theirs.song_id, "voice_model": own.pk}, "song"),
        ({"song": song.pk, "voice_model": theirs.voice_model_id}, "voice_model"),
    ):
        answer = page.post(takes, data)
        assert (answer.status_code, set(answer.json())) == (400, {field})
    answer = page.post(reverse("api:mixdown-list"), {"generation": theirs.pk})
    assert answer.status_code == 400
    data = {"title": "T", "lyrics": "Hello", "fx_chain": chain.pk}
    assert page.post(reverse("api:song-list"), data).status_code == 400
    assert Generation.objects.count() == 1
