-- Revision 0002, customers: imports, verification by code, devices, erasure (rules R3 to R6, R36).

-- ---------------------------------------------------------------- the customer record

-- An account number is the sequence's next with a Luhn check digit (ISO/IEC 7812-1), so that one mistyped digit is not another
-- customer. From the right, every second digit counts double, the first of them too: the check digit comes after it.
CREATE FUNCTION billing.new_account_number() RETURNS text LANGUAGE sql VOLATILE AS $$
    WITH fresh AS MATERIALIZED (SELECT nextval('billing.account_number')::text AS number),
    doubled AS (
        SELECT number, substr(reverse(number), place, 1)::integer * CASE place % 2 WHEN 1 THEN 2 ELSE 1 END AS value
        FROM fresh, generate_series(1, length(number)) AS place)
    SELECT number || (10 - sum(CASE WHEN value > 9 THEN value - 9 ELSE value END) % 10) % 10 FROM doubled GROUP BY number
$$;

ALTER TABLE billing.customer
    ADD COLUMN verified_by     text,                       -- 'email', 'sms', or 'operator:<name>'
    ADD COLUMN verified_reason text,                       -- an operator's
    ADD COLUMN erased_at       timestamptz,                -- the person is gone, the books stay (rule R36)
    ADD CHECK (erased_at IS NULL OR (deleted_at IS NOT NULL AND phone IS NULL AND email IS NULL));
CREATE INDEX customer_email ON billing.customer (lower(email)) WHERE deleted_at IS NULL;

-- What a text looks like, as billing/confusables.py says it of ASCII; of any other text '', because only Unicode's table knows.
-- For finding what may look like a new name or address without reading all of them (rule R4).
CREATE FUNCTION billing.looks_like(wanted text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length(wanted) = length(wanted) THEN
        replace(replace(replace(translate(lower(wanted COLLATE "C"), '01i|`', 'olll'''),
                                '"', ''''''), '%', 'o/o'), 'm', 'rn')
    ELSE '' END
$$;
CREATE INDEX account_look ON billing.account (billing.looks_like(username))
    WHERE status <> 'closed' AND customer_id IS NOT NULL;
CREATE INDEX customer_email_look ON billing.customer (billing.looks_like(email)) WHERE deleted_at IS NULL;

-- Nobody knows the password: it was made up at the import, and a code by e-mail or SMS lets its owner choose one.
ALTER TABLE billing.account ADD COLUMN must_reset_secret boolean NOT NULL DEFAULT false;

-- ---------------------------------------------------------------- imports (rule R4)

-- Rows of files that were imported, by a hash of what they say: the same row again changes nothing, whatever became of the
-- customer since.
CREATE TABLE billing.imported_row (
    fingerprint text PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES billing.customer,
    imported_at timestamptz NOT NULL
);
CREATE INDEX imported_row_of ON billing.imported_row (customer_id);

-- ---------------------------------------------------------------- codes by e-mail or SMS (rule R3)

-- `code_hash` is keyed with a secret of the settings, which the database never sees.
CREATE TABLE billing.contact_code (
    contact_code_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id     bigint NOT NULL REFERENCES billing.customer,
    purpose         text NOT NULL CHECK (purpose IN ('verify', 'reset')),
    account_id      bigint REFERENCES billing.account,     -- whose password a reset is of
    channel         text NOT NULL CHECK (channel IN ('email', 'sms')),
    address         text NOT NULL,                         -- a code proves the address it went to, and no later one
    code_hash       bytea NOT NULL,
    sent_at         timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    failed_attempts smallint NOT NULL DEFAULT 0,
    ended_at        timestamptz,
    ended_reason    text CHECK (ended_reason IN ('used', 'replaced', 'attempts', 'expired')),
    CHECK ((purpose = 'reset') = (account_id IS NOT NULL)),
    CHECK ((ended_at IS NULL) = (ended_reason IS NULL))
);
-- One open code for each purpose: a new one replaces the one before.
CREATE UNIQUE INDEX contact_code_open ON billing.contact_code (customer_id, purpose, coalesce(account_id, 0))
    WHERE ended_at IS NULL;
CREATE INDEX contact_code_of ON billing.contact_code (customer_id, sent_at);
CREATE INDEX contact_code_account ON billing.contact_code (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX contact_code_expiry ON billing.contact_code (expires_at) WHERE ended_at IS NULL;

-- ---------------------------------------------------------------- devices (rules R5, R6)

-- The MAC address in a Calling-Station-Id, whatever its notation; NULL where it is something else. Twelve decimal digits
-- without separators are rather a phone number.
CREATE FUNCTION radius.mac_of(calling_station_id text) RETURNS macaddr LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE
        WHEN calling_station_id ~ '^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$'
          OR calling_station_id ~ '^[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}$'
          OR calling_station_id ~ '^(?=.*[A-Fa-f])[0-9A-Fa-f]{12}$'
        THEN calling_station_id::macaddr END
$$;

-- Every device an account was ever seen with. Kept when sessions begin, so that nobody looks through their history for it.
CREATE TABLE radius.device (
    username         text NOT NULL,
    mac              macaddr NOT NULL,
    first_session_at timestamptz NOT NULL,
    last_session_at  timestamptz NOT NULL,
    PRIMARY KEY (username, mac)
);
CREATE INDEX device_mac ON radius.device (mac);
INSERT INTO radius.device
SELECT username, radius.mac_of(calling_station_id) AS mac, min(started_at), max(started_at)
FROM radius.session WHERE radius.mac_of(calling_station_id) IS NOT NULL GROUP BY 1, 2;

CREATE FUNCTION radius.note_devices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- In one order, so that two who note the same devices wait for each other and do not lock up.
    INSERT INTO radius.device (username, mac, first_session_at, last_session_at)
    SELECT username, mac, min(started_at), max(started_at)
    FROM (SELECT username, radius.mac_of(calling_station_id) AS mac, started_at FROM born) AS seen
    WHERE mac IS NOT NULL GROUP BY username, mac ORDER BY username, mac
    ON CONFLICT (username, mac) DO UPDATE
    SET first_session_at = LEAST(device.first_session_at, excluded.first_session_at),
        last_session_at = GREATEST(device.last_session_at, excluded.last_session_at);
    RETURN NULL;
END $$;
CREATE TRIGGER session_device AFTER INSERT ON radius.session REFERENCING NEW TABLE AS born
    FOR EACH STATEMENT EXECUTE FUNCTION radius.note_devices();

-- ---------------------------------------------------------------- erasure (rule R36)

-- The ledger is append-only but for this: the user name of an erased person gives way within a description.
CREATE FUNCTION billing.refuse_rewriting_but_names() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('herotill.erasing', true) = 'on'
       AND to_jsonb(NEW) - 'description' = to_jsonb(OLD) - 'description' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
DROP TRIGGER ledger_transaction_append_only ON billing.ledger_transaction;
CREATE TRIGGER ledger_transaction_append_only BEFORE DELETE OR TRUNCATE ON billing.ledger_transaction
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_rewriting();
CREATE TRIGGER ledger_transaction_names_only BEFORE UPDATE ON billing.ledger_transaction
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_rewriting_but_names();
