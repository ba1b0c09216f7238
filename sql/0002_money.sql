-- Revision 0002, money: who may owe us how much, resellers, payments and what was expected of them (rules R25 to R28).

-- ---------------------------------------------------------------- resellers

-- Holds a balance in one currency and sells to the customers of its own groups. Closed by date: the books name it.
CREATE TABLE billing.reseller (
    reseller_id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name                    text NOT NULL UNIQUE CHECK (name <> ''),
    currency                text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    commission_basis_points integer NOT NULL DEFAULT 0 CHECK (commission_basis_points BETWEEN 0 AND 10000),
    created_at              timestamptz NOT NULL,
    closed_at               timestamptz
);

-- A group is one reseller's or nobody's.
CREATE TABLE billing.reseller_group (
    group_id    bigint PRIMARY KEY REFERENCES billing.customer_group ON DELETE CASCADE,
    reseller_id bigint NOT NULL REFERENCES billing.reseller,
    assigned_at timestamptz NOT NULL
);
CREATE INDEX reseller_group_of ON billing.reseller_group (reseller_id);

ALTER TABLE billing.purchase ADD COLUMN reseller_id bigint REFERENCES billing.reseller;
CREATE INDEX purchase_of_reseller ON billing.purchase (reseller_id, purchased_at) WHERE reseller_id IS NOT NULL;

-- ---------------------------------------------------------------- ledger

-- The first word of external_key says what a transaction is (billing.ledger.Kind). A mistake is reversed, once.
ALTER TABLE billing.ledger_transaction
    ADD COLUMN reverses_id bigint UNIQUE REFERENCES billing.ledger_transaction;
CREATE INDEX ledger_transaction_time ON billing.ledger_transaction (occurred_at);

-- Where money lies (cash to gateway), whom we owe it to or who owes us (customer, reseller, unmatched), what we earned
-- (sales) and what that cost (commission).
ALTER TABLE billing.ledger_posting
    DROP CONSTRAINT ledger_posting_ledger_account_check,
    DROP CONSTRAINT ledger_posting_check,
    ADD COLUMN reseller_id bigint REFERENCES billing.reseller,
    ADD CONSTRAINT ledger_posting_ledger_account_check CHECK (ledger_account IN (
        'cash', 'bank', 'card', 'cheque', 'mobile-money', 'gateway',
        'customer', 'reseller', 'unmatched', 'sales', 'commission')),
    ADD CONSTRAINT ledger_posting_check CHECK ((ledger_account = 'customer') = (customer_id IS NOT NULL)),
    ADD CONSTRAINT ledger_posting_reseller_check CHECK ((ledger_account = 'reseller') = (reseller_id IS NOT NULL));
-- Balances are read from these alone.
DROP INDEX billing.ledger_posting_customer;
CREATE INDEX ledger_posting_customer ON billing.ledger_posting (customer_id, currency)
    INCLUDE (amount_minor) WHERE customer_id IS NOT NULL;
CREATE INDEX ledger_posting_reseller ON billing.ledger_posting (reseller_id, currency)
    INCLUDE (amount_minor) WHERE reseller_id IS NOT NULL;

-- All sides of a transaction are written by one statement, which is refused where they do not sum to zero; when the database
-- transaction commits, a ledger transaction without sides is. Looking at every row then took a third of a billing run.
CREATE FUNCTION billing.refuse_unbalanced_sides() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong bigint;
BEGIN
    SELECT transaction_id INTO wrong FROM added GROUP BY transaction_id, currency HAVING sum(amount_minor) <> 0 LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'ledger transaction % does not sum to zero', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER ledger_posting_balanced ON billing.ledger_posting;
CREATE TRIGGER ledger_posting_balanced AFTER INSERT ON billing.ledger_posting REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_unbalanced_sides();
CREATE OR REPLACE FUNCTION billing.refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM billing.ledger_posting WHERE transaction_id = NEW.transaction_id) THEN
        RAISE EXCEPTION 'ledger transaction % has no sides', NEW.transaction_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

-- ---------------------------------------------------------------- credit (kopa)

-- How far below zero a customer's balance may go by buying, and for how long.
CREATE TABLE billing.credit_line (
    customer_id           bigint PRIMARY KEY REFERENCES billing.customer,
    limit_minor           bigint NOT NULL CHECK (limit_minor > 0),
    currency              text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    overdue_after_seconds bigint NOT NULL CHECK (overdue_after_seconds > 0),
    granted_at            timestamptz NOT NULL,
    granted_by            text NOT NULL
);

-- ---------------------------------------------------------------- payments

-- A payment we wait for. Its reference goes to the payer or the gateway and comes back with the money.
CREATE TABLE billing.payment_request (
    payment_request_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reference          text NOT NULL UNIQUE CHECK (reference <> ''),
    customer_id        bigint NOT NULL REFERENCES billing.customer,
    amount_minor       bigint NOT NULL CHECK (amount_minor > 0),
    currency           text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    invoice_id         bigint REFERENCES billing.invoice,
    plan_name          text,                                -- to be sold as soon as it is paid,
    username           text,                                -- to this account
    requested_at       timestamptz NOT NULL,
    requested_by       text NOT NULL,
    expires_at         timestamptz NOT NULL,
    CHECK ((plan_name IS NULL) = (username IS NULL))
);

-- Money that came in, once per key. Whose it is may be unknown: then an operator says so, or gives it back.
CREATE TABLE billing.payment (
    payment_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_key        text NOT NULL UNIQUE CHECK (payment_key <> ''),
    method             text NOT NULL
        CHECK (method IN ('cash', 'bank', 'card', 'cheque', 'mobile-money', 'gateway', 'reseller')),
    gateway            text,
    reseller_id        bigint REFERENCES billing.reseller,   -- who took the money and pays from its balance
    amount_minor       bigint NOT NULL CHECK (amount_minor > 0),
    currency           text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    reference          text NOT NULL DEFAULT '',             -- what the payer wrote
    payer              text NOT NULL DEFAULT '',             -- who that is, as the gateway says
    state              text NOT NULL CHECK (state IN ('received', 'unmatched', 'refused', 'reversed')),
    unmatched_reason   text,
    customer_id        bigint REFERENCES billing.customer,
    payment_request_id bigint UNIQUE REFERENCES billing.payment_request,   -- paid once
    received_at        timestamptz NOT NULL,
    recorded_by        text NOT NULL,
    resolved_at        timestamptz,
    resolved_by        text,
    resolution         text,
    plan_name          text,                                 -- to be sold for it, to this account:
    username           text,
    purchase_id        bigint UNIQUE REFERENCES billing.purchase,          -- at most one
    activation_refused text,
    CHECK (CASE state WHEN 'received' THEN customer_id IS NOT NULL WHEN 'reversed' THEN true ELSE customer_id IS NULL END),
    CHECK (state <> 'unmatched' OR unmatched_reason IS NOT NULL),
    CHECK ((method = 'gateway') = (gateway IS NOT NULL)),
    CHECK ((method = 'reseller') = (reseller_id IS NOT NULL)),
    CHECK ((plan_name IS NULL) = (username IS NULL)),
    CHECK (purchase_id IS NULL OR plan_name IS NOT NULL)
);
CREATE INDEX payment_of_customer ON billing.payment (customer_id, received_at);
CREATE INDEX payment_unmatched ON billing.payment (payment_id) WHERE state = 'unmatched';
