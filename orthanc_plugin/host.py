"""What the announcer needs of Orthanc, by the REST interface inside the process."""

from __future__ import annotations

import json
from typing import Any, Protocol

from orthanc_plugin.events import (
    ChangePage,
    Progress,
    StudyContent,
    parse_changes,
    parse_progress,
    parse_study,
)

RECORD = 19763
"""Number of our user metadata of a study and of our global property: 0x4D33, the group of our private
tags. Both kinds start at 1024; a number needs no entry in Orthanc's `UserMetadata`."""

UNKNOWN_RESOURCE = 17
"""OrthancPluginErrorCode_UnknownResource, first argument of OrthancException."""


class Api(Protocol):
    """The functions of the module `orthanc` that are used here."""

    @property
    def OrthancException(self) -> type[Exception]:  # noqa: N802 - Orthanc's own names, here and below
        """What every function raises: (error code, description)."""

    def RestApiGet(self, uri: str, /) -> bytes:  # noqa: N802
        """Body of GET `uri`."""

    def RestApiPut(self, uri: str, body: bytes, /) -> bytes:  # noqa: N802
        """Body of the answer to PUT `uri`."""

    def GetGlobalProperty(self, property_id: int, default: str, /) -> str:  # noqa: N802
        """A text kept in Orthanc's database."""

    def SetGlobalProperty(self, property_id: int, value: str, /) -> None:  # noqa: N802
        """Keep it."""

    def LogInfo(self, message: str, /) -> None:  # noqa: N802
        """To Orthanc's log, only when verbose."""

    def LogWarning(self, message: str, /) -> None:  # noqa: N802
        """To Orthanc's log."""

    def LogError(self, message: str, /) -> None:  # noqa: N802
        """To Orthanc's log."""


class OrthancHost:
    """Orthanc seen by the announcer. Every call is short: it holds Python's lock while it runs."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def info(self, message: str) -> None:
        """What happens all the time."""
        self._api.LogInfo(f"M3Bind: {message}")

    def warn(self, message: str) -> None:
        """What an administrator may want to know."""
        self._api.LogWarning(f"M3Bind: {message}")

    def error(self, message: str) -> None:
        """What an administrator has to act on."""
        self._api.LogError(f"M3Bind: {message}")

    def changes(self, since: int, limit: int) -> ChangePage:
        """At most `limit` lines of the change log after `since`."""
        return parse_changes(self._json(f"/changes?since={since}&limit={limit}"))

    def last_change(self) -> int:
        """Sequence number at the end of the log."""
        return parse_changes(self._json("/changes?last")).last

    def study_of(self, instance: str) -> str | None:
        """Orthanc id of the study that holds an instance; None where the instance is gone."""
        study = self._json_or_none(f"/instances/{instance}/study")
        return None if study is None else str(study["ID"])

    def content(self, study: str) -> StudyContent | None:
        """What a study holds; None where it is gone."""
        document = self._json_or_none(f"/studies/{study}")
        series = self._json_or_none(f"/studies/{study}/series")
        return None if document is None or series is None else parse_study(document, series)

    def announced(self, study: str) -> str:
        """Fingerprint of what was announced of a study; empty for nothing yet."""
        return (self._get_or_none(f"/studies/{study}/metadata/{RECORD}") or b"").decode("ascii", "replace")

    def set_announced(self, study: str, fingerprint: str) -> None:
        """Keep it with the study. A study that is gone, or metadata that Orthanc will not let us replace
        (`CheckRevisions`), costs a repeated announcement at worst."""
        try:
            self._api.RestApiPut(f"/studies/{study}/metadata/{RECORD}", fingerprint.encode("ascii"))
        except self._api.OrthancException:
            self.warn(f"cannot write metadata {RECORD} of study {study}; it may be announced again")

    def load_progress(self) -> Progress | None:
        """What was kept before a restart; None on the very first start."""
        return parse_progress(self._api.GetGlobalProperty(RECORD, ""))

    def save_progress(self, progress: Progress) -> None:
        """Keep it in Orthanc's database."""
        self._api.SetGlobalProperty(RECORD, progress.to_text())

    def _json(self, uri: str) -> Any:
        return json.loads(self._api.RestApiGet(uri))

    def _json_or_none(self, uri: str) -> Any:
        body = self._get_or_none(uri)
        return None if body is None else json.loads(body)

    def _get_or_none(self, uri: str) -> bytes | None:
        try:
            return self._api.RestApiGet(uri)
        except self._api.OrthancException as error:
            if error.args and error.args[0] == UNKNOWN_RESOURCE:
                return None
            raise
