"""Logs: one line of JSON each where machines read them, and libraries kept quiet."""

import json
import logging

import pytest
import structlog

from dicom_node.logs import configure_logging


@pytest.fixture(autouse=True)
def _restore() -> object:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_lines_from_the_node_and_from_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    structlog.get_logger("dicom_node.test").info("study_finished", study_uid="1.2.3")
    logging.getLogger("pynetdicom").warning("peer went away")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert first["event"] == "study_finished"
    assert first["study_uid"] == "1.2.3"
    assert second["event"] == "peer went away"


def test_libraries_do_not_speak_below_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """pynetdicom quotes whole data sets at info and debug."""
    configure_logging("debug", "json")
    logging.getLogger("pynetdicom").info("(0010,0010) PN [DOE^JANE]")
    assert capsys.readouterr().err == ""
