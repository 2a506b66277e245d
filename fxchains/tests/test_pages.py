from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from fxchains.effects.catalogue import EFFECTS, MAX_STEPS
from fxchains.models import FxChain, FxStep
from fxchains.seeding import seed_presets
from voiceplatform.testing.factories import make_chain, make_song

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


@pytest.fixture
def own(owner, client):
    """The owner's browser."""
    client.force_login(owner)
    return client


@pytest.fixture
def chain(owner):
    return make_chain(owner, name="My chain", effects=["gain", "compressor", "eq"])


def url(name, *args):
    return reverse(f"fxchains:{name}", args=args)


def settings_of(step, **changes):
    return step.kind.defaults | step.parameters | changes


def every_address(chain):
    """Each page of one chain: method, address, what to post."""
    step = chain.steps.get(effect="compressor")
    return [
        ("get", url("detail", chain.pk), {}),
        ("post", url("copy", chain.pk), {}),
        ("post", url("describe", chain.pk), {"name": "New", "description": ""}),
        ("post", url("step_add", chain.pk), {"effect": "delay"}),
        ("post", url("step_update", step.pk), settings_of(step, ratio=7)),
        ("post", url("step_bypass", step.pk), {"bypassed": "true"}),
        ("post", url("step_move", step.pk), {"direction": "up"}),
        ("post", url("step_remove", step.pk), {}),
        ("post", url("delete", chain.pk), {}),
    ]


def test_the_owner_reaches_every_address(own, chain):
    for method, address, data in every_address(chain):
        answer = getattr(own, method)(address, data)
        assert answer.status_code == (200 if method == "get" else 302), address
    assert FxChain.objects.filter(name="My chain").count() == 0
    assert FxChain.objects.get().name == "My chain 2"


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_for_somebody_else_a_chain_is_not_there(stranger, chain, client, headers):
    client.force_login(stranger)
    before = chain.definition()
    for method, address, data in every_address(chain):
        answer = getattr(client, method)(address, data, headers=headers)
        assert answer.status_code == 404, address
        assert b"My chain" not in answer.content
    chain.refresh_from_db()
    assert chain.definition() == before
    assert FxChain.objects.get() == chain
    assert b"My chain" not in client.get(url("list")).content


def test_staff_have_no_way_round_either(staff, chain, client):
    client.force_login(staff)
    for method, address, data in every_address(chain):
        assert getattr(client, method)(address, data).status_code == 404, address


def test_anonymous_visitors_are_sent_to_sign_in(chain, client):
    addresses = [
        *every_address(chain),
        ("get", url("list"), {}),
        ("post", url("create"), {"name": "New"}),
    ]
    for method, address, data in addresses:
        answer = getattr(client, method)(address, data)
        assert answer.status_code == 302, address
        assert answer.url.startswith(reverse("account_login"))
    assert FxChain.objects.get().definition() == chain.definition()


def test_a_preset_is_read_and_copied_and_nothing_else(own, owner):
    preset = make_chain(None, name="Choir", effects=["gain", "compressor", "delay"])
    before = preset.definition()
    for method, address, data in every_address(preset):
        answer = getattr(own, method)(address, data)
        expected = {"get": 200}.get(method, 302 if "/copy/" in address else 404)
        assert answer.status_code == expected, address
    preset.refresh_from_db()
    assert preset.definition() == before
    copied = FxChain.objects.get(user=owner)
    assert [s.effect for s in copied.steps.all()] == ["gain", "compressor", "delay"]


def test_changes_are_posted(own, chain):
    for method, address, _ in every_address(chain):
        if method == "post":
            assert own.get(address).status_code == 405, address


def test_changes_need_the_csrf_token(owner, chain):
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    for method, address, data in every_address(chain):
        if method == "post":
            assert client.post(address, data).status_code == 403, address


def test_the_list_asks_the_same_for_one_chain_and_three(
    own, owner, django_assert_num_queries
):
    seed_presets()
    make_chain(owner, effects=["gain", "eq"])
    # Session and user; chains and presets, each with its steps.
    with django_assert_num_queries(6):
        own.get(url("list"))
    for _ in range(2):
        make_chain(owner, effects=["gain", "eq", "delay"])
    with django_assert_num_queries(6):
        own.get(url("list"))


