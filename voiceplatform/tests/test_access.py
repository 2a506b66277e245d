"""Who reaches what: every URL of the project, as everybody who might try it.

A new URL fails this file until its line is in the table. Rows of one person answer 404
to any other, staff included, whatever the method; nothing of theirs changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse

from consent.models import ErasureReceipt
from fxchains.effects.catalogue import EFFECTS
from recordings import intake
from voiceplatform.testing import factories

PUBLIC = "public"  # anybody
PERSONAL = "personal"  # anybody signed in, about themselves
OWNED = "owned"  # the one person the row belongs to


@dataclass(frozen=True)
class Rows:
    """One person's row of every kind, and a live ticket's token."""

    user: Any
    recording: Any
    model: Any
    job: Any
    sample: Any
    song: Any
    generation: Any
    mixdown: Any
    chain: Any
    step: Any
    receipt: Any
    token: str

    @property
    def microphone(self) -> Any:
        return self.session.microphone

    @property
    def session(self) -> Any:
        return self.recording.session

    @property
    def voice(self) -> Any:
        return self.model.voice


@dataclass(frozen=True)
class Url:
    """One URL: whose it is, its arguments, how it is asked and what its owner gets."""

    kind: str
    arguments: Callable[[Rows], Mapping[str, Any]] = lambda rows: {}
    method: str = "get"
    status: int = 200
    data: Mapping[str, Any] | Callable[[Rows], Mapping[str, Any]] = field(
        default_factory=dict
    )
    #: What an API answers to nobody; a page sends them to sign in.
    refusal: int | None = None
    #: Asked under the owner's live ticket.
    ticketed: bool = False


def api(kind: str, *rest: Any, refusal: int = 401, **options: Any) -> Url:
    return Url(kind, *rest, refusal=refusal, **options)


def live(data: Any, status: int, **options: Any) -> Url:
    """A request of the recorder, which only a signed-in browser may make."""
    return api(OWNED, lambda rows: {}, "post", status, data, refusal=403, **options)


def pk(kind: str) -> Callable[[Rows], Mapping[str, Any]]:
    """The primary key of the owner's row of that kind."""
    return lambda rows: {"pk": getattr(rows, kind).pk}


def deletable(kind: str, row: str) -> Callable[[Rows], Mapping[str, Any]]:
    """What My data calls a kind of row, and the owner's row of it."""
    return lambda rows: {"kind": kind, "pk": getattr(rows, row).pk}


def file_name(kind: str, file: str) -> Callable[[Rows], Mapping[str, Any]]:
    """The unguessable name of the file that the owner's row holds."""
    return lambda rows: {"name": Path(getattr(getattr(rows, kind), file).name).stem}


def of_session(rows: Rows) -> dict[str, Any]:
    return {
        "session": rows.session.pk,
        "prompt": rows.recording.prompt_id,
        "device": factories.DEVICE,
    }


