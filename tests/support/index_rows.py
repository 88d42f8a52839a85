"""Made rows of the search index, clustered as real embeddings are, by the hundred thousand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from dicom_node.records import BundleIdentity
from dicom_node.store.database import Pool, transaction
from dicom_node.store.search_facts import Filters, FindingRange, Level

Floats = NDArray[np.float32]

BUNDLE = BundleIdentity("bench", "1.0.0", "bench")
MODALITIES = ("xray", "ct", "retina", "ecg", "pathology")
CLUSTERS = 20
"""Per modality: findings and kinds of image."""
SCORED = 8
"""Findings of a modality that each row has a probability of."""
FIRST_DAY, DAYS = date(2016, 1, 1), 4000
ANSWERS = 10
VIEWS_PER_STUDY = 10
"""Of the studies that are inserted into the built index."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """N made rows of one level."""

    vectors: Floats  # (N, D), unit norm
    modality: NDArray[np.int64]
    day: NDArray[np.int64]
    age: Floats
    probabilities: Floats  # (N, SCORED), of the findings of the row's modality

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Where the clusters lie."""

    centres: Floats  # (modalities * CLUSTERS, D)
    axes: Floats  # (D, D), scaled: their lengths fall off
    gap: Floats  # (D,): from images to texts


def make_shape(dimension: int, rng: np.random.Generator) -> Shape:
    """Modalities far apart, findings of one close together, 3 in 4 of the variance within a cluster."""
    modalities = rng.normal(size=(len(MODALITIES), 1, dimension))
    kinds = 0.6 * rng.normal(size=(len(MODALITIES), CLUSTERS, dimension))
    centres = 0.7 * (modalities + kinds).reshape(-1, dimension) / np.sqrt(dimension)
    basis, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    lengths = np.arange(1, dimension + 1) ** -0.6
    axes = basis * (lengths / np.sqrt(np.sum(lengths**2)))[:, None]
    gap = 0.5 * rng.normal(size=dimension) / np.sqrt(dimension)
    return Shape(centres.astype(np.float32), axes.astype(np.float32), gap.astype(np.float32))


def draw(shape: Shape, count: int, rng: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
    """(N, D) unit-norm vectors and their clusters."""
    cluster = rng.integers(len(shape.centres), size=count)
    vectors = np.empty((count, shape.centres.shape[1]), dtype=np.float32)
    for start in range(0, count, 50_000):
        part = slice(start, start + 50_000)
        noise = rng.standard_normal((len(cluster[part]), len(shape.axes)), dtype=np.float32)
        vectors[part] = _unit(shape.centres[cluster[part]] + noise @ shape.axes)
    return vectors, cluster


def make_rows(shape: Shape, count: int, rng: np.random.Generator) -> Rows:
    """Attributes are independent of the vectors, but for modality and findings."""
    vectors, cluster = draw(shape, count, rng)
    probabilities = rng.beta(1, 12, size=(count, SCORED)).astype(np.float32)
    kind = cluster % CLUSTERS
    has = kind < SCORED  # one cluster in five hundred shows each finding plainly
    probabilities[np.flatnonzero(has), kind[has]] = rng.beta(8, 2, size=int(has.sum()))
    return Rows(
        vectors,
        cluster // CLUSTERS,
        rng.integers(DAYS, size=count),
        rng.uniform(0, 100, size=count).astype(np.float32),
        probabilities,
    )


def make_questions(shape: Shape, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Examples, and words: a cluster's centre with a little noise, beyond the gap."""
    examples, _ = draw(shape, count, rng)
    near = shape.centres[rng.integers(len(shape.centres), size=count)]
    noise = rng.standard_normal((count, len(shape.axes)), dtype=np.float32) @ shape.axes
    return examples, _unit(near + np.float32(0.3) * noise + shape.gap)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def fill(pool: Pool, rows: Rows) -> None:
    """Put the rows into their spaces without graphs, and into a plain table."""
    width = rows.vectors.shape[1]
    with transaction(pool) as connection:
        for level in Level:
            for modality in MODALITIES:
                connection.execute(
                    "SELECT search_space(%s, %s, %s, %s, %s, %s)",
                    (BUNDLE.digest, BUNDLE.name, BUNDLE.version, level.value, modality, width),
                )
        for table in leaves(connection):
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(f"{table}_hnsw")))
        connection.execute(
            "INSERT INTO search_findings SELECT (n - 1) * %s + f + 1, name || '.f' || f "
            "FROM unnest(%s::text[]) WITH ORDINALITY AS o(name, n), generate_series(0, %s) AS f",
            (SCORED, list(MODALITIES), SCORED - 1),
        )
        connection.execute("SET LOCAL session_replication_role = replica")  # nothing to be checked
        copy_rows(connection, rows)
        connection.execute(
            "CREATE TABLE plain AS SELECT series_uid, modality, study_date, age, probabilities, embedding "
            "FROM search_rows"
        )
        for column in ("modality", "study_date", "age"):
            connection.execute(sql.SQL("CREATE INDEX ON plain ({})").format(sql.Identifier(column)))
    with psycopg.connect(pool.conninfo, autocommit=True) as alone:
        alone.execute("VACUUM ANALYZE search_rows")
        alone.execute("VACUUM ANALYZE plain")


