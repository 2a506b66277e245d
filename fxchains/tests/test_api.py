from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from accounts import tokens
from fxchains.effects.catalogue import EFFECTS
from fxchains.models import FxChain
from voiceplatform.testing.factories import make_chain

pytestmark = pytest.mark.django_db

CHAINS = "/api/v1/fx-chains/"


def api(user):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {tokens.create(user)}")
    return client


@pytest.fixture
def own(owner):
    return api(owner)


@pytest.fixture
def chain(owner):
    return make_chain(owner, name="Mine", effects=["gain", "eq"])


def test_a_program_sees_its_chains_and_the_presets_and_nobody_elses(
    own, chain, stranger
):
    preset = make_chain(None, name="Preset", slug="preset")
    make_chain(stranger, name="Theirs")
    results = own.get(CHAINS).json()["results"]
    assert [(row["name"], row["is_preset"]) for row in results] == [
        ("Mine", False),
        ("Preset", True),
    ]
    assert own.get(f"{CHAINS}{preset.pk}/").json()["slug"] == "preset"


def test_a_chain_is_created_read_changed_and_deleted(own, owner):
    steps = [{"effect": "compressor", "parameters": {"ratio": 4}}]
    made = own.post(CHAINS, {"name": "Radio", "steps": steps}, format="json")
    assert made.status_code == 201
    full = {
        "effect": "compressor",
        "parameters": EFFECTS["compressor"].defaults | {"ratio": 4},
        "bypassed": False,
    }
    assert made.json()["steps"] == [full]
    one = f"{CHAINS}{made.json()['id']}/"
    assert own.get(one).json() == made.json()
    renamed = own.patch(one, {"name": "Loud"}, format="json").json()
    assert (renamed["name"], renamed["steps"]) == ("Loud", [full])
    emptied = own.patch(one, {"steps": []}, format="json").json()
    assert (emptied["name"], emptied["steps"]) == ("Loud", [])
    assert FxChain.objects.get().user == owner
    assert own.delete(one).status_code == 204
    assert own.get(one).status_code == 404


def test_bad_steps_are_explained_and_change_nothing(own, chain):
    before = chain.definition()
    steps = [
        {"effect": "gain", "parameters": {"gain_db": 100}},
        {"effect": "magic"},
    ]
    for answer in (
        own.post(CHAINS, {"name": "Bad", "steps": steps}, format="json"),
        own.patch(f"{CHAINS}{chain.pk}/", {"steps": steps}, format="json"),
    ):
        assert answer.status_code == 400
        first, second = answer.json()["steps"]
        assert (
            first == "Step 1 (Gain): Gain (gain_db) must be -60 to 24 dB, not 100 dB."
        )
        assert second.startswith("Step 2: there is no effect 'magic'")
    assert FxChain.objects.get().definition() == before


@pytest.mark.parametrize("steps", [None, "gain", {"effect": "gain"}, 3, [None]])
def test_steps_of_the_wrong_shape_are_refused(own, steps):
    answer = own.post(CHAINS, {"name": "Bad", "steps": steps}, format="json")
    assert answer.status_code == 400
    assert list(answer.json()) == ["steps"]


def test_somebody_elses_chain_and_presets_are_not_there_to_change(stranger, chain):
    theirs = api(stranger)
    one = f"{CHAINS}{chain.pk}/"
    preset = f"{CHAINS}{make_chain(None).pk}/"
    assert theirs.get(one).status_code == 404
    for address in (one, preset):
        assert theirs.put(address, {"name": "X"}, format="json").status_code == 404
        assert theirs.patch(address, {"name": "X"}, format="json").status_code == 404
        assert theirs.delete(address).status_code == 404
    assert FxChain.objects.count() == 2
    assert not FxChain.objects.filter(name="X").exists()


def test_a_user_cannot_be_given_nor_a_preset_made(own, owner, stranger):
    made = own.post(
        CHAINS,
        {"name": "Mine", "user": stranger.pk, "slug": "choir", "is_preset": True},
        format="json",
    )
    chain = FxChain.objects.get(pk=made.json()["id"])
    assert (chain.user, chain.slug) == (owner, "")


def test_without_a_token_there_is_nothing(chain):
    client = APIClient()
    for address in (CHAINS, f"{CHAINS}{chain.pk}/", "/api/v1/fx-effects/"):
        assert client.get(address).status_code == 401
    assert client.post(CHAINS, {"name": "X"}, format="json").status_code == 401


def test_the_list_asks_the_same_for_one_chain_and_three(
    own, owner, django_assert_num_queries
):
    make_chain(owner, effects=["gain"])
    # The token with its user; how many chains, the chains, their steps.
    own.get(CHAINS)  # a token's first use is written down
    with django_assert_num_queries(4):
        own.get(CHAINS)
    for _ in range(2):
        make_chain(owner, effects=["gain", "eq"])
    with django_assert_num_queries(4):
        own.get(CHAINS)


def test_the_catalogue_tells_every_range_and_unit(own):
    effects = own.get("/api/v1/fx-effects/").json()
    assert [effect["effect"] for effect in effects] == list(EFFECTS)
    compressor = next(e for e in effects if e["effect"] == "compressor")
    ratio = next(p for p in compressor["parameters"] if p["name"] == "ratio")
    assert (ratio["kind"], ratio["minimum"], ratio["maximum"], ratio["unit"]) == (
        *("number", 1, 20),
        ":1",
    )
