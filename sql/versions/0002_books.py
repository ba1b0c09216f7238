"""The whole of the books and of the keeper: one file for each part, then who may use it.

Revision 0002. The SQL is in files of its own, to be read and run by people too.
"""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ROLES = "0002_roles.sql"


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would take `:name` and `%` in the SQL for parameters.
    cursor = op.get_bind().connection.cursor()
    folder = Path(__file__).resolve().parent.parent
    parts = sorted(path for path in folder.glob("0002_*.sql") if path.name != ROLES)
    for path in (*parts, folder / ROLES):
        cursor.execute(path.read_text(encoding="utf-8"))
    cursor.close()


def downgrade() -> None:
    raise NotImplementedError("what was sold since cannot be forgotten; restore a backup")
