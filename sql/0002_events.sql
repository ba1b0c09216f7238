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
