"""The Optuna study of a search: what was tried, and what its sampler would try next."""

from __future__ import annotations

import hashlib
import json
import math
import random
from contextlib import contextmanager
from dataclasses import asdict
from itertools import takewhile
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from paretoken.core.errors import SpecError
from paretoken.experiment.space import Interval
from paretoken.experiment.spec import hide_password
from paretoken.experiment.study_storage import connect, quiet, storage_url, store_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import optuna

    from paretoken.core.calls import Scalar
    from paretoken.core.trials import Variant
    from paretoken.experiment.space import Dimension, Space
    from paretoken.experiment.spec import Sampler

State = Literal["running", "complete", "failed"]

RETRIES = 3
"""Proposals of variants that were tried before, after which a random one is taken."""
_OWNER, _WITHDRAWN, _RUNS, _SPACE, _MEASURE = "owner", "withdrawn", "runs", "space", "measure"


class Tried(NamedTuple):
    """A trial of a study.

    Attributes:
        number: Its number in the study.
        state: `failed` has no estimate.
        own: It belongs to this run, not to another one on the same study.
    """

    number: int
    variant: Variant
    state: State
    own: bool


class Study:
    """A study that one run works on, alone or beside others; made by `open_study`."""

    def __init__(
        self,
        study: optuna.Study,
        storage: optuna.storages.RDBStorage,
        where: str,
        space: Space,
        objectives: Sequence[str],
        *,
        sampler: Callable[[int], optuna.samplers.BaseSampler] | None,
        seed: int,
        trials: int,
        owner: str,
    ) -> None:
        self._study, self._storage, self._where = study, storage, where
        self._space, self._objectives = space, objectives
        self._sampler, self._seed, self._most, self._owner = sampler, seed, trials, owner
        self._open: dict[int, optuna.trial.Trial] = {}
        self._variants: dict[int, Variant] = {}
        with self._speaking():
            self._left = [t.number for t in self._trials() if t.user_attrs.get(_OWNER) == owner and _runs(t)]

    def ask(self) -> tuple[int, Variant] | None:
        """The next variant, first those that this run was trying when it was killed.

        Returns:
            Its trial's number, and a variant that nobody has tried; None if enough or all of them were.

        Raises:
            StoreError: The study cannot be read or written.
        """
        with self._speaking():
            while (trial := self._trial(self._left.pop(0)) if self._left else self._new()) is not None:
                self._study.sampler = self._make_sampler(trial.number)
                variant = self._space.build(lambda d, trial=trial: _suggest(trial, d))  # type: ignore[misc]
                others = [t.variant.id for t in self._tried() if t.number != trial.number]
                if variant.id not in others and len(others) < self._most:
                    self._open[trial.number] = trial
                    return trial.number, variant
                trial.set_user_attr(_WITHDRAWN, value=True)
                self._study.tell(trial, state=_states().FAIL)
        return None

    def tell(
        self,
        number: int,
        values: Mapping[str, float | None],
        constraints: Mapping[str, float] | None = None,
        attrs: Mapping[str, Scalar | Sequence[Scalar]] | None = None,
    ) -> None:
        """What came out of a trial.

        Args:
            number: As `ask` gave it.
            values: By objective; if one is missing, the trial has failed.
            constraints: By name, 0 or less where the variant keeps them.
            attrs: What else the study should show of the trial.

        Raises:
            StoreError: The study cannot be written.
        """
        trial = self._open[number]
        told = [values.get(name) for name in self._objectives]
        with self._speaking():
            for name, value in (attrs or {}).items():
                trial.set_user_attr(name, value)
            known = self._study._storage.get_trial(trial._trial_id).constraints
            for name, limit in (constraints or {}).items():
                if name not in known:  # a run that was killed while it told the trial set it already
                    trial.set_constraint(name, limit)
            if all(value is not None and not math.isnan(value) for value in told):
                self._study.tell(trial, cast("list[float]", told))
            else:
                self._study.tell(trial, state=_states().FAIL)
        del self._open[number]

    def trials(self) -> list[Tried]:
        """Every trial by number, but those that were given up because their variant was tried before."""
        with self._speaking():
            return self._tried()

    def note(self, name: str, value: object) -> None:
        """Keep plain JSON values of this run in the study, in place of what was kept under the name before.

        Raises:
            StoreError: The study cannot be written.
        """
        with self._speaking():
            self._study.set_user_attr(f"{name} of {self._owner.partition('#')[0]}", value)

    def close(self) -> None:
        """Give the connection back."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _new(self) -> optuna.trial.Trial | None:
        """A new trial; None if enough variants were tried, or all."""
        tried = self._tried()
        if len(tried) >= self._most or self._untried(len(self._trials())) is None:
            return None
        trial = self._study.ask()
        trial.set_user_attr(_OWNER, self._owner)
        return trial

    def _make_sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Who proposes for one trial: it depends on the study alone, not on when a process began or was killed."""
        from optuna.samplers import PartialFixedSampler, RandomSampler

        seed = int.from_bytes(hashlib.blake2b(f"trial/{self._seed}/{number}".encode(), digest_size=4).digest())
        if self._sampler is not None and self._in_vain(number) < RETRIES:
            return self._sampler(seed)
        untried = self._untried(number)
        fixed = {} if untried is None else self._space.chosen(untried)
        return PartialFixedSampler(fixed, RandomSampler(seed=seed))

    def _untried(self, number: int) -> Variant | None:
        """A variant that was not tried when the trial of this number began: the next of the grid, or a random one."""
        rng = random.Random(f"untried/{self._seed}/{'grid' if self._sampler is None else number}")  # noqa: S311
        tried = {t.variant.id for t in self._tried() if t.number < number}
        return next(iter(self._space.draw(rng, 1, but=tried)), None)

    def _in_vain(self, number: int) -> int:
        """How many trials of this run in a row, before this one, proposed what was tried before."""
        own = [t for t in self._trials() if t.number < number and t.user_attrs.get(_OWNER) == self._owner]
        return len(list(takewhile(lambda t: _WITHDRAWN in t.user_attrs, reversed(own))))

    def _trial(self, number: int) -> optuna.trial.Trial:
        """A trial of an earlier process; what it chose already is kept."""
        import optuna

        id_ = self._study._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
        return optuna.trial.Trial(self._study, id_)

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _tried(self) -> list[Tried]:
        states = _states()
        names: dict[int, State] = {states.RUNNING: "running", states.COMPLETE: "complete", states.FAIL: "failed",
                                   states.PRUNED: "failed"}  # fmt: skip
        tried = []
        for t in self._trials():
            if t.state == states.WAITING or _WITHDRAWN in t.user_attrs:
                continue
            if t.number not in self._variants:
                try:
                    built = self._space.build(lambda d, params=t.params: params[d.name])  # type: ignore[misc]
                except KeyError:  # not all is chosen yet
                    continue
                self._variants[t.number] = built
            own = t.user_attrs.get(_OWNER) == self._owner
            tried.append(Tried(t.number, self._variants[t.number], names[t.state], own))
        return tried

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        with quiet(), store_errors(self._where, self._storage.engine.url):
            yield


