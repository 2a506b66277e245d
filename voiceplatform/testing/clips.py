"""What the English speaker of the tests' speech says in some of the clips."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date as Date
from pathlib import Path

import numpy as np

from voiceplatform.audio.files import read_audio
from voiceplatform.audio.waveform import Waveform

#: By name of the clip (en/NAME.wav), about four minutes together.
WORDS = {
    "demo-congrats": (
        "Congratulations. You have successfully installed and executed the Asterisk "
        "open source PBX. You have also installed a set of sample sounds and "
        "configuration files that should help you get started. Like a normal PBX, you "
        "will navigate this demonstration by dialing digits. If you are using a "
        "console channel driver instead of a real phone, you can use the dial, "
        "answer, and hangup commands to simulate the actions of a standard telephone."
    ),
    "basic-pbx-ivr-main": (
        "Thank you for calling Super Awesome Company, Waldo's premier provider of "
        "perfect products. If you know your party's extension, you may dial it at any "
        "time. To establish a sales partnership, press one. To speak with a customer "
        "advocate, press two. For accounting and other receivables, press three. For "
        "a company directory, press four. For an operator, press zero."
    ),
    "demo-echotest": (
        "You are about to enter an echo test. In this mode, everything you say will "
        "be repeated back to you just as soon as it is received. The purpose of this "
        "test is to give you an audible sense of the latency between you and the "
        "machine that is running the echo test application. You may end the test by "
        "hanging up, or by pressing the pound key."
    ),
    "conf-adminmenu-18": (
        "Please press one to mute or unmute yourself, two to lock or unlock the "
        "conference, three to eject the last user, four or six to decrease or "
        "increase the conference volume, five to extend the conference, seven or nine "
        "to decrease or increase your volume, or eight for more options."
    ),
    "screen-callee-options": (
        "You have these options. Dial one, if you wish to immediately connect to the "
        "incoming call. Dial two, if you wish to send this caller to voicemail. Dial "
        "three, to send this caller to the torture menus. Dial four, to send this "
        "caller to a polite don't call menu."
    ),
    "conf-adminmenu-menu8": (
        "Press one to list users currently in the conference, two to kick all "
        "non-administrator users, three to mute or unmute all non-administrator "
        "users, four to record this conference, or eight to exit this menu and return "
        "to the conference."
    ),
    "vm-options": (
        "Press one to record your unavailable message. Press two to record your busy "
        "message. Press three to record your name. Press four to record your "
        "temporary greeting. Press five to change your password. Press star to return "
        "to the main menu."
    ),
    "demo-abouttotry": (
        "I am about to attempt an Inter-Asterisk Exchange connection to a "
        "demonstration server located at Digium. In order for this to work, you must "
        "already be connected to the internet. Please wait a moment while I attempt "
        "to make the connection."
    ),
    "demo-moreinfo": (
        "Asterisk is an open source, full featured PBX and IVR platform that runs on "
        "the Linux operating system. For more information, visit www.asterisk.org."
    ),
    "vm-msginstruct": (
        "To hear the next message, press six. To repeat this message, press five. To "
        "hear the previous message, press four. To delete or undelete this message, "
        "press seven. To quit voicemail, press pound."
    ),
    "dir-intro-fn": (
        "Welcome to the directory. Please enter the first three letters of your "
        "party's first name, using your touch tone keypad. Use the seven key for Q "
        "and the nine key for Z."
    ),
    "confbridge-mute-extended": (
        "To mute or unmute yourself. When you are muted, you cannot send audio to "
        "other participants. However, you will still hear audio from other unmuted "
        "participants."
    ),
    "demo-nogo": (
        "I'm afraid I was unable to create a connection to the Digium demonstration "
        "Asterisk server. You may find some helpful debugging information on the "
        "Asterisk console."
    ),
}

#: Letters of the phonetic alphabet make names and words of a challenge.
NAME = "Charlie Victor"
CHALLENGE_WORDS = ("hotel", "tango", "foxtrot")


def spoken_consent(folder: Path, words: Iterable[str], day: Date) -> Waveform:
    """The speaker saying these words (of the phonetic alphabet), NAME and the day.

    "Hotel tango foxtrot. Charlie Victor. Today is November twenty third, twenty
    twenty six." Said word by word, as the clips are.
    """
    tens, units = divmod(day.day, 10)
    if day.day <= 20 or units == 0:
        ordinal = [f"digits_h-{day.day}"]
    else:
        ordinal = [f"digits_{10 * tens}", f"digits_h-{units}"]
    names = [
        *(f"phonetic_{word[0]}_p" for word in words),
        *(f"phonetic_{part[0].lower()}_p" for part in NAME.split()),
        *("digits_today", "is", f"digits_mon-{day.month - 1}", *ordinal),
        *("digits_20", *_two_figures(day.year % 100)),
    ]
    return joined([read_audio(folder / f"{name}.wav") for name in names])


def joined(clips: Iterable[Waveform], pause_s: float = 0.06) -> Waveform:
    """Clips of one rate after each other, the silence around each cut off."""
    parts: list[np.ndarray] = []
    for clip in clips:
        rate_hz = clip.sample_rate_hz
        heard = np.flatnonzero(np.abs(clip.mono()) > 0.01)
        start = max(0, heard[0] - round(0.05 * rate_hz))
        end = heard[-1] + round(0.1 * rate_hz)
        parts += [
            clip.mono()[start:end],
            np.zeros(round(pause_s * rate_hz), np.float32),
        ]
    return Waveform(np.concatenate(parts)[np.newaxis], rate_hz)


def _two_figures(number: int) -> list[str]:
    tens, units = divmod(number, 10)
    if number <= 20 or units == 0:
        return [f"digits_{number}"]
    return [f"digits_{10 * tens}", f"digits_{units}"]
