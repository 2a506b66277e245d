"""Which engine makes a voice, and why, in words the page shows.

A person may choose; where they have not, the site's setting counts; where that is
"auto", what is known of their takes, their consent and the costs decides. A choice
that cannot be had now says what stands in its way: nothing else is taken in its place
without being asked, least of all one that costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Sum

from consent.granting import open_grant
from consent.models import ConsentGrant, Scope
from recordings.models import Recording

from . import charging, machines, vendors
from .models import VendorAccount, VoiceModel
from .quality import GOOD_MINUTES, figures

AUTO, LOCAL = "auto", "local"
#: A line costs about this many credits; with less there is no song in it.
LEAST_CREDITS = 100


@dataclass(frozen=True)
class Choice:
    """`engine` is "local" or a vendor's slug; `reason` why it is this one.

    `obstacle`: why it cannot be used now and what to do; empty when it can.
    `needs_consent`: all it lacks is the person's yes to the vendor.
    """

    engine: str
    reason: str
    obstacle: str = ""
    needs_consent: bool = False

    @property
    def is_local(self) -> bool:
        return self.engine == LOCAL


class UnknownEngine(ValueError):
    """There is no such engine here."""


def options() -> list[tuple[str, str]]:
    """What a person may choose from: (name in forms, words)."""
    here = [(AUTO, "Automatic"), (LOCAL, "The engine on this site")]
    return here + [(slug, vendors.name_of(slug)) for slug in vendors.configured()]


def wanted_by(user: Any) -> str:
    """What the person chose, or else the site."""
    return user.voice_engine or settings.VOICE_ENGINE


def remember(user: Any, engine: str) -> None:
    """Keep what the person chose. Raises UnknownEngine."""
    if engine not in dict(options()):
        raise UnknownEngine("Choose one of the engines that are listed.")
    user.voice_engine = engine
    user.save(update_fields=["voice_engine"])


def choose(user: Any) -> Choice:
    """The engine for this person's next voice."""
    wanted = wanted_by(user)
    who = "You chose" if user.voice_engine else "This site is set to use"
    if wanted == AUTO:
        return _automatic(user)
    if wanted == LOCAL:
        return _here(f"{who} the engine on this site.")
    if wanted not in vendors.adapters():
        return Choice(
            wanted,
            f"{who} “{wanted}”.",
            "There is no such engine here any more. Choose another.",
        )
    obstacle = obstacle_to(user, wanted)
    return Choice(
        wanted,
        f"{who} {vendors.name_of(wanted)}.",
        obstacle,
        needs_consent=bool(obstacle) and _lacks_only_consent(user, wanted),
    )


def obstacle_to(user: Any, vendor: str) -> str:
    """Why this person cannot use the vendor now; empty if they can."""
    name = vendors.name_of(vendor)
    if obstacle := _obstacle_at(user, vendor):
        return obstacle
    if grant_to(user, vendor) is None:
        return f"You have not agreed that {name} may have your takes."
    return ""


def grant_to(user: Any, vendor: str) -> ConsentGrant | None:
    """The person's open yes to this vendor, to the words as they are now."""
    return open_grant(user, Scope.CLONE_VENDOR, vendor)


def _lacks_only_consent(user: Any, vendor: str) -> bool:
    return not _obstacle_at(user, vendor) and grant_to(user, vendor) is None


def _obstacle_at(user: Any, vendor: str) -> str:
    """What stands in the way at the vendor's end or the limits, consent apart."""
    name = vendors.name_of(vendor)
    if not vendors.is_configured(vendor):
        return f"This site has no account at {name}."
    if charging.left_for(user, vendor) < LEAST_CREDITS:
        return f"Your share of {name} for this month is used up."
    if charging.left_for_everybody(vendor) < LEAST_CREDITS:
        return f"This site's share of {name} for this month is used up."
    account = VendorAccount.objects.filter(vendor=vendor).first()
    if account and (account.credits_left or 0) < LEAST_CREDITS and account.asked_at:
        return f"This site's account at {name} has no credit left."
    if account and account.voices_left == 0:
        return f"This site's account at {name} has no room for another voice."
    return ""


def _automatic(user: Any) -> Choice:
    why_not = ""
    for vendor in vendors.configured():
        name = vendors.name_of(vendor)
        if obstacle := obstacle_to(user, vendor):
            why_not = why_not or obstacle
            continue
        minutes = _minutes_of_speech(user)
        if minutes < GOOD_MINUTES:
            return Choice(
                vendor,
                f"Automatic: {name}, because you have {minutes:.1f} minutes of speech. "
                f"The engine on this site wants {GOOD_MINUTES:.0f} for a full voice; "
                f"{name} makes do with one or two.",
            )
        if poor := _poor_figures(user):
            if not _learns_better_now(user):
                return Choice(
                    vendor,
                    f"Automatic: {name}, because the last voice that was made on this "
                    f"site is poor in {' and '.join(poor)}. "
                    f"{machines.in_words()}".rstrip(),
                )
            why_not = (
                f"Your last voice is poor in {' and '.join(poor)}, but was made on a "
                "processor alone. Another try here costs nothing."
            )
            continue
        why_not = (
            f"You have {minutes:.1f} minutes of speech, which is enough for it; your "
            "takes stay here and nothing is billed."
        )
    return _here(f"Automatic: the engine on this site. {why_not or _ONLY_ONE}")


def _here(reason: str) -> Choice:
    """The engine on this site, with what it has to learn on."""
    return Choice(LOCAL, f"{reason} {machines.in_words()}".rstrip())


_ONLY_ONE = "It is the only one here, and your takes go nowhere else."


def _minutes_of_speech(user: Any) -> float:
    takes = Recording.objects.visible_to(user).permitted().kept()
    speech_s = takes.aggregate(speech_s=Sum("speech_s", default=0.0))["speech_s"]
    return float(speech_s) / 60


def _poor_figures(user: Any) -> list[str]:
    """What the quality card of their latest voice made here says is poor."""
    latest = _latest_here(user)
    if latest is None:
        return []
    return [f.name.lower() for f in figures(latest.quality) if f.verdict == "poor"]


def _learns_better_now(user: Any) -> bool:
    """Whether their latest voice made here had no GPU, and one has come since.

    Where there was one already and a CPU made it all the same, some machines here have
    none: the next voice may be no better off.
    """
    latest = _latest_here(user)
    if latest is None or latest.quality.get("device") != machines.CPU:
        return False
    if machines.device_here() in ("", machines.CPU):
        return False
    since = machines.gpu_since()
    return since is None or latest.created_at < since


def _latest_here(user: Any) -> VoiceModel | None:
    local = VoiceModel.objects.visible_to(user).ready()
    return local.filter(engine=VoiceModel.Engine.LOCAL).first()