#: By name; where one name serves several kinds of rows, the kind stands after it.
URLS: dict[str, Url] = {
    "home": Url(PUBLIC),
    # The account
    "accounts:profile": Url(PERSONAL),
    "accounts:token_create": Url(PERSONAL, method="post"),
    "accounts:token_revoke": Url(PERSONAL, method="post", status=302),
    "accounts:export": Url(PERSONAL, method="post"),
    "accounts:close": Url(PERSONAL),
    # Consent and My data
    "consent:statement": Url(PERSONAL),
    # Without an account at a vendor there is nothing to agree to.
    "consent:vendor_statement": Url(
        PERSONAL, lambda rows: {"vendor": "elevenlabs"}, status=404
    ),
    "consent:my_data": Url(PERSONAL),
    "consent:withdraw": Url(OWNED, lambda rows: {"pk": rows.session.grant_id}),
    "consent:delete take": Url(OWNED, deletable("take", "recording")),
    "consent:delete session": Url(OWNED, deletable("session", "session")),
    "consent:delete microphone": Url(OWNED, deletable("microphone", "microphone")),
    "consent:delete voice": Url(OWNED, deletable("voice", "voice")),
    "consent:delete model": Url(OWNED, deletable("model", "model")),
    "consent:delete song": Url(OWNED, deletable("song", "song")),
    "consent:delete sung-take": Url(OWNED, deletable("sung-take", "generation")),
    "consent:delete mix": Url(OWNED, deletable("mix", "mixdown")),
    "consent:delete chain": Url(OWNED, deletable("chain", "chain")),
    "consent:delete_everything": Url(PERSONAL),
    "consent:receipt": Url(OWNED, lambda rows: {"reference": rows.receipt.reference}),
    # Recordings
    "recordings:home": Url(PERSONAL),
    "recordings:begin": Url(
        PERSONAL, lambda rows: {"slug": rows.session.script.slug}, "post", 302
    ),
    "recordings:session": Url(OWNED, pk("session")),
    "recordings:microphone": Url(OWNED, pk("session")),
    "recordings:spoken_consent": Url(OWNED, pk("session")),
    "recordings:session_delete": Url(OWNED, pk("session")),
    "recordings:take": Url(OWNED, pk("recording"), status=302),
    "recordings:take_delete": Url(OWNED, pk("recording")),
    "recordings:take_audio": Url(OWNED, file_name("recording", "audio")),
    "recordings-api:tickets": live(of_session, 201),
    "recordings-api:start": live(
        {
            "encoding": "s16le",
            "sample_rate_hz": 48_000,
            "channels": 1,
            "device": factories.DEVICE,
        },
        200,
        ticketed=True,
    ),
    # Its microphone has not started yet: nothing is taken in, and nothing is a take.
    "recordings-api:chunks": live(b"\0\0" * 24_000, 409, ticketed=True),
    "recordings-api:finish": live(
        {"chunks": 0, "samples": 0, "captured_s": 0.0}, 400, ticketed=True
    ),
    "recordings-api:verify-device": live(of_session, 200),
    "recordings-api:verify-take": api(
        OWNED,
        lambda rows: {},
        "post",
        202,
        lambda rows: {"recording": rows.recording.pk},
    ),
    # Voices
    "voices:list": Url(PERSONAL),
    "voices:choose_engine": Url(
        PERSONAL, method="post", status=302, data={"engine": "local"}
    ),
    "voices:detail": Url(OWNED, pk("voice")),
    "voices:train": Url(OWNED, pk("voice"), "post", 302),
    "voices:delete": Url(OWNED, pk("voice")),
    "voices:delete_model": Url(OWNED, pk("model")),
    "voices:sample_audio": Url(OWNED, file_name("sample", "audio")),
    "voices:stop": Url(OWNED, pk("job"), "post", 302),
    "voices:resume": Url(OWNED, pk("job"), "post", 302),
    # Songs
    "generation:song_list": Url(PERSONAL),
    "generation:song_detail": Url(OWNED, pk("song")),
    "generation:song_lines": Url(OWNED, pk("song"), "post"),
    "generation:song_delete": Url(OWNED, pk("song")),
    "generation:take_detail": Url(OWNED, pk("generation"), "get", 302),
    "generation:take_stop": Url(OWNED, pk("generation"), "post", 302),
    "generation:take_delete": Url(OWNED, pk("generation")),
    "generation:mix_stop": Url(OWNED, pk("mixdown"), "post", 302),
    "generation:vocal_audio": Url(OWNED, file_name("generation", "vocal")),
    "generation:mix_audio": Url(OWNED, file_name("mixdown", "audio")),
    # Effects
    "fxchains:list": Url(PERSONAL),
    "fxchains:create": Url(PERSONAL, method="post", status=302, data={"name": "Mine"}),
    "fxchains:detail": Url(OWNED, pk("chain")),
    "fxchains:copy": Url(OWNED, pk("chain"), "post", 302),
    "fxchains:describe": Url(OWNED, pk("chain"), "post", 302, {"name": "Mine"}),
    "fxchains:delete": Url(OWNED, pk("chain"), "post", 302),
    "fxchains:step_add": Url(OWNED, pk("chain"), "post", 302, {"effect": "reverb"}),
    "fxchains:step_update": Url(
        OWNED, pk("step"), "post", 302, EFFECTS["compressor"].defaults
    ),
    "fxchains:step_bypass": Url(OWNED, pk("step"), "post", 302, {"bypassed": "true"}),
    "fxchains:step_move": Url(OWNED, pk("step"), "post", 302, {"direction": "up"}),
    "fxchains:step_remove": Url(OWNED, pk("step"), "post", 302),
    # The API
    "api:api-root": api(PERSONAL),
    "api:recording-list": api(PERSONAL),
    "api:recording-detail": api(OWNED, pk("recording")),
    "api:session-list": api(PERSONAL),
    "api:session-detail": api(OWNED, pk("session")),
    "api:voice-list": api(PERSONAL),
    "api:voice-detail": api(OWNED, pk("voice")),
    "api:voice-model-list": api(PERSONAL),
    "api:voice-model-detail": api(OWNED, pk("model")),
    "api:training-job-list": api(PERSONAL),
    "api:training-job-detail": api(OWNED, pk("job")),
    "api:training-job-resume": api(OWNED, pk("job"), "post", 400),
    "api:training-job-stop": api(OWNED, pk("job"), "post"),
    "api:fx-chain-list": api(PERSONAL),
    "api:fx-chain-detail": api(OWNED, pk("chain")),
    "api:fx-effect-list": api(PERSONAL),
    "api:song-list": api(PERSONAL),
    "api:song-detail": api(OWNED, pk("song")),
    "api:generation-list": api(PERSONAL),
    "api:generation-detail": api(OWNED, pk("generation")),
    "api:generation-score": api(OWNED, pk("generation")),
    "api:generation-stop": api(OWNED, pk("generation"), "post"),
    "api:generation-vocal": api(OWNED, pk("generation")),
    "api:mixdown-list": api(PERSONAL),
    "api:mixdown-detail": api(OWNED, pk("mixdown")),
    "api:mixdown-audio": api(OWNED, pk("mixdown")),
    "api:mixdown-stop": api(OWNED, pk("mixdown"), "post"),
}

