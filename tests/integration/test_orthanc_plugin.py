"""The plugin inside a real Orthanc, announcing to a real HTTP server that stands for the node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid

from tests.support.canned_http import Answer, Request, canned_http
from tests.support.dcmtk import store_scu
from tests.support.objects import image, report
from tests.support.orthanc import PLUGIN_SCRIPT, OrthancServer, running_orthanc
from tests.support.waiting import free_port, wait_until

pytestmark = pytest.mark.peer

ACCEPTED = Answer(202, b"{}")


class Node:
    """Where announcements go; down unless inside `up()`, always on the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.told: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []

    @contextmanager
    def up(self, answer: Answer = ACCEPTED) -> Iterator[None]:
        def note(request: Request) -> Answer:
            assert (request.method, request.path) == ("POST", "/api/announce")
            self.told.append(json.loads(request.body))
            self.tokens.append(request.headers.get("authorization"))
            return answer

        with canned_http(note, port=self.port):
            yield

    def settings(self, **more: Any) -> dict[str, Any]:
        section = {"NodeUrl": f"http://127.0.0.1:{self.port}", "ArchiveName": "archive", "MaxRetrySeconds": 1}
        return {"M3Bind": {**section, **more}}

    def studies(self) -> list[str]:
        return [announcement["study_uid"] for announcement in self.told]


@pytest.fixture
def node() -> Node:
    return Node()


def status(server: OrthancServer) -> dict[str, Any]:
    answer: dict[str, Any] = server.get("/m3bind/status")
    return answer


def send(server: OrthancServer, folder: Path, *objects: bytes) -> None:
    """By C-STORE, as a modality would."""
    folder.mkdir(exist_ok=True)
    paths = []
    for content in objects:
        path = folder / f"{generate_uid()}.dcm"
        path.write_bytes(content)
        paths.append(path)
    store_scu(paths, server.dicom_port, called=server.ae_title)


def settle(server: OrthancServer, study_uid: str) -> None:
    """Return once Orthanc has called the study stable at least once, and the plugin has dealt with it."""
    study = server.study_id(study_uid)

    def stable_at() -> int:
        changes = server.get("/changes?since=0&limit=100000")["Changes"]
        return max(
            (c["Seq"] for c in changes if (c["ChangeType"], c["ID"]) == ("StableStudy", study)), default=0
        )

    before = stable_at()
    wait_until(lambda: stable_at() > before, "StableStudy")
    read = stable_at()
    wait_until(lambda: (status(server)["change_log_position"] or 0) >= read, "reading of the change log")
    wait_until(lambda: status(server)["waiting"] == 0, "empty queue")


def test_a_study_that_became_stable_is_announced_once_with_its_content(tmp_path: Path, node: Node) -> None:
    uid, series = generate_uid(), generate_uid()
    with (
        node.up(),
        running_orthanc(tmp_path, script=PLUGIN_SCRIPT, settings=node.settings(Token="t0ken")) as server,
    ):
        send(server, tmp_path / "sent", *(image(uid, series_uid=series) for _ in range(3)))
        settle(server, uid)

        assert node.told == [
            {"archive": "archive", "study": server.study_id(uid), "study_uid": uid, "instances": 3}
        ]
        assert node.tokens == ["Bearer t0ken"]
        said = status(server)
        assert (said["active"], said["node_reachable"], said["waiting"]) == (True, True, 0)
        assert said["last_error"] is None
        assert server.stop() == 0
    assert "t0ken" not in server.log_text()


def test_its_own_report_is_not_announced_but_a_new_image_is(tmp_path: Path, node: Node) -> None:
    uid = generate_uid()
    with node.up(), running_orthanc(tmp_path, script=PLUGIN_SCRIPT, settings=node.settings()) as server:
        server.upload(image(uid))
        settle(server, uid)
        assert len(node.told) == 1

        server.upload(report(uid))
        settle(server, uid)
        assert len(node.told) == 1

        server.upload(report(uid, manufacturer="Somebody else"))
        settle(server, uid)
        assert [announcement["instances"] for announcement in node.told] == [1, 2]

        server.upload(image(uid))
        settle(server, uid)
        assert [announcement["instances"] for announcement in node.told] == [1, 2, 3]


def test_a_study_of_nothing_but_reports_is_never_announced(tmp_path: Path, node: Node) -> None:
    uid = generate_uid()
    with node.up(), running_orthanc(tmp_path, script=PLUGIN_SCRIPT, settings=node.settings()) as server:
        server.upload(report(uid))
        settle(server, uid)
    assert node.told == []


def test_studies_that_came_while_the_node_was_down_are_announced_when_it_is_back(
    tmp_path: Path, node: Node
) -> None:
    uids = [generate_uid() for _ in range(3)]
    with running_orthanc(tmp_path, script=PLUGIN_SCRIPT, settings=node.settings()) as server:
        for uid in uids:
            server.upload(image(uid))
        # A study waits from when it is read; that the node is away is known only after the first attempt.
        wait_until(
            lambda: (status(server)["waiting"], status(server)["node_reachable"]) == (3, False),
            "three studies that wait for a node that was tried",
        )
        assert "ConnectionRefusedError" in status(server)["last_error"]

        with node.up():
            wait_until(lambda: status(server)["waiting"] == 0, "empty queue")
            assert sorted(node.studies()) == sorted(uids)
        assert server.log_text().count("cannot be told of studies") == 1
        assert server.log_text().count("the node is back") == 1


