"""The SQLAlchemy models say exactly what sql/0001_billing.sql says."""

import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from billing.models import Base


def test_models_and_database_agree_on_tables_columns_types_and_keys(engine: sqlalchemy.Engine) -> None:
    def only_billing(name: str | None, kind: str, _: object) -> bool:
        return kind != "schema" or name == "billing"

    options = {"include_schemas": True, "include_name": only_billing, "compare_server_default": True}
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, Base.metadata)
    # Indexes serve queries, not models; the SQL file alone knows them.
    assert [found for found in differences if found[0] != "remove_index"] == []


def test_models_and_database_agree_on_names(engine: sqlalchemy.Engine) -> None:
    inspector = sqlalchemy.inspect(engine)
    assert set(inspector.get_table_names("billing")) == {table.name for table in Base.metadata.sorted_tables}
