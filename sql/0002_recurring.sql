-- Revision 0002, recurring: billing profiles, cycles, their bills, rollover and automatic top-ups (rules R2, R18, R23, R24).

-- ---------------------------------------------------------------- plans

-- What an account does with a plan that recurs. Only monthly accounts have cycles (rule R18).
ALTER TABLE billing.plan
    ADD COLUMN rolls_over boolean NOT NULL DEFAULT false,  -- what a cycle leaves is usable in the next one
    ADD COLUMN topup_plan text,                            -- sold by itself when the cycle's data is used up; a plan's name
    ADD COLUMN topups_max integer CHECK (topups_max > 0),  -- so often in a cycle; NULL: as the balance allows
    ADD CHECK (topups_max IS NULL OR topup_plan IS NOT NULL),
    ADD CHECK ((NOT rolls_over AND topup_plan IS NULL) OR kinds = ARRAY['monthly']);

-- ---------------------------------------------------------------- billing profiles

-- daily: buys any validity, gets no bills, is suspended at the end (rule R23); for prepaid accounts.
-- monthly: a plan that recurs, with bills (rule R24); a monthly account without a row has these defaults. billing.account.cycle_day is the day
-- its cycles begin on where they are months; a cycle that ends with the month begins on the first.
CREATE TABLE billing.billing_profile (
    account_id         bigint PRIMARY KEY REFERENCES billing.account,
    profile            text NOT NULL CHECK (profile IN ('daily', 'monthly')),
    plan_id            bigint REFERENCES billing.plan,     -- of the cycles to come; NULL: nothing recurs
    automatic_bill     boolean NOT NULL DEFAULT true,
    automatic_suspend  boolean NOT NULL DEFAULT true,
    automatic_topup    boolean NOT NULL DEFAULT true,      -- where the plan has one
    payment_terms_days smallint NOT NULL DEFAULT 7 CHECK (payment_terms_days BETWEEN 0 AND 365),
    cycle_length       text NOT NULL DEFAULT 'month' CHECK (cycle_length IN ('month', '30-days')),
    opened_on          date NOT NULL,                      -- cycles of an earlier profile do not count
    anchor_on          date NOT NULL,                      -- a day on which a cycle of 30 days begins
    time_zone          text NOT NULL,                      -- whose midnights cycles begin at
    next_cycle_on      date,                               -- the first day of the first cycle that is not open yet,
    next_cycle_at      timestamptz,                        -- and when that day begins
    paused             boolean NOT NULL DEFAULT false,     -- its account was disabled or unverified when a cycle began
    CHECK ((next_cycle_on IS NULL) = (next_cycle_at IS NULL)),
    CHECK (profile = 'monthly' OR plan_id IS NULL),
    CHECK (plan_id IS NOT NULL OR next_cycle_on IS NULL),
    CHECK (NOT paused OR next_cycle_on IS NULL)
);
CREATE INDEX billing_profile_due ON billing.billing_profile (next_cycle_at, account_id) WHERE next_cycle_at IS NOT NULL;
CREATE INDEX billing_profile_paused ON billing.billing_profile (account_id) WHERE paused;
CREATE INDEX billing_profile_daily ON billing.billing_profile (account_id) WHERE profile = 'daily';
CREATE INDEX billing_profile_plan ON billing.billing_profile (plan_id) WHERE plan_id IS NOT NULL;

CREATE INDEX account_suspended ON billing.account (suspended_reason, account_id) WHERE status = 'suspended';

-- ---------------------------------------------------------------- bills

DROP INDEX billing.invoice_unpaid;
ALTER TABLE billing.invoice
    ADD COLUMN description text NOT NULL DEFAULT '',
    ADD COLUMN cycle_began_on date,                        -- of the billing cycle it is for
    ADD COLUMN voided_at timestamptz,                      -- taken back; its ledger entry is reversed
    ADD COLUMN voided_by text,
    ADD COLUMN void_reason text,
    ADD CHECK (voided_at IS NULL OR paid_at IS NULL),
    ADD CHECK ((voided_at IS NULL) = (voided_by IS NULL)),
    ADD CHECK ((voided_at IS NULL) = (void_reason IS NULL));
CREATE INDEX invoice_of_account ON billing.invoice (account_id, issued_at);
-- The only index of open bills: all that are overdue are found by reading it as a whole.
CREATE INDEX invoice_open ON billing.invoice (account_id, due_at) WHERE paid_at IS NULL AND voided_at IS NULL;
CREATE UNIQUE INDEX invoice_of_cycle ON billing.invoice (account_id, cycle_began_on)
    WHERE cycle_began_on IS NOT NULL AND voided_at IS NULL;  -- a cycle is billed once

-- ---------------------------------------------------------------- cycles

-- A cycle that was opened, with the plan as it was then (rule R12). Its grant is 'cycle:<account>:<began_on>'; until the
-- bill is paid the grant ends on the payment date.
CREATE TABLE billing.billing_cycle (
    account_id    bigint NOT NULL REFERENCES billing.account,
    began_on      date NOT NULL,
    begins_at     timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL,
    grant_ends_at timestamptz NOT NULL,                    -- what its grant lasts to when it is paid
    plan_id       bigint NOT NULL REFERENCES billing.plan,
    plan_name     text NOT NULL,
    rolls_over    boolean NOT NULL,
    topup_plan    text,
    topups_max    integer,
    invoice_id    bigint UNIQUE REFERENCES billing.invoice,
    PRIMARY KEY (account_id, began_on),
    CHECK (begins_at < ends_at),
    CHECK (grant_ends_at <= ends_at)
);
CREATE INDEX billing_cycle_of ON billing.billing_cycle (account_id, ends_at);

-- The top-ups a cycle gave itself.
CREATE TABLE billing.cycle_topup (
    account_id  bigint NOT NULL,
    began_on    date NOT NULL,
    number      integer NOT NULL CHECK (number > 0),
    purchase_id bigint NOT NULL UNIQUE REFERENCES billing.purchase,
    PRIMARY KEY (account_id, began_on, number),
    FOREIGN KEY (account_id, began_on) REFERENCES billing.billing_cycle
);

-- ---------------------------------------------------------------- what the meter says

-- Monthly accounts whose data was used up: waiting for an automatic top-up. Written where the end is written.
CREATE TABLE radius.used_up_account (
    username   text PRIMARY KEY,
    used_up_at timestamptz NOT NULL,
    refused_at timestamptz                                 -- when the balance did not allow it; a payment takes it away
);
CREATE INDEX used_up_account_waiting ON radius.used_up_account (used_up_at) WHERE refused_at IS NULL;

CREATE FUNCTION radius.note_used_up_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO radius.used_up_account (username, used_up_at)
    SELECT username, NEW.ended_at FROM radius.managed_account WHERE username = NEW.username AND kind = 'monthly'
    ON CONFLICT (username) DO UPDATE SET used_up_at = excluded.used_up_at, refused_at = NULL;
    IF FOUND THEN
        PERFORM pg_notify('herotill_event', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entitlement_used_up AFTER UPDATE OF ended_at ON radius.entitlement FOR EACH ROW
    WHEN (OLD.ended_at IS NULL AND NEW.ended_reason IN ('quota', 'time'))
    EXECUTE FUNCTION radius.note_used_up_account();
