"""Headless Chromium for tests, with a microphone that plays a file if one is asked for.

A pytest plugin (conftest.py): fixtures `page` on the live server, `browsers` to launch
with a microphone of one's own, `screenshot` to keep a picture.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from . import programs

FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A recorder in a hidden tab must not be slowed down, and no test makes a noise.
    "--disable-background-timer-throttling",
    "--mute-audio",
)


def microphone_flags(wav: Path | None) -> tuple[str, ...]:
    """A microphone that plays the WAV once from its start, or Chromium's beeps."""
    flags = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    if wav is None:
        return flags
    return (*flags, f"--use-file-for-fake-audio-capture={wav}%noloop")


@dataclass
class Browsers:
    """Launches Chromium; closes every one it launched."""

    playwright: Any
    launched: list[Any] = field(default_factory=list)

    def launch(self, *flags: str) -> Any:
        executable = programs.chromium()
        assert executable, "Chromium is missing: apt-get install chromium"
        browser = self.playwright.chromium.launch(
            executable_path=executable, args=[*FLAGS, *flags]
        )
        self.launched.append(browser)
        return browser

    def with_microphone(self, wav: Path | None = None) -> Any:
        """A browser that grants its microphone, which plays the file."""
        return self.launch(*microphone_flags(wav))

    def without_microphone(self) -> Any:
        """A browser on a machine that has no microphone."""
        return self.launch("--use-fake-ui-for-media-stream")

    def close(self) -> None:
        for browser in self.launched:
            browser.close()


@contextlib.contextmanager
def open_browsers() -> Iterator[Browsers]:
    from playwright.sync_api import sync_playwright

    # Playwright's loop runs beneath the test's own thread, which Django takes for
    # asynchronous code and keeps from the database.
    unsafe = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    try:
        with sync_playwright() as playwright:
            browsers = Browsers(playwright)
            yield browsers
            browsers.close()
    finally:
        if unsafe is None:
            del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


def watch(page: Any) -> list[str]:
    """What goes wrong in the page from now on: script errors, refusals by the CSP."""
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console",
        lambda message: (
            faults.append(message.text)
            if "Content Security Policy" in message.text
            else None
        ),
    )
    return faults


@pytest.fixture(scope="session")
def live_server(live_server: Any) -> Any:
    """Django's, which writes head and body apart: neither waits for the other's way.

    Otherwise the body stays here until the head is acknowledged, 40 ms a request.
    """
    from django.core.servers.basehttp import WSGIRequestHandler

    WSGIRequestHandler.disable_nagle_algorithm = True
    return live_server


@pytest.fixture(scope="module")
def browsers() -> Iterator[Browsers]:
    with open_browsers() as opened:
        yield opened


@pytest.fixture(scope="module")
def browser(browsers: Browsers) -> Any:
    """One browser for a module's tests, with Chromium's beeping microphone."""
    return browsers.with_microphone()


@pytest.fixture
def page(browser: Any, live_server: Any) -> Iterator[Any]:
    """A page on the live server; a script error or a refusal by the CSP fails."""
    context = browser.new_context(
        base_url=live_server.url, viewport={"width": 1280, "height": 800}
    )
    context.grant_permissions(["microphone"], origin=live_server.url)
    page = context.new_page()
    faults = watch(page)
    yield page
    context.close()
    assert faults == []


@pytest.fixture
def sign_in(live_server: Any) -> Callable[[Any, Any], None]:
    """sign_in(page, user): gives the page's context the person's session."""

    def sign_in(page: Any, user: Any) -> None:
        from django.conf import settings
        from django.test import Client

        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        page.context.add_cookies(
            [
                {
                    "name": settings.SESSION_COOKIE_NAME,
                    "value": client.cookies[settings.SESSION_COOKIE_NAME].value,
                    "url": live_server.url,
                }
            ]
        )

    return sign_in


@pytest.fixture
def screenshot(tmp_path: Path) -> Callable[..., Path]:
    """screenshot(page, "name"): a full-page PNG under OWNVOICE_SCREENSHOTS, or tmp."""
    folder = Path(os.environ.get("OWNVOICE_SCREENSHOTS", tmp_path / "screenshots"))

    def screenshot(page: Any, name: str, **options: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        page.screenshot(path=path, full_page=True, **options)
        return path

    return screenshot
