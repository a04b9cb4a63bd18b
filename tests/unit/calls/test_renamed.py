"""Nothing in the rules knows the numbers of the scenarios: at any other host they give the renamed outcome."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.calls import playback
from tests.unit.calls.renaming import Renaming

ENTERPRISE, SCENARIOS = playback.load()

RUSSIA = {
    "names": {
        "375291111111": "79161234567",
        "80291111111": "89161234567",
        "375292222222": "79262222222",
        "150": "15",
        "151": "2151",
        "152": "30152",
        "153": "77",
        "109": "10",
        "117": "4117",
        "300": "3300",
        "901": "91",
        "0001301": "gw7",
        "0001302": "0009302",
        "3000001": "74951230000",
        "belline1": "mts1",
        "375290000101": "74951230101",
        "375290000102": "74951230102",
        "375170000103": "74951230103",
        "375170000104": "74951230104",
    },
    "region": "RU",
    "transform": "+7{10}",
}
KAZAKHSTAN = {
    "names": {
        "375291111111": "77011234567",
        "80291111111": "87011234567",
        "375292222222": "77022222222",
        "150": "250",
        "151": "251",
        "152": "252",
        "153": "253",
        "109": "209",
        "117": "217",
        "300": "400",
        "901": "902",
        "0001301": "0005501",
        "0001302": "0005502",
        "3000001": "4000001",
        "belline1": "kcell",
        "375290000101": "77172000101",
        "375290000102": "77172000102",
        "375170000103": "77172000103",
        "375170000104": "77172000104",
    },
    "region": "KZ",
    "transform": "+7{10}",
}
GERMANY = {
    "names": {
        "375291111111": "4915112345678",
        "80291111111": "015112345678",
        "375292222222": "4915222222222",
        "150": "10",
        "151": "11",
        "152": "12",
        "153": "13",
        "109": "19",
        "117": "17",
        "300": "30",
        "901": "91",
        "0001301": "trunka",
        "0001302": "trunkb",
        "3000001": "8000001",
        "belline1": "telekom",
        "375290000101": "4930120101",
        "375290000102": "4930120102",
        "375170000103": "4930120103",
        "375170000104": "4930120104",
    },
    "region": "DE",
    "transform": "+49{11}",
}


def enterprise(renaming: Renaming, *, region: str, transform: str) -> dict:
    changed = copy.deepcopy(dict(ENTERPRISE))
    changed |= {"region": region, "timezone": renaming.zone, "crm_timezone": renaming.crm_zone}
    changed["internal_phones"] = [renaming.words(phone) for phone in changed["internal_phones"]]
    changed["user_extensions"] = {user: renaming.words(name) for user, name in changed["user_extensions"].items()}
    changed["personal_phones"] = {renaming.words(k): renaming.words(v) for k, v in changed["personal_phones"].items()}
    for line in changed["lines"]:
        line["line_id"], line["phone_number"] = renaming.words(line["line_id"]), renaming.words(line["phone_number"])
        if "incoming_transform" in line:
            line["incoming_transform"] = transform
    return changed


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["id"])
@pytest.mark.parametrize(
    ("host", "zones"),
    [
        (RUSSIA, ("Asia/Yekaterinburg", "Europe/Moscow")),
        (KAZAKHSTAN, ("Asia/Almaty", "Asia/Almaty")),
        (GERMANY, ("Europe/Berlin", "America/New_York")),
    ],
    ids=["Russia", "Kazakhstan", "Germany"],
)
def test_a_renamed_scenario_gives_the_renamed_outcome(scenario: Mapping, host: Mapping, zones: tuple[str, str]):
    renaming = Renaming(names=host["names"], shift=8_123_456, tag=7, zone=zones[0], crm_zone=zones[1])
    renamed = renaming.scenario(scenario)
    directory = playback.directory_of(enterprise(renaming, region=host["region"], transform=host["transform"]))

    outcome = playback.play(playback.parsed(renamed), directory)

    assert playback.differences(outcome, renamed["expected"]) == []


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(range(len(SCENARIOS))),
    st.lists(st.integers(10, 99_999), min_size=6, max_size=6, unique=True),
    st.integers(0, 200_000_000),
    st.sampled_from(["UTC", "Asia/Vladivostok", "America/Sao_Paulo", "Europe/London", "Asia/Kolkata"]),
)
def test_any_extensions_at_any_time_in_any_zone(index, extensions, shift, zone):
    """Extensions of 2 to 5 digits; over years of summer times."""
    names = dict(zip(("150", "151", "152", "153", "109", "117"), map(str, extensions), strict=True))
    names |= {
        "300": "6" * 4 if "6666" not in names.values() else "7777",
        "901": "8" * 3 if "888" not in names.values() else "999",
    }
    renaming = Renaming(names=names, shift=shift, zone=zone, crm_zone="Europe/Minsk")
    renamed = renaming.scenario(SCENARIOS[index])
    directory = playback.directory_of(enterprise(renaming, region="BY", transform="+375{9}"))

    outcome = playback.play(playback.parsed(renamed), directory)

    assert playback.differences(outcome, renamed["expected"]) == []
