"""Small pictures of studies: made when they are looked at, kept in memory while there is room."""

from __future__ import annotations

import textwrap
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from markupsafe import escape

from dicom_node.errors import DecoderUnavailableError, InputError
from dicom_node.records import Instance
from dicom_node.uids import UID_LENGTH, UID_PATTERN
from dicom_node.web.api import Uid, known_study
from dicom_node.web.ports import WebPorts

AT_ONCE = 2
"""Pictures that are made at once; others wait. Studies that come in have the other cores."""
WAIT_SECONDS = 20.0
ROOM = 32 << 20
"""Bytes of pictures that are kept: some two thousand."""

ChosenUid = Annotated[str | None, Query(pattern=f"^{UID_PATTERN}$", max_length=UID_LENGTH)]
Frame = Annotated[int | None, Query(ge=1, le=1 << 24)]
Key = tuple[str, int | None]


class Shelf:
    """Pictures by object and frame, those that were looked at last. Safe to use from several threads."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Key) -> bytes | None:
        """The picture, which then counts as the last that was looked at."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Key, picture: bytes) -> None:
        """Keep it, in the place of those that nobody has looked at for longest."""
        with self._lock:
            if key not in self._kept and len(picture) <= self._room:
                self._kept[key] = picture
                self._bytes += len(picture)
            while self._bytes > self._room:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= len(dropped)


class Thumbnails:
    """Answers every address of a picture by a picture: where there is none, by one that says why."""

    def __init__(self, ports: WebPorts) -> None:
        self._ports = ports
        self._shelf = Shelf()
        self._seats = threading.BoundedSemaphore(AT_ONCE)

    def add_to(self, router: APIRouter) -> None:
        """The route."""
        router.add_api_route(
            "/studies/{uid}/thumbnail", self._thumbnail, methods=["GET"], response_class=Response
        )

    def _thumbnail(
        self, uid: Uid, series: ChosenUid = None, instance: ChosenUid = None, frame: Frame = None
    ) -> Response:
        """Of an object, of the middle one of a series, or of the study's first that can be shown."""
        store = self._ports.studies()
        known_study(store, uid)
        found = [one for one in store.instances(uid) if series in (None, one.series_uid)]
        wanted = [one for one in found if one.sop_instance_uid == instance] if instance else found
        if not wanted:
            return placeholder("The node does not hold this object.")
        one = wanted[len(wanted) // 2]
        key = (one.sop_instance_uid, frame)
        picture = self._shelf.get(key)
        if picture is None:
            try:
                picture = self._made([o for o in found if o.series_uid == one.series_uid], one, frame)
            except InputError as error:
                return placeholder(str(error))
            except DecoderUnavailableError:
                return placeholder("No picture can be made at the moment. Load the page again later.")
            except OSError:
                return placeholder("The node no longer holds the pixels. The archive may.")
            self._shelf.put(key, picture)
        return Response(picture, media_type="image/jpeg")

    def _made(self, series: Sequence[Instance], one: Instance, frame: int | None) -> bytes:
        if not self._seats.acquire(timeout=WAIT_SECONDS):
            raise DecoderUnavailableError("too many pictures at once")
        try:
            return self._ports.picture(series, one, frame)
        finally:
            self._seats.release()


def placeholder(why: str) -> Response:
    """A picture that says why there is none."""
    lines = textwrap.wrap(why, 26)[:7]
    top = 136 - 12 * len(lines)
    words = "".join(
        f'<text x="128" y="{top + 24 * number}">{escape(line)}</text>' for number, line in enumerate(lines)
    )
    drawn = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="256" height="256" viewBox="0 0 256 256">'
        '<rect width="256" height="256" fill="#18202a"/>'
        f'<g fill="#9fb0c0" font-family="sans-serif" font-size="17" text-anchor="middle">{words}</g></svg>'
    )
    return Response(drawn, media_type="image/svg+xml")
