-- Schema billing, revision 0001: the books. What was sold, to whom, for how much.
--
-- Money is bigint in minor units beside an ISO 4217 currency, octets and seconds are bigint, times are timestamptz.
-- The Python use cases refuse first, with a sentence; the constraints here refuse whatever got past them.
-- `policy` columns hold a herotill.policy.ServicePolicy as a JSON object.

CREATE SCHEMA IF NOT EXISTS billing;

-- ---------------------------------------------------------------- what is sold, and to whom

-- A plan is removed by date, never by DELETE, once it was sold: purchases name it.
CREATE TABLE billing.plan (
    plan_id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name                    text NOT NULL CHECK (name <> ''),
    price_minor             bigint NOT NULL CHECK (price_minor >= 0),
    currency                text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    kinds                   text[] NOT NULL          -- which kinds of account may buy it (rule R1)
        CHECK (cardinality(kinds) > 0 AND kinds <@ ARRAY['hotspot', 'prepaid', 'monthly']),
    quota_octets            bigint CHECK (quota_octets > 0),             -- NULL: unlimited
    quota_seconds           bigint CHECK (quota_seconds > 0),
    seconds_after_purchase  bigint CHECK (seconds_after_purchase > 0),   -- the clocks of rule R13;
    seconds_after_first_use bigint CHECK (seconds_after_first_use > 0),  -- the earliest ends the grant
    seconds_after_last_use  bigint CHECK (seconds_after_last_use > 0),
    valid_until             timestamptz,
    ends_with_cycle         boolean NOT NULL DEFAULT false,
    counting                text NOT NULL DEFAULT 'sum' CHECK (counting IN ('sum', 'larger', 'download', 'upload')),
    priority                integer NOT NULL DEFAULT 100,                -- lower burns first
    policy                  jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(policy) = 'object'),
    created_at              timestamptz NOT NULL,
    removed_at              timestamptz,
    CHECK (NOT ends_with_cycle OR kinds = ARRAY['monthly'])              -- only monthly accounts have a cycle
);
CREATE UNIQUE INDEX plan_name ON billing.plan (lower(name)) WHERE removed_at IS NULL;

-- A hostel, a building, a reseller's clients; with what its verified prepaid members get for nothing (rule R17).
-- The name must not hold ':', which separates the parts of an allocation's key.
CREATE TABLE billing.customer_group (
    group_id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name                     text NOT NULL UNIQUE CHECK (name <> '' AND name !~ ':'),
    time_zone                text NOT NULL DEFAULT 'UTC',
    policy                   jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(policy) = 'object'),
    allocation_period        text CHECK (allocation_period IN ('once', 'day', 'week', 'month', 'term')),
    allocation_term_starts   date[] NOT NULL DEFAULT '{}',
    allocation_octets        bigint CHECK (allocation_octets > 0),
    allocation_seconds       bigint CHECK (allocation_seconds > 0),
    allocation_valid_seconds bigint CHECK (allocation_valid_seconds > 0), -- NULL: to the end of the period
    allocation_rolls_over    boolean NOT NULL DEFAULT false,
    allocation_counting      text NOT NULL DEFAULT 'sum'
        CHECK (allocation_counting IN ('sum', 'larger', 'download', 'upload')),
    created_at               timestamptz NOT NULL,
    CHECK ((allocation_period IS NOT NULL) = (allocation_octets IS NOT NULL OR allocation_seconds IS NOT NULL)),
    CHECK ((allocation_period IS NOT DISTINCT FROM 'term') = (cardinality(allocation_term_starts) > 0))
);

-- Account numbers are this sequence's numbers with a Luhn check digit (billing/customers.py).
CREATE SEQUENCE billing.account_number START 10001;

