"""What returns: one statement to read rows at RADIUS, one to write them at the books, for each relation.

Rows travel as they are then, never as differences: writing one twice, or an old one after a new one, changes nothing. What
only rises is never lowered. What the books own of a row (terms of grants, what they have told) stays as they have it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Returning:
    """One relation of schema radius. `read` is asked for the changes in `ids`, `write` is given a JSON array of rows."""

    name: str
    read: str
    write: str


def _read(table: str, key: str) -> str:
    return f"""
        SELECT coalesce(jsonb_agg(to_jsonb(item) ORDER BY {key}), '[]')::text FROM radius.{table} AS item
        WHERE {key} IN (SELECT DISTINCT key #>> '{{}}' FROM radius.return_change
                        WHERE change_id = ANY(%(ids)s) AND relation = '{table}')
    """  # noqa: S608 - our own names


# An end is believed where it follows from the terms the books have now. They may have given or taken some meanwhile: RADIUS,
# told of that, judges anew and says so. A grant that the books ended stays ended.
GRANTS = Returning(
    "entitlement",
    _read("entitlement", "external_key"),
    """
    WITH came AS MATERIALIZED (SELECT * FROM jsonb_populate_recordset(NULL::radius.entitlement, %(rows)s)),
    judged AS (
        SELECT came.external_key, came.used_input_octets, came.used_output_octets, came.used_seconds, came.first_used_at,
               came.last_used_at, came.ended_at, came.ended_reason, ends.expires_at,
               have.ended_at IS NULL
               AND (came.quota_octets, came.quota_seconds) IS NOT DISTINCT FROM (have.quota_octets, have.quota_seconds)
               AND CASE came.ended_reason
                   WHEN 'quota' THEN came.used_octets >= have.quota_octets
                   WHEN 'time' THEN came.used_seconds >= have.quota_seconds
                   WHEN 'expiry' THEN came.ended_at >= LEAST(
                       ends.expires_at, came.last_used_at + make_interval(secs => have.seconds_after_last_use))
                   END IS TRUE AS has_ended
        FROM came JOIN radius.entitlement have USING (external_key)
        CROSS JOIN LATERAL (SELECT CASE
            WHEN have.first_used_at IS NULL AND came.first_used_at IS NOT NULL
            THEN LEAST(have.expires_at, came.first_used_at + make_interval(secs => have.seconds_after_first_use))
            ELSE have.expires_at END AS expires_at) AS ends),
    metered AS (
        UPDATE radius.entitlement have SET
            used_input_octets = GREATEST(have.used_input_octets, judged.used_input_octets),
            used_output_octets = GREATEST(have.used_output_octets, judged.used_output_octets),
            used_seconds = GREATEST(have.used_seconds, judged.used_seconds),
            first_used_at = coalesce(have.first_used_at, judged.first_used_at),
            last_used_at = GREATEST(have.last_used_at, judged.last_used_at),
            expires_at = judged.expires_at,
            ended_at = CASE WHEN has_ended THEN judged.ended_at ELSE have.ended_at END,
            ended_reason = CASE WHEN has_ended THEN judged.ended_reason ELSE have.ended_reason END
        FROM judged WHERE have.external_key = judged.external_key
          AND (has_ended OR have.expires_at IS DISTINCT FROM judged.expires_at
               OR judged.used_input_octets > have.used_input_octets OR judged.used_output_octets > have.used_output_octets
               OR judged.used_seconds > have.used_seconds
               OR (have.first_used_at IS NULL AND judged.first_used_at IS NOT NULL)
               OR coalesce(judged.last_used_at > have.last_used_at, judged.last_used_at IS NOT NULL)))
    INSERT INTO radius.entitlement (
        entitlement_id, external_key, username, source, plan_name, priority, counting, quota_octets, quota_seconds,
        used_input_octets, used_output_octets, used_seconds, policy, granted_at, expires_at, seconds_after_first_use,
        seconds_after_last_use, first_used_at, last_used_at, ended_at, ended_reason)
    SELECT entitlement_id, external_key, username, source, plan_name, priority, counting, quota_octets, quota_seconds,
           used_input_octets, used_output_octets, used_seconds, policy, granted_at, expires_at, seconds_after_first_use,
           seconds_after_last_use, first_used_at, last_used_at, ended_at, ended_reason
    FROM came WHERE source = 'allocation' ORDER BY entitlement_id
    ON CONFLICT DO NOTHING
    """,
)

_SESSION = (
    "session_key", "username", "nas_address", "nas_identifier", "nas_port_id", "nas_port_type", "acct_session_id",
    "calling_station_id", "called_station_id", "framed_ip_address", "framed_ipv6_address", "framed_ipv6_prefix",
    "delegated_ipv6_prefix", "service_type", "framed_protocol", "login_id", "started_at", "last_report_at", "stopped_at",
    "terminate_cause", "session_seconds", "input_octets", "output_octets", "sends_gigawords",
    "interim_interval_seconds",
)  # fmt: skip
# A late report may open a session again, so its end is what it is now; counters only rise.
SESSIONS = Returning(
    "session",
    _read("session", "acct_unique_id"),
    f"""
    INSERT INTO radius.session AS have (acct_unique_id, {", ".join(_SESSION)})
    SELECT acct_unique_id, {", ".join(_SESSION)} FROM jsonb_populate_recordset(NULL::radius.session, %(rows)s)
    ORDER BY acct_unique_id
    ON CONFLICT (acct_unique_id) DO UPDATE
    SET ({", ".join(_SESSION)}) = ROW({", ".join(f"excluded.{column}" for column in _SESSION)})
    WHERE excluded.last_report_at >= have.last_report_at
    """,  # noqa: S608 - our own names
)
USAGE = Returning(
    "usage_interval",
    """
    SELECT coalesce(jsonb_agg(to_jsonb(item)), '[]')::text
    FROM (SELECT DISTINCT key ->> 0 AS username, (key ->> 1)::timestamptz AS interval_start,
                 (key ->> 2)::bigint AS entitlement_id
          FROM radius.return_change WHERE change_id = ANY(%(ids)s) AND relation = 'usage_interval') AS wanted
    JOIN radius.usage_interval AS item USING (username, interval_start, entitlement_id)
    """,
    """
    INSERT INTO radius.usage_interval AS have (
        username, interval_start, entitlement_id, input_octets, output_octets, seconds)
    SELECT username, interval_start, entitlement_id, input_octets, output_octets, seconds
    FROM jsonb_populate_recordset(NULL::radius.usage_interval, %(rows)s)
    ORDER BY username, interval_start, entitlement_id
    ON CONFLICT (username, interval_start, entitlement_id) DO UPDATE
    SET input_octets = GREATEST(have.input_octets, excluded.input_octets),
        output_octets = GREATEST(have.output_octets, excluded.output_octets),
        seconds = GREATEST(have.seconds, excluded.seconds)
    """,
)
# What a transfer must leave alone.
RESERVATIONS = Returning(
    "reservation",
    _read("reservation", "login_id"),
    """
    INSERT INTO radius.reservation (
        login_id, entitlement_id, username, octets, used_octets, created_at, expires_at, released_at)
    SELECT login_id, entitlement_id, came.username, octets, used_octets, created_at, came.expires_at, released_at
    FROM jsonb_populate_recordset(NULL::radius.reservation, %(rows)s) AS came
    JOIN radius.entitlement USING (entitlement_id) ORDER BY login_id
    ON CONFLICT (login_id) DO UPDATE
    SET used_octets = excluded.used_octets, expires_at = excluded.expires_at, released_at = excluded.released_at
    """,
)
# What was booked stays booked; numbers of events are the books' own.
EVENTS = Returning(
    "access_event",
    _read("access_event", "event_key"),
    """
    INSERT INTO radius.access_event (event_key, kind, username, entitlement_id, occurred_at, details)
    SELECT event_key, kind, username, entitlement_id, occurred_at, details
    FROM jsonb_populate_recordset(NULL::radius.access_event, %(rows)s) ORDER BY access_event_id
    ON CONFLICT (event_key) DO NOTHING
    """,
)
_REQUEST = (
    "action", "purpose", "reason", "username", "acct_unique_id", "nas_address", "session_attributes", "changes", "state",
    "caused_at", "created_at", "next_attempt_at", "attempts", "finished_at", "error_cause", "outcome", "profile_number",
    "becomes_disconnect", "failures", "acked_at", "is_superseded",
)  # fmt: skip
# Whether the operator was told is the books' to say; of a request that failed once more he is told once more.
REQUESTS = Returning(
    "coa_request",
    _read("coa_request", "request_key"),
    f"""
    INSERT INTO radius.coa_request AS have (request_key, told_radius_at, {", ".join(_REQUEST)})
    SELECT request_key, now(), {", ".join(_REQUEST)}
    FROM jsonb_populate_recordset(NULL::radius.coa_request, %(rows)s) ORDER BY coa_request_id
    ON CONFLICT (request_key) DO UPDATE
    SET ({", ".join(_REQUEST)}) = ROW({", ".join(f"excluded.{column}" for column in _REQUEST)}),
        told_radius_at = coalesce(have.told_radius_at, now()),
        told_at = CASE WHEN have.finished_at IS NOT DISTINCT FROM excluded.finished_at THEN have.told_at END
    """,  # noqa: S608 - our own names
)
# Logins are counted at RADIUS within a turn; turns are the books'.
LOGIN_LIMITS = Returning(
    "login_limit",
    _read("login_limit", "username"),
    """
    UPDATE radius.login_limit AS have
    SET logins = came.logins, last_login_at = GREATEST(have.last_login_at, came.last_login_at)
    FROM jsonb_populate_recordset(NULL::radius.login_limit, %(rows)s) AS came
    WHERE have.username = came.username AND have.voucher_id = came.voucher_id AND have.turn = came.turn
      AND (have.logins, have.last_login_at) IS DISTINCT FROM (came.logins, came.last_login_at)
    """,
)
# Routers stay with RADIUS. The books know their makes and whether they obey, never their secrets, and number those of each
# region apart.
_NAS_NUMBER = "id + (%(region_id)s - 1) * 10000000"
NASES = Returning(
    "nas",
    """
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'id', wanted.id, 'nasname', nasname, 'shortname', shortname, 'type', type,
        'multiplier_per_mille', multiplier_per_mille, 'coa_state', coa_state, 'coa_state_since', coa_state_since,
        'coa_failure', coa_failure)), '[]')::text
    FROM (SELECT DISTINCT (key #>> '{}')::integer AS id FROM radius.return_change
          WHERE change_id = ANY(%(ids)s) AND relation = 'nas') AS wanted
    LEFT JOIN radius.nas USING (id) LEFT JOIN radius.nas_profile ON nas_id = nas.id
    """,
    f"""
    WITH came AS MATERIALIZED (
        SELECT {_NAS_NUMBER} AS id, nasname, shortname, type, multiplier_per_mille, coa_state, coa_state_since, coa_failure
        FROM jsonb_to_recordset(%(rows)s) AS row (id integer, nasname text, shortname text, type text,
            multiplier_per_mille integer, coa_state text, coa_state_since timestamptz, coa_failure text)),
    gone AS (DELETE FROM radius.nas USING came WHERE nas.id = came.id AND came.nasname IS NULL),
    kept AS (
        INSERT INTO radius.nas (id, nasname, shortname, type, secret)
        SELECT id, nasname, shortname, type, '' FROM came WHERE nasname IS NOT NULL ORDER BY id
        ON CONFLICT (id) DO UPDATE
        SET nasname = excluded.nasname, shortname = excluded.shortname, type = excluded.type RETURNING id)
    INSERT INTO radius.nas_profile (nas_id, multiplier_per_mille, coa_state, coa_state_since, coa_failure)
    SELECT id, multiplier_per_mille, coa_state, coa_state_since, coa_failure FROM came JOIN kept USING (id)
    WHERE coa_state IS NOT NULL
    ON CONFLICT (nas_id) DO UPDATE
    SET multiplier_per_mille = excluded.multiplier_per_mille, coa_state = excluded.coa_state,
        coa_state_since = excluded.coa_state_since, coa_failure = excluded.coa_failure
    """,  # noqa: S608 - our own names
)

RELATIONS = (NASES, GRANTS, SESSIONS, USAGE, RESERVATIONS, EVENTS, REQUESTS, LOGIN_LIMITS)
"""In the order they are written: what refers to a grant comes after it."""