#: allauth's own pages, tested by allauth; ours are the forms and the templates.
ALLAUTH = {
    "account_login",
    "account_logout",
    "account_inactive",
    "account_signup",
    "account_reauthenticate",
    "account_email",
    "account_email_verification_sent",
    "account_change_password",
    "account_set_password",
    "account_reset_password",
    "account_confirm_login_code",
    "account_confirm_email",
    "account_reset_password_from_key_done",
    "account_reset_password_from_key",
    "account_reset_password_done",
}


def names(patterns: Any, namespaces: tuple[str, ...] = ()) -> Iterator[str]:
    for pattern in patterns:
        if not isinstance(pattern, URLResolver):
            yield ":".join((*namespaces, pattern.name or f"nameless {pattern.pattern}"))
        elif pattern.namespace != "admin":
            inner = (pattern.namespace,) if pattern.namespace else ()
            yield from names(pattern.url_patterns, namespaces + inner)


def make_rows(user: Any) -> Rows:
    recording = factories.make_recording(user)
    model = factories.make_voice_model(user, recordings=[recording])
    song = factories.make_song(user)
    generation = factories.make_generation(user, song=song, voice_model=model)
    chain = factories.make_chain(user)
    job = factories.make_training_job(user)
    return Rows(
        user=user,
        recording=recording,
        model=model,
        job=job,
        sample=factories.make_voice_sample(job),
        song=song,
        generation=generation,
        mixdown=factories.make_mixdown(user, generation=generation),
        chain=chain,
        step=chain.steps.first(),
        receipt=ErasureReceipt.objects.create(
            user=user, subject=user.pseudonym, reason="Test"
        ),
        token=intake.issue(recording.session, recording.prompt)[1],
    )


def client_of(user: Any) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def answer(client: Client, name: str, rows: Rows, method: str | None = None) -> Any:
    url = URLS[name]
    path = reverse(name.split()[0], kwargs=url.arguments(rows))
    headers = {"X-Live-Ticket": rows.token, "X-Chunk-Sequence": "0"}
    headers = headers if url.ticketed else {}
    method = method or url.method
    data = url.data(rows) if callable(url.data) else url.data
    body: tuple[Any, ...]
    if method == "get":
        body = ()
    elif isinstance(data, bytes):
        body = (data, "application/octet-stream")
    elif method == "post" and url.refusal is None:
        body = (dict(data),)
    else:
        body = (dict(data), "application/json")
    response = getattr(client, method)(path, *body, headers=headers)
    if response.streaming:
        response.close()
    return response


