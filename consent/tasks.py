"""What the queue and the clock call."""

from . import erasing, granting


def erase_grant(pk: int) -> None:
    granting.erase_grant(pk)
    erasing.erase_due()


def erase_due() -> None:
    """Every minute, and whenever something was deleted."""
    granting.erase_withdrawn()
    erasing.erase_due()


def sweep_files() -> None:
    """Every hour."""
    erasing.sweep_files()
