"""The data of each side: the same accounts, the same plan, the same history, generated inside PostgreSQL.

Names, passwords and addresses are those of packets.py.
"""

from pathlib import Path

from benchmarks.packets import PASSWORD, SECRET
from benchmarks.postgresql import Cluster
from herotill.errors import Refused
from sync_daemon import database

STOCK_RADDB = Path("/etc/freeradius/3.0")
STOCK_SCHEMA = STOCK_RADDB / "mods-config/sql/main/postgresql/schema.sql"
PLAN_SECONDS = 2_592_000

_USERNAME = "'u' || lpad(n::text, 7, '0')"
_MAC = "upper(regexp_replace('02' || lpad(to_hex(n), 10, '0'), '(..)(?!$)', '\\1:', 'g'))"

# What every account is given, as rlm_sql reads it: a password, a rate, and a group with two more attributes.
STOCK_ACCOUNTS = f"""
    INSERT INTO radcheck (username, attribute, op, value)
    SELECT {_USERNAME}, 'Cleartext-Password', ':=', '{PASSWORD.decode()}' FROM generate_series(0, %d) n;
    INSERT INTO radreply (username, attribute, op, value)
    SELECT {_USERNAME}, 'Mikrotik-Rate-Limit', ':=', '2M/10M' FROM generate_series(0, %d) n;
    INSERT INTO radusergroup (username, groupname, priority)
    SELECT {_USERNAME}, 'residents', 1 FROM generate_series(0, %d) n;
"""
GROUP = """
    INSERT INTO radgroupreply (groupname, attribute, op, value)
    VALUES ('residents', 'Idle-Timeout', ':=', '900'), ('residents', 'Acct-Interim-Interval', ':=', '600')
"""
STOCK_COUNTER = f"""
    INSERT INTO radcheck (username, attribute, op, value)
    SELECT {_USERNAME}, 'Max-All-Session', ':=', '{PLAN_SECONDS}' FROM generate_series(0, %d) n
"""
# Closed sessions, spread over the accounts and over a year, a minute each so that no quota is used up by them.
STOCK_HISTORY = f"""
    INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, nasportid, nasporttype, acctstarttime,
        acctupdatetime, acctstoptime, acctsessiontime, acctauthentic, acctinputoctets, acctoutputoctets,
        calledstationid, callingstationid, acctterminatecause, servicetype, framedipaddress)
    SELECT to_hex(i), md5('history' || i), {_USERNAME}, '127.0.0.1', 'wlan1', 'Wireless-802.11', at, at + '60 s',
           at + '60 s', 60, 'RADIUS', 1000000, 9000000, 'hotspot1', {_MAC}, 'User-Request', 'Login-User',
           '10.0.0.1'::inet + n
    FROM (SELECT i, i %% %d AS n, now() - interval '365 days' * (i::float8 / %d) AS at
          FROM generate_series(1, %d) i) history
"""
# Ours: the same accounts with a quota of octets and an end, a rate and a limit of devices.
POLICY = """{"download_bits_per_second": 10000000, "upload_bits_per_second": 2000000, "max_sessions": 3,
             "interim_interval_seconds": 600, "idle_timeout_seconds": 900}"""
OUR_ACCOUNTS = f"""
    INSERT INTO radius.managed_account (username, kind, status, group_name, policy)
    SELECT {_USERNAME}, 'prepaid', 'active', 'residents', '{POLICY}' FROM generate_series(0, %d) n;
    INSERT INTO radius.radcheck (username, attribute, op, value)
    SELECT {_USERNAME}, 'Cleartext-Password', ':=', '{PASSWORD.decode()}' FROM generate_series(0, %d) n;
    INSERT INTO radius.radusergroup (username, groupname, priority)
    SELECT {_USERNAME}, 'residents', 1 FROM generate_series(0, %d) n;
    INSERT INTO radius.entitlement (external_key, username, source, plan_name, quota_octets, policy, granted_at,
        first_used_at, expires_at)
    SELECT 'purchase:' || n, {_USERNAME}, 'purchase', 'monthly 100 GiB', 100::bigint << 30, '{POLICY}',
           now() - interval '1 day', now() - interval '1 day', now() + interval '29 days'
    FROM generate_series(0, %d) n
"""
OUR_NAS = f"""
    INSERT INTO radius.nas (nasname, shortname, type, secret)
    VALUES ('127.0.0.0/8', 'loopback', 'mikrotik', '{SECRET.decode()}')
"""
OUR_HISTORY = f"""
    INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, nas_identifier, nas_port_id,
        nas_port_type, acct_session_id, calling_station_id, called_station_id, framed_ip_address, service_type,
        started_at, last_report_at, stopped_at, terminate_cause, session_seconds, input_octets, output_octets)
    SELECT md5('history' || i), md5('key' || i), {_USERNAME}, '127.0.0.1', 'MikroTik', 'wlan1', 'Wireless-802.11',
           to_hex(i), {_MAC}, 'hotspot1', '10.0.0.1'::inet + n, 'Login-User', at, at + '60 s', at + '60 s',
           'User-Request', 60, 1000000, 9000000
    FROM (SELECT i, i %% %d AS n, now() - interval '365 days' * (i::float8 / %d) AS at
          FROM generate_series(1, %d) i) history
"""
BEST_INDEX = "CREATE INDEX radacct_counter ON radacct (UserName) INCLUDE (AcctSessionTime)"
"""The sum over one user's sessions becomes an index-only scan of exactly his rows."""


def create_ours(cluster: Cluster, name: str, accounts: int, sessions: int) -> None:
    """Create a migrated database with accounts, their grants and their history."""
    cluster.server.create_database(name)
    database.upgrade(cluster.url(name))
    database.allow_logins(cluster.url(name))
    last = accounts - 1
    cluster.execute(name, "SET search_path = radius", OUR_ACCOUNTS % (last, last, last, last), OUR_NAS)
    cluster.execute(name, GROUP.replace("radgroupreply", "radius.radgroupreply"))
    if sessions:
        cluster.execute(name, OUR_HISTORY % (accounts, sessions, sessions))
    settle(cluster, name)


def create_stock(cluster: Cluster, name: str, accounts: int, sessions: int, *, counter: bool) -> None:
    """Create a database of the stock schema, with a quota on every account where it is counted."""
    if not STOCK_SCHEMA.exists():
        raise Refused(
            f"{STOCK_SCHEMA} is missing: apt install freeradius-postgresql freeradius-config", "freeradius"
        )
    cluster.server.create_database(name)
    last = accounts - 1
    cluster.execute(name, STOCK_SCHEMA.read_text(), STOCK_ACCOUNTS % (last, last, last), GROUP)
    if counter:
        cluster.execute(name, STOCK_COUNTER % last)
    if sessions:
        cluster.execute(name, STOCK_HISTORY % (accounts, sessions, sessions))
    settle(cluster, name)


def index_stock(cluster: Cluster, name: str) -> None:
    """Add the best index the counter's query can have."""
    cluster.execute(name, BEST_INDEX)
    settle(cluster, name)


def settle(cluster: Cluster, name: str) -> None:
    """Leave nothing for autovacuum and the checkpointer to do during a run."""
    cluster.execute(name, "VACUUM ANALYZE", "CHECKPOINT")
