-- Events: what happened that somebody outside must be told (billing/events.py), and its way to every sink of the settings
-- (sync_daemon/events). Delivery is at least once: the key tells repetitions apart.

CREATE TABLE billing.event (
    event_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_key     text NOT NULL UNIQUE CHECK (event_key <> ''),       -- idempotence: 'notice:41:80'
    kind          text NOT NULL CHECK (kind ~ '^[a-z][a-z0-9_.]*$'),
    customer_id   bigint REFERENCES billing.customer,
    payload       jsonb NOT NULL CHECK (jsonb_typeof(payload) = 'object'),
    occurred_at   timestamptz NOT NULL,
    dispatched_at timestamptz                                         -- when it was laid out for the sinks
);
CREATE INDEX event_undispatched ON billing.event (event_id) WHERE dispatched_at IS NULL;
CREATE INDEX event_of_customer ON billing.event (customer_id) WHERE customer_id IS NOT NULL;

-- One row for each event and sink, so that a sink that is broken holds no other up. A worker holds the lock of the row it is
-- delivering: nobody else delivers it at the same time, and whoever dies lets go of it.
CREATE TABLE billing.event_delivery (
    event_id        bigint NOT NULL REFERENCES billing.event,
    sink            text NOT NULL CHECK (sink <> ''),
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead', 'discarded')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    finished_at     timestamptz,
    last_error      text,                                             -- one line for people, never a secret
    PRIMARY KEY (event_id, sink),
    CHECK ((state = 'pending') = (finished_at IS NULL))
);
CREATE INDEX event_delivery_due ON billing.event_delivery (sink, next_attempt_at, event_id) WHERE state = 'pending';
CREATE INDEX event_delivery_dead ON billing.event_delivery (event_id) WHERE state = 'dead';

-- ---------------------------------------------------------------- notices (rule R21)

-- What the meter found passes through radius.access_event to the books, as everything packet time and the meter tell them.
-- `details` of a usage_notice: percent, superseded_by, quota and use; of a transfer: octets, and the account at the other end.
ALTER TABLE radius.access_event DROP CONSTRAINT access_event_kind_check;
ALTER TABLE radius.access_event
    ADD CONSTRAINT access_event_kind_check CHECK (kind IN ('first_use', 'allocation', 'usage_notice', 'transfer')),
    ADD COLUMN details jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object');
-- For `herotill explain`.
CREATE INDEX access_event_told ON radius.access_event (username, occurred_at DESC)
    WHERE kind IN ('usage_notice', 'transfer');

