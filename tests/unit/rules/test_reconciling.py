"""In which order differences are mended, whom they cut off, and how they are told (rule R30)."""

import pytest

from herotill.reconciling import Change, Phase

ACTIVE: dict[str, object] = {"kind": "prepaid", "status": "active", "group_name": None, "policy": {}}
DISABLED = ACTIVE | {"status": "disabled"}
SUSPENDED = ACTIVE | {"status": "suspended"}
REJECT, PASSWORD = {"op": ":=", "value": "Reject"}, {"op": ":=", "value": "secret"}
LIVING = {"quota_octets": 100, "expires_at": "2027-01-01T00:00:00+00:00", "ended_reason": None}
ENDED = LIVING | {"ended_reason": "void"}
RESTRICT, NEUTRAL, RELAX = Phase.RESTRICT, Phase.NEUTRAL, Phase.RELAX

CASES = [
    ("managed_account", ACTIVE, DISABLED, RESTRICT, True),
    ("managed_account", ACTIVE, SUSPENDED, RESTRICT, True),
    ("managed_account", ACTIVE, None, RESTRICT, True),
    ("managed_account", SUSPENDED, None, RESTRICT, False),
    ("managed_account", SUSPENDED, ACTIVE, RELAX, False),
    ("managed_account", DISABLED, ACTIVE, RELAX, False),
    ("managed_account", None, ACTIVE, RELAX, False),
    ("managed_account", None, DISABLED, RESTRICT, False),
    ("managed_account", ACTIVE, ACTIVE | {"policy": {"max_sessions": 1}}, NEUTRAL, False),
    ("radcheck", None, REJECT, RESTRICT, True),
    ("radcheck", REJECT, None, RELAX, False),
    ("radcheck", {"op": ":=", "value": "Accept"}, None, RESTRICT, False),
    ("radcheck", PASSWORD, PASSWORD | {"value": "other"}, NEUTRAL, False),
    ("radusergroup", {"priority": 1}, None, RESTRICT, False),
    ("radusergroup", None, {"priority": 1}, RELAX, False),
    ("entitlement", LIVING, ENDED, RESTRICT, True),
    ("entitlement", ENDED, LIVING, RELAX, False),
    ("entitlement", None, LIVING, RELAX, False),
    ("entitlement", LIVING | {"quota_octets": None}, LIVING, RESTRICT, False),
    ("entitlement", LIVING | {"quota_octets": 900}, LIVING, RESTRICT, False),
    ("entitlement", LIVING | {"quota_octets": 1}, LIVING, RELAX, False),
    ("entitlement", LIVING, LIVING | {"expires_at": None}, RELAX, False),
]


@pytest.mark.parametrize(("relation", "before", "after", "phase", "cuts_off"), CASES)
def test_r30_restrictions_are_known_from_relaxations(
    relation: str,
    before: dict[str, object] | None,
    after: dict[str, object] | None,
    phase: Phase,
    cuts_off: bool,
) -> None:
    change = Change(relation, "ann", "item", before, after)
    assert (change.phase, change.cuts_off) == (phase, cuts_off)


def test_r30_a_change_shows_what_changes_and_no_secret() -> None:
    password = Change("radcheck", "ann", "Cleartext-Password", PASSWORD, PASSWORD | {"value": "other"})
    nas = Change("nas", "tower", "tower", {"secret": "a", "type": "other"}, {"secret": "b", "type": "other"})
    quota = Change("entitlement", "ann", "purchase:1", LIVING, LIVING | {"quota_octets": 5})
    assert password.shown(password.before) == password.shown(password.after) == {"value": "(hidden)"}
    assert nas.shown(nas.after) == {"secret": "(hidden)"}
    assert (quota.shown(quota.before), quota.shown(quota.after)) == (
        {"quota_octets": 100},
        {"quota_octets": 5},
    )
    assert "quota octets" in quota.why
