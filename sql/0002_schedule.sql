-- What the clock needs to know, and where closed sessions go (rules R32, R36; sync_daemon/stale.py, sync_daemon/archive.py).

-- Up to when a node's accounting is applied. Silence of a session counts by this clock, not by the wall's: while a meter is
-- away or behind, nobody is taken for gone.
CREATE TABLE radius.meter_state (
    node         text PRIMARY KEY,
    caught_up_at timestamptz NOT NULL
);

-- How often the sessions of a NAS were seen to report: the median, kept for sessions that have not reported twice yet.
CREATE TABLE radius.nas_interim (
    nas_address      inet PRIMARY KEY,
    interval_seconds integer NOT NULL CHECK (interval_seconds > 0),
    observed_at      timestamptz NOT NULL
);

-- ---------------------------------------------------------------- the archive of closed sessions

-- Rows of radacct of long ago, a partition for each month (UTC) of their end. What was used and charged is in usage_interval,
-- so no figure changes when a row moves here.
CREATE TABLE radius.radacct_archive (LIKE radius.radacct) PARTITION BY RANGE (AcctStopTime);
CREATE INDEX radacct_archive_user ON radius.radacct_archive (UserName, AcctStartTime DESC);
CREATE INDEX radacct_archive_unique_id ON radius.radacct_archive (AcctUniqueId);

-- The daemon may not change the schema; these two changes it may ask for.
CREATE FUNCTION radius.open_archive_month(month timestamptz) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first_day timestamp := date_trunc('month', month AT TIME ZONE 'UTC');
    part text := 'radacct_archive_' || to_char(first_day, 'YYYY_MM');
BEGIN
    IF to_regclass('radius.' || part) IS NULL THEN
        -- Two daemons at once: the second waits and finds it there.
        PERFORM pg_advisory_xact_lock(hashtext('herotill archive month'));
        EXECUTE format('CREATE TABLE IF NOT EXISTS radius.%I PARTITION OF radius.radacct_archive FOR VALUES FROM (%L) TO (%L)',
            part, first_day AT TIME ZONE 'UTC', (first_day + interval '1 month') AT TIME ZONE 'UTC');
    END IF;
END $$;

-- Drops the months that ended before `kept_from`, and names them.
CREATE FUNCTION radius.drop_archive_before(kept_from timestamptz) RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text;
BEGIN
    FOR part IN
        SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'radius.radacct_archive'::regclass
          AND to_date(right(relname, 7), 'YYYY_MM') + interval '1 month' <= kept_from AT TIME ZONE 'UTC'
        ORDER BY relname
    LOOP
        EXECUTE format('DROP TABLE radius.%I', part);
        RETURN NEXT part;
    END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION radius.open_archive_month, radius.drop_archive_before FROM PUBLIC;

-- ---------------------------------------------------------------- retention (rule R36)

-- The others are found by their keys, which rise with time.
CREATE INDEX coa_request_finished ON radius.coa_request (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX event_occurred ON billing.event (occurred_at) WHERE dispatched_at IS NOT NULL;
