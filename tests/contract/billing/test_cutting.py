"""Sessions cut by the books are named to their NAS as those the meter cuts (rule R31)."""

from datetime import datetime

import pytest

from billing.cutting import change_sessions, cut_sessions
from herotill.sessions import SESSION_COLUMNS, identifying_attributes, session_from_values
from tests.contract.billing.conftest import Ask, OpenBooks

ONLINE = """
    INSERT INTO radius.session (
        acct_unique_id, session_key, username, nas_address, nas_identifier, nas_port_id, acct_session_id, calling_station_id,
        called_station_id, framed_ip_address, framed_ipv6_prefix, service_type, started_at, last_report_at)
    VALUES ('full', 'full', 'piet', '192.0.2.1', 'ap', 'ether1', '81', 'AA-BB-CC-DD-EE-FF', 'hotspot-1', '10.5.50.2',
            '2001:db8:5::/64', 'Login-User', now(), now()),
           ('bare', 'bare', 'piet', '192.0.2.1', NULL, NULL, '82', '', '', NULL, NULL, NULL, now(), now())
"""


@pytest.mark.parametrize("action", ["disconnect", "coa"])
def test_r31_a_session_is_named_by_all_that_is_known_of_it(
    books: OpenBooks, ask: Ask, now: datetime, action: str
) -> None:
    ask(ONLINE)
    with books() as session:
        if action == "disconnect":
            cut = cut_sessions(session, ["piet"], reason="disabled", now=now)
        else:
            wanted = {name: {"Session-Timeout": "60"} for name in ("full", "bare")}
            cut = change_sessions(session, wanted, reason="converted", now=now)
    assert cut == 2

    rows = ask(f"SELECT {', '.join(SESSION_COLUMNS)} FROM radius.session ORDER BY acct_unique_id")
    known = [identifying_attributes(session_from_values(list(row.values()))) for row in rows]
    asked = ask("SELECT action, session_attributes FROM radius.coa_request ORDER BY acct_unique_id")
    assert asked == [{"action": action, "session_attributes": named} for named in known]
    assert asked[1]["session_attributes"]["Service-Type"] == "Login-User"
