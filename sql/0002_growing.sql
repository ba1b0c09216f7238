-- Schema radius, revision 0002: every statement of packet time names the account it is about, so that the data can be divided by
-- user name (docs/decisions/0031-what-is-divided-by-user-name.md; tests/contract/test_keyed_statements.py holds it).

DROP FUNCTION radius.start_first_use(bigint, timestamptz);
DROP FUNCTION radius.reserve_slice(text, bigint, bigint, timestamptz, timestamptz);

-- Start a first-use clock (rule R13); the books sell what is sold on first use when they read the event (rule R8).
CREATE FUNCTION radius.start_first_use(wanted text, wanted_id bigint, at_time timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    started text;
BEGIN
    UPDATE radius.entitlement
    SET first_used_at = at_time,
        expires_at = LEAST(expires_at, at_time + make_interval(secs => seconds_after_first_use))
    WHERE username = wanted AND entitlement_id = wanted_id AND first_used_at IS NULL AND ended_at IS NULL
    RETURNING username INTO started;
    IF started IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO radius.access_event (event_key, kind, username, entitlement_id, occurred_at)
    VALUES ('first_use:' || wanted_id, 'first_use', wanted, wanted_id, at_time) ON CONFLICT (event_key) DO NOTHING;
    PERFORM pg_notify('herotill_account', json_build_array(wanted)::text);
    PERFORM pg_notify('herotill_event', '');
    RETURN true;
END $$;

-- Promise a slice of a strict grant to one login (rule R15). Returns the octets promised, 0 when nothing is left.
-- The row lock makes concurrent logins wait for each other; repeating a login_id returns what it got before.
CREATE FUNCTION radius.reserve_slice(
    wanted text, wanted_login text, wanted_id bigint, wanted_octets bigint, at_time timestamptz, until_time timestamptz)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    promised bigint;
    available bigint;
BEGIN
    SELECT quota_octets - used_octets INTO available
    FROM radius.entitlement WHERE username = wanted AND entitlement_id = wanted_id AND ended_at IS NULL FOR UPDATE;
    IF available IS NULL THEN
        RETURN 0;
    END IF;
    SELECT octets INTO promised FROM radius.reservation WHERE username = wanted AND login_id = wanted_login;
    IF promised IS NOT NULL THEN
        RETURN promised;
    END IF;
    SELECT available - coalesce(sum(GREATEST(octets - used_octets, 0)), 0) INTO available
    FROM radius.reservation
    WHERE username = wanted AND entitlement_id = wanted_id AND released_at IS NULL AND expires_at > at_time;
    promised := LEAST(wanted_octets, available);
    IF promised <= 0 THEN
        RETURN 0;
    END IF;
    INSERT INTO radius.reservation (login_id, entitlement_id, username, octets, created_at, expires_at)
    VALUES (wanted_login, wanted_id, wanted, promised, at_time, until_time);
    PERFORM pg_notify('herotill_account', json_build_array(wanted)::text);
    RETURN promised;
END $$;

REVOKE EXECUTE ON FUNCTION radius.start_first_use, radius.reserve_slice FROM PUBLIC;
GRANT EXECUTE ON FUNCTION radius.start_first_use, radius.reserve_slice TO herotill_radius;
