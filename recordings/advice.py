"""What verification tells the person: what was found, what is kept, what to do."""

from __future__ import annotations

#: By the reason of the rule that decided. {heard} is what was understood.
ADVICE = {
    "heard_before": (
        "This recording was heard here before: sent twice, or played back from a "
        "loudspeaker. Say it anew, live."
    ),
    "not_live": (
        "This does not sound like a voice live at a microphone: more like a recording "
        "played back, or one made by a program. If it was you, switch off voice "
        "effects, speak straight into the microphone from a hand's width away, far "
        "from bare walls, and record it again."
    ),
    "doubtful": (
        "We could not tell for sure that this was spoken live, so a person will look "
        "at it. You need not wait: record it again closer to the microphone, or go on."
    ),
    "another_person": (
        "This does not sound like the person who spoke the consent of this session. "
        "Only they can be recorded in it."
    ),
    "unlike_you": (
        "This does not sound enough like your spoken consent. Speak as you did then, "
        "at the same distance from the microphone, with nobody else talking."
    ),
    "unlike_you_expressive": (
        "Your voice is hard to recognise in this one, so a person will look at it. "
        "You need not wait: go on, or record it again."
    ),
    "several_voices": (
        "It sounds as if two people speak in this one. Record it again alone, in one "
        "even voice, with nobody and no television talking in the room."
    ),
    "another_voice_than_before": (
        "This does not sound like the voice that spoke your earlier consent, so a "
        "person will look at it. If you have a cold or another microphone, try again "
        "with the one you used before."
    ),
    "no_voice": (
        "We could not make out a voice. Speak up, close to the microphone, and say all "
        "of it. You get new words when you try again."
    ),
    "spliced": (
        "There is a break in the sound, as if a piece were cut out or the computer had "
        "stumbled. Close what else is busy and record it again in one go."
    ),
    "cut_to_silence": (
        "The sound stops dead in places, as if pieces were cut out. Turn off noise "
        "gates, and record it again in one go."
    ),
    "no_low_end": (
        "The low notes of your voice are missing, as they are from small loudspeakers, "
        "so a person will look at it. You need not wait: turn off any low-cut switch, "
        "or use another microphone, and record it again."
    ),
    "other_words": "We heard: “{heard}”. Read the prompt as it stands.",
    "words_not_said": (
        "We heard: “{heard}”. Say the three words as soon as they are shown, clearly, "
        "then your name and the date. You get new words when you try again."
    ),
    "words_too_late": (
        "The three words came too late. Say them as soon as they are shown. You get "
        "new words when you try again."
    ),
    "name_not_said": (
        "We heard: “{heard}”. Say your full name as it is written, clearly. You get "
        "new words when you try again."
    ),
    "date_not_said": (
        "We heard: “{heard}”. Say today's date as it is written: day, month and year."
    ),
    "not_measured": (
        "Not everything could be checked in this take, so a person will look at it. "
        "You need not wait: record it again, or go on."
    ),
    "failed": (
        "Something went wrong on our side while we checked this take, and it was not "
        "kept. Record it again; your other takes are safe."
    ),
}

#: Remarks on takes that are kept.
NOTES = {
    "doubtful_expressive": "",
    "far_away": "You are far from the microphone: a hand's width makes a closer voice.",
    "reverberant": "The room echoes: curtains, a bed or a wardrobe swallow that.",
    "narrow_band": (
        "Your microphone sends telephone sound: without Bluetooth it would be clearer."
    ),
    "gated": "Something mutes your pauses: look for noise suppression and turn it off.",
    "coded": "",
    "background_changed": "",
}


def told(reason: str, *, heard: str = "") -> str:
    """The words for a reason. Raises KeyError for one nobody wrote words for."""
    return ADVICE[reason].format(heard=shortened(heard))


def shortened(heard: str, longest: int = 160) -> str:
    if not heard.strip():
        return "nothing"
    return heard if len(heard) <= longest else heard[: longest - 1].rstrip() + "…"
