"""What is wrong with rows of an import beside one another and beside the books (rule R4): set-based, after staging."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

# The same row of the same file again: nothing changes, whatever became of the customer since.
_KNOWN_ROWS = text("""
    UPDATE pg_temp.import_row SET outcome = 'unchanged', whose = before.customer_id
    FROM billing.imported_row AS before WHERE before.fingerprint = import_row.fingerprint
""")
# Customers of this group who are in the books just as the row has them, however they came there.
_KNOWN_CUSTOMERS = text("""
    WITH owner AS (
        SELECT line, account.customer_id FROM pg_temp.import_identity
        JOIN billing.account ON lower(username) = key AND status <> 'closed' WHERE field = 'user'
        UNION
        SELECT line, customer.customer_id FROM pg_temp.import_identity
        JOIN billing.customer ON phone = key AND deleted_at IS NULL WHERE field = 'phone'
        UNION
        SELECT line, customer.customer_id FROM pg_temp.import_identity
        JOIN billing.customer ON lower(email) = key AND deleted_at IS NULL WHERE field = 'email'),
    one AS (SELECT line, min(customer_id) AS customer_id FROM owner GROUP BY line HAVING count(*) = 1)
    UPDATE pg_temp.import_row SET outcome = 'unchanged', whose = customer.customer_id
    FROM one JOIN billing.customer USING (customer_id)
    WHERE import_row.line = one.line AND outcome = 'new' AND customer.group_id = :group_id
      AND customer.name = import_row.name
      AND customer.phone IS NOT DISTINCT FROM import_row.phone
      AND lower(customer.email) IS NOT DISTINCT FROM lower(import_row.email)
      AND (import_row.username IS NULL OR EXISTS (
          SELECT FROM billing.account WHERE account.customer_id = customer.customer_id AND status <> 'closed'
            AND lower(account.username) = lower(import_row.username)))
""")
_FORGET_OWN_PROBLEMS = text("""
    DELETE FROM pg_temp.import_problem USING pg_temp.import_row
    WHERE import_problem.line = import_row.line AND outcome = 'unchanged'
""")
_TWICE_IN_FILE = text("""
    INSERT INTO pg_temp.import_problem (line, field, reason)
    SELECT line, field, format('%s is in line %s already', value, first_line)
    FROM (SELECT line, field, value, min(line) OVER (PARTITION BY field, key) AS first_line
          FROM pg_temp.import_identity) AS each
    WHERE line > first_line
""")
_LOOK_ALIKE_IN_FILE = text("""
    WITH first AS (
        SELECT DISTINCT ON (field, skeleton) field, skeleton, key, value, line
        FROM pg_temp.import_identity WHERE skeleton IS NOT NULL ORDER BY field, skeleton, line)
    INSERT INTO pg_temp.import_problem (line, field, reason, is_look_alike)
    SELECT each.line, each.field, format('%s looks like %s in line %s', each.value, first.value, first.line), true
    FROM pg_temp.import_identity each JOIN first USING (field, skeleton) WHERE each.key <> first.key
""")
_USED_IN_BOOKS = text("""
    INSERT INTO pg_temp.import_problem (line, field, reason)
    SELECT line, field, format('%s is in use%s', value, ' by customer ' || account_number)
    FROM pg_temp.import_identity JOIN billing.account ON lower(username) = key AND account.status <> 'closed'
    LEFT JOIN billing.customer USING (customer_id) WHERE field = 'user'
    UNION ALL
    SELECT line, field, format('customer %s has %s', account_number, value)
    FROM pg_temp.import_identity JOIN billing.customer ON phone = key AND deleted_at IS NULL WHERE field = 'phone'
    UNION ALL
    SELECT line, field, format('customer %s has %s', min(account_number), value)
    FROM pg_temp.import_identity JOIN billing.customer ON lower(email) = key AND deleted_at IS NULL
    WHERE field = 'email' GROUP BY line, field, value
""")
_LOOK_ALIKE_IN_BOOKS = text("""
    INSERT INTO pg_temp.import_problem (line, field, reason, is_look_alike)
    SELECT DISTINCT ON (each.line, each.field) each.line, each.field,
           format('%s looks like %s of customer %s', each.value, known.value, account_number), true
    FROM pg_temp.import_identity each
    JOIN pg_temp.import_known known ON known.field = each.field AND known.skeleton = each.skeleton
                                   AND known.key <> each.key
    JOIN billing.customer ON customer.customer_id = known.customer_id
    ORDER BY each.line, each.field, known.value
""")
# What an unchanged row shares with the books is its own.
_REFUSE = text("""
    UPDATE pg_temp.import_row SET outcome = 'refused'
    WHERE outcome = 'new' AND EXISTS (
        SELECT FROM pg_temp.import_problem
        WHERE import_problem.line = import_row.line AND NOT (is_look_alike AND :allow_look_alikes))
""")
_INDEX_PROBLEMS = text("""
    CREATE INDEX ON pg_temp.import_problem (line); ANALYZE pg_temp.import_problem
""")
_COUNTS = text("""
    SELECT count(*) FILTER (WHERE outcome = 'new') AS new,
           count(*) FILTER (WHERE outcome = 'unchanged') AS unchanged,
           count(*) FILTER (WHERE outcome = 'refused') AS refused,
           (SELECT count(*) FROM pg_temp.import_problem JOIN pg_temp.import_row USING (line)
            WHERE is_look_alike AND outcome = 'new') AS warnings
    FROM pg_temp.import_row
""")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows would become what; `warnings` are look-alikes that were allowed."""

    new: int
    unchanged: int
    refused: int
    warnings: int


def check(session: Session, group_id: int, *, allow_look_alikes: bool) -> Counts:
    """Give every staged row its outcome and its problems."""
    session.execute(_KNOWN_ROWS)
    session.execute(_KNOWN_CUSTOMERS, {"group_id": group_id})
    for statement in (_TWICE_IN_FILE, _LOOK_ALIKE_IN_FILE, _USED_IN_BOOKS, _LOOK_ALIKE_IN_BOOKS):
        session.execute(statement)
    session.execute(_FORGET_OWN_PROBLEMS)
    session.execute(_INDEX_PROBLEMS)
    session.execute(_REFUSE, {"allow_look_alikes": allow_look_alikes})
    return Counts(**session.execute(_COUNTS).mappings().one())
