"""Which findings of a bundle a node speaks of."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.errors import ConfigError


def choose_findings(
    findings: Sequence[FindingEntry], enable: Collection[str] = (), disable: Collection[str] = ()
) -> tuple[FindingEntry, ...]:
    """Those that the bundle enables, with those of `enable` and without those of `disable`, by id and in the
    bundle's order.

    Raises ConfigError for an id that the bundle does not hold, or that stands in both.
    """
    known = {entry.id for entry in findings}
    for key, ids in (("enable", enable), ("disable", disable)):
        for identifier in ids:
            if identifier not in known:
                raise ConfigError(
                    f"findings.{key}: the bundle knows no finding {identifier!r}. "
                    "`dicom-node bundle show` lists what it knows."
                )
    if both := sorted(set(enable) & set(disable)):
        raise ConfigError(f"findings: {both[0]!r} is both enabled and disabled; take it out of one list.")
    return tuple(
        entry for entry in findings if entry.id in enable or (entry.enabled and entry.id not in disable)
    )
