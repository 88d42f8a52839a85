"""How well and how fast the index answers: recall@10 and time per question, with and without filters, and how
many vectors a second it takes in, beside pgvector's defaults, exact search and faiss.

    python tests/benchmarks/bench_index.py [--rows 1000000] [--questions 500] [--json FILE]

The node's own embedded PostgreSQL is filled in a folder of its own (`--folder`, removed at the end; some 6 GB
per million rows) and asked by the node's own code with one client. The vectors are made: modalities and
findings are clusters, and within one the variance falls off from axis to axis as in real embeddings.
Half of the questions are drawn like the rows ("example"); the other half lie apart from all rows, as texts do
in a space of images and texts ("words"). True neighbours come from numpy, over all that fulfil the filter.

`--m`, `--ef-construction`, `--ef-search` try other settings than the node's. faiss is asked where faiss-cpu
is installed. The graph takes minutes to build at a million rows: see `--workers`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from pgvector.psycopg import register_vector
from psycopg import sql
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it runs alone, from any folder

from dicom_node.records import Assessment, Status, Traits, ViewSummary
from dicom_node.store.database import Pool, open_pool, transaction
from dicom_node.store.embedded import EmbeddedPostgres
from dicom_node.store.search_facts import Filters
from dicom_node.store.search_index import SearchIndex, Tuning
from dicom_node.store.vectors import replace_rows
from tests.support.index_rows import (
    ANSWERS,
    BUNDLE,
    FIRST_DAY,
    VIEWS_PER_STUDY,
    Case,
    Floats,
    Rows,
    Shape,
    cases,
    draw,
    fill,
    leaves,
    make_questions,
    make_rows,
    make_shape,
    true_neighbours,
)


@dataclass(slots=True)
class Measured:
    """One line of the table."""

    way: str
    filter: str
    recall: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """Mean time on a processor, of client and server: it depends less on what else the machine does."""
    questions: int


@dataclass(slots=True)
class Result:
    """The whole run."""

    settings: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_per_row: dict[str, float] = field(default_factory=dict)
    inserted_per_second: float = 0.0
    lines: list[Measured] = field(default_factory=list)


def ask(
    way: str,
    case: Case,
    questions: Floats,
    truth: Sequence[set[int]],
    answer: Callable[[Floats], list[int]],
    server: int | None,
) -> Measured:
    """Ask one by one, after some others have warmed up; `server` is the process that answers."""
    for question in questions[::-1][:10]:
        answer(question)
    seconds, hits, busy = [], 0, _processor_seconds(server)
    for question, right in zip(questions, truth, strict=True):
        began = time.perf_counter()
        found = answer(question)
        seconds.append(time.perf_counter() - began)
        hits += len(right & set(found))
    busy = (_processor_seconds(server) - busy) / len(questions)
    wanted = sum(len(right) for right in truth)
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return Measured(
        way, case.name, hits / max(wanted, 1), float(p50), float(p99), busy * 1000, len(questions)
    )


def _processor_seconds(server: int | None) -> float:
    """Of this process and of that one (Linux: /proc/PID/schedstat begins with nanoseconds on a processor)."""
    if server is None:
        return time.process_time()
    told = Path(f"/proc/{server}/schedstat").read_text(encoding="ascii")
    return time.process_time() + int(told.split()[0]) / 1e9


def build_graphs(pool: Pool, width: int, options: argparse.Namespace) -> tuple[float, float]:
    """Seconds that CREATE INDEX takes: of the node's graphs together, of pgvector's defaults on all rows."""
    create = (
        "CREATE INDEX {} ON {} USING hnsw ((embedding::halfvec({})) halfvec_cosine_ops) "
        "WITH (m = {}, ef_construction = {})"
    )
    own = options.m, options.ef_construction
    with psycopg.connect(pool.conninfo, autocommit=True) as alone:
        alone.execute(sql.SQL("SET maintenance_work_mem = {}").format(options.memory))
        alone.execute(sql.SQL("SET max_parallel_maintenance_workers = {}").format(options.workers))
        marks = [time.perf_counter()]
        for tables, (m, ef_construction) in ((leaves(alone), own), (["plain"], (16, 64))):
            for table in tables:
                names = sql.Identifier(f"{table}_hnsw"), sql.Identifier(table)
                alone.execute(sql.SQL(create).format(*names, width, m, ef_construction))
            marks.append(time.perf_counter())
    return marks[1] - marks[0], marks[2] - marks[1]


def by_node(index: SearchIndex, filters: Filters) -> Callable[[Floats], list[int]]:
    """The node's own search."""
    return lambda question: [_number(c.series_uid) for c in index.nearest(question, filters, ANSWERS)]


