-- Schema radius, revision 0001: the stock FreeRADIUS tables, and beside them what packet time, the meter
-- and dynamic authorization share.
--
-- Stock tables keep the names, types and indexes of FreeRADIUS 3.2's
-- raddb/mods-config/sql/main/postgresql/schema.sql, so that rlm_sql and every tool that reads them still work.
-- Octets are bigint, times are timestamptz, intervals are half-open. Tables that every interim updates leave room in their
-- pages (fillfactor), so that the new version of a row stays beside the old one and no index changes.

CREATE SCHEMA IF NOT EXISTS radius;

-- ---------------------------------------------------------------- stock FreeRADIUS tables

CREATE TABLE radius.radacct (
    RadAcctId           bigserial PRIMARY KEY,
    AcctSessionId       text NOT NULL,
    AcctUniqueId        text NOT NULL UNIQUE,
    UserName            text,
    Realm               text,
    NASIPAddress        inet NOT NULL,
    NASPortId           text,
    NASPortType         text,
    AcctStartTime       timestamp with time zone,
    AcctUpdateTime      timestamp with time zone,
    AcctStopTime        timestamp with time zone,
    AcctInterval        bigint,
    AcctSessionTime     bigint,
    AcctAuthentic       text,
    ConnectInfo_start   text,
    ConnectInfo_stop    text,
    AcctInputOctets     bigint,
    AcctOutputOctets    bigint,
    CalledStationId     text,
    CallingStationId    text,
    AcctTerminateCause  text,
    ServiceType         text,
    FramedProtocol      text,
    FramedIPAddress     inet,
    FramedIPv6Address   inet,
    FramedIPv6Prefix    inet,
    FramedInterfaceId   text,
    DelegatedIPv6Prefix inet,
    Class               text
) WITH (fillfactor = 70);
CREATE INDEX radacct_active_session_idx ON radius.radacct (AcctUniqueId) WHERE AcctStopTime IS NULL;
CREATE INDEX radacct_bulk_close ON radius.radacct (NASIPAddress, AcctStartTime) WHERE AcctStopTime IS NULL;
CREATE INDEX radacct_start_user_idx ON radius.radacct (AcctStartTime, UserName);
CREATE INDEX radacct_calss_idx ON radius.radacct (Class);

CREATE TABLE radius.radcheck (
    id        serial PRIMARY KEY,
    UserName  text NOT NULL DEFAULT '',
    Attribute text NOT NULL DEFAULT '',
    op        varchar(2) NOT NULL DEFAULT '==',
    Value     text NOT NULL DEFAULT ''
);
CREATE INDEX radcheck_UserName ON radius.radcheck (UserName, Attribute);

CREATE TABLE radius.radgroupcheck (
    id        serial PRIMARY KEY,
    GroupName text NOT NULL DEFAULT '',
    Attribute text NOT NULL DEFAULT '',
    op        varchar(2) NOT NULL DEFAULT '==',
    Value     text NOT NULL DEFAULT ''
);
CREATE INDEX radgroupcheck_GroupName ON radius.radgroupcheck (GroupName, Attribute);

CREATE TABLE radius.radgroupreply (
    id        serial PRIMARY KEY,
    GroupName text NOT NULL DEFAULT '',
    Attribute text NOT NULL DEFAULT '',
    op        varchar(2) NOT NULL DEFAULT '=',
    Value     text NOT NULL DEFAULT ''
);
CREATE INDEX radgroupreply_GroupName ON radius.radgroupreply (GroupName, Attribute);

CREATE TABLE radius.radreply (
    id        serial PRIMARY KEY,
    UserName  text NOT NULL DEFAULT '',
    Attribute text NOT NULL DEFAULT '',
    op        varchar(2) NOT NULL DEFAULT '=',
    Value     text NOT NULL DEFAULT ''
);
CREATE INDEX radreply_UserName ON radius.radreply (UserName, Attribute);

CREATE TABLE radius.radusergroup (
    id        serial PRIMARY KEY,
    UserName  text NOT NULL DEFAULT '',
    GroupName text NOT NULL DEFAULT '',
    priority  integer NOT NULL DEFAULT 0
);
CREATE INDEX radusergroup_UserName ON radius.radusergroup (UserName);

