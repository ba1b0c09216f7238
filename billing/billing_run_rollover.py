"""Rollover: what a cycle left is usable in the next one (rule R18).

What rolls over is the cycle's own data and that of its automatic top-ups, once: it burns first, and ends with the cycle it
rolled into.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.cycle_grants import CycleEnd, lock_grants

# Grants that limit the same things are added up. What was used up, or taken back, leaves nothing.
_ROLL_OVER = text("""
    WITH opened AS (
        SELECT * FROM unnest(CAST(:account_ids AS bigint[]), CAST(:begin_dates AS date[]),
                             CAST(:begin_times AS timestamptz[]), CAST(:ends AS timestamptz[]))
        AS opened (account_id, began_on, begins_at, ends_at)),
    own AS (
        SELECT opened.*, key.external_key
        FROM opened JOIN billing.billing_cycle before
             ON before.account_id = opened.account_id AND before.ends_at = opened.begins_at AND before.rolls_over
        CROSS JOIN LATERAL (
            SELECT 'cycle:' || before.account_id || ':' || before.began_on AS external_key
            UNION ALL
            SELECT 'purchase:' || purchase_id FROM billing.cycle_topup topup
            WHERE topup.account_id = before.account_id AND topup.began_on = before.began_on) AS key),
    unused AS (
        SELECT own.account_id, own.began_on, own.begins_at, own.ends_at,
               grants.username, plan_name, priority, counting, policy,
               row_number() OVER (PARTITION BY own.account_id ORDER BY entitlement_id) AS place,
               sum(greatest(quota_octets - used_octets, 0)) FILTER (WHERE quota_octets IS NOT NULL) OVER alike AS octets,
               sum(greatest(quota_seconds - used_seconds, 0)) FILTER (WHERE quota_seconds IS NOT NULL) OVER alike AS seconds
        FROM own JOIN radius.entitlement grants USING (external_key)
        WHERE coalesce(ended_reason, 'expiry') = 'expiry'
        WINDOW alike AS (PARTITION BY own.account_id, counting, quota_octets IS NULL, quota_seconds IS NULL))
    INSERT INTO radius.entitlement (external_key, username, source, plan_name, priority, counting, quota_octets,
                                    quota_seconds, policy, granted_at, expires_at)
    SELECT 'rollover:' || account_id || ':' || began_on, username, 'purchase', plan_name || ' (rolled over)', priority,
           counting, octets, seconds, policy, begins_at, ends_at
    FROM unused
    WHERE place = 1 AND coalesce(octets, 1) > 0 AND coalesce(seconds, 1) > 0 AND (octets > 0 OR seconds > 0)
    ORDER BY account_id
    ON CONFLICT (external_key) DO NOTHING
    RETURNING username
""")


def roll_over(session: Session, opened: Sequence[CycleEnd], begins_at: Mapping[int, datetime]) -> list[str]:
    """Give what the cycles before left to these new ones, and return the user names of those who got something.

    `begins_at` says of each account when its new cycle begins. Unlimited leaves nothing.
    """
    if not opened:
        return []
    account_ids = [each.account_id for each in opened]
    lock_grants(session, account_ids)
    values = {
        "account_ids": account_ids,
        "begin_dates": [each.began_on for each in opened],
        "begin_times": [begins_at[each.account_id] for each in opened],
        "ends": [each.ends_at for each in opened],
    }
    return list(session.execute(_ROLL_OVER, values).scalars())