def by_pgvector(connection: psycopg.Connection[Any], case: Case, width: int) -> Callable[[Floats], list[int]]:
    """The plain query of pgvector's manual, with its default settings, on one graph of all rows."""
    near = f"ORDER BY embedding::halfvec({width}) <=> %(q)s::vector::halfvec({width}) LIMIT {ANSWERS}"
    return _plain(connection, case, near)


def by_scan(connection: psycopg.Connection[Any], case: Case) -> Callable[[Floats], list[int]]:
    """All rows, compared one by one in PostgreSQL."""
    return _plain(connection, case, f"ORDER BY embedding <=> %(q)s::vector LIMIT {ANSWERS}")


def _plain(connection: psycopg.Connection[Any], case: Case, near: str) -> Callable[[Floats], list[int]]:
    statement = f"SELECT series_uid FROM plain WHERE {case.sql} {near}"

    def answer(question: Floats) -> list[int]:
        rows = connection.execute(statement.encode(), {"q": question}).fetchall()
        return [_number(row[0]) for row in rows]

    return answer


def by_faiss(case: Case, graph: Any, ef_search: int) -> Callable[[Floats], list[int]]:
    """HNSW in memory with as many links, and a mask of the rows that fulfil the filter."""
    import faiss

    ask_for: dict[str, Any] = {"efSearch": ef_search}
    if case.fulfil is not None:
        ask_for["sel"] = faiss.IDSelectorBatch(np.flatnonzero(case.fulfil))
    parameters = faiss.SearchParametersHNSW(**ask_for)
    return lambda question: graph.search(question[None], ANSWERS, params=parameters)[1][0].tolist()


