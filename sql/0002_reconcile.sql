-- Revision 0002, reconcile (rule R30): what RADIUS should have where no view of 0001 says it, who owns which row, what was
-- changed by hand.
--
-- Ownership: rows of names the books have never known are nobody's. Of names they know, the rows the books produce are the
-- books'; other attributes are nobody's until `herotill sync adopt` takes them over.
--
-- Our programs say who they are by the setting herotill.writer: 'herotill' (what they write is meant), 'reconcile' (it mends).
-- Whoever says nothing edits by hand.

CREATE INDEX account_of_name ON billing.account (username);

-- ---------------------------------------------------------------- what RADIUS should have

-- Every grant as our programs left its terms: what was sold must exist with them, and must not be ended or reopened by
-- anybody else. Usage is the meter's and is not here.
CREATE TABLE billing.granted (
    external_key            text PRIMARY KEY,
    entitlement_id          bigint NOT NULL,
    username                text NOT NULL,
    source                  text NOT NULL,
    plan_name               text NOT NULL,
    priority                integer NOT NULL,
    counting                text NOT NULL,
    quota_octets            bigint,
    quota_seconds           bigint,
    policy                  jsonb NOT NULL,
    granted_at              timestamptz NOT NULL,
    expires_at              timestamptz,
    seconds_after_first_use bigint,
    seconds_after_last_use  bigint,
    ended_at                timestamptz,
    ended_reason            text
);
CREATE INDEX granted_living ON billing.granted (username) WHERE ended_at IS NULL;

INSERT INTO billing.granted
SELECT external_key, entitlement_id, username, source, plan_name, priority, counting, quota_octets, quota_seconds, policy,
       granted_at, expires_at, seconds_after_first_use, seconds_after_last_use, ended_at, ended_reason
FROM radius.entitlement;

-- Attributes beyond those the books make of accounts and groups: taken over from what stood there (`sync adopt`).
CREATE TABLE billing.radius_attribute (
    radius_attribute_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation   text NOT NULL CHECK (relation IN ('radcheck', 'radreply', 'radgroupcheck', 'radgroupreply')),
    name       text NOT NULL CHECK (name <> ''),                -- of the user or of the group
    attribute  text NOT NULL CHECK (attribute <> ''),
    op         text NOT NULL,
    value      text NOT NULL,
    entered_at timestamptz NOT NULL,
    entered_by text NOT NULL,
    UNIQUE (relation, name, attribute, op, value),
    -- These two the books make of every account.
    CHECK (relation <> 'radcheck' OR attribute NOT IN ('Cleartext-Password', 'Auth-Type'))
);

-- An account that is gone leaves no attributes to a later one of its name.
CREATE VIEW billing.projected_attribute AS
SELECT relation, name, attribute, op, value FROM billing.radius_attribute
WHERE relation IN ('radgroupcheck', 'radgroupreply')
   OR EXISTS (SELECT FROM billing.account WHERE username = name AND status IN ('active', 'suspended'));

-- The NASes as `herotill nas` entered them. They live with RADIUS; the books sell nothing to them.
CREATE TABLE radius.entered_nas (
    shortname   text PRIMARY KEY,
    nasname     text NOT NULL,
    type        text NOT NULL,
    ports       integer,
    secret      text NOT NULL,
    server      text,
    community   text,
    description text
);
INSERT INTO radius.entered_nas
SELECT DISTINCT ON (shortname) shortname, nasname, type, ports, secret, server, community, description
FROM radius.nas ORDER BY shortname, id;

-- ---------------------------------------------------------------- who owns which row

-- Attributes of a name that are ours though nothing wants them any more: else a row that left the books could not leave RADIUS.
CREATE TABLE radius.owned_attribute (
    relation  text NOT NULL,
    name      text NOT NULL,
    attribute text NOT NULL,
    PRIMARY KEY (relation, name, attribute)
);

-- ---------------------------------------------------------------- drift

-- What was edited past our programs and not looked at yet: the first edit of each name. Not who did it, but as whom.
CREATE TABLE radius.hand_edit (
    relation       text NOT NULL,
    name           text NOT NULL,
    edited_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    database_user  text NOT NULL DEFAULT session_user,
    application    text NOT NULL DEFAULT current_setting('application_name'),
    client_address inet DEFAULT inet_client_addr(),
    PRIMARY KEY (relation, name)
);

