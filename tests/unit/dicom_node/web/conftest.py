"""A node with studies in every state, served by the real application on a real port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dicom_node.web.app import create_app
from dicom_node.web.server import WebServer
from tests.support.records import RecordsInMemory
from tests.support.studies import StudiesInMemory
from tests.support.web_node import Node, fill


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[Node, httpx.Client]]:
    """A node and a program that talks to it over HTTP; one server for all tests of this folder."""
    node = Node(StudiesInMemory())
    with (
        WebServer(create_app(node.ports()), "127.0.0.1", 0) as server,
        httpx.Client(base_url=server.url, trust_env=False) as http,
    ):
        yield node, http


@pytest.fixture
def node(served: tuple[Node, httpx.Client], tmp_path: Path) -> Node:
    """The node, ready again and full of studies."""
    node, _ = served
    node.studies, node.ready, node.database_up, node.announced = StudiesInMemory(), True, True, []
    node.records, node.looked, node.archive = RecordsInMemory(), [], None
    fill(node.studies, tmp_path)
    return node


@pytest.fixture
def client(served: tuple[Node, httpx.Client], node: Node) -> httpx.Client:  # noqa: ARG001 - to fill it
    """The program that talks to that node."""
    return served[1]
