-- Revision 0002, codes: user accounts, refills, usage-based and free accounts beside tickets (rules R7 to R11), what a
-- plan's refill does (rule R9), and hotspot accounts that are gone when used up (rule R1).

-- What a refill of this plan does to what the account still has (herotill.refilling).
ALTER TABLE billing.plan
    ADD COLUMN refill_expiry text NOT NULL DEFAULT 'latest' CHECK (refill_expiry IN ('replace', 'extend', 'latest')),
    ADD COLUMN refill_rates text NOT NULL DEFAULT 'keep' CHECK (refill_rates IN ('replace', 'keep')),
    ADD COLUMN refill_counts_overuse boolean NOT NULL DEFAULT false;

-- ---------------------------------------------------------------- batches

ALTER TABLE billing.voucher_batch DROP CONSTRAINT voucher_batch_type_check;
ALTER TABLE billing.voucher_batch
    ADD COLUMN list_price_minor bigint,                    -- the plan's price; price_minor is after the discount
    ADD COLUMN alphabet text NOT NULL DEFAULT 'clear',     -- billing.codes.Alphabet
    ADD COLUMN prefix text,                                -- of user names with a running number: USER11, USER12
    ADD COLUMN codes_expire_at timestamptz,                -- a code not used by then has expired
    ADD COLUMN codes_expired boolean NOT NULL DEFAULT false, -- they have, all of them
    ADD COLUMN key_fingerprint text,                       -- refills: which voucher_secret they are sealed with
    ADD COLUMN free_logins_max integer CHECK (free_logins_max > 0),
    ADD COLUMN free_pause_seconds bigint CHECK (free_pause_seconds > 0),
    ADD COLUMN usage_unit text CHECK (usage_unit IN ('octets', 'seconds')),
    ADD COLUMN usage_unit_size bigint CHECK (usage_unit_size > 0),      -- so many octets or seconds are one unit
    ADD COLUMN usage_unit_price_minor bigint CHECK (usage_unit_price_minor > 0),
    ADD COLUMN usage_interval text CHECK (usage_interval IN ('day', 'week', 'month')),
    ADD COLUMN usage_time_zone text,
    ADD CHECK (list_price_minor >= price_minor),
    ADD CHECK (type IN ('user', 'ticket', 'refill', 'usage', 'free')),
    ADD CHECK ((type = 'refill') = (key_fingerprint IS NOT NULL)),
    ADD CHECK ((type = 'free') = (free_logins_max IS NOT NULL AND free_pause_seconds IS NOT NULL)),
    ADD CHECK (type <> 'free' OR price_minor = 0),
    ADD CHECK ((type = 'usage') = (usage_unit IS NOT NULL AND usage_unit_size IS NOT NULL
                                   AND usage_unit_price_minor IS NOT NULL AND usage_interval IS NOT NULL
                                   AND usage_time_zone IS NOT NULL));
CREATE INDEX voucher_batch_expiry ON billing.voucher_batch (codes_expire_at) WHERE NOT codes_expired;

-- ---------------------------------------------------------------- codes

-- A refill is no login: its code is kept as a keyed hash, and sealed for printing it again (docs/decisions/0016). It has
-- no account; who redeemed it stands in refill_redemption.
ALTER TABLE billing.voucher
    ALTER COLUMN code DROP NOT NULL,
    ALTER COLUMN account_id DROP NOT NULL,
    ADD COLUMN number integer,                             -- in its batch; batch-number is printed on the card
    ADD COLUMN code_hash bytea UNIQUE,                     -- HMAC-SHA256
    ADD COLUMN sealed_code bytea,                          -- AES-256-GCM
    ADD COLUMN print_count integer NOT NULL DEFAULT 0,
    ADD COLUMN printed_at timestamptz,
    ADD CHECK ((code IS NULL) = (code_hash IS NOT NULL)),
    ADD CHECK ((code_hash IS NULL) = (sealed_code IS NULL)),
    ADD CHECK ((code IS NULL) = (account_id IS NULL));
