"""Asking a vendor again, where that is safe, after a while."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from .errors import TransientVendorError

logger = logging.getLogger(__name__)

#: Tries in all, and the longest first and last waits between them.
ATTEMPTS = 4
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0

Answer = TypeVar("Answer")


def retried(ask: Callable[[], Answer], *, is_repeatable: bool) -> Answer:
    """The answer to `ask`, asked again after failures that may pass.

    Unless it `is_repeatable`, it is not asked again where the vendor may have done
    it. Waits grow and are drawn at random below their limit, so that those who were
    turned away together do not come back together ("full jitter": Brooker 2015,
    Exponential Backoff And Jitter), but last as long as the vendor asks for.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return ask()
        except TransientVendorError as error:
            if attempt == ATTEMPTS or (error.may_have_happened and not is_repeatable):
                raise
            wait_s = wait_before(attempt, error.retry_after_s)
            logger.info(
                "asking again after %s in %.2f s, request_id=%s",
                error.failure.name,
                wait_s,
                error.request_id or "-",
            )
            time.sleep(wait_s)
    raise AssertionError("unreachable")


def wait_before(attempt: int, retry_after_s: float | None) -> float:
    """Seconds to wait after this many tries."""
    drawn_s = random.uniform(
        0.0, min(FIRST_WAIT_S * 2 ** (attempt - 1), LONGEST_WAIT_S)
    )
    asked_s = min(retry_after_s or 0.0, LONGEST_WAIT_S)
    return asked_s + drawn_s
