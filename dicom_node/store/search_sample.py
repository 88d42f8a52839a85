"""The index with two things more that questions need: a sample of its vectors, and a line in the audit trail
for each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_node.store import audit
from dicom_node.store.database import transaction
from dicom_node.store.search_facts import Level
from dicom_node.store.search_index import SearchIndex

PART = """
-- The number of a space, and what percentage of its pages to draw: enough for the rows wanted, and not so few
-- that a small space gives none.
SELECT s.space, least(100.0, greatest(100.0 * %(wanted)s / greatest(c.reltuples, 1),
                                      100.0 * %(pages)s / greatest(c.relpages, 1)))
FROM search_spaces s JOIN pg_class c ON c.oid = format('search_rows_%%s', s.space)::regclass
WHERE s.bundle_digest = %(bundle)s AND s.level = %(level)s AND s.modality = %(modality)s
"""

SAMPLE = """
-- Rows of a space in scope, from pages drawn at random: the same ones while the table does not change.
SELECT embedding FROM search_rows TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (0)
WHERE space = %(space)s AND in_scope
LIMIT %(most)s
"""

DRAWN = 2
"""Rows drawn for each one wanted: some are out of scope."""
LEAST_PAGES = 50
"""Pages are drawn one by one, by chance: of 50 expected, none at all comes once in 10^21 times."""


class AskedIndex(SearchIndex):
    """What a question is put to. Every method is one transaction and raises DatabaseUnavailableError."""

    def sample(self, bundle: str, level: Level, modality: str, most: int = 2000) -> NDArray[np.float32]:
        """(N, D) unit-norm rows in scope of one modality, N at most `most`; (0, 0) where there are none."""
        values: dict[str, Any] = {"bundle": bundle, "level": level.value, "modality": modality, "most": most}
        drawn = {"wanted": DRAWN * most, "pages": LEAST_PAGES}
        with transaction(self._pool) as connection:
            found = connection.execute(PART, values | drawn).fetchone()
            if found is None:
                return np.zeros((0, 0), dtype=np.float32)
            values |= {"space": found[0], "percent": found[1]}
            rows = connection.execute(SAMPLE, values, prepare=False).fetchall()
        vectors = [row.to_numpy() for (row,) in rows]
        return np.asarray(vectors, dtype=np.float32).reshape(len(rows), -1 if rows else 0)

    def note_asked(self, door: str, asker: str, **detail: Any) -> None:
        """Tell the audit trail that somebody searched. `detail` holds no words of the question: they may hold
        a name."""
        with transaction(self._pool) as connection:
            audit.record(connection, "search.asked", door=door, asker=asker, **detail)