CREATE TABLE radius.radpostauth (
    id               bigserial PRIMARY KEY,
    username         text NOT NULL,
    pass             text,
    reply            text,
    CalledStationId  text,
    CallingStationId text,
    authdate         timestamp with time zone NOT NULL DEFAULT now(),
    Class            text
);
CREATE INDEX radpostauth_username_idx ON radius.radpostauth (username);
CREATE INDEX radpostauth_class_idx ON radius.radpostauth (Class);

CREATE TABLE radius.nas (
    id          serial PRIMARY KEY,
    nasname     text NOT NULL,
    shortname   text NOT NULL,
    type        text NOT NULL DEFAULT 'other',
    ports       integer,
    secret      text NOT NULL,
    server      text,
    community   text,
    description text
);
CREATE INDEX nas_nasname ON radius.nas (nasname);

CREATE TABLE radius.nasreload (
    NASIPAddress inet PRIMARY KEY,
    ReloadTime   timestamp with time zone NOT NULL
);

-- ---------------------------------------------------------------- what the books project

-- One row for each account FreeRADIUS may log in. `policy` is a herotill.policy.ServicePolicy as a JSON object;
-- it governs a monthly account between its grants, and every account's restricted and suspended pools.
CREATE TABLE radius.managed_account (
    username    text PRIMARY KEY CHECK (username <> ''),
    kind        text NOT NULL CHECK (kind IN ('hotspot', 'prepaid', 'monthly')),
    status      text NOT NULL CHECK (status IN ('active', 'unverified', 'suspended', 'disabled')),
    group_name  text,
    policy      jsonb NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX managed_account_group ON radius.managed_account (group_name) WHERE group_name IS NOT NULL;

-- A grant: so many octets, so many seconds, with its own clocks. NULL quota means unlimited.
-- Input is what the NAS received (the subscriber's upload), output what it sent (the download).
CREATE TABLE radius.entitlement (
    entitlement_id          bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    external_key            text NOT NULL UNIQUE,  -- idempotence: 'purchase:41', 'allocation:hostel-a:student-1:2026-11-01'
    username                text NOT NULL,
    source                  text NOT NULL CHECK (source IN ('purchase', 'voucher', 'allocation', 'topup')),
    plan_name               text NOT NULL,
    priority                integer NOT NULL DEFAULT 100, -- lower burns first
    counting                text NOT NULL DEFAULT 'sum' CHECK (counting IN ('sum', 'larger', 'download', 'upload')),
    quota_octets            bigint CHECK (quota_octets >= 0),
    quota_seconds           bigint CHECK (quota_seconds >= 0),
    used_input_octets       bigint NOT NULL DEFAULT 0 CHECK (used_input_octets >= 0),
    used_output_octets      bigint NOT NULL DEFAULT 0 CHECK (used_output_octets >= 0),
    used_seconds            bigint NOT NULL DEFAULT 0 CHECK (used_seconds >= 0),
    used_octets             bigint NOT NULL GENERATED ALWAYS AS (
        CASE counting
            WHEN 'sum' THEN used_input_octets + used_output_octets
            WHEN 'larger' THEN GREATEST(used_input_octets, used_output_octets)
            WHEN 'download' THEN used_output_octets
            ELSE used_input_octets
        END) STORED,
    policy                  jsonb NOT NULL,
    granted_at              timestamptz NOT NULL,
    expires_at              timestamptz,           -- the fixed end, or the one the first use set
    seconds_after_first_use bigint CHECK (seconds_after_first_use > 0),
    seconds_after_last_use  bigint CHECK (seconds_after_last_use > 0),
    first_used_at           timestamptz,
    last_used_at            timestamptz,
    ended_at                timestamptz,
    ended_reason            text CHECK (ended_reason IN ('quota', 'time', 'expiry', 'void')),
    CHECK ((ended_at IS NULL) = (ended_reason IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX entitlement_live ON radius.entitlement (username) WHERE ended_at IS NULL;
CREATE INDEX entitlement_ended ON radius.entitlement (username, ended_at DESC, entitlement_id DESC) WHERE ended_at IS NOT NULL;
CREATE INDEX entitlement_allocation ON radius.entitlement (username, granted_at DESC) WHERE source = 'allocation';
CREATE INDEX entitlement_expiry ON radius.entitlement (expires_at) WHERE ended_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX entitlement_idle ON radius.entitlement (last_used_at)
    WHERE ended_at IS NULL AND seconds_after_last_use IS NOT NULL AND last_used_at IS NOT NULL;

-- A group's pre-allocation (rule R17). The period is computed by herotill.allocation in the group's time zone.
CREATE TABLE radius.group_allocation (
    group_name    text PRIMARY KEY,
    period        text NOT NULL CHECK (period IN ('once', 'day', 'week', 'month', 'term')),
    time_zone     text NOT NULL DEFAULT 'UTC',
    term_starts   date[] NOT NULL DEFAULT '{}',     -- first days of the terms, when period = 'term'
    quota_octets  bigint CHECK (quota_octets > 0),
    quota_seconds bigint CHECK (quota_seconds > 0),
    valid_seconds bigint CHECK (valid_seconds > 0), -- NULL: to the end of the period
    rolls_over    boolean NOT NULL DEFAULT false,   -- unused allocation stays usable beyond its period
    priority      integer NOT NULL DEFAULT 50,      -- before purchases, which have 100
    counting      text NOT NULL DEFAULT 'sum' CHECK (counting IN ('sum', 'larger', 'download', 'upload')),
    policy        jsonb NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CHECK (quota_octets IS NOT NULL OR quota_seconds IS NOT NULL),
    CHECK ((period = 'term') = (cardinality(term_starts) > 0))
);

-- What the stock nas table has no column for. A NAS without a row uses the defaults.
CREATE TABLE radius.nas_profile (
    nas_id      integer PRIMARY KEY REFERENCES radius.nas (id) ON DELETE CASCADE,
    coa_address inet,                                -- NULL: the address its packets come from
    coa_port    integer NOT NULL DEFAULT 3799 CHECK (coa_port BETWEEN 1 AND 65535),
    coa_secret  text                                 -- NULL: the RADIUS secret
);

-- ---------------------------------------------------------------- live state, written by packet time and the meter

-- One row per session; closed rows stay until retention removes them, so that late reports find their session.
-- acct_unique_id names one session for ever; session_key is what the NAS says of it, and a NAS may say the same of
-- a later session after a reboot.
CREATE TABLE radius.session (
    acct_unique_id           text PRIMARY KEY,
    session_key              text NOT NULL,
    username                 text NOT NULL,          -- the account it is metered to
    nas_address              inet NOT NULL,          -- source address of the packets, never NAS-IP-Address
    nas_identifier           text,
    nas_port_id              text,
    nas_port_type            text,
    acct_session_id          text NOT NULL,
    calling_station_id       text NOT NULL DEFAULT '',
    called_station_id        text NOT NULL DEFAULT '',
    framed_ip_address        inet,
    framed_ipv6_address      inet,
    framed_ipv6_prefix       inet,
    delegated_ipv6_prefix    inet,
    service_type             text,
    framed_protocol          text,
    login_id                 text,                   -- from the Class we signed
    started_at               timestamptz NOT NULL,
    last_report_at           timestamptz NOT NULL,   -- our receive time
    stopped_at               timestamptz,
    terminate_cause          text,
    session_seconds          bigint NOT NULL DEFAULT 0 CHECK (session_seconds >= 0),
    input_octets             bigint NOT NULL DEFAULT 0 CHECK (input_octets >= 0),
    output_octets            bigint NOT NULL DEFAULT 0 CHECK (output_octets >= 0),
    sends_gigawords          boolean NOT NULL DEFAULT false,
    interim_interval_seconds integer
) WITH (fillfactor = 70);
CREATE INDEX session_key ON radius.session (session_key);
CREATE INDEX session_live ON radius.session (username) WHERE stopped_at IS NULL;
CREATE INDEX session_live_nas ON radius.session (nas_address) WHERE stopped_at IS NULL;
CREATE INDEX session_stopped ON radius.session (username, stopped_at DESC) WHERE stopped_at IS NOT NULL;

-- A slice of a strict grant promised to one login (rule R15). Outstanding is octets - used_octets while open.
CREATE TABLE radius.reservation (
    login_id       text PRIMARY KEY,
    entitlement_id bigint NOT NULL REFERENCES radius.entitlement ON DELETE CASCADE,
    username       text NOT NULL,
    octets         bigint NOT NULL CHECK (octets >= 0),
    used_octets    bigint NOT NULL DEFAULT 0 CHECK (used_octets >= 0),
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,             -- a lost session frees its slice then
    released_at    timestamptz
);
CREATE INDEX reservation_open ON radius.reservation (entitlement_id) WHERE released_at IS NULL;
CREATE INDEX reservation_user ON radius.reservation (username) WHERE released_at IS NULL;

-- Usage per account, hour and grant; entitlement_id 0 is usage nobody was granted. No question about usage sums radacct.
CREATE TABLE radius.usage_interval (
    username       text NOT NULL,
    interval_start timestamptz NOT NULL,
    entitlement_id bigint NOT NULL,
    input_octets   bigint NOT NULL DEFAULT 0,
    output_octets  bigint NOT NULL DEFAULT 0,
    seconds        bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (username, interval_start, entitlement_id)
) WITH (fillfactor = 70);

-- How far the meter has read each node's journal segments; moves in the transaction that applies the records.
CREATE TABLE radius.journal_position (
    node        text NOT NULL,
    segment     text NOT NULL,
    read_offset bigint NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (node, segment)
);

-- Records the meter could not understand, kept with the reason.
CREATE TABLE radius.accounting_quarantine (
    quarantine_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node           text NOT NULL,
    segment        text NOT NULL,
    segment_offset bigint NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    reason         text NOT NULL,
    record         text NOT NULL,
    UNIQUE (node, segment, segment_offset)
);

-- Why each login was accepted or refused; radpostauth has no column for a reason.
CREATE TABLE radius.login_outcome (
    login_outcome_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username           text NOT NULL,
    occurred_at        timestamptz NOT NULL,
    accepted           boolean NOT NULL,
    reason             text NOT NULL,                -- herotill.reasons.Reason
    login_id           text,
    nas_address        inet,
    calling_station_id text NOT NULL DEFAULT '',
    node               text NOT NULL
);
CREATE INDEX login_outcome_login ON radius.login_outcome (login_id);
CREATE INDEX login_outcome_user ON radius.login_outcome (username, occurred_at DESC);

-- What packet time did that the books must record: a first use, a pre-allocation. Booked by the daemon, once each.
CREATE TABLE radius.access_event (
    access_event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_key       text NOT NULL UNIQUE,            -- 'first_use:41', 'allocation:hostel-a:student-1:2026-11-01'
    kind            text NOT NULL CHECK (kind IN ('first_use', 'allocation')),
    username        text NOT NULL,
    entitlement_id  bigint NOT NULL,
    occurred_at     timestamptz NOT NULL,
    booked_at       timestamptz
);
CREATE INDEX access_event_unbooked ON radius.access_event (access_event_id) WHERE booked_at IS NULL;

-- ---------------------------------------------------------------- dynamic authorization (RFC 5176)

-- The outbox: one row per request to a NAS. `session_attributes` identifies the session, `changes` is what a CoA sets,
-- both as JSON objects of RADIUS attribute names to values.
CREATE TABLE radius.coa_request (
    coa_request_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_key        text NOT NULL UNIQUE,         -- idempotence: 'disconnect:<acct_unique_id>:quota:41'
    action             text NOT NULL CHECK (action IN ('disconnect', 'coa')),
    reason             text NOT NULL,                -- quota, time, expiry, suspended, disabled, operator, ...
    username           text NOT NULL,
    acct_unique_id     text NOT NULL,
    nas_address        inet NOT NULL,
    session_attributes jsonb NOT NULL,
    changes            jsonb NOT NULL DEFAULT '{}',
    state              text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'sent', 'acked', 'naked', 'timed_out', 'confirmed', 'failed')),
    caused_at          timestamptz,                  -- when the packet that caused it was received
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_attempt_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts           integer NOT NULL DEFAULT 0,
    finished_at        timestamptz,
    error_cause        integer,
    outcome            text                          -- one sentence for people
);
CREATE INDEX coa_request_due ON radius.coa_request (next_attempt_at) WHERE state IN ('pending', 'sent');
CREATE INDEX coa_request_session ON radius.coa_request (acct_unique_id);
CREATE INDEX coa_request_user ON radius.coa_request (username, created_at DESC);

CREATE TABLE radius.coa_attempt (
    coa_request_id bigint NOT NULL REFERENCES radius.coa_request ON DELETE CASCADE,
    attempt        integer NOT NULL,
    profile        text NOT NULL,                    -- which identification profile named the session
    destination    text NOT NULL,                    -- address and port
    identifier     smallint NOT NULL,
    sent_at        timestamptz NOT NULL,
    transmissions  smallint NOT NULL,                -- 1 and the retransmissions
    answered_at    timestamptz,
    result         text NOT NULL CHECK (result IN ('ack', 'nak', 'timeout', 'error')),
    error_cause    integer,
    PRIMARY KEY (coa_request_id, attempt)
);