-- What was found otherwise than it should be, and mended. Passwords and secrets are not shown.
CREATE TABLE radius.drift (
    drift_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation       text NOT NULL,
    name           text NOT NULL,
    item           text NOT NULL,
    before         jsonb,                                       -- NULL: nothing stood there
    after          jsonb,                                       -- NULL: it was removed
    why            text NOT NULL,
    sessions_cut   integer NOT NULL DEFAULT 0,
    since          timestamptz,                                 -- of an edit by hand that was seen
    edited_as      text,
    mended_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    mended_by      text NOT NULL
);
CREATE INDEX drift_mended ON radius.drift (mended_at DESC);
CREATE INDEX drift_name ON radius.drift (name, mended_at DESC);

-- ---------------------------------------------------------------- triggers

CREATE FUNCTION billing.note_granted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO billing.granted
    SELECT external_key, entitlement_id, username, source, plan_name, priority, counting, quota_octets, quota_seconds, policy,
           granted_at, expires_at, seconds_after_first_use, seconds_after_last_use, ended_at, ended_reason
    FROM fresh
    ON CONFLICT (external_key) DO UPDATE
    SET entitlement_id = excluded.entitlement_id, username = excluded.username, source = excluded.source,
        plan_name = excluded.plan_name, priority = excluded.priority, counting = excluded.counting,
        quota_octets = excluded.quota_octets, quota_seconds = excluded.quota_seconds, policy = excluded.policy,
        granted_at = excluded.granted_at, expires_at = excluded.expires_at,
        seconds_after_first_use = excluded.seconds_after_first_use,
        seconds_after_last_use = excluded.seconds_after_last_use,
        ended_at = excluded.ended_at, ended_reason = excluded.ended_reason;
    RETURN NULL;
END $$;
CREATE TRIGGER granted_new AFTER INSERT ON radius.entitlement REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT WHEN (current_setting('herotill.writer', true) = 'herotill')
    EXECUTE FUNCTION billing.note_granted();

CREATE FUNCTION billing.note_granted_terms() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE billing.granted
    SET username = NEW.username, plan_name = NEW.plan_name, priority = NEW.priority, counting = NEW.counting,
        quota_octets = NEW.quota_octets, quota_seconds = NEW.quota_seconds, policy = NEW.policy,
        granted_at = NEW.granted_at, expires_at = NEW.expires_at,
        seconds_after_first_use = NEW.seconds_after_first_use,
        seconds_after_last_use = NEW.seconds_after_last_use,
        ended_at = NEW.ended_at, ended_reason = NEW.ended_reason
    WHERE external_key = NEW.external_key;
    RETURN NULL;
END $$;
-- Not for usage: an interim fires nothing.
CREATE TRIGGER granted_terms AFTER UPDATE OF username, plan_name, priority, counting, quota_octets, quota_seconds, policy,
        granted_at, expires_at, seconds_after_first_use, seconds_after_last_use, ended_at, ended_reason ON radius.entitlement
    FOR EACH ROW WHEN (current_setting('herotill.writer', true) = 'herotill'
        AND (NEW.username, NEW.plan_name, NEW.priority, NEW.counting, NEW.quota_octets, NEW.quota_seconds, NEW.policy,
             NEW.granted_at, NEW.expires_at, NEW.seconds_after_first_use, NEW.seconds_after_last_use, NEW.ended_at)
            IS DISTINCT FROM
            (OLD.username, OLD.plan_name, OLD.priority, OLD.counting, OLD.quota_octets, OLD.quota_seconds, OLD.policy,
             OLD.granted_at, OLD.expires_at, OLD.seconds_after_first_use, OLD.seconds_after_last_use, OLD.ended_at))
    EXECUTE FUNCTION billing.note_granted_terms();

CREATE FUNCTION billing.forget_granted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM billing.granted USING gone WHERE granted.external_key = gone.external_key;
    RETURN NULL;
END $$;
CREATE TRIGGER granted_gone AFTER DELETE ON radius.entitlement REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT WHEN (current_setting('herotill.writer', true) = 'herotill')
    EXECUTE FUNCTION billing.forget_granted();

