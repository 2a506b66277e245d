from __future__ import annotations

import threading

import pytest
from django.db import connection

from fxchains import editing
from fxchains.editing import ChainNotEditable
from fxchains.effects.catalogue import EFFECTS, MAX_STEPS, ChainError
from fxchains.models import FxChain, FxStep
from voiceplatform.testing.factories import make_chain, make_song

pytestmark = pytest.mark.django_db


@pytest.fixture
def chain(owner):
    return make_chain(owner, effects=["gain", "compressor", "reverb"])


def rack(chain):
    return [(step.position, step.effect) for step in chain.steps.all()]


def test_a_chain_is_made_with_every_parameter_written_down(owner):
    chain = editing.create_chain(
        owner, "Mine", steps=[{"effect": "compressor", "parameters": {"ratio": 8}}]
    )
    assert chain.definition() == {
        "name": "Mine",
        "steps": [
            {
                "effect": "compressor",
                "parameters": EFFECTS["compressor"].defaults | {"ratio": 8},
                "bypassed": False,
            }
        ],
    }


def test_a_bad_chain_makes_nothing(owner):
    with pytest.raises(ChainError, match="there is no effect"):
        editing.create_chain(owner, "Mine", steps=[{"effect": "magic"}])
    assert not FxChain.objects.exists()


def test_a_preset_is_copied_with_its_steps_under_a_free_name(owner, stranger):
    preset = make_chain(None, name="Choir", effects=["reverb", "limiter"])
    make_chain(stranger, name="Choir 2")
    copies = [editing.copy_chain(owner, preset) for _ in range(3)]
    assert [copy.name for copy in copies] == ["Choir", "Choir 2", "Choir 3"]
    assert {copy.user for copy in copies} == {owner}
    assert rack(copies[0]) == [(0, "reverb"), (1, "limiter")]
    editing.add_step(copies[0], "gain")
    assert rack(preset) == [(0, "reverb"), (1, "limiter")]


def test_a_copy_of_a_long_name_still_fits(owner):
    preset = make_chain(None, name="x" * 80)
    names = [editing.copy_chain(owner, preset).name for _ in range(2)]
    assert names == ["x" * 80, "x" * 78 + " 2"]


def test_steps_are_added_at_the_end_until_the_rack_is_full(chain):
    editing.add_step(chain, "delay", {"time_ms": 100})
    assert rack(chain)[-1] == (3, "delay")
    assert chain.steps.last().parameters["time_ms"] == 100
    for _ in range(MAX_STEPS - 4):
        editing.add_step(chain, "gain")
    with pytest.raises(ChainError, match="at most 16 effects"):
        editing.add_step(chain, "gain")
    assert chain.steps.count() == MAX_STEPS


def test_removing_closes_the_gap(chain):
    editing.remove_step(chain.steps.get(effect="gain"))
    assert rack(chain) == [(0, "compressor"), (1, "reverb")]


@pytest.mark.parametrize(
    ("effect", "direction", "order"),
    [
        ("reverb", "up", ["gain", "reverb", "compressor"]),
        ("gain", "down", ["compressor", "gain", "reverb"]),
        ("gain", "up", ["gain", "compressor", "reverb"]),
        ("reverb", "down", ["gain", "compressor", "reverb"]),
    ],
)
def test_moving_swaps_neighbours_and_stops_at_the_ends(chain, effect, direction, order):
    editing.move_step(chain.steps.get(effect=effect), direction)
    assert rack(chain) == list(enumerate(order))


def test_updating_keeps_what_is_not_said_and_refuses_what_is_out_of_range(chain):
    step = chain.steps.get(effect="compressor")
    editing.update_step(step, {"ratio": 6.0})
    editing.update_step(step, {"attack_ms": 30.0})
    step.refresh_from_db()
    assert (step.parameters["ratio"], step.parameters["attack_ms"]) == (6, 30)
    with pytest.raises(ChainError, match="1 to 20 :1"):
        editing.update_step(step, {"ratio": 21.0})
    step.refresh_from_db()
    assert step.parameters["ratio"] == 6


def test_bypassing_says_what_to_be_so_twice_is_once(chain):
    step = chain.steps.first()
    for _ in range(2):
        editing.bypass_step(step, True)
    step.refresh_from_db()
    assert step.bypassed


def test_an_edit_is_seen_in_the_time_of_the_chain(chain):
    before = chain.updated_at
    editing.bypass_step(chain.steps.first(), True)
    chain.refresh_from_db()
    assert chain.updated_at > before


def test_deleting_a_chain_leaves_its_songs(owner, chain):
    song = make_song(owner, fx_chain=chain)
    editing.delete_chain(chain)
    song.refresh_from_db()
    assert song.fx_chain is None
    assert not FxStep.objects.exists()


EDITS = {
    "describe": lambda c, s: editing.describe_chain(c, name="New", description=""),
    "replace": lambda c, s: editing.replace_steps(c, [{"effect": "gain"}]),
    "add": lambda c, s: editing.add_step(c, "gain"),
    "update": lambda c, s: editing.update_step(s, {"ratio": 2.0}),
    "bypass": lambda c, s: editing.bypass_step(s, True),
    "move": lambda c, s: editing.move_step(s, "up"),
    "remove": lambda c, s: editing.remove_step(s),
    "delete": lambda c, s: editing.delete_chain(c),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_presets_are_not_edited(edit):
    preset = make_chain(None, effects=["gain", "compressor"])
    before = (preset.name, preset.definition())
    with pytest.raises(ChainNotEditable):
        edit(preset, preset.steps.last())
    preset.refresh_from_db()
    assert (preset.name, preset.definition()) == before


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_what_was_just_deleted_is_not_edited(edit, owner):
    chain = make_chain(owner, effects=["compressor"])
    step = chain.steps.get()
    step.chain = chain
    FxChain.objects.filter(pk=chain.pk).delete()
    with pytest.raises(ChainNotEditable):
        edit(chain, step)
    assert not FxChain.objects.exists()


@pytest.mark.parametrize("name", ["update", "bypass", "move", "remove"])
def test_a_step_just_removed_is_not_edited(name, chain):
    step = chain.steps.get(effect="compressor")
    FxStep.objects.filter(pk=step.pk).delete()
    with pytest.raises(ChainNotEditable):
        EDITS[name](chain, step)
    assert rack(chain) == [(0, "gain"), (2, "reverb")]


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_two_edits_at_once_never_share_a_place(chain):
    failures = []

    def add():
        try:
            for _ in range(4):
                editing.add_step(chain, "gain")
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [position for position, _ in rack(chain)] == list(range(15))
