import pytest

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.errors import ConfigError
from dicom_node.findings.choice import choose_findings


def entry(identifier: str, enabled: bool = True) -> FindingEntry:
    return FindingEntry.model_validate(
        {
            "id": identifier,
            "modality": "xray",
            "name": "A",
            "code": {"value": "1", "scheme": "SCT", "meaning": "A"},
            "prompts": {"affirmed": ["a"], "negated": ["no a"]},
            "calibration": {"slope": 1.0, "intercept": 0.0},
            "threshold": 0.5,
            "enabled": enabled,
            "disabled_because": None if enabled else "it is weak",
        }
    )


STRONG, WEAK, OTHER = entry("xray.strong"), entry("xray.weak", enabled=False), entry("xray.other")
ALL = (STRONG, WEAK, OTHER)


@pytest.mark.parametrize(
    ("enable", "disable", "expected"),
    [
        ((), (), (STRONG, OTHER)),
        (("xray.weak",), (), ALL),
        ((), ("xray.strong",), (OTHER,)),
        (("xray.weak",), ("xray.strong", "xray.other"), (WEAK,)),
        (("xray.strong",), ("xray.weak",), (STRONG, OTHER)),
    ],
)
def test_the_site_has_the_last_word(
    enable: tuple[str, ...], disable: tuple[str, ...], expected: tuple[FindingEntry, ...]
) -> None:
    assert choose_findings(ALL, enable, disable) == expected


@pytest.mark.parametrize("key", ["enable", "disable"])
def test_an_unknown_id_is_an_error_that_names_it_and_its_key(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"findings\.{key}: .* no finding 'xray\.waek'.*bundle show"):
        choose_findings(ALL, **{key: ("xray.waek",)})


def test_nothing_is_both_enabled_and_disabled() -> None:
    with pytest.raises(ConfigError, match=r"'xray\.weak' is both"):
        choose_findings(ALL, ("xray.weak",), ("xray.weak",))
