"""The pages in a real browser: they keep fresh, the keyboard works, the content policy lets them work."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.store.states import StudyState
from dicom_node.web.app import create_app
from dicom_node.web.server import WebServer
from tests.support.browser import Page, open_page
from tests.support.studies import StudiesInMemory, record
from tests.support.web_node import CHEST, FAILED, Node, fill

pytestmark = pytest.mark.peer


@pytest.fixture
def node(tmp_path: Path) -> Node:
    studies = StudiesInMemory()
    fill(studies, tmp_path)
    return Node(studies)


@pytest.fixture
def url(node: Node) -> Iterator[str]:
    with WebServer(create_app(node.ports()), "127.0.0.1", 0) as server:
        yield server.url


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with open_page() as page:
        yield page


def test_the_list_follows_what_happens_without_reload(page: Page, node: Node, url: str) -> None:
    page.open(f"{url}/")
    page.evaluate("window.sameDocument = true")
    page.evaluate(f"document.querySelector('[href=\"/studies/{CHEST}\"]').focus()")
    node.studies.add(record("1.2.99", StudyState.RECEIVING, 50))
    page.wait_for("document.querySelector('[href=\"/studies/1.2.99\"]')")
    assert page.evaluate("window.sameDocument")
    assert page.evaluate("document.activeElement.getAttribute('href')") == f"/studies/{CHEST}"
    assert page.complaints == []


def test_a_failed_study_is_tried_again_by_keyboard(page: Page, node: Node, url: str) -> None:
    page.open(f"{url}/studies/{FAILED}")
    for _ in range(20):
        page.press("Tab")
        if page.evaluate("document.activeElement.dataset.post || ''").endswith("/retry"):
            break
    page.press("Enter")
    page.wait_for("document.querySelector('.state-queued')")
    assert node.studies.records[FAILED].state is StudyState.QUEUED
    assert page.complaints == []


def test_a_node_that_is_gone_is_told(page: Page, node: Node) -> None:
    with WebServer(create_app(node.ports()), "127.0.0.1", 0) as server:
        page.open(f"{server.url}/")
    page.wait_for("document.getElementById('freshness').textContent.includes('does not answer')")
    page.complaints.clear()


def test_markup_from_outside_is_not_run(page: Page, node: Node, url: str) -> None:
    hostile = "<img src=x onerror='window.broken = 1'><script>window.broken = 1</script>"
    node.studies.add(record("1.2.9", StudyState.FAILED, 50, reason=hostile))
    page.open(f"{url}/")
    assert "onerror" in page.evaluate("document.querySelector('.studies').textContent")
    assert page.evaluate("window.broken === undefined")


def test_nothing_overflows_a_narrow_window(page: Page, url: str) -> None:
    page.open(f"{url}/studies/{CHEST}")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
