"""The foundation: radius, packet time, billing, roles.

Revision 0001. The SQL is in files of its own, to be read and run by people too.
"""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

FILES = ("0001_radius.sql", "0001_packet_time.sql", "0001_billing.sql", "0001_roles.sql")


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would take `:name` and `%` in the SQL for parameters.
    cursor = op.get_bind().connection.cursor()
    for name in FILES:
        path = Path(__file__).resolve().parent.parent / name
        if name == "0001_billing.sql" and not path.exists():
            cursor.execute("CREATE SCHEMA IF NOT EXISTS billing")
            continue
        cursor.execute(path.read_text(encoding="utf-8"))
    cursor.close()


def downgrade() -> None:
    raise NotImplementedError("there is nothing before the foundation; restore a backup")