def open_study(
    name: str,
    space: Space,
    *,
    root: Path,
    run: str,
    token: str = "",
    measure: Sequence[str] = (),
    minimize: Sequence[str],
    maximize: Sequence[str],
    trials: int,
    sampler: Sampler = "surrogate",
    seed: int = 0,
    storage: str = "",
) -> Study:
    """The study of a run, new or as it was left.

    Args:
        name: The study's name in its storage.
        space: What may be tried.
        root: The project's folder, which relative SQLite paths begin at.
        run: The run's id.
        token: What only this run knows: what a killed process of it was trying is tried again first.
        measure: What estimates depend on besides the variant; runs that share a study must agree on it.
        minimize: Objectives of which less is better.
        maximize: Objectives of which more is better.
        trials: How many variants the study may try, over all runs.
        sampler: Who proposes.
        seed: The run's seed.
        storage: A database that SQLAlchemy can reach, by URL; empty is `.paretoken/studies.db`.

    Raises:
        SpecError: The storage cannot be reached as it is written, the study has other objectives or another space, or
            a grid would have no end.
        StoreError: The storage does not answer.
    """
    if sampler == "grid":
        space.refuse_endless()
    url = storage_url(storage, root)
    where = url.database if url.database and url.get_backend_name() == "sqlite" else hide_password(str(url))
    objectives: dict[str, Literal["minimize", "maximize"]] = {
        **dict.fromkeys(minimize, "minimize"),
        **dict.fromkeys(maximize, "maximize"),
    }
    with quiet(), store_errors(where, url):
        import optuna

        database = connect(url, where)
        study = optuna.create_study(
            storage=database, study_name=name, load_if_exists=True, directions=list(objectives.values()),
            sampler=optuna.samplers.RandomSampler(seed=seed), pruner=optuna.pruners.NopPruner(),
        )  # fmt: skip
        _check(study, objectives, space, measure, where)
        if run not in (runs := study.user_attrs.get(_RUNS, [])):
            study.set_user_attr(_RUNS, [*runs, run])
    return Study(study, database, where, space, list(objectives), sampler=_maker(sampler, seed, space, trials),
                 seed=seed, trials=trials,
                 owner=f"{run}#{token}")  # fmt: skip


