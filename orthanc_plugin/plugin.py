"""What Orthanc loads: `"PythonScript": "/path/to/orthanc_plugin/plugin.py"`. docs/ORTHANC.md tells more.

Orthanc ends with exit code 255 when its script raises while it is loaded, so nothing here may: whatever
is wrong is logged, the plugin stays inactive, and the archive works as it does without it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orthanc

DEFAULT_STABLE_AGE = 60
"""Orthanc's own, in seconds."""


def _activate() -> Callable[[], dict[str, Any]]:
    """Register the callbacks; return what tells the plugin's status."""
    # At the end of the path, so that no module of Orthanc's other scripts is hidden. The imports stand
    # here so that a failing one is caught like everything else.
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from orthanc_plugin.announcer import Announcer
    from orthanc_plugin.find_archive import FindArchive
    from orthanc_plugin.find_door import FindDoor
    from orthanc_plugin.find_ordinary import why_not
    from orthanc_plugin.find_query import CREATOR, GROUP
    from orthanc_plugin.host import OrthancHost
    from orthanc_plugin.node_client import NodeClient
    from orthanc_plugin.routes import OF_STUDY, SEARCH, Routes
    from orthanc_plugin.settings import SECTION, parse_settings

    configuration = json.loads(orthanc.GetConfiguration())
    settings = parse_settings(configuration.get(SECTION))
    stable_age = float(configuration.get("StableAge", DEFAULT_STABLE_AGE))
    node = NodeClient(settings)
    announcer = Announcer(OrthancHost(orthanc), node, settings, stable_age)

    def on_change(change: int, _level: int, _resource: str) -> None:
        if change == orthanc.ChangeType.STABLE_STUDY:
            announcer.wake()
        elif change == orthanc.ChangeType.ORTHANC_STARTED:
            announcer.start()
        elif change == orthanc.ChangeType.ORTHANC_STOPPED:
            announcer.stop()

    orthanc.RegisterOnChangeCallback(on_change)
    if settings.find:
        reason = why_not(configuration, lambda *version: bool(orthanc.CheckVersionAdvanced(*version)))
        if reason is None:
            # Peers that speak Implicit VR do not say what our elements are.
            vr = orthanc.ValueRepresentation
            for element, kind in {
                0x1001: vr.LT,
                0x1002: vr.FD,
                0x1003: vr.LO,
                0x1004: vr.UI,
                0x1005: vr.LO,
            }.items():
                orthanc.RegisterPrivateDictionaryTag(
                    GROUP, element, kind, f"M3Bind{element:04x}", 1, 0, CREATOR
                )
            orthanc.RegisterFindCallback(FindDoor(orthanc, node, configuration).on_find)
            orthanc.LogWarning("M3Bind: C-FIND is answered by this plugin")
        else:
            orthanc.LogError(f'M3Bind: "Find" is not used, Orthanc answers C-FIND itself: {reason}')
    _register_routes(Routes(node, lambda: FindArchive(orthanc), orthanc.OrthancException), (SEARCH, OF_STUDY))
    if settings.explorer:
        orthanc.ExtendOrthancExplorer(Path(__file__).with_name("button.js").read_text("utf-8"))
    orthanc.LogWarning(f"M3Bind: stable studies are announced to {settings.node_url}")
    return announcer.status


def _register_routes(routes: Any, paths: tuple[str, ...]) -> None:
    """`routes` is a `routes.Routes`."""

    def on_request(output: orthanc.RestOutput, uri: str, **request: Any) -> None:
        if request["method"] != "GET":
            output.SendMethodNotAllowed("GET")
            return
        reply = routes.reply(uri, request.get("get", {}))
        output.SetHttpHeader("Cache-Control", "no-store")
        if reply.status == 200:
            output.AnswerBuffer(reply.body.encode("ascii"), "application/json")
        else:
            output.SetHttpHeader("Content-Type", "application/problem+json")
            output.SendHttpStatus(reply.status, reply.body, len(reply.body))

    for path in paths:
        orthanc.RegisterRestCallback(path, on_request)


def _register_status(status: Callable[[], dict[str, Any]]) -> None:
    def answer(output: orthanc.RestOutput, _uri: str, **request: Any) -> None:
        if request["method"] == "GET":
            output.AnswerBuffer(json.dumps(status(), indent=2).encode("utf-8"), "application/json")
        else:
            output.SendMethodNotAllowed("GET")

    orthanc.RegisterRestCallback("/m3bind/status", answer)


def _load() -> None:
    try:
        status = _activate()
    except Exception as error:  # noqa: BLE001 - the rim: raising here would take the archive down
        reason = str(error)
        orthanc.LogError(f"M3Bind: inactive, no study is announced: {reason}")

        def status() -> dict[str, Any]:
            return {"active": False, "reason": reason}

    _register_status(status)


_load()
