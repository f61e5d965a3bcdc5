"""What a spec may say of a race, a search, and the cheapest variant that is good enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from paretoken.experiment.spec import PlanSpec, hide_password, load_spec

if TYPE_CHECKING:
    from conftest import Lab

ABTEST = "plan:\n  abtest:\n    control: long\n    treatment: [terse]\n"


def plan_of(lab: Lab, text: str) -> PlanSpec:
    lab.edit(ABTEST, f"plan: {text}\n")
    return load_spec(lab.folder)[0].plan


def test_a_race_needs_no_word(lab: Lab) -> None:
    race = plan_of(lab, "race").race
    assert race is not None
    assert (race.alpha, race.epsilon, race.tolerance, race.confirm) == (0.05, {}, {}, None)


def test_a_search_races_and_learns_unless_it_is_told_not_to(lab: Lab) -> None:
    search = plan_of(lab, "{search: {trials: 60}}").search
    assert search is not None
    assert (search.sampler, search.trials, search.race, search.parallel) == ("surrogate", 60, True, 4)


def test_a_tolerance_is_a_share(lab: Lab) -> None:
    text = '{race: {tolerance: {list_usd: "10%", latency_s: 0.5, ttft_s: "2.5 %"}, epsilon: {contains: 0}}}'
    race = plan_of(lab, text).race
    assert race is not None
    assert race.tolerance == {"list_usd": 0.1, "latency_s": 0.5, "ttft_s": 0.025}
    assert race.epsilon == {"contains": 0.0}


@pytest.mark.parametrize("floor", ["", 'subject_to: {contains: ">= 0.6"}\n'])
def test_good_enough_is_a_loss_or_a_floor(lab: Lab, floor: str) -> None:
    lab.edit("maximize: [contains]\n", f"maximize: [contains]\n{floor}")
    cheapest = plan_of(lab, "cheapest" if floor else "{cheapest: {metric: contains, within: 0.02}}").cheapest
    assert cheapest is not None
    assert cheapest.of == "best"
    assert (cheapest.metric, cheapest.within) == ((None, None) if floor else ("contains", 0.02))


def test_a_password_is_used_and_never_recorded(lab: Lab) -> None:
    search = plan_of(lab, "{search: {trials: 9, storage: 'postgresql://me:secret@host/x'}}").search
    assert search is not None
    assert search.storage == "postgresql://me:secret@host/x"
    assert search.model_dump(mode="json")["storage"] == "postgresql://me:***@host/x"
    assert hide_password("postgresql://host/x?password=secret&a=1") == "postgresql://host/x?password=***&a=1"
    assert hide_password("sqlite:///studies.db") == "sqlite:///studies.db"
