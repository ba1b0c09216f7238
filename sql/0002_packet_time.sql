-- Schema radius, revision 0002: indexes of what every interim updates, and of what every cold login asks.

-- An interim moves last_used_at. While an index held it, also in its condition, the grant's new version could not stay beside
-- the old one and went into all six indexes anew. Who looks for the ends of these few grants reads them all anyway.
DROP INDEX radius.entitlement_idle;
CREATE INDEX entitlement_idle ON radius.entitlement (entitlement_id)
    WHERE ended_at IS NULL AND seconds_after_last_use IS NOT NULL;

-- Only for questions that name a NAS. By its old condition it stood for "every live session" too, and a plan made while there
-- were few of them took it, instead of session_live, to find those of one account.
DROP INDEX radius.session_live_nas;
CREATE INDEX session_live_nas ON radius.session (nas_address) WHERE stopped_at IS NULL AND nas_address IS NOT NULL;

-- The request carried no Message-Authenticator: which routers must learn to send it before it can be required (CVE-2024-3596).
ALTER TABLE radius.login_outcome ADD COLUMN unsigned boolean NOT NULL DEFAULT false;

-- Everything one login is decided from, as rows: each a JSON array that says first what it is. Shape, and the order of rows of
-- a kind, are herotill.snapshot's business; the columns of a grant and a session are GRANT_COLUMNS and SESSION_COLUMNS.
-- Plain SQL with the rights of the caller, so that a prepared statement over it is planned as if this text stood there: half
-- the cost of a function call, which starts and ends a plan of its own.
CREATE FUNCTION radius.account_parts(wanted text) RETURNS SETOF text
LANGUAGE sql STABLE ROWS 8 AS $$
    SELECT json_build_array('account', a.username, a.kind, a.status, a.policy, a.group_name, (
               SELECT to_json(g) FROM radius.group_allocation g
               WHERE g.group_name = a.group_name AND a.kind = 'prepaid' AND a.status = 'active'))::text
    FROM radius.managed_account a WHERE a.username = wanted
    UNION ALL
    SELECT json_build_array('check', c.attribute, c.op, c.value, c.id)::text
    FROM radius.radcheck c WHERE c.username = wanted
    UNION ALL
    SELECT json_build_array('reply', r.attribute, r.op, r.value, r.id)::text
    FROM radius.radreply r WHERE r.username = wanted
    UNION ALL
    SELECT json_build_array('group_reply', g.attribute, g.op, g.value, u.priority, g.id)::text
    FROM radius.radusergroup u JOIN radius.radgroupreply g ON g.groupname = u.groupname WHERE u.username = wanted
    UNION ALL
    SELECT json_build_array('grant', e.entitlement_id, e.plan_name, e.source, e.counting, e.priority, e.policy,
               e.granted_at, e.quota_octets, e.quota_seconds, e.used_input_octets, e.used_output_octets, e.used_seconds,
               e.expires_at, e.seconds_after_first_use, e.seconds_after_last_use, e.first_used_at, e.last_used_at,
               e.ended_at, e.ended_reason)::text
    FROM radius.entitlement e WHERE e.username = wanted AND e.ended_at IS NULL
    UNION ALL
    (SELECT json_build_array('last_ended', e.entitlement_id, e.plan_name, e.source, e.counting, e.priority, e.policy,
               e.granted_at, e.quota_octets, e.quota_seconds, e.used_input_octets, e.used_output_octets, e.used_seconds,
               e.expires_at, e.seconds_after_first_use, e.seconds_after_last_use, e.first_used_at, e.last_used_at,
               e.ended_at, e.ended_reason)::text
     FROM radius.entitlement e WHERE e.username = wanted AND e.ended_at IS NOT NULL
     ORDER BY e.ended_at DESC, e.entitlement_id DESC LIMIT 1)
    UNION ALL
    (SELECT json_build_array('allocation_key', e.external_key)::text
     FROM radius.entitlement e WHERE e.username = wanted AND e.source = 'allocation'
     ORDER BY e.granted_at DESC LIMIT 4)
    UNION ALL
    SELECT json_build_array('session', s.acct_unique_id, s.session_key, s.username, s.nas_address, s.acct_session_id,
               s.calling_station_id, s.login_id, s.started_at, s.last_report_at, s.input_octets, s.output_octets,
               s.session_seconds, s.sends_gigawords, s.stopped_at, s.terminate_cause, s.called_station_id,
               s.framed_ip_address, s.framed_ipv6_address, s.framed_ipv6_prefix, s.delegated_ipv6_prefix,
               s.nas_identifier, s.nas_port_id, s.nas_port_type, s.service_type, s.framed_protocol)::text
    FROM radius.session s WHERE s.username = wanted AND s.stopped_at IS NULL
    UNION ALL
    SELECT json_build_array('reservation', r.login_id, r.entitlement_id, r.octets, r.used_octets, r.expires_at)::text
    FROM radius.reservation r WHERE r.username = wanted AND r.released_at IS NULL
$$;

-- The same as one document, in one round trip and with the owner's rights. NULL when nobody manages the account.
CREATE OR REPLACE FUNCTION radius.account_snapshot(wanted text) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT CASE WHEN bool_or(starts_with(part, '["account"')) THEN '[' || string_agg(part, ',') || ']' END
            FROM radius.account_parts(wanted) AS part)::json;
END $$;

REVOKE EXECUTE ON FUNCTION radius.account_parts FROM PUBLIC;
GRANT EXECUTE ON FUNCTION radius.account_parts TO herotill_radius;