-- A customer's own language for messages; NULL: that of the settings.
ALTER TABLE billing.customer ADD COLUMN language text CHECK (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$');

-- What is said, by kind of event and language; where there is none, the wording that comes with the program.
CREATE TABLE billing.message_template (
    kind       text NOT NULL CHECK (kind <> ''),
    language   text NOT NULL CHECK (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
    subject    text NOT NULL CHECK (subject <> '' AND subject !~ '[[:cntrl:]]'),
    body       text NOT NULL CHECK (body <> ''),
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    PRIMARY KEY (kind, language)
);

-- So long before its end a grant's holder is reminded. `reminded_until`: everything that ends before it plus the lead was
-- looked at. It only moves on, so each end is found once, without looking at every grant again.
CREATE TABLE billing.expiry_reminder (
    lead_seconds   bigint PRIMARY KEY CHECK (lead_seconds > 0),
    reminded_until timestamptz NOT NULL
);
INSERT INTO billing.expiry_reminder VALUES (86400, now());

-- Below this balance a customer is reminded, in this currency; no row, no reminder.
CREATE TABLE billing.low_balance_mark (
    currency     text PRIMARY KEY CHECK (currency ~ '^[A-Z]{3}$'),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0)
);

-- Who has been reminded and has not paid in since.
CREATE TABLE billing.low_balance_reminder (
    customer_id bigint NOT NULL REFERENCES billing.customer,
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    below_since timestamptz NOT NULL,
    PRIMARY KEY (customer_id, currency)
);

-- ---------------------------------------------------------------- top-ups and transfers (rules R19, R20)

ALTER TABLE radius.entitlement DROP CONSTRAINT entitlement_source_check;
ALTER TABLE radius.entitlement ADD CONSTRAINT entitlement_source_check
    CHECK (source IN ('purchase', 'voucher', 'allocation', 'topup', 'transfer'));

-- Given for nothing by an operator, once per key. Its grant is 'topup:<top_up_id>'.
CREATE TABLE billing.top_up (
    top_up_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    idempotency_key text NOT NULL UNIQUE CHECK (idempotency_key <> ''),
    account_id      bigint NOT NULL REFERENCES billing.account,
    quota_octets    bigint CHECK (quota_octets > 0),
    quota_seconds   bigint CHECK (quota_seconds > 0),
    valid_seconds   bigint CHECK (valid_seconds > 0),
    reason          text NOT NULL CHECK (reason <> ''),
    topped_up_at    timestamptz NOT NULL,
    topped_up_by    text NOT NULL,
    CHECK (quota_octets IS NOT NULL OR quota_seconds IS NOT NULL)
);
CREATE INDEX top_up_of_account ON billing.top_up (account_id, topped_up_at);

-- Unused octets that went to another account, once per key.
CREATE TABLE billing.transfer (
    transfer_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    idempotency_key text NOT NULL UNIQUE CHECK (idempotency_key <> ''),
    from_account_id bigint NOT NULL REFERENCES billing.account,
    to_account_id   bigint NOT NULL REFERENCES billing.account,
    octets          bigint NOT NULL CHECK (octets > 0),
    fee_minor       bigint NOT NULL DEFAULT 0 CHECK (fee_minor >= 0),
    currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    transferred_at  timestamptz NOT NULL,
    transferred_by  text NOT NULL,
    CHECK (from_account_id <> to_account_id)
);
CREATE INDEX transfer_from ON billing.transfer (from_account_id, transferred_at);
CREATE INDEX transfer_to ON billing.transfer (to_account_id, transferred_at);

-- Which grant gave how much: a transfer may take from several. What it became has the key 'transfer:<transfer_id>:<part>'.
CREATE TABLE billing.transfer_part (
    transfer_id    bigint NOT NULL REFERENCES billing.transfer,
    part           integer NOT NULL,
    from_grant_key text NOT NULL,
    octets         bigint NOT NULL CHECK (octets > 0),
    PRIMARY KEY (transfer_id, part)
);
CREATE TRIGGER top_up_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.top_up
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_rewriting();
CREATE TRIGGER transfer_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.transfer
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_rewriting();
CREATE TRIGGER transfer_part_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.transfer_part
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_rewriting();

-- ---------------------------------------------------------------- what an octet counts at a NAS (rule R22)

ALTER TABLE radius.nas_profile ADD COLUMN multiplier_per_mille integer NOT NULL DEFAULT 1000
    CHECK (multiplier_per_mille BETWEEN 0 AND 100000);
-- Packet time divides the limits it sends by it, and sees nothing else of the profile: it holds the secret for CoA.
GRANT SELECT (nas_id, multiplier_per_mille) ON radius.nas_profile TO herotill_radius;

-- ---------------------------------------------------------------- whose balance changed (rule R21)

-- Written by a trigger, so that no way of posting can forget it; looked at by the schedule, then deleted. A row for each
-- change, not one for each customer: who looks must not take away the row of a posting that is not committed yet.
CREATE TABLE billing.balance_change (
    balance_change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id       bigint NOT NULL,
    currency          text NOT NULL
);
CREATE FUNCTION billing.note_balance_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing.balance_change (customer_id, currency)
    SELECT DISTINCT customer_id, currency FROM added JOIN billing.low_balance_mark USING (currency)
    WHERE customer_id IS NOT NULL;
    IF FOUND THEN
        PERFORM pg_notify('herotill_event', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_posting_changes_balance AFTER INSERT ON billing.ledger_posting REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.note_balance_change();