def test_a_chain_asks_the_same_for_one_step_and_three(
    own, owner, django_assert_num_queries
):
    short = make_chain(owner, effects=["gain"])
    long = make_chain(owner, effects=["gain", "eq", "delay"])
    # Session and user; the chain, its steps, its songs.
    for chain in (short, long):
        with django_assert_num_queries(5):
            own.get(url("detail", chain.pk))


def test_an_empty_list_says_what_to_do_next(own):
    page = own.get(url("list")).content.decode()
    assert "No chain of your own yet" in page
    assert "the site&#x27;s operator has not loaded them" in page or (
        "the site's operator has not loaded them" in page
    )


def test_the_list_shows_the_way_of_the_sound(own, owner):
    seed_presets()
    make_chain(owner, name="Mine & <b>yours</b>", effects=["gain"])
    page = own.get(url("list")).content.decode()
    for name in ("Radio vocal", "Trap lead", "Choir", "Mine &amp; &lt;b&gt;yours"):
        assert name in page


def test_a_chain_is_created_from_a_name(own, owner):
    answer = own.post(url("create"), {"name": "Bright", "description": "For verses"})
    chain = FxChain.objects.get()
    assert (chain.user, chain.name, chain.description) == (
        owner,
        "Bright",
        "For verses",
    )
    assert answer.url == url("detail", chain.pk)
    assert "An empty rack" in own.get(answer.url).content.decode()


@pytest.mark.parametrize("name", ["", "   ", "x" * 81])
def test_a_chain_without_a_usable_name_is_not_made(own, name):
    answer = own.post(url("create"), {"name": name, "description": "kept words"})
    assert answer.status_code == 422
    assert "kept words" in answer.content.decode()
    assert not FxChain.objects.exists()


def test_every_parameter_of_every_effect_has_a_field_with_its_range_and_unit(
    own, owner
):
    chain = make_chain(owner, effects=list(EFFECTS))
    page = own.get(url("detail", chain.pk)).content.decode()
    for step in chain.steps.all():
        for parameter in step.kind.parameters:
            assert f'id="step-{step.pk}-{parameter.name}"' in page
    assert 'min="20.0"' in page or 'min="20"' in page
    assert ' <span class="muted">dBTP</span>' in page
    assert "style=" not in page
    assert "<script>" not in page


def test_parameters_are_saved_by_a_plain_form(own, chain):
    step = chain.steps.get(effect="compressor")
    answer = own.post(
        url("step_update", step.pk), settings_of(step, ratio="8", attack_ms="0.5")
    )
    assert answer.status_code == 302
    assert answer.url == url("detail", chain.pk) + f"#step-{step.pk}"
    step.refresh_from_db()
    assert (step.parameters["ratio"], step.parameters["attack_ms"]) == (8.0, 0.5)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("50", "Ratio must be 1 to 20 :1, not 50 :1."),
        ("nan", "Ratio must be a number, 1 to 20 :1."),
        ("inf", "Ratio must be a number, 1 to 20 :1."),
        ("loud", "Ratio must be a number, 1 to 20 :1."),
        ("", "Ratio must be a number, 1 to 20 :1."),
    ],
)
@pytest.mark.parametrize(("headers", "status"), [({}, 422), (HTMX, 200)])
def test_a_bad_parameter_is_explained_and_changes_nothing(
    own, chain, value, words, headers, status
):
    step = chain.steps.get(effect="compressor")
    answer = own.post(
        url("step_update", step.pk),
        settings_of(step, ratio=value, makeup_db=5),
        headers=headers,
    )
    assert answer.status_code == status
    page = answer.content.decode()
    assert words in page
    assert ("<html" in page) == (not headers)
    if not headers:  # what was typed is still there
        assert 'name="makeup_db" value="5"' in page
    step.refresh_from_db()
    assert step.parameters == {}


