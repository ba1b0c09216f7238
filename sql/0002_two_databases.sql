-- Two databases: the books in one, RADIUS in another, or in one for each region (docs/decisions/0022-two-databases.md).
--
-- Both have both schemas. At the books, schema radius is a copy that the books' own statements read and write as if there were
-- one database. What the books own of it (accounts, groups, terms of grants, requests of theirs) goes to RADIUS by reconcile;
-- what is born at RADIUS (use, first uses, ends, sessions, what was asked of routers, allocations) comes back by the log here.
-- With one database none of this is used: the triggers do not exist until radius.begin_return makes them.

-- ---------------------------------------------------------------- in the books: the RADIUS databases there are

-- No row: one database. Every account belongs to one region, so its quota binds and its allocation is given once, wherever.
CREATE TABLE billing.region (
    region_id      smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL UNIQUE CHECK (name <> ''),
    database_id    uuid NOT NULL UNIQUE,              -- which RADIUS database it is, so that a wrong URL is noticed
    carried_change bigint NOT NULL DEFAULT 0,         -- the last entry of its log the books have
    returned_until timestamptz                        -- everything metered there until then is in the books
);
ALTER TABLE billing.customer_group ADD COLUMN region_id smallint REFERENCES billing.region;

-- Who is in no group, or in one that names no region, belongs to the region that was there first.
CREATE VIEW billing.account_region AS
SELECT account.username, coalesce(customer_group.region_id, (SELECT min(region_id) FROM billing.region)) AS region_id
FROM billing.account
LEFT JOIN billing.customer USING (customer_id)
LEFT JOIN billing.customer_group USING (group_id);

-- What the books asked of live sessions: told to RADIUS once. With one database it stays empty: the row is where it is needed.
ALTER TABLE radius.coa_request ADD COLUMN told_radius_at timestamptz;

-- Accounts whose sessions the books ended: RADIUS may have sessions the books have not heard of yet. Deleted when told.
CREATE TABLE radius.cut_order (
    cut_order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username     text NOT NULL,
    purpose      text NOT NULL,
    reason       text NOT NULL,
    caused_at    timestamptz NOT NULL
);

-- People the books have forgotten, by the user names they had: each RADIUS database forgets them too. Deleted when it has.
CREATE TABLE billing.erasure_order (
    erasure_order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    region_id        smallint NOT NULL REFERENCES billing.region,
    names            jsonb NOT NULL,                  -- billing/erasure.py
    ordered_at       timestamptz NOT NULL
);

-- ---------------------------------------------------------------- at RADIUS: what the books do not know yet

-- One row where the books are in another database.
CREATE TABLE radius.return_state (
    is_the_only    boolean PRIMARY KEY DEFAULT true CHECK (is_the_only),
    database_id    uuid NOT NULL,
    region_id      smallint NOT NULL,
    carried_change bigint NOT NULL DEFAULT 0          -- the books had this much; if they have less, they were restored
);

-- Which rows changed, in the transaction that changed them. What is carried is the row as it is then: repeating it, or carrying
-- it late, changes nothing.
CREATE TABLE radius.return_change (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation  text NOT NULL,
    key       jsonb NOT NULL
);
-- A first use is booked before the end of the same grant: events go first.
CREATE INDEX return_change_event ON radius.return_change (change_id) WHERE relation = 'access_event';