def _check(
    study: optuna.Study, objectives: Mapping[str, str], space: Space, measure: Sequence[str], where: str
) -> None:
    """Name the objectives of a new study; make sure that an old one has them, and the same space."""
    fingerprint = json.dumps([asdict(d) for d in space.dimensions])
    if _SPACE not in study.user_attrs and not study.get_trials(deepcopy=False):
        study.set_metric_names(list(objectives))
        study.set_user_attr(_SPACE, fingerprint)
        study.set_user_attr(_MEASURE, list(measure))
    directions = [d.name.lower() for d in study.directions]
    fix = "Name another one, study: NAME, or leave study and storage out."
    if directions != list(objectives.values()) or study.metric_names != list(objectives):
        has = (
            ", ".join(map(" ".join, zip(directions, study.metric_names or [], strict=False))) or "none that have names"
        )
        raise SpecError(f"the study {study.study_name!r} in {where} has other objectives: {has}.", fix=fix,
                        field="study")  # fmt: skip
    if study.user_attrs.get(_MEASURE, list(measure)) != list(measure):
        raise SpecError(f"the study {study.study_name!r} in {where} measured other samples, or by other scorers.",
                        fix=fix, field="study")  # fmt: skip
    if study.user_attrs.get(_SPACE) != fingerprint:
        raise SpecError(f"the study {study.study_name!r} in {where} explores another space.", fix=fix, field="study")


def _maker(name: Sampler, seed: int, space: Space, trials: int) -> Callable[[int], optuna.samplers.BaseSampler] | None:
    """Makes the sampler of a trial from the trial's own seed; None for a grid, which needs none.

    Ours derives its draws from the number of the trial, and remembers what it was told: it is made once.
    """
    from optuna import samplers

    from paretoken.experiment.surrogate import SurrogateSampler

    population = min(50, max(8, trials // 5))  # so that there are generations at all
    conditional = any(d.when for d in space.dimensions)
    ours = SurrogateSampler(seed, space=None if conditional else _distributions(space))
    makers: dict[Sampler, Callable[[int], optuna.samplers.BaseSampler]] = {
        "surrogate": lambda _: ours,
        "tpe": lambda own: samplers.TPESampler(seed=own, multivariate=True, group=conditional),
        "nsga2": lambda own: samplers.NSGAIISampler(seed=own, population_size=population),
        "nsga3": lambda own: samplers.NSGAIIISampler(seed=own, population_size=population),
        "gp": lambda own: samplers.GPSampler(seed=own),
        "random": lambda own: samplers.RandomSampler(seed=own),
    }
    return makers.get(name)


def _distributions(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    """What a trial chooses from, as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, optuna.distributions.BaseDistribution] = {}
    for d in space.dimensions:
        if not d.varies:
            continue
        if not isinstance(d.values, Interval):
            found[d.name] = CategoricalDistribution(d.values)
        elif isinstance(d.values.low, int):
            high, step = cast("int", d.values.high), cast("int", d.values.step)
            found[d.name] = IntDistribution(d.values.low, high, log=d.values.log, step=step)
        else:
            found[d.name] = FloatDistribution(d.values.low, d.values.high, log=d.values.log, step=d.values.step)
    return found


def _suggest(trial: optuna.trial.Trial, d: Dimension) -> Scalar:
    if not isinstance(d.values, Interval):
        return trial.suggest_categorical(d.name, d.values)
    low, high, step, log = d.values.low, d.values.high, d.values.step, d.values.log
    if isinstance(low, int):
        return trial.suggest_int(d.name, low, cast("int", high), step=cast("int", step), log=log)
    return trial.suggest_float(d.name, low, high, step=step, log=log)


def _runs(trial: optuna.trial.FrozenTrial) -> bool:
    return trial.state == _states().RUNNING


def _states() -> type[optuna.trial.TrialState]:
    from optuna.trial import TrialState

    return TrialState