CREATE TABLE billing.customer (
    customer_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_number text NOT NULL UNIQUE CHECK (account_number ~ '^[0-9]{6,}$'),
    name           text NOT NULL CHECK (name <> ''),
    phone          text CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),           -- E.164
    email          text CHECK (email ~ '^[^@[:space:]]+@[^@[:space:]]+$'),
    group_id       bigint REFERENCES billing.customer_group,
    joined_at      timestamptz NOT NULL,
    verified_at    timestamptz,                                          -- NULL: unverified (rule R3)
    disabled_at    timestamptz,
    deleted_at     timestamptz                                           -- the books outlive the customer
);
CREATE UNIQUE INDEX customer_phone ON billing.customer (phone) WHERE deleted_at IS NULL;
CREATE INDEX customer_group_member ON billing.customer (group_id) WHERE deleted_at IS NULL;

-- What logs in. Tickets have no customer. `plan_policy` is what the last plan sold to a monthly account brought;
-- `policy` is this account's own; both go over the group's.
CREATE TABLE billing.account (
    account_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username         text NOT NULL CHECK (username <> ''),
    secret           text NOT NULL CHECK (secret ~ '^[^''"`\\][^\\]*$'), -- as every reader of radcheck reads it unchanged
    kind             text NOT NULL CHECK (kind IN ('hotspot', 'prepaid', 'monthly')),
    customer_id      bigint REFERENCES billing.customer,
    status           text NOT NULL DEFAULT 'active'
        CHECK (status IN ('stored', 'active', 'suspended', 'closed')),   -- stored: a code nobody bought yet
    suspended_reason text,
    disabled_at      timestamptz,
    cycle_day        smallint CHECK (cycle_day BETWEEN 1 AND 31),        -- monthly: the day its cycle begins
    plan_policy      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(plan_policy) = 'object'),
    policy           jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(policy) = 'object'),
    created_at       timestamptz NOT NULL,
    closed_at        timestamptz,
    CHECK ((status = 'suspended') = (suspended_reason IS NOT NULL)),
    CHECK ((status = 'closed') = (closed_at IS NOT NULL)),
    CHECK ((kind = 'monthly') = (cycle_day IS NOT NULL))
);
-- Two living accounts may not differ only in case: people type the one and mean the other.
CREATE UNIQUE INDEX account_username ON billing.account (lower(username)) WHERE status <> 'closed';
CREATE INDEX account_customer ON billing.account (customer_id);

-- ---------------------------------------------------------------- codes

-- N codes made at once, with the plan as it was then (rule R12).
CREATE TABLE billing.voucher_batch (
    batch_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type         text NOT NULL CHECK (type IN ('ticket')),
    sell         text NOT NULL CHECK (sell IN ('now', 'later', 'first-use')),
    plan_id      bigint NOT NULL REFERENCES billing.plan,
    plan_name    text NOT NULL,
    plan_terms   jsonb NOT NULL CHECK (jsonb_typeof(plan_terms) = 'object'),
    price_minor  bigint NOT NULL CHECK (price_minor >= 0),
    currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    code_count   integer NOT NULL CHECK (code_count > 0),
    code_length  integer NOT NULL CHECK (code_length > 0),
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL
);

CREATE TABLE billing.voucher (
    voucher_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id       bigint NOT NULL REFERENCES billing.voucher_batch,
    code           text NOT NULL UNIQUE CHECK (code <> ''),
    account_id     bigint NOT NULL UNIQUE REFERENCES billing.account,
    state          text NOT NULL DEFAULT 'generated'
        CHECK (state IN ('generated', 'printed', 'sold', 'in_use', 'used_up', 'expired', 'void')),
    changed_at     timestamptz NOT NULL,
    changed_by     text NOT NULL,
    changed_reason text NOT NULL
);
CREATE INDEX voucher_of_batch ON billing.voucher (batch_id, voucher_id);
CREATE INDEX voucher_living ON billing.voucher (state) WHERE state IN ('generated', 'printed', 'sold', 'in_use');