def build_faiss(rows: Rows, options: argparse.Namespace) -> tuple[Any, float] | None:
    """The graph of faiss and the seconds it took; None where faiss is not installed or not wanted."""
    if options.no_faiss:
        return None
    try:
        import faiss
    except ImportError:
        return None
    faiss.omp_set_num_threads(options.workers + 1)
    graph = faiss.IndexHNSWFlat(rows.vectors.shape[1], options.m, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = options.ef_construction
    began = time.perf_counter()
    graph.add(rows.vectors)
    seconds = time.perf_counter() - began
    faiss.omp_set_num_threads(1)
    return graph, seconds


def insert(pool: Pool, shape: Shape, options: argparse.Namespace, rng: np.random.Generator) -> float:
    """Views a second that the node's own code puts into the built index: one transaction per study."""
    vectors, _ = draw(shape, options.inserted, rng)
    studies = [vectors[at : at + VIEWS_PER_STUDY] for at in range(0, len(vectors), VIEWS_PER_STUDY)]
    seconds = 0.0
    for number, views in enumerate(studies):
        assessment = _study(f"2.25.9.{number}", views)
        with transaction(pool) as connection:
            connection.execute(
                "INSERT INTO studies (study_uid, state) VALUES (%s, 'reported')", (assessment.study_uid,)
            )
        began = time.perf_counter()
        with transaction(pool) as connection:
            replace_rows(connection, assessment)
        seconds += time.perf_counter() - began
    return len(vectors) / seconds


def _study(study_uid: str, vectors: Floats) -> Assessment:
    traits = Traits("P", "F", 61.0, 1960, FIRST_DAY, "CHEST")
    views = tuple(
        ViewSummary("xray", f"{study_uid}.{at}", (), vector, True, 0.0, traits=traits)
        for at, vector in enumerate(vectors)
    )
    return Assessment(study_uid, "xray", Status.REPORTED, None, (), views, (), BUNDLE, {})


def _number(series_uid: str | None) -> int:
    return -1 if series_uid is None else int(series_uid.rsplit(".", 1)[1])


def sizes(pool: Pool, count: int) -> dict[str, float]:
    """Bytes per row of the tables, their graphs and their other indexes."""
    with transaction(pool) as connection:
        row = connection.execute(
            "SELECT sum(pg_table_size(t::regclass)), sum(pg_relation_size((t || '_hnsw')::regclass)), "
            "sum(pg_indexes_size(t::regclass)) FROM unnest(%s::text[]) AS t",
            (leaves(connection),),
        ).fetchone()
    assert row is not None
    table, graph, indexes = (float(value) / count for value in row)
    return {"table": table, "graph": graph, "filters": indexes - graph}


@contextmanager
def opened(folder: Path | None) -> Iterator[Pool]:
    """A database of its own, removed afterwards."""
    made = Path(tempfile.mkdtemp(prefix="m3ix", dir=folder))
    made.chmod(0o755)
    server = EmbeddedPostgres(made / "pg")
    server.start()
    try:
        pool = open_pool(server.url, size=1)
        try:
            yield pool
        finally:
            pool.close()
    finally:
        server.stop()
        shutil.rmtree(made, ignore_errors=True)


def measure(pool: Pool, options: argparse.Namespace, result: Result, say: Console) -> None:
    """Fill, build, ask, insert."""
    rng = np.random.default_rng(options.seed)
    shape = make_shape(options.dimension, rng)
    rows = make_rows(shape, options.rows, rng)
    examples, words = make_questions(shape, options.questions // 2, rng)
    say.print(f"{len(rows):,} rows made")
    began = time.perf_counter()
    fill(pool, rows)
    result.seconds["fill"] = time.perf_counter() - began
    say.print(f"filled in {result.seconds['fill']:.0f} s")
    result.seconds["graphs"], result.seconds["plain graph"] = build_graphs(pool, options.dimension, options)
    say.print(f"graphs built in {result.seconds['graphs']:.0f} s")
    result.bytes_per_row = sizes(pool, len(rows))
    faiss_graph = build_faiss(rows, options)
    if faiss_graph is not None:
        result.seconds["faiss"] = faiss_graph[1]
    tuning = Tuning(ef_search=options.ef_search, ef_search_of_many=options.ef_search_of_many)
    index = SearchIndex(pool, tuning)
    with psycopg.connect(pool.conninfo, autocommit=True) as plain, psycopg.connect(pool.conninfo) as scan:
        register_vector(plain)
        register_vector(scan)
        scan.execute("SET LOCAL enable_indexscan = off")  # bitmaps of the filters are left
        warm(plain)
        with transaction(pool) as connection:
            node_server = connection.info.backend_pid  # the pool has this one alone
        for case in cases(rows):
            for kind, questions in (("example", examples), ("words", words)):
                truth = true_neighbours(rows, case, questions)
                few = options.scans if case.fulfil is None or case.fulfil.sum() > 0.1 * len(rows) else None
                ways: list[tuple[str, Callable[[Floats], list[int]], int | None, int | None]] = [
                    ("node", by_node(index, case.filters), None, node_server),
                    (
                        "pgvector's defaults",
                        by_pgvector(plain, case, options.dimension),
                        None,
                        plain.info.backend_pid,
                    ),
                    ("exact, PostgreSQL", by_scan(scan, case), few, scan.info.backend_pid),
                ]
                if faiss_graph is not None:
                    ways.append(("faiss HNSW", by_faiss(case, faiss_graph[0], options.ef_search), None, None))
                for way, answer, most, server in ways:
                    line = ask(f"{way}, {kind}", case, questions[:most], truth[:most], answer, server)
                    result.lines.append(line)
    if options.inserted:
        result.inserted_per_second = insert(pool, shape, options, rng)


def warm(connection: psycopg.Connection[Any]) -> None:
    """Bring the tables into memory, as on a node that has run for a while; the graphs have just been made."""
    connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")  # those pass the cache by
    connection.execute("SELECT sum(view) FROM search_rows WHERE study_uid >= ''")
    connection.execute("SELECT count(series_uid) FROM plain WHERE age >= 0")
    connection.execute("RESET ALL")


def tell(result: Result, say: Console) -> None:
    """The table."""
    table = Table("filter", "way", "recall@10", "p50 ms", "p99 ms", "CPU ms", "asked")
    for line in result.lines:
        table.add_row(
            line.filter,
            line.way,
            f"{line.recall:.4f}",
            f"{line.p50_ms:.2f}",
            f"{line.p99_ms:.2f}",
            f"{line.cpu_ms:.2f}",
            str(line.questions),
        )
    say.print(table)
    say.print({name: f"{value:.0f} s" for name, value in result.seconds.items()})
    say.print({name: f"{value:.0f} bytes a row" for name, value in result.bytes_per_row.items()})
    say.print(f"{result.inserted_per_second:.0f} vectors a second inserted into the built index")
    say.print(result.settings)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--questions", type=int, default=500, help="half of each kind, for each filter")
    parser.add_argument("--scans", type=int, default=20, help="questions for the slow exact scan")
    parser.add_argument(
        "--inserted", type=int, default=5000, help="vectors put into the built index; 0: none"
    )
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=64)
    parser.add_argument("--ef-search", type=int, default=Tuning().ef_search)
    parser.add_argument("--ef-search-of-many", type=int, default=Tuning().ef_search_of_many)
    parser.add_argument("--workers", type=int, default=1, help="beside the first, to build the graph")
    parser.add_argument("--memory", default="4GB", help="to build the graph in (maintenance_work_mem)")
    parser.add_argument(
        "--folder", type=Path, default=None, help="for the database; default: that of the system"
    )
    parser.add_argument("--no-faiss", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=None, help="write all figures there, too")
    options = parser.parse_args()
    say = Console()
    told = {name: str(value) for name, value in vars(options).items() if name not in ("json", "folder")}
    result = Result({**told, "load": f"{os.getloadavg()[0]:.1f}", "cores": os.cpu_count()})
    with opened(options.folder) as pool:
        measure(pool, options, result, say)
    tell(result, say)
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
