"""Alembic's environment. It is only run through sync_daemon.database.upgrade, which hands it a connection."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table_schema="public")
with context.begin_transaction():
    context.run_migrations()
