"""A disabled account at a real FreeRADIUS: denied whatever other rows say, and its session is cut (rule R30)."""

from datetime import UTC, datetime

import psycopg2
import pytest

from sync_daemon import database
from sync_daemon.reconcile.comparing import open_databases
from sync_daemon.reconcile.mending import Mending
from sync_daemon.reconcile.planning import survey
from sync_daemon.settings import Settings
from tests.integration.freeradius import Freeradius
from tests.integration.isp import PASSWORD, Isp
from tests.integration.radclient import ask

GROUP_ROWS = """
    INSERT INTO radius.radusergroup (username, groupname, priority) VALUES ('ann', 'gold', 0), ('ann', 'silver', 99);
    INSERT INTO radius.radgroupcheck (groupname, attribute, op, value)
    VALUES ('gold', 'Auth-Type', ':=', 'Accept'), ('silver', 'Auth-Type', '+=', 'Accept');
    INSERT INTO radius.radgroupreply (groupname, attribute, op, value) VALUES ('gold', 'Session-Timeout', ':=', '86400');
    INSERT INTO radius.radcheck (username, attribute, op, value) VALUES ('ann', 'Auth-Type', ':=', 'Accept');
    INSERT INTO radius.radcheck (username, attribute, op, value) VALUES ('ann', 'Cleartext-Password', ':=', 'other')
"""


def _by_hand(url: str, statements: str) -> None:
    connection = psycopg2.connect(url, application_name="psql")
    with connection, connection.cursor() as cursor:
        cursor.execute(statements)
        # As if the nodes had been told: what they remember must not be what denies.
        cursor.execute("""SELECT pg_notify('herotill_account', '["ann"]')""")
    connection.close()


def _reconcile(settings: Settings) -> None:
    databases = open_databases(settings)
    try:
        Mending(databases, "test", datetime.now(UTC)).all_of(survey(databases))
    finally:
        databases.close()


@pytest.mark.parametrize("password", [PASSWORD, "other", "wrong"])
def test_r30_a_disabled_account_is_denied_whatever_group_rows_exist(
    radius_server: Freeradius, settings: Settings, nas_secret: str, password: str
) -> None:
    isp = Isp(settings)
    isp.offer("p", quota_octets=1_000_000)
    isp.enrol("ann")
    isp.sell("p", "ann")
    pairs = ['User-Name = "ann"', f'User-Password = "{password}"', "Message-Authenticator = 0x00"]
    url = database.billing_url(settings)
    before = ask("auth", radius_server.auth_port, pairs, secret=nas_secret).code
    assert before == ("Access-Accept" if password == PASSWORD else "Access-Reject")
    _by_hand(url, "UPDATE billing.account SET disabled_at = now()")
    _reconcile(settings)
    _by_hand(url, GROUP_ROWS)
    assert ask("auth", radius_server.auth_port, pairs, secret=nas_secret).code == "Access-Reject"
    _reconcile(settings)
    assert isp.ask("SELECT groupname FROM radius.radusergroup") == []
    assert isp.ask("SELECT value FROM radius.radcheck WHERE attribute = 'Auth-Type'") == [("Reject",)]
    assert ask("auth", radius_server.auth_port, pairs, secret=nas_secret).code == "Access-Reject"
