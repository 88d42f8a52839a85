"""From the node's configuration to how its DICOM port behaves."""

from __future__ import annotations

from types import MappingProxyType

from dicom_node.config import Settings
from dicom_node.dimse.find_scp import FindSettings
from dicom_node.dimse.server import ScpSettings


def scp_settings(settings: Settings) -> ScpSettings:
    """The port as configured. A study that an archive announced is retrieved from that archive."""
    own = settings.dimse
    titles = {archive.name: archive.ae_title for archive in settings.archives if archive.ae_title is not None}
    return ScpSettings(
        ae_title=own.ae_title,
        host=own.host,
        port=own.port,
        max_associations=own.max_associations,
        idle_seconds=own.idle_seconds,
        find=FindSettings(
            question_ae_title=own.question_ae_title,
            limit=own.find_limit,
            retrieve_ae_title=own.retrieve_ae_title,
            retrieve_ae_titles=MappingProxyType(titles),
            stalled_seconds=own.idle_seconds,
        ),
    )


def retrieve_ae(settings: FindSettings, origin: str | None) -> str | None:
    """Whom to ask for the objects of a study that the archive `origin` announced; None: nobody is known."""
    default = settings.retrieve_ae_title
    return default if origin is None else settings.retrieve_ae_titles.get(origin, default)
