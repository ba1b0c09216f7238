"""What customers are told where the operator has no words of their own: one template for each kind of event, in English."""

from herotill.messages import Template

WORDING_LANGUAGE = "en"
WORDING = {
    "notice.usage": Template(
        "{percent} % of {plan_name} is used",
        "Hello,\n\n{percent} % of {plan_name} on {username} is used. Left: {remaining}.\n",
    ),
    "notice.expiry": Template(
        "{plan_name} ends on {expires_at}",
        "Hello,\n\n{plan_name} on {username} ends on {expires_at}. Left: {remaining}.\n",
    ),
    "notice.low_balance": Template(
        "Your balance is {balance_minor}",
        "Hello {customer_name},\n\nyour balance is {balance_minor}. Account number: {account_number}.\n",
    ),
    "invoice.issued": Template(
        "Bill {invoice}: {amount_minor}",
        "Hello {customer_name},\n\nbill {invoice} for {user}: {amount_minor}, to be paid by {due_at}.\n"
        "Account number: {account_number}.\n",
    ),
    "payment.received": Template(
        "We have received {amount_minor}",
        "Hello {customer_name},\n\nthank you: {amount_minor} has arrived. Account number: {account_number}.\n",
    ),
    "verification.code": Template(
        "Your code is {code}",
        "Hello {customer_name},\n\nyour code is {code}. It is good until {expires_at}.\n"
        "If you did not ask for it, do nothing.\n",
    ),
    "password.reset": Template(
        "A new password for {username}: {code}",
        "Hello {customer_name},\n\nwith the code {code} you choose a password for {username}.\n"
        "It is good until {expires_at}. If you did not ask for it, do nothing: nothing changes.\n",
    ),
    "topup": Template(
        "{username} was topped up",
        "Hello,\n\n{username} was given {given}: {reason}.\n",
    ),
    "transfer.received": Template(
        "{given_octets} were given to you",
        "Hello,\n\n{from_username} has given {given_octets} to {username}.\n",
    ),
}