@pytest.mark.parametrize("violently", [False, True])
def test_what_was_not_announced_before_a_restart_is_announced_after_it(
    tmp_path: Path, node: Node, violently: bool
) -> None:
    told, waiting, unstable = (generate_uid() for _ in range(3))
    server = OrthancServer(tmp_path, script=PLUGIN_SCRIPT, settings=node.settings())
    server.start()
    try:
        with node.up():
            server.upload(image(told))
            settle(server, told)
        server.upload(image(waiting))
        wait_until(lambda: status(server)["waiting"] == 1, "a study that waits")
        server.upload(image(unstable))
        if violently:
            server.kill()
        else:
            server.stop()

        with node.up():
            server.start()
            wait_until(lambda: len(node.told) >= 3, "two more announcements")
            wait_until(lambda: status(server)["waiting"] == 0, "empty queue")
        assert sorted(node.studies()) == sorted([told, waiting, unstable])
    finally:
        server.kill()


def test_what_came_while_the_plugin_was_not_loaded_is_announced(tmp_path: Path, node: Node) -> None:
    before, between = generate_uid(), generate_uid()
    with node.up():
        with running_orthanc(tmp_path, script=PLUGIN_SCRIPT, settings=node.settings()) as server:
            server.upload(image(before))
            settle(server, before)
        with running_orthanc(tmp_path) as without:
            without.upload(image(between))
        with running_orthanc(tmp_path, script=PLUGIN_SCRIPT, settings=node.settings()):
            wait_until(lambda: len(node.told) == 2, "the announcement")
    assert node.studies() == [before, between]


@pytest.mark.parametrize("existing", [False, True])
def test_studies_older_than_the_plugin_are_announced_only_on_request(
    tmp_path: Path, node: Node, existing: bool
) -> None:
    old, new = generate_uid(), generate_uid()
    with running_orthanc(tmp_path) as without:
        without.upload(image(old))
        study = without.study_id(old)
        wait_until(
            lambda: any(
                (change["ChangeType"], change["ID"]) == ("StableStudy", study)
                for change in without.get("/changes?since=0&limit=100")["Changes"]
            ),
            "StableStudy",
        )
    settings = node.settings(AnnounceExisting=existing)
    with node.up(), running_orthanc(tmp_path, script=PLUGIN_SCRIPT, settings=settings) as server:
        server.upload(image(new))
        settle(server, new)
    assert node.studies() == ([old, new] if existing else [new])


def test_a_study_that_the_node_refuses_does_not_hold_up_the_others(tmp_path: Path, node: Node) -> None:
    refused, taken = generate_uid(), generate_uid()
    problem = Answer(
        422, b'{"detail": "no archive of this name"}', {"Content-Type": "application/problem+json"}
    )
    server = OrthancServer(tmp_path, script=PLUGIN_SCRIPT, settings=node.settings())
    server.start()
    try:
        with node.up(problem):
            server.upload(image(refused))
            settle(server, refused)
        said = status(server)
        assert (said["waiting"], said["refused"]) == (0, 1)
        assert "422: no archive of this name" in said["last_error"]
        with node.up():
            server.upload(image(taken))
            settle(server, taken)
            assert node.studies() == [refused, taken]
            server.stop()
            server.start()
            wait_until(lambda: status(server)["refused"] == 0, "taking of what was refused before")
            assert node.studies() == [refused, taken, refused]
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"NodeURL": "http://127.0.0.1:1"}, 'no key "NodeURL"'),
        ({"NodeUrl": "127.0.0.1:1"}, "must look like"),
        ("http://127.0.0.1:1", "must be an object"),
    ],
)
def test_wrong_settings_leave_the_archive_alive_and_are_told(tmp_path: Path, section: Any, says: str) -> None:
    with running_orthanc(tmp_path, script=PLUGIN_SCRIPT, settings={"M3Bind": section}) as server:
        server.upload(image(generate_uid()))
        said = status(server)
        assert said["active"] is False
        assert says in said["reason"]
        assert server.get("/statistics")["CountStudies"] == 1
    assert "M3Bind: inactive" in server.log_text()


def test_the_example_configuration_works(tmp_path: Path, node: Node) -> None:
    text = (PLUGIN_SCRIPT.parents[1] / "deploy" / "orthanc.json").read_text(encoding="utf-8")
    example = json.loads("\n".join(line for line in text.splitlines() if not line.lstrip().startswith("//")))
    server = OrthancServer(tmp_path, script=PLUGIN_SCRIPT, dicomweb=True)
    places = ("StorageDirectory", "IndexDirectory", "HttpPort", "DicomPort", "PythonScript")
    server.settings = {**example, **{place: server.settings[place] for place in places}, "StableAge": 1}
    server.settings["M3Bind"]["NodeUrl"] = f"http://127.0.0.1:{node.port}"
    uid = generate_uid()
    with node.up():
        server.start()
        try:
            server.upload(image(uid))
            settle(server, uid)
        finally:
            server.kill()
    assert [(told["archive"], told["study_uid"]) for told in node.told] == [("orthanc", uid)]


def test_a_node_that_hangs_holds_up_neither_orthanc_nor_its_end(tmp_path: Path, node: Node) -> None:
    with (
        node.up(Answer(202, after=60.0)),
        running_orthanc(tmp_path, script=PLUGIN_SCRIPT, settings=node.settings(TimeoutSeconds=60)) as server,
    ):
        server.upload(image(generate_uid()))
        wait_until(lambda: len(node.told) == 1, "announcement")
        assert status(server)["waiting"] == 1
        assert server.get("/system")["Version"]
        assert server.stop() == 0
