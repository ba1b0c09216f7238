-- Revision 0002, reports: what is asked of a whole period at once (rule R29).

-- ---------------------------------------------------------------- finding a period

-- Rows come in the order of time, so a summary of a few pages per range finds a period; it costs who writes next to nothing.
CREATE INDEX usage_interval_time ON radius.usage_interval USING brin (interval_start) WITH (pages_per_range = 32);
CREATE INDEX coa_request_time ON radius.coa_request USING brin (created_at) WITH (pages_per_range = 32);

-- ---------------------------------------------------------------- sales

-- Everything the ledger earned or gave back: what, to whom, by whom. What cost nothing is in no ledger, so free accounts are not
-- here. A reversal stands under its own time, as a negative sale of the same thing: no past report changes. A batch sold at
-- once is one entry of the ledger and as many items as were sold.
CREATE VIEW billing.sale AS
SELECT booked.transaction_id, booked.occurred_at, earned.amount_minor, earned.currency, named.kind,
       CASE WHEN voucher_batch.price_minor > 0 AND named.kind = 'batch' THEN earned.amount_minor / voucher_batch.price_minor
            ELSE sign(earned.amount_minor) END::bigint AS items,
       coalesce(bought.plan_name, carded.plan_name, voucher_batch.plan_name, billing_cycle.plan_name,
                metered.plan_name) AS plan_name,
       coalesce(bought.account_id, carded.account_id, invoice.account_id) AS account_id,
       coalesce(bought.reseller_id, carded.reseller_id) AS reseller_id,
       paying.customer_id
FROM billing.ledger_posting AS earned
JOIN billing.ledger_transaction AS booked USING (transaction_id)
LEFT JOIN billing.ledger_transaction AS wrong ON wrong.transaction_id = booked.reverses_id
CROSS JOIN LATERAL (
    SELECT split_part(coalesce(wrong.external_key, booked.external_key), ':', 1) AS kind,
           substring(coalesce(wrong.external_key, booked.external_key) FROM '^[a-z]+:([0-9]{1,18})(?::|$)')::bigint AS id
) AS named
LEFT JOIN billing.purchase AS bought ON named.kind = 'purchase' AND bought.purchase_id = named.id
LEFT JOIN billing.purchase AS carded ON named.kind = 'voucher' AND carded.voucher_id = named.id
LEFT JOIN billing.voucher_batch ON named.kind = 'batch' AND voucher_batch.batch_id = named.id
LEFT JOIN billing.invoice ON named.kind = 'invoice' AND invoice.invoice_id = named.id
LEFT JOIN billing.billing_cycle ON billing_cycle.invoice_id = invoice.invoice_id
LEFT JOIN billing.usage_bill ON usage_bill.invoice_id = invoice.invoice_id
LEFT JOIN billing.voucher AS meter_card ON meter_card.voucher_id = usage_bill.voucher_id
LEFT JOIN billing.voucher_batch AS metered ON metered.batch_id = meter_card.batch_id
LEFT JOIN LATERAL (
    SELECT min(customer_id) AS customer_id FROM billing.ledger_posting
    WHERE transaction_id = booked.transaction_id AND ledger_account = 'customer'
) AS paying ON true
WHERE earned.ledger_account = 'sales';

-- ---------------------------------------------------------------- whose a user name was, and when

-- A user name may be given again once its account is closed. Each hour, in which usage is kept, is of one account: these spans
-- of one name touch and do not overlap, so that no octet is lost or counted twice.
CREATE VIEW billing.account_span AS
SELECT account_id, username, customer_id,
       CASE WHEN lag(account_id) OVER by_age IS NULL THEN '-infinity'
            ELSE date_trunc('hour', created_at, 'UTC') END AS began_at,
       coalesce(date_trunc('hour', lead(created_at) OVER by_age, 'UTC'), 'infinity') AS ended_at
FROM billing.account
WINDOW by_age AS (PARTITION BY username ORDER BY created_at, account_id);
