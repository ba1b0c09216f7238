"""What a sink is given: the event, the customer it is about, and what to tell them in their language."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from billing.deliveries import Delivery
from herotill.messages import Message


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event for one sink. `message` is None where there is nothing to say to a customer.

    `message_error` says why there is none though there should be; sinks that need no words deliver all the same.
    """

    delivery: Delivery
    message: Message | None = field(default=None, repr=False)
    message_error: str | None = None

    @property
    def email(self) -> str | None:
        """Where a customer is written to: the address the event itself names, else the customer's.

        What goes by SMS is not written: it proves who has the phone.
        """
        if self.delivery.payload.get("channel") == "sms":
            return None
        named = self.delivery.payload.get("email")
        if isinstance(named, str) and named:
            return named
        return None if self.delivery.customer is None else self.delivery.customer.email

    def to_json(self) -> bytes:
        """Return the one line of JSON that files, commands and servers get."""
        event = self.delivery
        document = {
            "id": event.event_id,
            "key": event.event_key,
            "kind": event.kind,
            "occurred_at": event.occurred_at.isoformat(),
            "customer": None if event.customer is None else asdict(event.customer),
            "payload": event.payload,
            "message": None if self.message is None else asdict(self.message),
        }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def message_values(delivery: Delivery) -> Mapping[str, Any]:
    """Return the names a template may use: what the event says, and of the customer."""
    customer = delivery.customer
    about = (
        {}
        if customer is None
        else {"customer_name": customer.name, "account_number": customer.account_number}
    )
    return delivery.payload | about