UPDATE billing.voucher SET number = counted.number
FROM (SELECT voucher_id, row_number() OVER (PARTITION BY batch_id ORDER BY voucher_id) AS number FROM billing.voucher) counted
WHERE voucher.voucher_id = counted.voucher_id;
UPDATE billing.voucher SET print_count = 1, printed_at = changed_at WHERE state = 'printed';
ALTER TABLE billing.voucher ALTER COLUMN number SET NOT NULL, ADD UNIQUE (batch_id, number);

-- A free account is never sold: from the drawer it goes into use.
CREATE OR REPLACE FUNCTION billing.refuse_voucher_leap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = OLD.state OR NEW.state || '<' || OLD.state IN (
        'printed<generated', 'sold<generated', 'expired<generated', 'void<generated',
        'sold<printed', 'expired<printed', 'void<printed',
        'in_use<sold', 'used_up<sold', 'expired<sold', 'void<sold',
        'used_up<in_use', 'expired<in_use', 'void<in_use') THEN
        RETURN NEW;
    END IF;
    IF NEW.state = 'in_use' AND OLD.state IN ('generated', 'printed')
       AND EXISTS (SELECT FROM billing.voucher_batch WHERE batch_id = NEW.batch_id AND type = 'free') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'voucher % cannot go from % to %', OLD.voucher_id, OLD.state, NEW.state
        USING ERRCODE = 'restrict_violation';
END $$;

-- A refill is sold before anybody knows whose account it will fill.
ALTER TABLE billing.purchase ALTER COLUMN account_id DROP NOT NULL,
    ADD CHECK (account_id IS NOT NULL OR voucher_id IS NOT NULL);

-- ---------------------------------------------------------------- refills

CREATE TABLE billing.refill_redemption (
    voucher_id  bigint PRIMARY KEY REFERENCES billing.voucher,     -- redeemed at most once
    account_id  bigint NOT NULL REFERENCES billing.account,
    redeemed_at timestamptz NOT NULL,
    redeemed_by text NOT NULL
);
CREATE INDEX refill_redemption_of ON billing.refill_redemption (account_id);

-- Tries that failed, each once for everybody who had a part in it, so that guessing is limited for each (rule R10).
CREATE TABLE billing.refill_failure (
    refill_failure_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    party             text NOT NULL CHECK (party IN ('actor', 'account', 'nas', 'device')),
    name              text NOT NULL CHECK (name <> ''),
    failed_at         timestamptz NOT NULL
);
CREATE INDEX refill_failure_of ON billing.refill_failure (party, name, failed_at);
CREATE INDEX refill_failure_age ON billing.refill_failure (failed_at);

-- ---------------------------------------------------------------- usage-based accounts

-- How far a usage-based account has been billed. Its usage is that of its grant, which counts up without a quota.
CREATE TABLE billing.usage_account (
    voucher_id      bigint PRIMARY KEY REFERENCES billing.voucher,
    started_at      timestamptz,                           -- its first use; intervals are counted from there
    intervals_ended integer NOT NULL DEFAULT 0,
    units_billed    bigint NOT NULL DEFAULT 0,
    billed_until    timestamptz,
    next_bill_at    timestamptz                            -- NULL: before the first use and after the last bill
);
CREATE INDEX usage_account_due ON billing.usage_account (next_bill_at) WHERE next_bill_at IS NOT NULL;

CREATE TABLE billing.usage_bill (
    usage_bill_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    voucher_id    bigint NOT NULL REFERENCES billing.voucher,
    invoice_id    bigint NOT NULL UNIQUE REFERENCES billing.invoice,
    began_at      timestamptz NOT NULL,
    ended_at      timestamptz NOT NULL,
    units         bigint NOT NULL CHECK (units > 0),
    UNIQUE (voucher_id, ended_at),
    CHECK (began_at < ended_at)
);

-- ---------------------------------------------------------------- hotspot accounts that are gone when used up

