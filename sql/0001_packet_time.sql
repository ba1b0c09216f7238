-- Schema radius, revision 0001: the statements of packet time.
-- All are SECURITY DEFINER with a fixed search_path: the RADIUS server's role may execute them and read the radius
-- schema, and can write nothing any other way. Every side effect is idempotent by a unique key.

-- Everything one login is decided from, in one round trip. NULL when nobody manages or knows the account.
-- Shape: herotill.snapshot.snapshot_from_json.
CREATE FUNCTION radius.account_snapshot(wanted text) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT json_build_object(
        'username', account.username,
        'kind', account.kind,
        'status', account.status,
        'policy', account.policy,
        'group', account.group_name,
        'check', (SELECT coalesce(json_agg(json_build_array(c.attribute, c.op, c.value) ORDER BY c.id), '[]')
                  FROM radius.radcheck c WHERE c.username = wanted),
        'reply', (SELECT coalesce(json_agg(json_build_array(r.attribute, r.op, r.value) ORDER BY r.id), '[]')
                  FROM radius.radreply r WHERE r.username = wanted),
        'group_reply', (SELECT coalesce(json_agg(json_build_array(g.attribute, g.op, g.value)
                                                 ORDER BY u.priority, g.id), '[]')
                        FROM radius.radusergroup u JOIN radius.radgroupreply g ON g.groupname = u.groupname
                        WHERE u.username = wanted),
        'allocation', (SELECT to_json(a) FROM radius.group_allocation a
                       WHERE a.group_name = account.group_name
                         AND account.kind = 'prepaid' AND account.status = 'active'),
        'allocation_keys', (SELECT coalesce(json_agg(e.external_key), '[]') FROM (
                                SELECT external_key FROM radius.entitlement
                                WHERE username = wanted AND source = 'allocation'
                                ORDER BY granted_at DESC LIMIT 4) e),
        'grants', (SELECT coalesce(json_agg(to_json(e) ORDER BY e.entitlement_id), '[]')
                   FROM radius.entitlement e WHERE e.username = wanted AND e.ended_at IS NULL),
        'last_ended', (SELECT to_json(e) FROM radius.entitlement e
                       WHERE e.username = wanted AND e.ended_at IS NOT NULL ORDER BY e.ended_at DESC, e.entitlement_id DESC LIMIT 1),
        'sessions', (SELECT coalesce(json_agg(to_json(s) ORDER BY s.acct_unique_id), '[]')
                     FROM radius.session s WHERE s.username = wanted AND s.stopped_at IS NULL),
        'reservations', (SELECT coalesce(json_agg(to_json(r) ORDER BY r.login_id), '[]')
                         FROM radius.reservation r WHERE r.username = wanted AND r.released_at IS NULL)
    ) FROM radius.managed_account account WHERE account.username = wanted);
END $$;

-- Grant a group's pre-allocation for one period (rule R17). True when this call granted it, false when it was
-- granted before or is not due to this account.
CREATE FUNCTION radius.grant_allocation(
    wanted text, wanted_key text, at_time timestamptz, until_time timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    granted_id bigint;
BEGIN
    INSERT INTO radius.entitlement (external_key, username, source, plan_name, priority, counting,
                                    quota_octets, quota_seconds, policy, granted_at, expires_at)
    SELECT wanted_key, account.username, 'allocation', 'allocation of ' || a.group_name, a.priority, a.counting,
           a.quota_octets, a.quota_seconds, a.policy, at_time, until_time
    FROM radius.managed_account account JOIN radius.group_allocation a ON a.group_name = account.group_name
    WHERE account.username = wanted AND account.kind = 'prepaid' AND account.status = 'active'
      AND starts_with(wanted_key, 'allocation:' || a.group_name || ':' || account.username || ':')
    ON CONFLICT (external_key) DO NOTHING
    RETURNING entitlement_id INTO granted_id;
    IF granted_id IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO radius.access_event (event_key, kind, username, entitlement_id, occurred_at)
    VALUES (wanted_key, 'allocation', wanted, granted_id, at_time) ON CONFLICT (event_key) DO NOTHING;
    PERFORM pg_notify('herotill_account', json_build_array(wanted)::text);
    PERFORM pg_notify('herotill_event', '');
    RETURN true;
END $$;

-- Start a first-use clock (rule R13); the books sell what is sold on first use when they read the event (rule R8).
CREATE FUNCTION radius.start_first_use(wanted_id bigint, at_time timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    started text;
BEGIN
    UPDATE radius.entitlement
    SET first_used_at = at_time,
        expires_at = LEAST(expires_at, at_time + make_interval(secs => seconds_after_first_use))
    WHERE entitlement_id = wanted_id AND first_used_at IS NULL AND ended_at IS NULL
    RETURNING username INTO started;
    IF started IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO radius.access_event (event_key, kind, username, entitlement_id, occurred_at)
    VALUES ('first_use:' || wanted_id, 'first_use', started, wanted_id, at_time) ON CONFLICT (event_key) DO NOTHING;
    PERFORM pg_notify('herotill_account', json_build_array(started)::text);
    PERFORM pg_notify('herotill_event', '');
    RETURN true;
END $$;

-- Promise a slice of a strict grant to one login (rule R15). Returns the octets promised, 0 when nothing is left.
-- The row lock makes concurrent logins wait for each other; repeating a login_id returns what it got before.
CREATE FUNCTION radius.reserve_slice(
    wanted_login text, wanted_id bigint, wanted_octets bigint, at_time timestamptz, until_time timestamptz)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    promised bigint;
    available bigint;
    owner text;
BEGIN
    SELECT username, quota_octets - used_octets INTO owner, available
    FROM radius.entitlement WHERE entitlement_id = wanted_id AND ended_at IS NULL FOR UPDATE;
    IF owner IS NULL OR available IS NULL THEN
        RETURN 0;
    END IF;
    SELECT octets INTO promised FROM radius.reservation WHERE login_id = wanted_login;
    IF promised IS NOT NULL THEN
        RETURN promised;
    END IF;
    SELECT available - coalesce(sum(GREATEST(octets - used_octets, 0)), 0) INTO available
    FROM radius.reservation
    WHERE entitlement_id = wanted_id AND released_at IS NULL AND expires_at > at_time;
    promised := LEAST(wanted_octets, available);
    IF promised <= 0 THEN
        RETURN 0;
    END IF;
    INSERT INTO radius.reservation (login_id, entitlement_id, username, octets, created_at, expires_at)
    VALUES (wanted_login, wanted_id, owner, promised, at_time, until_time);
    PERFORM pg_notify('herotill_account', json_build_array(owner)::text);
    RETURN promised;
END $$;
