"""Logs of calls in Parquet files, up to many millions: what they cost by model, day or tag, counted where they lie."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from paretoken.analysis.estimate import Estimate, t_quantile
from paretoken.analysis.features import log_features
from paretoken.analysis.front import Standing, find_front
from paretoken.analysis.log_columns import (
    AS_THEY_ARE,
    CHOICES,
    COLUMNS,
    COUNTED,
    MONEY,
    NEEDED,
    TYPES,
    Holds,
    bare_type,
)
from paretoken.analysis.log_files import find_parquet, known_zone
from paretoken.analysis.objectives import LATENCY_QUANTILES, Objectives
from paretoken.analysis.summary import VariantSummary
from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest
from paretoken.core.trials import Variant, label_variants
from paretoken.core.usage import from_pico

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    import pandas as pd

    from paretoken.analysis.driver_shares import Drivers

MEMORY = "2GB"
THREADS = 2
DRAWN = 10_000
"""Calls that drivers are looked for in."""
_OWN = ("day", "calls", "unpriced", "error_rate", "latency_s_p95")
"""What groups have of their own: a column of such a name is grouped by as `tag: NAME`."""
_ANSWERED = """nullif(CAST("error" AS VARCHAR), '') IS NULL"""
_TARGET = "(target)"


class CallLog:
    """Parquet files with one row a call, read as a stream within `MEMORY` and by `THREADS` threads.

    Args:
        source: A file, a folder of them, or a pattern. Files may differ in further columns: texts among these are tags,
            numbers are metrics.
        timezone: Where days begin, an IANA name. Times without an offset stay as they are.

    Attributes:
        name: Of the file, the folder or the pattern, without its path.
        files: Sorted.
        types: DuckDB's type of every column.

    Raises:
        SpecError: There is no such file, it is no Parquet of calls, or there are no calls in it.
    """

    def __init__(self, source: str | Path, *, timezone: str = "UTC") -> None:
        self._given, self.name, self._zone = str(source), Path(source).name or str(source), known_zone(timezone)
        self.files = find_parquet(str(source))
        listed = f"[{', '.join(_text(escape(file)) for file in self.files)}]"  # DuckDB takes names for patterns
        self._table = f"read_parquet({listed}, union_by_name = true)"
        self._numbered = f"read_parquet({listed}, union_by_name = true, filename = '(file)', file_row_number = true)"
        self.types = {str(row[0]): str(row[1]) for row in self._ask(f"DESCRIBE SELECT * FROM {self._table}")}
        footers = self._ask(
            f"""SELECT file_name, list(name), any_value(calls) FROM parquet_schema({listed}) JOIN
            (SELECT file_name, CAST(sum(num_rows) AS BIGINT) AS calls FROM parquet_file_metadata({listed}) GROUP BY 1)
            USING (file_name) GROUP BY 1 ORDER BY 1"""
        )
        columns = {file: set(own) for file, own, _ in footers}
        self._units = {m: "pico" if all(f"{m}_pico" in own for own in columns.values()) else "usd" for m in MONEY}
        self._counts = {file: int(calls) for file, _, calls in footers}
        self._check(columns)
        if not len(self):
            raise SpecError("holds no calls.", file=self._given)

    def __len__(self) -> int:
        return sum(self._counts.values())

    @property
    def groups(self) -> list[str]:
        """What calls can be grouped by: `day`, and every column that is not counted, by its name or `tag: NAME`."""
        return list(self._groups)

    @property
    def metrics(self) -> list[str]:
        """Numbers of calls that are not of every log."""
        return [n for n in self.types if self._holds(n, "numbers") and n not in (*COUNTED, *CHOICES)]

    def cost_by(self, *names: str) -> pd.DataFrame:
        """Cost of every group of calls, exact.

        Args:
            names: Of `groups`; all that are named together make up a group, none makes all calls one.

        Returns:
            The names, then `calls, input_tokens, output_tokens, list_usd, billed_usd` (sums; money as `Decimal`),
            `unpriced` (answered calls that have no list cost, so that the sum lacks theirs), `error_rate`, and
            `latency_s_p95` of the calls that have a latency, to 0.1 % [s]. Sorted by the names, a missing value last,
            as None.

        Raises:
            SpecError: There is nothing of such a name, or too many groups for the memory.
        """
        import pandas as pd

        keys = list(dict.fromkeys(names))
        for name in keys:
            if name not in self._groups:
                raise SpecError(f"calls of {self.name} cannot be grouped by {name!r}.", fix=suggest(name, self._groups))
        measured = [
            "count(*)", *(f"coalesce(sum(CAST({_name(n)} AS BIGINT)), 0)" for n in ("input_tokens", "output_tokens")),
            *(self._sum(money) for money in MONEY),
            f"count(*) FILTER (WHERE {_ANSWERED} AND {self._number('list_usd')} IS NULL)",
            f"avg(CAST(NOT ({_ANSWERED}) AS INTEGER))",
        ]  # fmt: skip
        groups = [self._groups[name] for name in keys]
        p95 = self._latencies(groups, [LATENCY_QUANTILES["p95"]])
        found = [
            (*row[:-4], self._usd("list", row[-4]), self._usd("billed", row[-3]), *row[-2:],
             *p95.get(row[: len(keys)], (None,)))
            for row in self._grouped(groups, measured)
        ]  # fmt: skip
        columns = [*keys, "calls", "input_tokens", "output_tokens", "list_usd", "billed_usd", "unpriced", "error_rate",
                   "latency_s_p95"]  # fmt: skip
        return pd.DataFrame(found, columns=columns, dtype=object).astype({"calls": int, "error_rate": float})

    def front(self, minimize: Sequence[str] = ("list_usd",), maximize: Sequence[str] = ()) -> list[Standing]:
        """Which variants no other beats on the means of their answered calls, every call by itself.

        A variant is what `CHOICES` make up.

        Args:
            minimize: `list_usd`, `billed_usd`, `input_tokens`, `output_tokens`, `latency_s`, `latency_s.p95`,
                `error_rate`, or a metric.
            maximize: The same.

        Raises:
            SpecError: The log has no such number.
        """
        numbers = ["list_usd", "billed_usd", "input_tokens", "output_tokens", "latency_s", *self.metrics]
        quantiles = [f"latency_s.{q}" for q in LATENCY_QUANTILES]
        for name in (*minimize, *maximize):
            if name not in (known := [*numbers, *quantiles, "error_rate"]):
                raise SpecError(f"calls of {self.name} have no {name!r}.", fix=suggest(name, known))
        wanted = [n for n in numbers if n in ("list_usd", *minimize, *maximize)]
        choices = [name for name in CHOICES if name in self.types]
        answered = f" FILTER (WHERE {_ANSWERED})"
        measured = ["count(*)", f"count(*){answered}", *(self._sum(money) for money in MONEY)]
        measured += [f"coalesce(sum({self._number(n)}), 0)" for n in ("input_tokens", "output_tokens")]
        for name in wanted:
            measured += [f"{f}({self._number(name)}){answered}" for f in ("count", "avg", "stddev_samp")]
        keys = [self._key(name) for name in choices]
        rows, latencies = self._grouped(keys, measured), self._latencies(keys, list(LATENCY_QUANTILES.values()))
        variants = [_variant(dict(zip(choices, row, strict=False))) for row in rows]
        labels = label_variants(variants)
        summaries = [
            self._summary(variant, labels[variant.id], row[len(keys) :], wanted, latencies.get(row[: len(keys)], ()))
            for variant, row in zip(variants, rows, strict=True)
        ]
        return find_front(summaries, Objectives(tuple(minimize), tuple(maximize), {}))

    def sample(self, n: int, seed: int = 0) -> pd.DataFrame:
        """Calls drawn at random without replacement, in the order of the log; all of them where there are no more.

        The same files and seed give the same calls, on any machine.
        """
        return self._draw(n, seed, {name: _name(name) for name in self.types})

    def drivers(self, target: str = "list_usd", *, n: int = DRAWN, seed: int = 0) -> Drivers:
        """What drives a number of the answered calls, in a sample of them.

        Args:
            target: `list_usd`, `output_tokens`, `latency_s` or a metric.
            n: Calls to draw.
            seed: For the draw and the fit.

        Raises:
            SpecError: The log has no such number, or nothing to explain it by.
        """
        from paretoken.analysis.driver_shares import TARGETS
        from paretoken.analysis.drivers import fit_drivers

        known = (*TARGETS, *self.metrics)
        if target not in known:
            raise SpecError(f"calls of {self.name} have no {target!r}.", fix=suggest(target, known))
        wanted = {_TARGET: f"CASE WHEN {_ANSWERED} THEN {self._number(target)} END"}
        wanted |= {name: self._key(name) for name in self.types if name in (*CHOICES, "sample", *self._tags)}
        if "input" in self.types:
            text = 'CAST("input" AS VARCHAR)'
            wanted |= {"input": f"left({text}, 1000)", "input_chars": f"length({text})"}
        if "input_chars" in self.types:
            wanted["input_chars"] = self._number("input_chars")
        drawn = self._draw(n, seed, wanted)
        rows = drawn[drawn[_TARGET].notna()].reset_index(drop=True)
        if not len(rows):
            raise SpecError(f"no call of {self.name} has a value of {target}.")
        features = log_features(rows.drop(columns=_TARGET), [name for name in CHOICES if name in rows], self._tags)
        values = rows[_TARGET].to_numpy(np.float64)
        found = fit_drivers(features, values, target=target, title=f"{target} of {self.name}", seed=seed)
        notes = []
        if len(drawn) < len(self):
            notes.append(f"in {len(drawn):,} of {len(self):,} calls, drawn at random")
        if missing := len(drawn) - len(rows):
            notes.append(f"{missing:,} calls without {target} are left out")
        return replace(found, notes=(*notes, *found.notes))

    @property
    def _tags(self) -> list[str]:
        return [n for n in self.types if self._holds(n, "texts") and n not in COLUMNS]

    def _summary(
        self, variant: Variant, label: str, row: tuple[Any, ...], wanted: Sequence[str], latencies: tuple[float, ...]
    ) -> VariantSummary:
        n, n_answered, listed, billed, tokens_in, tokens_out, *moments = row
        list_usd, tokens = self._usd("list", listed), float(tokens_in + tokens_out)
        estimates = {
            name: _estimate(*moments[3 * i : 3 * i + 3]) for i, name in enumerate(wanted) if moments[3 * i]
        }  # fmt: skip
        return VariantSummary(
            variant=variant.id,
            label=label,
            n=n,
            n_failed=n - n_answered,
            n_estimated=0,
            estimates=estimates,
            latency_s=dict(zip(LATENCY_QUANTILES, latencies, strict=False)),
            list_usd_total=list_usd,
            billed_usd_total=self._usd("billed", billed),
            list_usd_per_1k_tokens=float(list_usd) * 1000 / tokens if tokens else None,
            missing={},
            notes={},
            n_samples=n_answered,
            n_alike=0,
        )

    def _grouped(self, keys: Sequence[str], measured: Sequence[str]) -> list[tuple[Any, ...]]:
        """Keys and what is measured of each group, sorted by the keys."""
        places = range(1, len(keys) + 1)
        grouped = f"GROUP BY {', '.join(map(str, places))} ORDER BY {', '.join(f'{i} NULLS LAST' for i in places)}"
        return self._ask(f"SELECT {', '.join([*keys, *measured])} FROM {self._table} {grouped if keys else ''}")

    def _latencies(self, keys: Sequence[str], levels: Sequence[float]) -> dict[tuple[Any, ...], tuple[float, ...]]:
        """Quantiles of each group that has a latency [s], interpolated as numpy does.

        Latencies that differ by less than 0.1 % are counted as one, so that the memory does not grow with the log.
        """
        names = [f'"k{i}"' for i in range(len(keys))]
        own = "".join(f"{name}, " for name in names)
        given = "".join(f"{key} AS {name}, " for key, name in zip(keys, names, strict=True))
        within = f"PARTITION BY {', '.join(names)}" if names else ""
        ends = "".join(f", min(s) FILTER (WHERE upto > {end}({level} * (total - 1)))"
                       for level in levels for end in ("floor", "ceil"))  # fmt: skip
        rows = self._ask(
            f"""WITH given AS (SELECT {given}{self._number("latency_s")} AS s FROM {self._table}),
            counted AS (SELECT {own}max(s) AS s, count(*) AS n FROM given WHERE s IS NOT NULL
                        GROUP BY {own}CAST(round(1000 * ln(greatest(s, 1e-9))) AS INTEGER)),
            ranked AS (SELECT *, sum(n) OVER ({within} ORDER BY s) AS upto, sum(n) OVER ({within}) AS total
                       FROM counted)
            SELECT {own}any_value(total){ends} FROM ranked {f"GROUP BY {', '.join(names)}" if names else ""}"""
        )
        found = {}
        for row in rows:
            total, *pairs = row[len(keys) :]
            ranks = [level * (int(total) - 1) for level in levels] if total else []
            found[row[: len(keys)]] = tuple(
                low + (high - low) * (rank % 1) for rank, low, high in zip(ranks, pairs[::2], pairs[1::2], strict=False)
            )
        return {key: values for key, values in found.items() if values}

    @property
    def _groups(self) -> dict[str, str]:
        """Expressions by the names of groups."""
        columns = {f"tag: {n}" if n in _OWN else n: self._key(n) for n in self.types if n not in COUNTED}
        return {"day": 'CAST(CAST("at" AS TIMESTAMPTZ) AS DATE)', **columns}

    def _key(self, name: str) -> str:
        """A column whose values are levels."""
        return _name(name) if bare_type(self.types[name]) in AS_THEY_ARE else f"CAST({_name(name)} AS VARCHAR)"

    def _number(self, name: str) -> str:
        """A column as floats, without NaN; money in dollars."""
        if self._units.get(money := name.removesuffix("_usd")) == "pico":
            return f"{_name(f'{money}_pico')} / 1e12"
        return f"nullif(CAST({_name(name)} AS DOUBLE), 'nan')"

    def _sum(self, money: str) -> str:
        """An exact sum: of integers, or of dollars with every call's rounded to the pico-dollar."""
        if self._units[money] == "pico":
            return f"sum(CAST({_name(f'{money}_pico')} AS BIGINT))"
        name, kind = f"{money}_usd", self.types[f"{money}_usd"]
        value = self._number(name) if kind in ("DOUBLE", "FLOAT") else _name(name)
        return f"sum(CAST({value} AS DECIMAL(38, 12)))"

    def _usd(self, money: str, total: Decimal | int | None) -> Decimal:
        if total is None:
            return from_pico(0)
        return from_pico(int(total)) if self._units[money] == "pico" else cast("Decimal", total)

    def _draw(self, n: int, seed: int, wanted: dict[str, str]) -> pd.DataFrame:
        """Expressions of drawn calls by name, one row a call."""
        import pandas as pd

        total = len(self)
        drawn = np.sort(np.random.default_rng(seed).choice(total, min(n, total), replace=False, shuffle=False))
        starts = np.cumsum([0, *self._counts.values()])
        file = np.searchsorted(starts, drawn, side="right") - 1
        names = list(self._counts)
        rows = self._ask(
            f"""SELECT {", ".join(wanted.values())} FROM {self._numbered}
            JOIN (SELECT unnest(CAST($1 AS VARCHAR[])) AS "(f)", unnest(CAST($2 AS BIGINT[])) AS "(r)")
            ON "(file)" = "(f)" AND file_row_number = "(r)" ORDER BY "(f)", "(r)\"""",
            [[names[i] for i in file], (drawn - starts[file]).tolist()],
        )
        return pd.DataFrame(rows, columns=list(wanted)).convert_dtypes()

    def _holds(self, name: str, kind: Holds) -> bool:
        return kind in TYPES.get(bare_type(self.types[name]), ())

    def _check(self, columns: dict[str, set[str]]) -> None:
        """Refuse what is no log of calls. What only some files have would be missing in the others, and cost nothing.

        Args:
            columns: By file; what the names of folders say (`department=ops/`) is a column of all.
        """
        needed = NEEDED | {f"{money}_{unit}": "numbers" for money, unit in self._units.items()}
        by_folder = set(self.types).difference(*columns.values())
        for file, own in columns.items():
            if missing := [repr(name) for name in needed if name not in own | by_folder]:
                what = f"column{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
                raise SpecError(f"is no log of calls: it lacks the {what}.", file=file,
                                fix="`paretoken runs export RUN --to F` writes one that has them all.")  # fmt: skip
        for name, kind in needed.items():
            if not self._holds(name, kind):
                raise SpecError(f"is no log of calls: its column {name!r} holds {self.types[name]}, not {kind}.",
                                file=self._given)  # fmt: skip

    def _ask(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of an answer. Nothing is fetched from elsewhere, and what does not fit the memory goes to a folder."""
        import duckdb

        limits = {"memory_limit": MEMORY, "threads": str(THREADS), "autoinstall_known_extensions": "false"}
        try:
            with (
                tempfile.TemporaryDirectory(prefix="paretoken-") as spilled,
                duckdb.connect(":memory:", config={**limits, "temp_directory": spilled}) as connection,
            ):
                connection.execute(f"SET TimeZone = {_text(self._zone)}")
                return connection.execute(sql, list(parameters)).fetchall()
        except duckdb.OutOfMemoryException:
            raise SpecError(f"this takes more than {MEMORY} of memory.", file=self._given,
                            fix="Group by fewer columns, or by one with fewer values.") from None  # fmt: skip
        except duckdb.Error as error:
            raise SpecError(f"cannot be read: {str(error).splitlines()[0]}", file=self._given) from error


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _variant(choices: dict[str, Any]) -> Variant:
    prompt, model = choices.pop("prompt", None), choices.pop("model")
    params = tuple(sorted((name, value) for name, value in choices.items() if value is not None))
    return Variant(str(prompt or "(no prompt)"), str(model or "(no model)"), params)


def _estimate(n: int, mean: float, deviation: float | None) -> Estimate:
    if n < 2 or deviation is None:
        return Estimate(mean, None, None, n)
    half = t_quantile(0.975, n - 1) * deviation / n**0.5
    return Estimate(mean, mean - half, mean + half, n)