-- A code's life (rule R8), written by triggers, so that no way of changing a voucher can forget it.
CREATE TABLE billing.voucher_event (
    voucher_event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    voucher_id       bigint NOT NULL REFERENCES billing.voucher,
    from_state       text,
    to_state         text NOT NULL,
    occurred_at      timestamptz NOT NULL,
    actor            text NOT NULL,
    reason           text NOT NULL
);
CREATE INDEX voucher_event_of ON billing.voucher_event (voucher_id, voucher_event_id);

CREATE FUNCTION billing.refuse_voucher_leap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state || '<' || OLD.state NOT IN (
        'printed<generated', 'sold<generated', 'expired<generated', 'void<generated',
        'sold<printed', 'expired<printed', 'void<printed',
        'in_use<sold', 'used_up<sold', 'expired<sold', 'void<sold',
        'used_up<in_use', 'expired<in_use', 'void<in_use') THEN
        RAISE EXCEPTION 'voucher % cannot go from % to %', OLD.voucher_id, OLD.state, NEW.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER voucher_leap BEFORE UPDATE OF state ON billing.voucher
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_voucher_leap();

CREATE FUNCTION billing.record_voucher_birth() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing.voucher_event (voucher_id, from_state, to_state, occurred_at, actor, reason)
    SELECT voucher_id, NULL, state, changed_at, changed_by, changed_reason FROM born ORDER BY voucher_id;
    RETURN NULL;
END $$;
CREATE TRIGGER voucher_birth AFTER INSERT ON billing.voucher REFERENCING NEW TABLE AS born
    FOR EACH STATEMENT EXECUTE FUNCTION billing.record_voucher_birth();

CREATE FUNCTION billing.record_voucher_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing.voucher_event (voucher_id, from_state, to_state, occurred_at, actor, reason)
    SELECT voucher_id, was.state, became.state, became.changed_at, became.changed_by, became.changed_reason
    FROM was JOIN became USING (voucher_id) WHERE was.state <> became.state ORDER BY voucher_id;
    RETURN NULL;
END $$;
CREATE TRIGGER voucher_change AFTER UPDATE ON billing.voucher REFERENCING OLD TABLE AS was NEW TABLE AS became
    FOR EACH STATEMENT EXECUTE FUNCTION billing.record_voucher_change();

-- ---------------------------------------------------------------- what was sold

-- A purchase keeps the plan as it was (rule R12) and happens once per key (rule R8: a voucher is sold at most once).
CREATE TABLE billing.purchase (
    purchase_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    idempotency_key text NOT NULL UNIQUE CHECK (idempotency_key <> ''),
    account_id      bigint NOT NULL REFERENCES billing.account,
    voucher_id      bigint UNIQUE REFERENCES billing.voucher,
    plan_id         bigint NOT NULL REFERENCES billing.plan,
    plan_name       text NOT NULL,
    plan_terms      jsonb NOT NULL CHECK (jsonb_typeof(plan_terms) = 'object'),
    price_minor     bigint NOT NULL CHECK (price_minor >= 0),
    currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    purchased_at    timestamptz NOT NULL,
    sold_by         text NOT NULL
);
CREATE INDEX purchase_of_account ON billing.purchase (account_id, purchased_at);

-- A bill. Suspension for not paying needs one whose date has passed (rule R24).
CREATE TABLE billing.invoice (
    invoice_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id   bigint NOT NULL REFERENCES billing.account,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    issued_at    timestamptz NOT NULL,
    due_at       timestamptz NOT NULL,
    paid_at      timestamptz
);
CREATE INDEX invoice_unpaid ON billing.invoice (account_id, due_at) WHERE paid_at IS NULL;

-- ---------------------------------------------------------------- ledger (rule R25)

