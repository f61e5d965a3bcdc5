"""The sampler: it finds planted fronts early, repeats nothing, keeps constraints, and is the same after a resume."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import moocore
import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from paretoken.experiment.surrogate import SurrogateSampler
from paretoken.experiment.surrogate_model import MOST_POINTS

if TYPE_CHECKING:
    from collections.abc import Callable

optuna.logging.set_verbosity(optuna.logging.ERROR)

SIZES = {"model": 12, "prompt": 4, "cap": 6}
SPACE = {name: CategoricalDistribution([f"{name}{i}" for i in range(n)]) for name, n in SIZES.items()}
RNG = np.random.default_rng(5)
GOOD = {name: RNG.normal(0, 0.1, n) for name, n in SIZES.items()}
DEAR = {name: RNG.normal(0, 1.2, n) for name, n in SIZES.items()}
Values = tuple[float, float]


def planted(params: dict[str, str]) -> Values:
    """Quality adds up, cost multiplies and spreads over decades."""
    level = {name: int(str(params[name]).removeprefix(name)) for name in SIZES}
    return sum(GOOD[n][level[n]] for n in SIZES), math.exp(sum(DEAR[n][level[n]] for n in SIZES))


def run(
    sampler: optuna.samplers.BaseSampler,
    trials: int,
    study: optuna.Study | None = None,
    of: Callable[[dict[str, str]], Values] = planted,
) -> optuna.Study:
    study = study or optuna.create_study(directions=["maximize", "minimize"])
    study.sampler = sampler
    for _ in range(trials):
        trial = study.ask(SPACE)
        study.tell(trial, of(trial.params))
    return study


def points(study: optuna.Study) -> list[tuple[object, ...]]:
    return [tuple(sorted(trial.params.items())) for trial in study.trials]


def trials_to(study: optuna.Study, share: float) -> int:
    """Trials until the hypervolume reaches a share of the true one."""
    grid = [planted({"model": f"model{m}", "prompt": f"prompt{p}", "cap": f"cap{c}"})
            for m in range(12) for p in range(4) for c in range(6)]  # fmt: skip
    ideal = np.array([[-quality, math.log(cost)] for quality, cost in grid])
    worst = ideal.max(axis=0)
    seen = np.array([[-trial.values[0], math.log(trial.values[1])] for trial in study.trials])
    whole = moocore.hypervolume(ideal, ref=worst)
    for n in range(1, len(seen) + 1):
        if moocore.hypervolume(seen[:n], ref=worst) >= share * whole:
            return n
    return len(seen) + 1


def test_a_planted_front_is_found_much_faster_than_at_random() -> None:
    ours = [trials_to(run(SurrogateSampler(seed, space=SPACE), 60), 0.97) for seed in range(4)]
    chance = [trials_to(run(optuna.samplers.RandomSampler(seed=seed), 240), 0.97) for seed in range(4)]
    assert np.median(ours) < 45
    assert 3 * np.median(ours) < np.median(chance)


def test_known_costs_find_it_no_later() -> None:
    known = {1: lambda params: planted(params)[1]}
    found = [trials_to(run(SurrogateSampler(seed, space=SPACE, known=known), 60), 0.97) for seed in range(4)]
    assert np.median(found) < 45


def test_what_is_known_not_to_exist_is_not_proposed() -> None:
    known = {1: lambda params: None if params["model"] == "model3" else planted(params)[1]}
    study = run(SurrogateSampler(0, space=SPACE, known=known), 60)
    assert all(trial.params["model"] != "model3" for trial in study.trials)


def test_the_same_seed_gives_the_same_trials_and_another_seed_others() -> None:
    first, second, third = (points(run(SurrogateSampler(seed), 15)) for seed in (1, 1, 2))
    assert first == second
    assert first != third


def test_a_resumed_study_goes_on_with_the_same_proposals() -> None:
    whole = run(SurrogateSampler(3), 40)
    half = run(SurrogateSampler(3), 23)
    assert points(run(SurrogateSampler(3), 17, half)) == points(whole)


def test_trials_that_finish_in_another_order_are_resumed_too() -> None:
    def proposals(*, fresh: bool) -> list[dict[str, str]]:
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=SurrogateSampler(4, space=SPACE))
        flying, asked = [], []
        for i in range(30):
            flying.append(study.ask(SPACE))
            asked.append(flying[-1].params)
            if len(flying) > 2:
                trial = flying.pop(i % 3)
                trial.set_user_attr("n", 8 * (i + 1))
                study.tell(trial, planted(trial.params))
            if fresh:
                study.sampler = SurrogateSampler(4, space=SPACE)
        return asked

    assert proposals(fresh=True) == proposals(fresh=False)


def test_no_point_is_proposed_twice_while_others_are_left_in_flight_or_failed() -> None:
    size = math.prod(SIZES.values())
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=SurrogateSampler(1, space=SPACE))
    flying = [study.ask(SPACE) for _ in range(5)]
    for i in range(size - 5):
        trial = flying.pop(0)
        if i % 7 == 0:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, planted(trial.params))
        flying.append(study.ask(SPACE))
    assert len(set(points(study))) == size
    for trial in flying:
        study.tell(trial, planted(trial.params))
    assert study.ask(SPACE).params["model"] in SPACE["model"].choices


def test_constraints_are_kept_once_they_are_learnt() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=SurrogateSampler(2, space=SPACE))
    for _ in range(50):
        trial = study.ask(SPACE)
        values = planted(trial.params)
        trial.set_constraint("good", 0.1 - values[0])
        study.tell(trial, values)
    broken = [trial.values[0] < 0.1 for trial in study.trials]
    every = [planted({"model": f"model{m}", "prompt": f"prompt{p}", "cap": f"cap{c}"})[0] < 0.1
             for m in range(12) for p in range(4) for c in range(6)]  # fmt: skip
    assert np.mean(broken[15:]) < 0.6 * np.mean(every)


def test_one_objective_of_a_float_in_logarithm_an_integer_and_choices() -> None:
    def loss(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
        words = trial.suggest_int("words", 10, 200, step=10)
        kind = trial.suggest_categorical("kind", ["a", "b", "c"])
        return (math.log10(rate) + 2) ** 2 + ((words - 120) / 100) ** 2 + {"a": 0.5, "b": 0.0, "c": 1.0}[kind]

    study = optuna.create_study(sampler=SurrogateSampler(0))
    study.optimize(loss, n_trials=40)
    assert study.best_value < 0.05
    assert all(trial.params["words"] % 10 == 0 for trial in study.trials)
    assert study.best_params["kind"] == "b"


def test_three_objectives_of_mixed_directions_spread_over_the_front() -> None:
    study = optuna.create_study(directions=["maximize", "minimize", "maximize"], sampler=SurrogateSampler(0))
    study.optimize(
        lambda trial: (
            trial.suggest_float("x", 0, 1),
            trial.suggest_float("y", 0, 1) + trial.params["x"] ** 2,
            1 - trial.params["x"] - trial.params["y"],
        ),
        n_trials=25,
    )
    best = np.array([trial.values for trial in study.best_trials])
    assert len(best) >= 5
    assert np.ptp(best[:, 0]) > 0.5


def test_branches_of_a_conditional_space_are_drawn_at_random_and_what_is_common_is_modelled() -> None:
    def loss(trial: optuna.Trial) -> float:
        kind = trial.suggest_categorical("kind", ["plain", "judge"])
        x = trial.suggest_float("x", -1, 1)
        extra = trial.suggest_int("votes", 1, 9, log=True) if kind == "judge" else 0
        return x * x + (0.2 if kind == "plain" else 0.0) + 0.001 * extra

    study = optuna.create_study(sampler=SurrogateSampler(0))
    study.optimize(loss, n_trials=40)
    assert study.best_value < 0.02
    assert len({trial.params.get("votes") for trial in study.trials}) > 3


def test_a_value_of_few_samples_weighs_less() -> None:
    """The wrong values of one model rest on one sample each, its right ones on many."""
    space = {"model": CategoricalDistribution(["good", "bad"]), "x": FloatDistribution(0, 1)}

    def chosen(few: int) -> int:
        study = optuna.create_study(direction="maximize", sampler=SurrogateSampler(1, space=space))
        rng = np.random.default_rng(2)
        for i in range(24):
            params = {"model": ("good", "bad")[i % 2], "x": float(rng.random())}
            wrong = params["model"] == "good" and i % 4 == 0
            value = (1.0 if params["model"] == "good" else 0.5) - 4 * wrong
            study.add_trial(optuna.trial.create_trial(
                params=params, distributions=space, value=value, user_attrs={"n": few if wrong else 400},
            ))  # fmt: skip
        return sum(study.ask(space).params["model"] == "good" for _ in range(10))

    assert chosen(1) > chosen(400)


def test_a_space_that_is_too_large_to_list_is_drawn_from() -> None:
    space = {f"p{i}": IntDistribution(0, 9) for i in range(5)}
    assert MOST_POINTS < 10**5
    study = optuna.create_study(sampler=SurrogateSampler(0, space=space))
    for _ in range(60):
        trial = study.ask(space)
        study.tell(trial, sum((trial.params[name] - 4) ** 2 for name in space))
    assert study.best_value <= 6
    assert len(set(points(study))) == 60


def test_a_copy_that_is_reseeded_draws_differently() -> None:
    sampler = SurrogateSampler(1, space=SPACE)
    before = points(run(sampler, 10))
    sampler.reseed_rng()
    assert points(run(sampler, 10)) != before


def test_one_sampler_may_serve_two_studies() -> None:
    sampler = SurrogateSampler(1, space=SPACE)
    assert points(run(sampler, 12)) == points(run(sampler, 12))


@pytest.mark.parametrize("value", [0.0, -1.0, 1e9])
def test_values_that_do_not_vary_are_no_trouble(value: float) -> None:
    study = run(SurrogateSampler(1, space=SPACE), 12, of=lambda _: (value, value))
    assert len(set(points(study))) == 12