def copy_rows(connection: psycopg.Connection[Any], rows: Rows) -> None:
    """By COPY, ten views to a study."""
    into = spaces(connection)
    last = (len(rows) - 1) // VIEWS_PER_STUDY
    connection.execute(
        "INSERT INTO studies (study_uid, state) "
        "SELECT '2.25.' || s, 'reported' FROM generate_series(0, %s) AS s",
        (last,),
    )
    empty: list[float | None] = [None] * (SCORED * len(MODALITIES))
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY search_rows (space, study_uid, series_uid, view, modality, in_scope, study_date, sex, age, "
            "birth_year, patient_id, probabilities, embedding) FROM STDIN"
        ) as copy,
    ):
        for at in range(len(rows)):
            modality, day = int(rows.modality[at]), int(rows.day[at])
            scored = empty[: SCORED * modality] + [round(float(p), 6) for p in rows.probabilities[at]]
            study = at // VIEWS_PER_STUDY
            taken = FIRST_DAY + timedelta(days=day)
            copy.write_row(
                (
                    into[MODALITIES[modality]],
                    f"2.25.{study}",
                    f"2.25.{study}.{at}",
                    at % VIEWS_PER_STUDY,
                    MODALITIES[modality],
                    True,
                    taken,
                    "FM"[at % 2],
                    float(rows.age[at]),
                    taken.year - int(rows.age[at]),
                    f"P{study}",
                    scored,
                    rows.vectors[at],
                )
            )


def spaces(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """The spaces that are measured, by modality."""
    told = connection.execute("SELECT modality, space FROM search_spaces WHERE level = 'series'")
    return dict(told.fetchall())


def leaves(connection: psycopg.Connection[Any]) -> list[str]:
    """Their tables."""
    return [f"search_rows_{space}" for space in spaces(connection).values()]


@dataclass(frozen=True, slots=True)
class Case:
    """A filter, and the rows that fulfil it."""

    name: str
    filters: Filters
    fulfil: NDArray[np.bool_] | None
    sql: str = "true"
    """The same as `filters`, as one would write it by hand."""


def cases(rows: Rows) -> list[Case]:
    """Filters that let all, 20 %, 1 % and 0.1 % through; some independent of the vectors, some not."""
    every = Filters(BUNDLE.digest, Level.SERIES)
    first = FIRST_DAY + timedelta(days=1000)
    month = replace(every, from_date=first, until_date=first + timedelta(days=39))
    days = f"study_date BETWEEN '{month.from_date}' AND '{month.until_date}'"
    in_month = (rows.day >= 1000) & (rows.day < 1040)
    plain = FindingRange("xray.f3", least=0.5)
    shows = (rows.modality == 0) & (rows.probabilities[:, 3] >= np.float32(0.5))
    return [
        Case("none", every, None),
        Case(
            "20 %: age",
            replace(every, least_age=60.0, most_age=80.0),
            (rows.age >= 60) & (rows.age <= 80),
            "age BETWEEN 60 AND 80",
        ),
        Case("20 %: modality", replace(every, modalities=("ct",)), rows.modality == 1, "modality = 'ct'"),
        Case("1 %: date", month, in_month, days),
        Case("1 %: finding", replace(every, findings=(plain,)), shows, "probabilities[4] >= 0.5"),
        Case(
            "0.1 %: date and age",
            replace(month, least_age=60.0, most_age=70.0),
            in_month & (rows.age >= 60) & (rows.age <= 70),
            f"{days} AND age BETWEEN 60 AND 70",
        ),
    ]


def true_neighbours(rows: Rows, case: Case, questions: Floats) -> list[set[int]]:
    """The nearest rows that fulfil the filter, by all cosines."""
    among = np.arange(len(rows)) if case.fulfil is None else np.flatnonzero(case.fulfil)
    best = [np.empty(0, dtype=np.int64)] * len(questions)
    for start in range(0, len(among), 100_000):
        part = among[start : start + 100_000]
        for at, question in enumerate(questions):
            seen = np.concatenate([best[at], part])
            cosine = rows.vectors[seen] @ question if len(best[at]) else rows.vectors[part] @ question
            best[at] = seen[np.argsort(-cosine)[:ANSWERS]]
    return [set(found.tolist()) for found in best]