-- Double entry. A positive amount is credit (what a customer has with us, what we earned), a negative one is debit
-- (cash in the drawer). Nothing is ever changed: mistakes are corrected by another transaction.
CREATE TABLE billing.ledger_transaction (
    transaction_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    external_key   text NOT NULL UNIQUE CHECK (external_key <> ''),
    description    text NOT NULL,
    occurred_at    timestamptz NOT NULL,
    recorded_by    text NOT NULL
);

CREATE TABLE billing.ledger_posting (
    posting_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id bigint NOT NULL REFERENCES billing.ledger_transaction,
    ledger_account text NOT NULL CHECK (ledger_account IN ('customer', 'cash', 'sales')),
    customer_id    bigint REFERENCES billing.customer,
    amount_minor   bigint NOT NULL CHECK (amount_minor <> 0),
    currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    CHECK ((ledger_account = 'customer') = (customer_id IS NOT NULL))
);
CREATE INDEX ledger_posting_of ON billing.ledger_posting (transaction_id);
CREATE INDEX ledger_posting_customer ON billing.ledger_posting (customer_id) WHERE customer_id IS NOT NULL;

-- Looked at when the database transaction commits: every ledger transaction has postings, and each currency sums to zero.
CREATE FUNCTION billing.refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM billing.ledger_posting WHERE transaction_id = NEW.transaction_id)
       OR EXISTS (SELECT FROM billing.ledger_posting WHERE transaction_id = NEW.transaction_id
                  GROUP BY currency HAVING sum(amount_minor) <> 0) THEN
        RAISE EXCEPTION 'ledger transaction % does not sum to zero', NEW.transaction_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_transaction_balanced AFTER INSERT ON billing.ledger_transaction
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing.refuse_unbalanced();
CREATE CONSTRAINT TRIGGER ledger_posting_balanced AFTER INSERT ON billing.ledger_posting
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing.refuse_unbalanced();

CREATE FUNCTION billing.refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER ledger_transaction_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.ledger_transaction
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_rewriting();
CREATE TRIGGER ledger_posting_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.ledger_posting
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_rewriting();
CREATE TRIGGER voucher_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.voucher_event
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_rewriting();

-- ---------------------------------------------------------------- what RADIUS should have

-- Every account that RADIUS may know, as radius.managed_account should have it.
CREATE VIEW billing.projected_account AS
SELECT account.account_id, account.username, account.secret, account.kind,
       CASE
           WHEN account.disabled_at IS NOT NULL OR customer.disabled_at IS NOT NULL THEN 'disabled'
           WHEN customer.customer_id IS NOT NULL AND customer.verified_at IS NULL THEN 'unverified'
           ELSE account.status
       END AS status,
       customer_group.name AS group_name,
       coalesce(customer_group.policy, '{}') || account.plan_policy || account.policy AS policy
FROM billing.account
LEFT JOIN billing.customer USING (customer_id)
LEFT JOIN billing.customer_group USING (group_id)
WHERE account.status IN ('active', 'suspended');

CREATE VIEW billing.projected_radcheck AS
SELECT username, 'Cleartext-Password' AS attribute, ':=' AS op, secret AS value
FROM billing.projected_account
UNION ALL
SELECT username, 'Auth-Type', ':=', 'Reject' FROM billing.projected_account WHERE status = 'disabled';

-- A disabled account is in no group, so that no group's Auth-Type can out-rank its Reject.
CREATE VIEW billing.projected_radusergroup AS
SELECT username, group_name, 1 AS priority
FROM billing.projected_account WHERE group_name IS NOT NULL AND status <> 'disabled';

CREATE VIEW billing.projected_allocation AS
SELECT name AS group_name, allocation_period AS period, time_zone, allocation_term_starts AS term_starts,
       allocation_octets AS quota_octets, allocation_seconds AS quota_seconds,
       allocation_valid_seconds AS valid_seconds, allocation_rolls_over AS rolls_over,
       allocation_counting AS counting, policy
FROM billing.customer_group WHERE allocation_period IS NOT NULL;
