-- Dynamic authorization as a closed loop (rules R16, R31): what a request is for, how far it got, and which NAS does not do what
-- it is asked. One row of radius.coa_request is one thing to be done to one session, whatever that takes.
--
--   pending      due at next_attempt_at
--   sent         with a worker until next_attempt_at, the end of its lease
--   acked        the NAS said it did it; by next_attempt_at the accounting shows it, or more is done
--   confirmed    the accounting shows it: a Stop, or for a change the next report
--   gone         the NAS knows no such session (503); it was closed from what was known
--   naked, timed_out, unconfirmed, failed     all that could be tried was tried: refused, silence, ACK without effect, not sendable
--   superseded   something newer is wanted of the session
--
-- finished_at is set where nothing more is to be done; an ACK for a session nobody keeps a record of is such an end too.

ALTER TABLE radius.coa_request DROP CONSTRAINT coa_request_state_check;
ALTER TABLE radius.coa_request
    ADD CONSTRAINT coa_request_state_check CHECK (state IN (
        'pending', 'sent', 'acked', 'confirmed', 'gone', 'naked', 'timed_out', 'unconfirmed', 'failed', 'superseded')),
    -- end: the session must end. restrict: it must not go on as it was. restore: it was restricted and is not any more.
    -- raise: it may use more than it was told. Only the first two are enforced to the last.
    ADD COLUMN purpose text NOT NULL DEFAULT 'end' CHECK (purpose IN ('end', 'restrict', 'restore', 'raise')),
    ADD COLUMN profile_number smallint NOT NULL DEFAULT 0,        -- which of the make's ways to name a session
    ADD COLUMN becomes_disconnect boolean NOT NULL DEFAULT false, -- the change was refused, so the session is ended
    ADD COLUMN failures smallint NOT NULL DEFAULT 0,              -- silence and back-offs so far
    ADD COLUMN acked_at timestamptz,
    ADD COLUMN is_superseded boolean NOT NULL DEFAULT false,
    ADD COLUMN told_at timestamptz;                               -- when the operator was told that it did not work

DROP INDEX radius.coa_request_due;
CREATE INDEX coa_request_due ON radius.coa_request (next_attempt_at) WHERE finished_at IS NULL;
CREATE INDEX coa_request_open ON radius.coa_request (acct_unique_id) WHERE finished_at IS NULL;
-- What went wrong: looked at again where the session reports on, and told to the operator.
CREATE INDEX coa_request_unsettled ON radius.coa_request (finished_at)
    WHERE state IN ('gone', 'naked', 'timed_out', 'unconfirmed', 'failed') AND NOT is_superseded;
CREATE INDEX coa_request_untold ON radius.coa_request (finished_at)
    WHERE state IN ('naked', 'timed_out', 'unconfirmed', 'failed') AND told_at IS NULL;

ALTER TABLE radius.coa_attempt
    ADD COLUMN action text NOT NULL DEFAULT 'disconnect' CHECK (action IN ('disconnect', 'coa')),
    ADD COLUMN source_port integer,
    ADD COLUMN outcome text;                                      -- one sentence for people
UPDATE radius.coa_attempt attempt SET action = request.action
    FROM radius.coa_request request WHERE request.coa_request_id = attempt.coa_request_id;

-- Whether a NAS does what it is asked. Written when that changes, not with every answer.
ALTER TABLE radius.nas_profile
    ADD COLUMN coa_state text NOT NULL DEFAULT 'unknown' CHECK (coa_state IN ('unknown', 'works', 'fails')),
    ADD COLUMN coa_state_since timestamptz,
    ADD COLUMN coa_failure text,                                  -- one sentence for people
    ADD COLUMN coa_told_state text NOT NULL DEFAULT 'unknown' CHECK (coa_told_state IN ('unknown', 'works', 'fails'));

-- ---------------------------------------------------------------- throttle ladders and live changes (rule R16)

-- The step of its plan's ladder an account's live sessions were last told, and when; no row is no step. A session that
-- began about then may have been accepted before, and is told again.
CREATE TABLE radius.ladder_step (
    username text PRIMARY KEY,
    percent  integer NOT NULL,
    since    timestamptz NOT NULL
);

-- Accounts with live sessions whose grants became more, less or others: the worker `live` sees to it that these sessions are
-- told. `given` are the grants that are new or live again, `before` what others were: {"41": {"policy": …, "quota_octets": …}}.
CREATE TABLE radius.session_review (
    session_review_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username          text NOT NULL,
    given             bigint[] NOT NULL DEFAULT '{}',
    before            jsonb NOT NULL DEFAULT '{}',
    asked_at          timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Triggers, because grants are given by the books, at packet time and by hand, and none of them must forget it.
CREATE FUNCTION radius.review_given() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO radius.session_review (username, given)
    SELECT username, array_agg(entitlement_id ORDER BY entitlement_id) FROM fresh
    WHERE ended_at IS NULL
      AND EXISTS (SELECT FROM radius.session WHERE session.username = fresh.username AND stopped_at IS NULL)
    GROUP BY username;
    IF FOUND THEN
        PERFORM pg_notify('herotill_review', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER review_given AFTER INSERT ON radius.entitlement REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION radius.review_given();

CREATE FUNCTION radius.review_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO radius.session_review (username, given, before)
    SELECT NEW.username,
           CASE WHEN OLD.ended_at IS NULL THEN '{}' ELSE ARRAY[NEW.entitlement_id] END,
           CASE WHEN OLD.ended_at IS NULL THEN jsonb_build_object(NEW.entitlement_id, jsonb_build_object(
               'policy', OLD.policy, 'quota_octets', OLD.quota_octets, 'quota_seconds', OLD.quota_seconds))
           ELSE '{}' END
    WHERE EXISTS (SELECT FROM radius.session WHERE session.username = NEW.username AND stopped_at IS NULL);
    IF FOUND THEN
        PERFORM pg_notify('herotill_review', '');
    END IF;
    RETURN NULL;
END $$;
-- A first use sets expires_at too, and gives nothing new.
CREATE TRIGGER review_changed
    AFTER UPDATE OF quota_octets, quota_seconds, expires_at, policy, ended_at ON radius.entitlement FOR EACH ROW
    WHEN (NEW.ended_at IS NULL AND (OLD.ended_at IS NOT NULL
        OR NEW.quota_octets IS DISTINCT FROM OLD.quota_octets OR NEW.quota_seconds IS DISTINCT FROM OLD.quota_seconds
        OR NEW.policy IS DISTINCT FROM OLD.policy
        OR (NEW.expires_at IS DISTINCT FROM OLD.expires_at AND OLD.first_used_at IS NOT DISTINCT FROM NEW.first_used_at)))
    EXECUTE FUNCTION radius.review_changed();
