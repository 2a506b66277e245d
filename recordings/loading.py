"""Loading a script: what people are asked to say, from a JSON file.

    {
      "slug": "my-script",
      "title": "My script",
      "consent": "{words}. I am {name}, and today is {date}.",
      "prompts": [
        {"text": "Words to read aloud."},
        {"text": "Ah…", "kind": "siren", "instruction": "Slide up and down.",
         "expected_s": 12, "click_bpm": null}
      ]
    }

`consent` is what is said aloud before the script; without it, as above, the default.
Of a prompt only `text` is needed. `kind` is one of Prompt.Kind (sentence);
`expected_s` how long it takes (6), and a take may be three times as long; `click_bpm`
gives clicks in the headphones. Prompts are recorded in their order here, and the first
twelve should make a first voice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from .models import LONGEST_TAKE_S, Prompt, Script

SLOWEST_CLICK_BPM, FASTEST_CLICK_BPM = 30, 240
MOST_PROMPTS = 500
#: What is said before the script: words nobody knew before, first, as they are to be
#: said at once; then who, when, and that they agree.
SPOKEN_CONSENT = (
    "{words}. My name is {name}. Today is {date}, and Ownvoice may learn my voice."
)
SPOKEN_CONSENT_S = 12.0
_FIELDS = ("text", "kind", "instruction", "expected_s", "click_bpm")


class ScriptError(ValueError):
    """The script cannot be loaded; the message says where and why."""


@transaction.atomic
def load(definition: Mapping[str, Any]) -> Script:
    """Make the script, or bring it up to date. Loaded again it changes nothing.

    A script that somebody has recorded keeps its prompts, as those are what the takes
    are takes of: new prompts need a new slug. Raises ScriptError.
    """
    slug, title = definition.get("slug"), definition.get("title")
    if not isinstance(slug, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,50}", slug):
        raise ScriptError(f"{slug!r} is no slug: letters, digits and hyphens")
    if not isinstance(title, str) or not 0 < len(title) <= 120:
        raise ScriptError("the title must be of 1 to 120 characters")
    listed = definition.get("prompts")
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_PROMPTS:
        raise ScriptError(f"a script has 1 to {MOST_PROMPTS} prompts")
    consent = definition.get("consent", SPOKEN_CONSENT)
    if not isinstance(consent, str) or not all(
        part in consent for part in ("{name}", "{date}", "{words}")
    ):
        raise ScriptError("the spoken consent must hold {name}, {date} and {words}")
    prompts = [
        _prompt(position, prompt) for position, prompt in enumerate(listed, start=1)
    ]
    script, _ = Script.objects.select_for_update().update_or_create(
        slug=slug, defaults={"title": title}
    )
    put_consent_first(script, consent)
    stored = list(script.prompts.to_voice())
    if [_told(prompt) for prompt in stored] == [_told(prompt) for prompt in prompts]:
        return script
    if script.sessions.exists():
        raise ScriptError(
            f"“{script.title}” is being recorded, so its prompts cannot change: "
            "load the new ones under another slug"
        )
    script.prompts.to_voice().delete()
    for prompt in prompts:
        prompt.script = script
    Prompt.objects.bulk_create(prompts)
    return script


def put_consent_first(script: Script, text: str = SPOKEN_CONSENT) -> Prompt:
    """The script's spoken consent, made or reworded; what was said keeps its words."""
    prompt, _ = script.prompts.update_or_create(
        kind=Prompt.Kind.CONSENT,
        defaults={"text": text, "position": 0, "expected_s": SPOKEN_CONSENT_S},
    )
    return prompt


def _told(prompt: Prompt) -> tuple[Any, ...]:
    return (prompt.position, *(getattr(prompt, name) for name in _FIELDS))


def _prompt(position: int, told: Any) -> Prompt:
    where = f"prompt {position}"
    if not isinstance(told, Mapping):
        raise ScriptError(f"{where} is no object")
    if unknown := set(told) - set(_FIELDS):
        raise ScriptError(f"{where} has unknown fields: {', '.join(sorted(unknown))}")
    prompt = Prompt(position=position, **told)
    if not isinstance(prompt.text, str) or not prompt.text.strip():
        raise ScriptError(f"{where} has no text")
    if prompt.kind not in Prompt.Kind.values or prompt.kind == Prompt.Kind.CONSENT:
        raise ScriptError(f"{where} is of no known kind: {prompt.kind!r}")
    if not isinstance(prompt.instruction, str) or len(prompt.instruction) > 200:
        raise ScriptError(f"{where}: the instruction has at most 200 characters")
    if not _is_number(prompt.expected_s) or not 0 < prompt.expected_s <= LONGEST_TAKE_S:
        raise ScriptError(
            f"{where} must take more than 0 and at most {LONGEST_TAKE_S:.0f} seconds"
        )
    if prompt.click_bpm is not None and not (
        isinstance(prompt.click_bpm, int)
        and SLOWEST_CLICK_BPM <= prompt.click_bpm <= FASTEST_CLICK_BPM
    ):
        raise ScriptError(
            f"{where} must have {SLOWEST_CLICK_BPM} to {FASTEST_CLICK_BPM} clicks a "
            "minute, or none"
        )
    return prompt


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
