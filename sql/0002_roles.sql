-- What revision 0002 added is used by the same roles, with the same least privilege, as what was there before.

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA radius, billing TO herotill_daemon;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA radius, billing TO herotill_daemon;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA radius TO herotill_daemon;
-- What the RADIUS server reads of a new table, that table's own file grants it: by default nothing.