CREATE FUNCTION radius.note_return() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE TG_TABLE_NAME
        WHEN 'entitlement' THEN
            INSERT INTO radius.return_change (relation, key) SELECT 'entitlement', to_jsonb(external_key) FROM fresh;
        WHEN 'session' THEN
            INSERT INTO radius.return_change (relation, key) SELECT 'session', to_jsonb(acct_unique_id) FROM fresh;
        WHEN 'usage_interval' THEN
            INSERT INTO radius.return_change (relation, key)
            SELECT 'usage_interval', jsonb_build_array(username, interval_start, entitlement_id) FROM fresh;
        WHEN 'reservation' THEN
            INSERT INTO radius.return_change (relation, key) SELECT 'reservation', to_jsonb(login_id) FROM fresh;
        WHEN 'access_event' THEN
            INSERT INTO radius.return_change (relation, key) SELECT 'access_event', to_jsonb(event_key) FROM fresh;
        WHEN 'coa_request' THEN
            INSERT INTO radius.return_change (relation, key) SELECT 'coa_request', to_jsonb(request_key) FROM fresh;
        WHEN 'login_limit' THEN
            INSERT INTO radius.return_change (relation, key) SELECT 'login_limit', to_jsonb(username) FROM fresh;
        WHEN 'nas' THEN
            INSERT INTO radius.return_change (relation, key) SELECT 'nas', to_jsonb(id) FROM fresh;
        WHEN 'nas_profile' THEN
            INSERT INTO radius.return_change (relation, key) SELECT 'nas', to_jsonb(nas_id) FROM fresh;
    END CASE;
    IF FOUND THEN
        PERFORM pg_notify('herotill_return', '');
    END IF;
    RETURN NULL;
END $$;

-- Everything once more: to books that do not know this database yet, or were restored from a backup.
CREATE FUNCTION radius.return_everything() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO radius.return_change (relation, key)
    SELECT 'nas', to_jsonb(id) FROM radius.nas
    UNION ALL SELECT 'entitlement', to_jsonb(external_key) FROM radius.entitlement
    UNION ALL SELECT 'session', to_jsonb(acct_unique_id) FROM radius.session
    UNION ALL SELECT 'usage_interval', jsonb_build_array(username, interval_start, entitlement_id) FROM radius.usage_interval
    UNION ALL SELECT 'reservation', to_jsonb(login_id) FROM radius.reservation
    UNION ALL SELECT 'access_event', to_jsonb(event_key) FROM radius.access_event
    UNION ALL SELECT 'coa_request', to_jsonb(request_key) FROM radius.coa_request
    UNION ALL SELECT 'login_limit', to_jsonb(username) FROM radius.login_limit;
$$;

-- Makes this the RADIUS database of one region: what happens here is logged from now on, and what has happened is too.
-- The numbers of its grants and events are its own among all regions, so that a grant has one number everywhere.
CREATE FUNCTION radius.begin_return(wanted_database uuid, wanted_region smallint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    watched text;
    change text;
    first_number CONSTANT bigint := wanted_region * (1::bigint << 40);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('herotill return'));
    IF EXISTS (SELECT FROM radius.return_state) THEN
        RETURN;
    END IF;
    INSERT INTO radius.return_state (database_id, region_id) VALUES (wanted_database, wanted_region);
    FOREACH watched IN ARRAY ARRAY['entitlement', 'session', 'usage_interval', 'reservation', 'access_event', 'coa_request',
                                   'login_limit', 'nas', 'nas_profile'] LOOP
        FOREACH change IN ARRAY ARRAY['INSERT', 'UPDATE'] LOOP
            EXECUTE format('CREATE TRIGGER %I AFTER %s ON radius.%I REFERENCING NEW TABLE AS fresh
                            FOR EACH STATEMENT EXECUTE FUNCTION radius.note_return()',
                           'return_' || lower(change), change, watched);
        END LOOP;
    END LOOP;
    CREATE TRIGGER return_delete AFTER DELETE ON radius.nas REFERENCING OLD TABLE AS fresh
        FOR EACH STATEMENT EXECUTE FUNCTION radius.note_return();
    PERFORM setval(pg_get_serial_sequence('radius.entitlement', 'entitlement_id'), first_number)
    WHERE (SELECT coalesce(max(entitlement_id), 0) FROM radius.entitlement) < first_number;
    PERFORM radius.return_everything();
END $$;
REVOKE EXECUTE ON FUNCTION radius.begin_return, radius.return_everything, radius.note_return FROM PUBLIC;