def test_htmx_gets_only_what_changed(own, chain):
    step = chain.steps.get(effect="compressor")
    saved = own.post(
        url("step_update", step.pk), settings_of(step, ratio=2), headers=HTMX
    )
    assert saved.content.decode().strip() == '<p class="muted">Saved</p>'
    for name, data in (
        ("step_bypass", {"bypassed": "true"}),
        ("step_move", {"direction": "up"}),
        ("step_remove", {}),
    ):
        answer = own.post(url(name, step.pk), data, headers=HTMX)
        page = answer.content.decode().strip()
        assert answer.status_code == 200
        assert page.startswith('<section class="stack" id="rack"')
        assert page.endswith("</section>")
        assert "csrfmiddlewaretoken" in page


def test_bypass_move_add_and_remove_change_the_rack(own, chain):
    step = chain.steps.get(effect="compressor")
    own.post(url("step_bypass", step.pk), {"bypassed": "true"})
    own.post(url("step_move", step.pk), {"direction": "up"})
    own.post(url("step_add", chain.pk), {"effect": "limiter"})
    own.post(url("step_remove", chain.steps.get(effect="gain").pk))
    assert [(s.position, s.effect, s.bypassed) for s in chain.steps.all()] == [
        (0, "compressor", True),
        (1, "eq", False),
        (2, "limiter", False),
    ]


@pytest.mark.parametrize(
    ("name", "data"),
    [("step_bypass", {"bypassed": "maybe"}), ("step_move", {"direction": "left"})],
)
def test_nonsense_is_a_bad_request(own, chain, name, data):
    step = chain.steps.get(effect="compressor")
    assert own.post(url(name, step.pk), data).status_code == 400


@pytest.mark.parametrize(("headers", "status"), [({}, 422), (HTMX, 200)])
def test_an_unknown_effect_and_a_full_rack_are_explained(own, chain, headers, status):
    answer = own.post(url("step_add", chain.pk), {"effect": "magic"}, headers=headers)
    assert answer.status_code == status
    assert "There is no such effect." in answer.content.decode()
    FxStep.objects.bulk_create(
        FxStep(chain=chain, position=position, effect="gain")
        for position in range(3, MAX_STEPS)
    )
    answer = own.post(url("step_add", chain.pk), {"effect": "gain"}, headers=headers)
    assert answer.status_code == status
    assert "holds 16 effects" in answer.content.decode()
    assert chain.steps.count() == MAX_STEPS


def test_deleting_says_how_many_songs_are_touched(own, owner, chain):
    make_song(owner, fx_chain=chain)
    assert "1 song goes through it" in own.get(url("detail", chain.pk)).content.decode()
    make_song(owner, fx_chain=chain)
    assert "2 songs go through it" in own.get(url("detail", chain.pk)).content.decode()


def test_a_switched_off_time_is_marked_for_the_page_to_hide(own, owner):
    chain = make_chain(owner, effects=["delay"])
    page = own.get(url("detail", chain.pk)).content.decode()
    assert 'data-only-when="follow=ms"' in page
    assert 'data-only-when="follow=beats"' in page


@pytest.mark.parametrize("model", ["fxchain", "fxstep"])
def test_the_admin_shows_chains_and_changes_none(client, staff, chain, model):
    client.force_login(staff)
    row = chain if model == "fxchain" else chain.steps.first()
    assert client.get(reverse(f"admin:fxchains_{model}_changelist")).status_code == 200
    change = reverse(f"admin:fxchains_{model}_change", args=[row.pk])
    assert client.get(change).status_code == 200
    assert client.post(change, {"name": "Hacked"}).status_code == 403
    assert client.get(reverse(f"admin:fxchains_{model}_add")).status_code == 403


def test_the_admin_deletes_peoples_chains_but_no_preset(client, staff, chain):
    client.force_login(staff)
    preset = make_chain(None)
    delete = reverse("admin:fxchains_fxchain_delete", args=[preset.pk])
    assert client.post(delete, {"post": "yes"}).status_code == 403
    client.post(
        reverse("admin:fxchains_fxchain_changelist"),
        {
            "action": "delete_selected",
            "_selected_action": [preset.pk, chain.pk],
            "post": "yes",
        },
    )
    assert list(FxChain.objects.filter(user=None)) == [preset]
