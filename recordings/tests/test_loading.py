from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command

from recordings.models import Prompt, Script
from recordings.progress import ENOUGH_FOR_A_FIRST_VOICE
from recordings.seeding import seed_script
from voiceplatform.testing.factories import make_session

pytestmark = pytest.mark.django_db


@pytest.fixture
def script():
    return seed_script()


def load(tmp_path, definition):
    path = tmp_path / "script.json"
    path.write_text(
        definition if isinstance(definition, str) else json.dumps(definition)
    )
    call_command("load_script", str(path), verbosity=0)


MINE = {"slug": "mine", "title": "Mine", "prompts": [{"text": "Hello there."}]}


def test_our_script_is_forty_prompts_of_about_four_minutes(script):
    prompts = list(script.prompts.to_voice())
    assert [prompt.position for prompt in prompts] == list(range(1, 41))
    assert 220 < sum(prompt.expected_s for prompt in prompts) < 270
    assert {prompt.kind for prompt in prompts} == set(Prompt.Kind.values) - {"consent"}
    consent = script.prompts.to_consent().get()
    assert consent.position == 0
    assert all(part in consent.text for part in ("{name}", "{date}", "{words}"))
    raps = [prompt for prompt in prompts if prompt.kind == "rap"]
    assert [prompt.click_bpm for prompt in raps] == [84, 84]


def test_the_first_twelve_make_a_first_voice(script):
    from generation.music.g2p import CONSONANTS, pronounce_lines
    from voices.training import MIN_SPEECH_S

    prompts = list(script.prompts.to_voice())
    first = prompts[:ENOUGH_FOR_A_FIRST_VOICE]

    def phones(some):
        words = pronounce_lines([prompt.text for prompt in some])
        return {phone.symbol for line in words for w in line for phone in w.phones}

    assert phones(first) == phones(prompts)
    assert phones(first) >= CONSONANTS
    assert sum(prompt.expected_s for prompt in first) > 1.4 * MIN_SPEECH_S
    assert {"scale", "siren", "rap", "whisper", "shout"} <= {p.kind for p in first}


def test_seeding_again_changes_nothing(script):
    before = list(Prompt.objects.values())
    seed_script()
    assert list(Prompt.objects.values()) == before


def test_another_script_can_be_loaded(tmp_path, script):
    load(tmp_path, MINE)
    loaded = Script.objects.get(slug="mine")
    assert loaded.is_active
    prompt = loaded.prompts.to_voice().get()
    assert (prompt.text, prompt.kind, prompt.expected_s) == (
        "Hello there.",
        "sentence",
        6.0,
    )
    assert Script.objects.count() == 2


def test_a_script_nobody_recorded_may_change(tmp_path):
    load(tmp_path, MINE)
    load(tmp_path, MINE | {"prompts": [{"text": "One."}, {"text": "Two."}]})
    texts = Script.objects.get().prompts.to_voice().values_list("text", flat=True)
    assert list(texts) == ["One.", "Two."]


def test_a_recorded_script_keeps_its_prompts(tmp_path, owner):
    load(tmp_path, MINE)
    make_session(owner, script=Script.objects.get())
    load(tmp_path, MINE)
    with pytest.raises(CommandError, match="another slug"):
        load(tmp_path, MINE | {"prompts": [{"text": "Other words."}]})
    assert Prompt.objects.to_voice().get().text == "Hello there."


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("{", "no JSON"),
        ("[]", "expected an object"),
        (MINE | {"slug": "not a slug"}, "no slug"),
        (MINE | {"slug": None}, "no slug"),
        (MINE | {"title": ""}, "title"),
        (MINE | {"prompts": []}, "1 to 500 prompts"),
        (MINE | {"prompts": ["words"]}, "prompt 1 is no object"),
        (MINE | {"prompts": [{"text": " "}]}, "prompt 1 has no text"),
        (MINE | {"prompts": [{"text": "a", "kind": "song"}]}, "no known kind"),
        (MINE | {"prompts": [{"text": "a", "expected_s": 0}]}, "more than 0"),
        (MINE | {"prompts": [{"text": "a", "expected_s": True}]}, "more than 0"),
        (MINE | {"prompts": [{"text": "a", "expected_s": 500}]}, "at most 120"),
        (MINE | {"prompts": [{"text": "a", "click_bpm": 999}]}, "clicks a minute"),
        (MINE | {"prompts": [{"text": "a", "instruction": "x" * 201}]}, "instruction"),
        (MINE | {"prompts": [{"text": "a", "file": "x"}]}, "unknown fields: file"),
    ],
)
def test_a_script_that_is_wrong_says_where(tmp_path, definition, message):
    with pytest.raises(CommandError, match=message):
        load(tmp_path, definition)
    assert not Script.objects.exists()


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(CommandError, match="cannot read"):
        call_command("load_script", "/nowhere.json")
