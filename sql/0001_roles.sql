-- Database roles, least privilege. Roles are shared by a whole PostgreSQL cluster, so creating them is idempotent.
-- herotill_radius: the RADIUS server. Reads the radius schema, acts through the packet-time functions, cannot see billing.
-- herotill_daemon: the daemon and CLI. Reads and writes both schemas, owns neither.
-- The installation gives them LOGIN and a password (or peer authentication); a role made here cannot log in by itself.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['herotill_radius', 'herotill_daemon'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database of this cluster made it
        END;
    END LOOP;
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;

GRANT USAGE ON SCHEMA radius TO herotill_radius, herotill_daemon;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA radius FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA radius TO herotill_radius, herotill_daemon;
GRANT SELECT ON ALL TABLES IN SCHEMA radius TO herotill_radius;
-- CoA secrets are the daemon's business alone.
REVOKE ALL ON radius.nas_profile, radius.coa_request, radius.coa_attempt FROM herotill_radius;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA radius TO herotill_daemon;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA radius TO herotill_daemon;

GRANT USAGE ON SCHEMA billing TO herotill_daemon;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA billing TO herotill_daemon;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA billing TO herotill_daemon;