def counts() -> dict[str, int]:
    return {
        model._meta.label: model._default_manager.count()
        for app in (
            "accounts",
            "consent",
            "recordings",
            "voices",
            "generation",
            "fxchains",
        )
        for model in apps.get_app_config(app).get_models()
    }


def test_every_url_is_in_the_table():
    assert set(names(get_resolver().url_patterns)) == (
        {name.split()[0] for name in URLS} | ALLAUTH
    )


@pytest.mark.parametrize("name", URLS)
def test_the_owner_reaches_it(name, owner):
    response = answer(client_of(owner), name, make_rows(owner))

    assert response.status_code == URLS[name].status
    assert "/login/" not in response.headers.get("Location", "")


@pytest.mark.parametrize("name", [name for name in URLS if URLS[name].kind == PUBLIC])
def test_anybody_reaches_what_is_public(name, owner):
    assert answer(Client(), name, make_rows(owner)).status_code == URLS[name].status


@pytest.mark.parametrize("name", [name for name in URLS if URLS[name].kind != PUBLIC])
def test_nobody_reaches_the_rest_without_signing_in(name, owner):
    rows = make_rows(owner)
    before = counts()

    response = answer(Client(), name, rows)

    if refusal := URLS[name].refusal:
        assert response.status_code == refusal
    else:
        assert response.status_code == 302
        assert response.headers["Location"].startswith(reverse("account_login"))
    assert counts() == before


@pytest.mark.parametrize("name", [name for name in URLS if URLS[name].kind == PERSONAL])
def test_a_personal_page_shows_nothing_of_anybody_else(name, owner, stranger):
    rows = make_rows(owner)
    type(rows.song).objects.filter(pk=rows.song.pk).update(title="Olive's secret song")
    type(rows.chain).objects.filter(pk=rows.chain.pk).update(name="Olive's secret rack")
    type(rows.model.voice).objects.update(name="Olive's secret voice")

    response = answer(client_of(stranger), name, rows)

    assert response.status_code in {URLS[name].status, 302}
    if not response.streaming:
        assert b"secret" not in response.content


@pytest.mark.parametrize("name", [name for name in URLS if URLS[name].kind == OWNED])
@pytest.mark.parametrize("who", ["stranger", "staff"])
def test_the_rows_of_another_person_are_not_there(who, name, owner, request):
    rows = make_rows(owner)
    client = client_of(request.getfixturevalue(who))
    before = counts()

    for method in ("get", "post", "put", "patch", "delete"):
        response = answer(client, name, rows, method)
        refusals = {404} if method == URLS[name].method else {404, 405}
        assert response.status_code in refusals, method
    assert counts() == before


ADMIN = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.mark.parametrize("model", ADMIN, ids=lambda model: model._meta.label)
def test_the_admin_is_for_staff(model, owner, staff):
    make_rows(owner)
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")

    for nobody in (None, owner):
        response = client_of(nobody).get(url)
        assert response.status_code == 302
        assert response.headers["Location"].startswith(reverse("admin:login"))
    assert client_of(staff).get(url).status_code == 200


@pytest.mark.parametrize("model", ADMIN, ids=lambda model: model._meta.label)
def test_every_row_opens_in_the_admin(model, owner, staff):
    make_rows(owner)
    row = model._default_manager.first()
    if row is None:
        return
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    response = client_of(staff).get(reverse(name, args=[row.pk]))
    assert response.status_code == 200


def test_every_model_of_ours_is_in_the_admin():
    ours = {
        model
        for app in (
            "accounts",
            "consent",
            "recordings",
            "voices",
            "generation",
            "fxchains",
        )
        for model in apps.get_app_config(app).get_models()
        if not model._meta.auto_created
    }
    inlined = {
        inline.model
        for registered in admin.site._registry.values()
        for inline in registered.inlines
    }
    # Rows of numbers with a key of three columns, which the admin cannot open.
    ours.remove(apps.get_model("recordings.FingerprintMark"))
    assert ours - set(admin.site._registry) - inlined == set()
