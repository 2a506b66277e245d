"""What vendors cost, and the monthly limits on it.

Before a job sends anything that costs, it reserves the credits; afterwards it settles
what the vendor billed. Two jobs at once queue up at the vendor's account row, so that
both do not fit under a limit that only one of them fits under.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from .models import VendorAccount, VendorCharge
from .vendors import name_of
from .vendors.contract import Bill, Sent, Usage

#: Whatever the vendor did after a charge was made for it was reserved at most so long
#: before, however long it took and their clocks differ.
_RECENT = timedelta(hours=1)


class LimitReached(Exception):
    """There are not enough credits left this month; the message tells the person."""


def reserve(
    user: Any, vendor: str, *, job: str, key: str, credits: int
) -> VendorCharge:
    """Set the credits aside before the request that costs them. Raises LimitReached.

    `job` names the row the work is for, `key` this one request of it.
    """
    with transaction.atomic():
        VendorAccount.objects.get_or_create(vendor=vendor)
        VendorAccount.objects.select_for_update().get(vendor=vendor)
        if credits > left_for(user, vendor):
            raise LimitReached(
                f"Your share of {name_of(vendor)} for this month is used up. Go on "
                "next month, or use the engine on this site."
            )
        if credits > left_for_everybody(vendor):
            raise LimitReached(
                f"This site's share of {name_of(vendor)} for this month is used up. "
                "Go on next month, or use the engine on this site."
            )
        return VendorCharge.objects.create(
            user=user, vendor=vendor, job=job, key=key, credits=credits
        )


def settle(charge: VendorCharge, bill: Bill) -> None:
    """Note what it really cost."""
    VendorCharge.objects.filter(pk=charge.pk).update(
        credits=bill.credits, request_id=bill.request_id, is_settled=True
    )


def release(charge: VendorCharge) -> None:
    """Give the credits back: the vendor certainly did not do it."""
    VendorCharge.objects.filter(pk=charge.pk, is_settled=False).delete()


def earlier(key: str) -> list[VendorCharge]:
    """What was reserved or paid for this piece before, the latest first."""
    return list(VendorCharge.objects.filter(Q(key=key) | Q(key__startswith=f"{key}/")))


def sent(charge: VendorCharge) -> Sent:
    """The request it was for, as the vendor is asked about it again."""
    recent = VendorCharge.objects.filter(
        user=charge.user_id,
        vendor=charge.vendor,
        made_at__gte=charge.made_at - _RECENT,
    )
    known = recent.exclude(request_id="").values_list("request_id", flat=True)
    return Sent(charge.made_at, charge.request_id, frozenset(known))


def used_by(user: Any, vendor: str) -> int:
    """Credits this person has used or reserved this month."""
    return _sum(VendorCharge.objects.visible_to(user).filter(vendor=vendor))


def left_for(user: Any, vendor: str) -> int:
    return max(0, settings.VENDOR_CREDITS_PER_USER - used_by(user, vendor))


def left_for_everybody(vendor: str) -> int:
    used = _sum(VendorCharge.objects.filter(vendor=vendor))
    return max(0, settings.VENDOR_CREDITS - used)


def note_usage(vendor: str, usage: Usage) -> None:
    """Keep what the vendor says the account has left, for pages to tell."""
    VendorAccount.objects.update_or_create(
        vendor=vendor,
        defaults={
            "credits_left": usage.credits_left,
            "voices_left": usage.voices_left,
            "asked_at": timezone.now(),
        },
    )


def _sum(charges: Any) -> int:
    total = charges.this_month().aggregate(total=Sum("credits"))["total"]
    return int(total or 0)