-- Packet time writes grants through these alone.
ALTER FUNCTION radius.grant_allocation SET herotill.writer = 'herotill';
ALTER FUNCTION radius.start_first_use SET herotill.writer = 'herotill';

CREATE FUNCTION radius.note_entered_nas() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM radius.entered_nas WHERE shortname = OLD.shortname;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO radius.entered_nas (shortname, nasname, type, ports, secret, server, community, description)
        VALUES (NEW.shortname, NEW.nasname, NEW.type, NEW.ports, NEW.secret, NEW.server, NEW.community, NEW.description)
        ON CONFLICT (shortname) DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entered_nas AFTER INSERT OR UPDATE OR DELETE ON radius.nas
    FOR EACH ROW WHEN (current_setting('herotill.writer', true) = 'herotill')
    EXECUTE FUNCTION radius.note_entered_nas();

-- The argument names the column that holds the name. One notification for a transaction: the names stand in the table.
CREATE FUNCTION radius.note_hand_edit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO radius.hand_edit (relation, name)
    SELECT DISTINCT TG_TABLE_NAME, edited ->> TG_ARGV[0]
    FROM (VALUES (to_jsonb(OLD)), (to_jsonb(NEW))) AS both_sides (edited)
    WHERE edited ->> TG_ARGV[0] IS NOT NULL
    ON CONFLICT (relation, name) DO NOTHING;
    PERFORM pg_notify('herotill_drift', '');
    RETURN NULL;
END $$;

-- A customer's edit is one of all his accounts, a group's one of all its members.
CREATE FUNCTION billing.note_hand_edit_of_many() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO radius.hand_edit (relation, name)
    SELECT TG_TABLE_NAME, username FROM billing.account LEFT JOIN billing.customer USING (customer_id)
    WHERE CASE TG_TABLE_NAME
              WHEN 'customer' THEN customer_id = (to_jsonb(NEW) ->> 'customer_id')::bigint
              ELSE group_id = (to_jsonb(NEW) ->> 'group_id')::bigint END
      AND status IN ('active', 'suspended')
    ON CONFLICT (relation, name) DO NOTHING;
    PERFORM pg_notify('herotill_drift', '');
    RETURN NULL;
END $$;

DO $$
DECLARE
    watched record;
    by_hand CONSTANT text := $when$coalesce(current_setting('herotill.writer', true), '') NOT IN ('herotill', 'reconcile')$when$;
BEGIN
    FOR watched IN SELECT * FROM (VALUES
        ('radius.radcheck', 'username'), ('radius.radreply', 'username'), ('radius.radusergroup', 'username'),
        ('radius.radgroupcheck', 'groupname'), ('radius.radgroupreply', 'groupname'),
        ('radius.managed_account', 'username'), ('radius.group_allocation', 'group_name'),
        ('radius.nas', 'shortname'), ('billing.account', 'username')) AS t (relation, key)
    LOOP
        EXECUTE format('CREATE TRIGGER hand_edit AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW WHEN (%s)
                        EXECUTE FUNCTION radius.note_hand_edit(%L)', watched.relation, by_hand, watched.key);
    END LOOP;
    EXECUTE format('CREATE TRIGGER hand_edit AFTER INSERT OR DELETE OR UPDATE OF username, external_key, source, plan_name,
                        priority, counting, quota_octets, quota_seconds, policy, granted_at, expires_at,
                        seconds_after_first_use, seconds_after_last_use, ended_at, ended_reason ON radius.entitlement
                    FOR EACH ROW WHEN (%s) EXECUTE FUNCTION radius.note_hand_edit(%L)', by_hand, 'username');
    EXECUTE format('CREATE TRIGGER hand_edit AFTER UPDATE ON billing.customer FOR EACH ROW WHEN (%s)
                    EXECUTE FUNCTION billing.note_hand_edit_of_many()', by_hand);
    EXECUTE format('CREATE TRIGGER hand_edit AFTER UPDATE ON billing.customer_group FOR EACH ROW WHEN (%s)
                    EXECUTE FUNCTION billing.note_hand_edit_of_many()', by_hand);
END $$;
