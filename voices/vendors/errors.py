"""What can go wrong at a vendor, told to whoever waits for it.

A failure is permanent when asking again changes nothing, and transient when it may
well work later. Of a transient one it is known whether the vendor may have done the
work all the same: then asking again could make or bill it twice.
"""

from __future__ import annotations

from enum import Enum


class Failure(Enum):
    """One way to fail; its value is what the person is told, the vendor named in it."""

    BAD_KEY = (
        "{vendor} does not accept this site's key. Whoever runs this site has to "
        "correct it."
    )
    FORBIDDEN = (
        "{vendor} does not let this site's account do this. Whoever runs this site "
        "has to look into it."
    )
    NO_CREDIT = (
        "This site's account at {vendor} has no credit left. Try again when it is "
        "topped up, or use the engine on this site."
    )
    PLAN = (
        "This site's plan at {vendor} does not include this. Whoever runs this site "
        "has to change the plan, or you use the engine on this site."
    )
    VOICE_LIMIT = (
        "This site's account at {vendor} holds as many voices as it may. Delete one "
        "you no longer need, or use the engine on this site."
    )
    FILE_REFUSED = (
        "{vendor} cannot use the recordings that were sent. Record some takes again, "
        "or use the engine on this site."
    )
    DUPLICATE_FILE = (
        "{vendor} says that it was sent the same recording twice. Delete the take that "
        "is there twice and try again."
    )
    MODERATED = (
        "{vendor} refused this because of its rules on content. Change the words and "
        "try again."
    )
    VOICE_GONE = (
        "{vendor} no longer has this voice. Train it again: your recordings are all "
        "here."
    )
    TOO_LONG = (
        "{vendor} takes no piece as long as this. Break the longest line in two and "
        "try again."
    )
    NOT_FOUND = (
        "{vendor} does not know what it was asked for. Tell us if it keeps happening."
    )
    INVALID = (
        "{vendor} did not understand what this site asked for. Tell us if it keeps "
        "happening."
    )
    CONFLICT = (
        "{vendor} is busy with something else about this voice. Try again in a minute."
    )
    BUSY = "{vendor} has too much to do just now. Try again in a few minutes."
    CONCURRENCY = (
        "{vendor} is working on as much for this site as it may at once. Try again in "
        "a few minutes."
    )
    BROKEN = "{vendor} has trouble of its own just now. Try again in a few minutes."
    UNREACHABLE = "{vendor} cannot be reached just now. Try again in a few minutes."
    SILENT = "{vendor} did not answer in time. Try again in a few minutes."
    CUT = "The connection to {vendor} broke off half-way. Try again in a few minutes."
    TRUNCATED = "{vendor} sent less sound than it should. Try again in a few minutes."
    WRONG_RATE = (
        "{vendor} sent sound at another rate than was asked for. Tell us if it keeps "
        "happening."
    )
    UNREADABLE = (
        "{vendor} sent an answer that cannot be read. Try again in a few minutes."
    )


#: Those that may well work later.
TRANSIENT = frozenset(
    {
        Failure.CONFLICT,
        Failure.BUSY,
        Failure.CONCURRENCY,
        Failure.BROKEN,
        Failure.UNREACHABLE,
        Failure.SILENT,
        Failure.CUT,
        Failure.TRUNCATED,
        Failure.UNREADABLE,
    }
)
#: Those after which nobody here knows whether the vendor did the work.
UNSETTLED = frozenset(
    {Failure.SILENT, Failure.CUT, Failure.TRUNCATED, Failure.UNREADABLE}
)


class VendorError(Exception):
    """The vendor did not do it; the message tells the person what to do.

    `failure` is what kind of failure it was, `request_id` what the vendor calls the
    request, `retry_after_s` when it said to come back, in seconds.
    """

    def __init__(
        self,
        failure: Failure,
        vendor: str,
        *,
        request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(failure.value.format(vendor=vendor))
        self.failure = failure
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class PermanentVendorError(VendorError):
    """Asking again changes nothing."""


class TransientVendorError(VendorError):
    """It may well work later."""

    @property
    def may_have_happened(self) -> bool:
        """Whether the vendor may have done, and billed, it all the same."""
        return self.failure in UNSETTLED


def vendor_error(
    failure: Failure,
    vendor: str,
    *,
    request_id: str = "",
    retry_after_s: float | None = None,
) -> VendorError:
    """The error of this failure, of the class that says whether it may pass."""
    kind = TransientVendorError if failure in TRANSIENT else PermanentVendorError
    return kind(failure, vendor, request_id=request_id, retry_after_s=retry_after_s)
