"""Voice vendors. Each module here with a `connect` is one; a new file adds another.

This package knows no Django. It reads the environment, so that an adapter's settings
live in its own file.
"""

from __future__ import annotations

import os
import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType

from .contract import Vendor


class NotConfigured(LookupError):
    """This site has no account at the vendor (any more)."""


@cache
def adapters() -> dict[str, ModuleType]:
    """Every adapter's module, by the vendor's slug."""
    modules = [
        import_module(f"{__name__}.{found.name}")
        for found in pkgutil.iter_modules(__path__)
    ]
    return {module.SLUG: module for module in modules if hasattr(module, "connect")}


def name_of(slug: str) -> str:
    """What the vendor is called: its slug, if its adapter was taken out since."""
    adapter = adapters().get(slug)
    return str(adapter.NAME) if adapter else slug


def is_configured(slug: str) -> bool:
    """Whether this site has an account there. Asks nobody."""
    return slug in adapters() and adapters()[slug].is_configured(os.environ)


def configured() -> list[str]:
    """Slugs of the vendors this site has an account at."""
    return [slug for slug in sorted(adapters()) if is_configured(slug)]


def vendor(slug: str) -> Vendor:
    """The vendor, to be asked. Raises NotConfigured."""
    if not is_configured(slug):
        raise NotConfigured(f"this site has no account at “{slug}”")
    connected: Vendor = adapters()[slug].connect(os.environ)
    return connected
