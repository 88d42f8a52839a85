"""The pages in a real browser: they keep fresh, the keyboard works, the content policy lets them work."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.store.states import StudyState
from dicom_node.web.app import create_app
from dicom_node.web.server import WebServer
from tests.support.browser import Page, open_page
from tests.support.studies import StudiesInMemory, record
from tests.support.web_archive import SAMPLES, archived
from tests.support.web_node import CHEST, FAILED, Node, fill

pytestmark = pytest.mark.peer


@pytest.fixture
def node(tmp_path: Path) -> Node:
    studies = StudiesInMemory()
    fill(studies, tmp_path)
    node = Node(studies)
    archived(node)
    return node


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


def test_a_question_is_asked_and_answered_by_keyboard(page: Page, url: str) -> None:
    page.open(f"{url}/")
    for _ in range(6):
        page.press("Tab")
        if page.evaluate("document.activeElement.id") == "q":
            break
    page.write("pneumonia, no effusion")
    page.press("Enter")
    # Fields that were left empty stay out of the address.
    page.wait_for("location.search === '?q=pneumonia%2C+no+effusion' && document.readyState === 'complete'")
    assert page.evaluate("document.querySelector('h1').textContent") == "1 study answers"
    for _ in range(20):
        page.press("Tab")
        if page.evaluate("document.activeElement.className") == "study":
            break
    page.wait_for("document.querySelector('.picture img').naturalWidth > 100")
    page.wait_for("getComputedStyle(document.querySelector('.picture svg')).opacity === '1'")
    page.press("Enter")
    page.wait_for("location.pathname === '/studies/2.25.1' && document.readyState === 'complete'")
    assert page.complaints == []


def test_what_is_typed_outlives_the_refresh_of_the_list(page: Page, node: Node, url: str) -> None:
    page.open(f"{url}/")
    page.evaluate("document.getElementById('q').focus()")
    page.write("no pneu")
    node.studies.add(record("1.2.98", StudyState.RECEIVING, 50))
    page.wait_for("document.querySelector('[href=\"/studies/1.2.98\"]')")
    assert page.evaluate("document.getElementById('q').value") == "no pneu"
    assert page.evaluate("document.activeElement.id") == "q"


def test_a_file_is_searched_by_and_the_answer_is_announced(page: Page, node: Node, url: str) -> None:
    content = base64.b64encode((SAMPLES / "xray" / "chest-pa.dcm").read_bytes()).decode()
    page.open(f"{url}/search")
    page.evaluate(
        "(() => {"
        f"const bytes = Uint8Array.from(atob('{content}'), c => c.charCodeAt(0));"
        "const held = new DataTransfer(); held.items.add(new File([bytes], 'chest.dcm'));"
        "const file = document.getElementById('file'); file.files = held.files;"
        "file.dispatchEvent(new Event('change', { bubbles: true })); })()"
    )
    page.wait_for("document.querySelector('.answers .study')")
    assert page.evaluate("document.getElementById('asking').textContent") == "3 studies answer"
    assert page.evaluate("document.activeElement.tagName") == "H1"
    assert node.looked == [(SAMPLES / "xray" / "chest-pa.dcm").stat().st_size]
    assert page.complaints == []


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/search",
        "/search?q=pneumonia&sex=F&age_from=40&modality=xray",
        "/search?similar_to=2.25.1",
        "/search?q=retinopathy",
        "/studies/2.25.1",
        "/studies/1.2.3",
    ],
)
def test_axe_finds_no_serious_fault_and_nothing_overflows(page: Page, url: str, path: str) -> None:
    page.open(f"{url}{path}")
    assert page.axe() == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate("window.broken === undefined && !document.querySelector('h6')")
    page.complaints.clear()  # an unknown study is a 404, which Chromium tells


def test_axe_would_find_one(page: Page, url: str) -> None:
    page.open(f"{url}/search")
    page.evaluate("document.querySelector('label[for=q]').remove()")
    page.evaluate("document.getElementById('q').removeAttribute('placeholder')")
    assert any(fault.startswith("label: ") for fault in page.axe())
