"""Fixtures of the tests that record in a browser."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from recordings.models import Recording
from voiceplatform.testing.browsing import watch
from voiceplatform.testing.factories import make_prompt, make_script, make_session

from .streaming import assessed


@pytest.fixture
def session(owner):
    script = make_script("spoken", n_prompts=0)
    for text in ("To leave a message, press one now.", "And this is the second."):
        make_prompt(script, text=text, expected_s=4.0)
    return make_session(owner, script=script, microphone=None)


@pytest.fixture
def opened(browsers, live_server, sign_in, owner):
    """opened(browser, path): a page of the owner's; faults of it fail the test."""
    watched = []

    def opened(browser, path, *, init_script="", **options):
        context = browser.new_context(base_url=live_server.url, **options)
        page = context.new_page()
        page.add_init_script(init_script)
        watched.append((context, watch(page)))
        sign_in(page, owner)
        page.goto(path)
        return page

    yield opened
    for context, faults in watched:
        context.close()
        assert faults == []


@pytest.fixture
def worker(transactional_db):
    """Beside the page: what waits for its checks passes them, as a worker would say."""
    is_over = threading.Event()
    faults = []

    def work():
        waiting = Recording.objects.filter(verdict=Recording.Verdict.CHECKING)
        try:
            while not is_over.wait(0.1):
                for take in waiting.all():
                    assessed(take.pk)
        except Exception as fault:
            faults.append(fault)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    is_over.set()
    thread.join()
    assert faults == []