-- When an account whose grants have all ended is looked at and, if nobody gave it anything meanwhile, closed (rule R1).
ALTER TABLE billing.account ADD COLUMN retires_at timestamptz;
CREATE INDEX account_retiring ON billing.account (retires_at) WHERE retires_at IS NOT NULL;

-- ---------------------------------------------------------------- what packet time and the meter say

-- Grants that have ended and whose end the books have not read yet. Written where the end is written, so that nobody
-- has to look through all living vouchers for it.
CREATE TABLE radius.ended_grant (
    entitlement_id bigint PRIMARY KEY,
    external_key   text NOT NULL,
    username       text NOT NULL,
    ended_at       timestamptz NOT NULL,
    ended_reason   text NOT NULL
);
INSERT INTO radius.ended_grant
SELECT entitlement_id, external_key, username, ended_at, ended_reason
FROM radius.entitlement JOIN billing.voucher ON external_key = 'voucher:' || voucher_id
WHERE ended_reason IN ('quota', 'time', 'expiry') AND state IN ('generated', 'printed', 'sold', 'in_use');

CREATE FUNCTION radius.note_ended_grant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO radius.ended_grant VALUES
        (NEW.entitlement_id, NEW.external_key, NEW.username, NEW.ended_at, NEW.ended_reason)
    ON CONFLICT (entitlement_id) DO NOTHING;
    PERFORM pg_notify('herotill_event', '');
    RETURN NULL;
END $$;
CREATE TRIGGER entitlement_ended AFTER UPDATE OF ended_at ON radius.entitlement FOR EACH ROW
    WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL
          AND NEW.source <> 'allocation' AND NEW.ended_reason <> 'void')
    EXECUTE FUNCTION radius.note_ended_grant();

-- A free account: at most so many logins, then a pause (rule R7). Counted in the meter's transaction.
CREATE TABLE radius.login_limit (
    username      text PRIMARY KEY,
    voucher_id    bigint NOT NULL UNIQUE,
    logins_max    integer NOT NULL CHECK (logins_max > 0),
    pause_seconds bigint NOT NULL CHECK (pause_seconds > 0),
    turn          integer NOT NULL DEFAULT 1,              -- its grant is 'free:<voucher>:<turn>'
    logins        integer NOT NULL DEFAULT 0,              -- accepted in this turn
    last_login_at timestamptz,
    paused_until  timestamptz
);
CREATE INDEX login_limit_reached ON radius.login_limit (username) WHERE logins >= logins_max AND paused_until IS NULL;
CREATE INDEX login_limit_paused ON radius.login_limit (paused_until) WHERE paused_until IS NOT NULL;

-- What was not full service (a restricted pool) is no login that counts.
CREATE FUNCTION radius.count_free_logins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE radius.login_limit
    SET logins = logins + accepted.count, last_login_at = GREATEST(last_login_at, accepted.at)
    FROM (SELECT username, count(*) AS count, max(occurred_at) AS at FROM born
          WHERE accepted AND reason IN ('accepted', 'outage') GROUP BY username) AS accepted
    WHERE login_limit.username = accepted.username;
    IF FOUND THEN
        PERFORM pg_notify('herotill_event', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER login_outcome_counted AFTER INSERT ON radius.login_outcome REFERENCING NEW TABLE AS born
    FOR EACH STATEMENT EXECUTE FUNCTION radius.count_free_logins();

-- An accept that was taken back: the password was wrong.
CREATE FUNCTION radius.uncount_free_login() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE radius.login_limit SET logins = GREATEST(logins - 1, 0) WHERE username = NEW.username;
    RETURN NULL;
END $$;
CREATE TRIGGER login_outcome_corrected AFTER UPDATE OF accepted ON radius.login_outcome FOR EACH ROW
    WHEN (OLD.accepted AND NOT NEW.accepted AND OLD.reason IN ('accepted', 'outage'))
    EXECUTE FUNCTION radius.uncount_free_login();
