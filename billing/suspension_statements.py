"""The SQL of suspension: who must be suspended, who may be resumed (rules R23, R24)."""
# ruff: noqa: S608 - conditions of our own are put together, values are bound

from sqlalchemy import text

from herotill.suspension import ENDED, UNPAID_BILL

# Everything here is asked of one account after the other, by an index: scalar subqueries are not joined, so that no plan can
# be a bad one while PostgreSQL has yet to count what a month has added.

# When an account has expired: nothing that was given to it lasts any longer. What was used up lasts until it would expire.
_HAS_EXPIRED = """
    coalesce(greatest(
        (SELECT max(coalesce(living.expires_at, 'infinity')) FROM radius.entitlement living
         WHERE living.username = account.username AND living.ended_at IS NULL),
        (SELECT max(coalesce(ended.expires_at, ended.ended_at)) FROM radius.entitlement ended
         WHERE ended.username = account.username AND ended.ended_at IS NOT NULL AND ended.ended_reason <> 'void')),
        '-infinity') <= :now
"""
_OLDEST_DUE = """
    (SELECT min(due_at) FROM billing.invoice
     WHERE invoice.account_id = account.account_id AND paid_at IS NULL AND voided_at IS NULL)
"""
_HAS_OVERDUE_BILL = f"coalesce({_OLDEST_DUE} <= :now, false)"
# The four conditions of rule R24, as herotill.suspension.Arrears has them.
_MUST_BE_SUSPENDED = f"""
    account.status = 'active' AND account.kind = 'monthly'
    AND coalesce((SELECT automatic_suspend FROM billing.billing_profile profile
                  WHERE profile.account_id = account.account_id), true)
    AND {_HAS_OVERDUE_BILL} AND {_HAS_EXPIRED}
"""
# What a daily account has left: a grant that lives, or one that is used up and only slows it.
_GRANTS_LEFT = """
    (SELECT count(*) FROM radius.entitlement living
     WHERE living.username = account.username AND living.ended_at IS NULL
       AND coalesce(living.expires_at, 'infinity') > :now)
"""
_GRANTS_SLOWED = """
    (SELECT count(*) FROM radius.entitlement ended
     WHERE ended.username = account.username AND ended.ended_at IS NOT NULL AND ended.ended_reason IN ('quota', 'time')
       AND coalesce(ended.expires_at, 'infinity') > :now AND ended.policy ->> 'at_quota' IN ('throttle', 'pool'))
"""
_HAS_ENDED = f"""
    account.status = 'active' AND account.kind = 'prepaid'
    AND (SELECT profile.profile FROM billing.billing_profile profile
         WHERE profile.account_id = account.account_id) = 'daily'
    AND (SELECT max(purchased_at) FROM billing.purchase WHERE purchase.account_id = account.account_id) IS NOT NULL
    AND {_GRANTS_LEFT} = 0 AND {_GRANTS_SLOWED} = 0
"""
CANDIDATES = {
    UNPAID_BILL: text(f"""
        SELECT DISTINCT account_id, account.customer_id FROM billing.invoice JOIN billing.account USING (account_id)
        WHERE paid_at IS NULL AND voided_at IS NULL AND due_at <= :now AND {_MUST_BE_SUSPENDED}
        ORDER BY account_id
    """),
    ENDED: text(f"""
        SELECT account_id, account.customer_id FROM billing.billing_profile JOIN billing.account USING (account_id)
        WHERE billing_profile.profile = 'daily' AND {_HAS_ENDED}
        ORDER BY account_id
    """),
}
SUSPEND = {
    reason: text(f"""
        UPDATE billing.account SET status = 'suspended', suspended_reason = '{reason}'
        WHERE account_id = ANY(:account_ids) AND {condition}
        RETURNING account_id, username, customer_id
    """)
    for reason, condition in ((UNPAID_BILL, _MUST_BE_SUSPENDED), (ENDED, _HAS_ENDED))
}
_MAY_RESUME = f"""
    account.status = 'suspended'
    AND CASE suspended_reason WHEN '{UNPAID_BILL}' THEN NOT {_HAS_OVERDUE_BILL}
        WHEN '{ENDED}' THEN account.kind = 'prepaid' AND {_GRANTS_LEFT} > 0
        ELSE false END
"""
RESUMABLE = text(f"""
    SELECT account_id, account.customer_id FROM billing.account
    WHERE suspended_reason IN ('{UNPAID_BILL}', '{ENDED}') AND {_MAY_RESUME}
    ORDER BY account_id
""")
RESUME = text(f"""
    UPDATE billing.account SET status = 'active', suspended_reason = NULL
    WHERE account_id = ANY(:account_ids) AND {_MAY_RESUME}
    RETURNING account_id, username, customer_id
""")
ACCOUNTS_OF = text("""
    SELECT account_id FROM billing.account WHERE customer_id = ANY(:customer_ids) AND status <> 'closed'
    ORDER BY account_id
""")
# A payment may allow what the balance did not.
TRY_TOPUPS_AGAIN = text("""
    UPDATE radius.used_up_account used SET refused_at = NULL FROM billing.account
    WHERE used.username = account.username AND customer_id = ANY(:customer_ids) AND refused_at IS NOT NULL
""")
ARREARS = text(f"""
    SELECT {_HAS_EXPIRED} AS has_expired, {_OLDEST_DUE} AS due_at,
           coalesce(automatic_suspend, true) AS automatic_suspend, coalesce(automatic_bill, true) AS automatic_bill
    FROM billing.account LEFT JOIN billing.billing_profile USING (account_id)
    WHERE account.account_id = :account_id
""")
