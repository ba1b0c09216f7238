"""The SQL of suspension: who must be suspended, who may be resumed (rules R23, R24)."""
# ruff: noqa: S608 - conditions of our own are put together, values are bound

from sqlalchemy import text

from herotill.suspension import ENDED, UNPAID_BILL

# When an account has expired: nothing that was given to it lasts any longer. What was used up lasts until it would expire.
_HAS_EXPIRED = """
    NOT EXISTS (SELECT FROM radius.entitlement given
                WHERE given.username = account.username AND given.granted_at >= account.created_at
                  AND given.ended_reason IS DISTINCT FROM 'void'
                  AND coalesce(given.expires_at, given.ended_at, 'infinity') > :now)
"""
_HAS_OVERDUE_BILL = """
    EXISTS (SELECT FROM billing.invoice WHERE invoice.account_id = account.account_id
              AND paid_at IS NULL AND voided_at IS NULL AND due_at <= :now)
"""
# The four conditions of rule R24, as herotill.suspension.Arrears has them.
_MUST_BE_SUSPENDED = f"""
    account.status = 'active' AND account.kind = 'monthly' AND {_HAS_OVERDUE_BILL}
    AND coalesce((SELECT automatic_suspend FROM billing.billing_profile profile
                  WHERE profile.account_id = account.account_id), true)
    AND {_HAS_EXPIRED}
"""
_HAS_ENDED = """
    account.status = 'active' AND account.kind = 'prepaid'
    AND EXISTS (SELECT FROM billing.billing_profile profile
                WHERE profile.account_id = account.account_id AND profile.profile = 'daily')
    AND EXISTS (SELECT FROM billing.purchase WHERE purchase.account_id = account.account_id)
    AND NOT EXISTS (SELECT FROM radius.entitlement given
                    WHERE given.username = account.username AND given.ended_reason IS DISTINCT FROM 'void'
                      AND coalesce(given.expires_at, 'infinity') > :now
                      AND (given.ended_at IS NULL OR given.policy ->> 'at_quota' IN ('throttle', 'pool')))
"""
CANDIDATES = {
    UNPAID_BILL: text(f"""
        SELECT DISTINCT account_id, account.customer_id FROM billing.invoice JOIN billing.account USING (account_id)
        WHERE paid_at IS NULL AND voided_at IS NULL AND due_at <= :now AND account_id > :after AND {_MUST_BE_SUSPENDED}
        ORDER BY account_id LIMIT :batch_size
    """),
    ENDED: text(f"""
        SELECT account_id, account.customer_id FROM billing.billing_profile JOIN billing.account USING (account_id)
        WHERE billing_profile.profile = 'daily' AND account_id > :after AND {_HAS_ENDED}
        ORDER BY account_id LIMIT :batch_size
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
        WHEN '{ENDED}' THEN account.kind = 'prepaid' AND EXISTS (
            SELECT FROM radius.entitlement given WHERE given.username = account.username AND given.ended_at IS NULL
              AND coalesce(given.expires_at, 'infinity') > :now)
        ELSE false END
"""
RESUMABLE = text(f"""
    SELECT account_id, account.customer_id FROM billing.account
    WHERE suspended_reason IN ('{UNPAID_BILL}', '{ENDED}') AND account_id > :after AND {_MAY_RESUME}
    ORDER BY account_id LIMIT :batch_size
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
    SELECT {_HAS_EXPIRED} AS has_expired,
           (SELECT min(due_at) FROM billing.invoice WHERE invoice.account_id = account.account_id
              AND paid_at IS NULL AND voided_at IS NULL) AS due_at,
           coalesce(automatic_suspend, true) AS automatic_suspend, coalesce(automatic_bill, true) AS automatic_bill
    FROM billing.account LEFT JOIN billing.billing_profile USING (account_id)
    WHERE account.account_id = :account_id
""")
