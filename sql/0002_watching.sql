-- What `herotill doctor` asks and its role may not read: which revision of the schema this database has.

CREATE FUNCTION radius.schema_revision() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT max(version_num) FROM public.alembic_version
$$;
REVOKE EXECUTE ON FUNCTION radius.schema_revision FROM PUBLIC;
