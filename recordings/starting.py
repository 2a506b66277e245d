"""Beginning a session, going on with one, and verifying its microphone."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from consent import auditing
from consent.granting import ConsentNeeded, current_statement, require_open_grant
from consent.models import ConsentGrant

from .models import LiveTicket, Microphone, RecordingSession, Script
from .verification import device

#: What the microphone check measured, in the browser.
CHECKED = ("noise_floor_dbfs", "level_dbfs", "peak_dbfs", "clipped")


def begin(user: Any, script: Script, *, anew: bool = False) -> RecordingSession:
    """The person's session of this script: the one not finished yet, or a new one.

    `anew` finishes that one first; its takes stay. Asked twice at once, there is one.
    Raises ConsentNeeded.
    """
    with transaction.atomic():
        given = require_open_grant(user)
        # Two that come at once queue up here.
        grant = ConsentGrant.objects.select_for_update().get(pk=given.pk)
        unfinished = RecordingSession.objects.filter(
            grant=grant, script=script, finished_at=None
        )
        if anew:
            unfinished.update(finished_at=timezone.now())
        return unfinished.first() or RecordingSession.objects.create(
            grant=grant, script=script
        )


@dataclass(frozen=True)
class Verified:
    """What became of verifying an input for a session."""

    microphone: Microphone
    reasons: tuple[device.Reason, ...]

    @property
    def is_accepted(self) -> bool:
        return not self.refusals

    @property
    def refusals(self) -> list[device.Reason]:
        return [r for r in self.reasons if r.outcome is device.Outcome.REFUSE]

    @property
    def warnings(self) -> list[device.Reason]:
        return [r for r in self.reasons if r.outcome is device.Outcome.WARN]


@transaction.atomic
def verify_device(
    session: RecordingSession, report: device.DeviceReport, checked: Mapping[str, float]
) -> Verified:
    """Judge an input; accepted, it becomes the session's, which never changes it again.

    `checked` is what the microphone check measured in the browser (`CHECKED`). All of
    it is a claim of the client's: it keeps out ordinary virtual inputs and is kept as
    evidence, and the other layers hear what a lie lets through. What was refused for
    what it is stays refused, whatever it calls itself next. Raises ConsentNeeded.
    """
    user = session.grant.user
    # Withdrawing waits for us and then finds what we wrote, or we find it withdrawn;
    # and no take starts meanwhile (intake.start holds the grant too).
    grants = ConsentGrant.objects.standing().filter(pk=session.grant_id)
    if grants.select_for_update(of=("self",)).first() is None:
        raise ConsentNeeded(current_statement())
    session.refresh_from_db()
    digest = device_hash(user, report.device_id, report.label)
    earlier = Microphone.objects.filter(user=user, device_hash=digest).first()
    measured = device.inspect(report, allow_fake=settings.ALLOW_FAKE_MICROPHONES)
    reasons = device.judge(measured)
    findings = device.findings(measured, reasons)
    refused = any(reason.outcome is device.Outcome.REFUSE for reason in reasons)
    if earlier and not refused and _stays_refused(earlier, report.label):
        reasons, refused = [device.refusal("renamed")], True
        microphone, is_news = earlier, True
    else:
        is_news = earlier is None or earlier.findings != findings
        microphone, _ = Microphone.objects.update_or_create(
            user=user,
            device_hash=digest,
            defaults={
                "label": report.label,
                "settings": dict(report.settings),
                "findings": findings,
                "is_accepted": not refused,
            },
        )
    is_other = session.microphone_id != microphone.pk
    if not refused and is_other and _is_bound(session):
        reasons, refused = [device.refusal("device_changed"), *reasons], True
    if not refused:
        is_news |= is_other
        session.microphone = microphone
        session.check_report |= checked
        session.save(update_fields=["microphone", "check_report"])
    if is_news or refused:
        auditing.record(
            "device.refused" if refused else "device.verified",
            actor=user,
            subject=user,
            grant=session.grant_id,
            session=session.pk,
            device=digest,
            product=_found(microphone, "product"),
            reasons=[reason.code for reason in reasons],
            version=device.VERSION,
        )
    return Verified(microphone, tuple(reasons))


def device_hash(user: Any, device_id: str, label: str = "") -> str:
    """The browser's id of a device, told apart but not told: keyed, and per person.

    "default" is the id of a place, where another device may stand next time: there the
    name belongs to it.
    """
    message = f"{user.pseudonym} {device_id}"
    if device_id in device.PLACES or not device_id:
        message += f" {label}"
    key = settings.SECRET_KEY.encode()
    return hmac.new(key, message.encode(), hashlib.sha256).hexdigest()


def _is_bound(session: RecordingSession) -> bool:
    """Whether something was recorded with the session's microphone, or is being.

    Not by one that was never verified, as before there was verification.
    """
    State = LiveTicket.State
    its = session.microphone
    was_verified = its is not None and (its.is_accepted or bool(its.findings))
    return was_verified and (
        session.recordings.exists()
        or session.spoken_consents.accepted().exists()
        or session.tickets.filter(state=State.OPEN, started_at__isnull=False).exists()
    )


def _stays_refused(earlier: Microphone, label: str) -> bool:
    """It was refused for what its name gave away, and now has another name.

    Under the same name it is judged anew: the table of products may have been wrong.
    """
    was = {finding["name"]: finding for finding in earlier.findings}.get("kind", {})
    return (
        not earlier.is_accepted
        and earlier.label != label
        and was.get("value") in device.LASTING_KINDS
    )


def _found(microphone: Microphone, name: str) -> Any:
    values = {finding["name"]: finding["value"] for finding in microphone.findings}
    return values.get(name)
