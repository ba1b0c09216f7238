"""Why a login was accepted or refused, in a word for machines and a sentence for people.

The sentences are the defaults of Reply-Message (RFC 2865 §5.18); an installation may replace each of them.
"""

from enum import StrEnum


class Reason(StrEnum):
    """The outcome of a login in one word; kept in `radius.login_outcome`."""

    ACCEPTED = "accepted"
    RESTRICTED = "restricted"
    THROTTLED = "throttled"
    SUSPENDED_POOL = "suspended-pool"
    OUTAGE = "outage"
    BAD_CREDENTIALS = "bad-credentials"
    UNKNOWN_USER = "unknown-user"
    DISABLED = "disabled"
    UNVERIFIED = "unverified"
    SUSPENDED = "suspended"
    NO_CREDIT = "no-credit"
    QUOTA_USED_UP = "quota-used-up"
    TIME_USED_UP = "time-used-up"
    EXPIRED = "expired"
    ALL_RESERVED = "all-reserved"
    TOO_MANY_SESSIONS = "too-many-sessions"
    OTHER_DEVICE = "other-device"
    TOO_MANY_FAILURES = "too-many-failures"
    UNAVAILABLE = "unavailable"


# Unknown user and wrong password share a sentence, so that answers do not reveal whether a code exists (rule R10).
REPLY_MESSAGES: dict[Reason, str] = {
    Reason.BAD_CREDENTIALS: "User name or password is wrong.",
    Reason.UNKNOWN_USER: "User name or password is wrong.",
    Reason.DISABLED: "This account is disabled. Please contact your provider.",
    Reason.UNVERIFIED: "This account is not verified yet. Please verify it first.",
    Reason.SUSPENDED: "This account is suspended. Please pay the open bill.",
    Reason.NO_CREDIT: "There is no data on this account. Please buy a plan.",
    Reason.QUOTA_USED_UP: "Your data is used up. Please buy more.",
    Reason.TIME_USED_UP: "Your time is used up. Please buy more.",
    Reason.EXPIRED: "Your plan has expired. Please buy a new one.",
    Reason.ALL_RESERVED: "All of your remaining data is in use by your other devices.",
    Reason.TOO_MANY_SESSIONS: "Too many devices are online with this account.",
    Reason.TOO_MANY_FAILURES: "Too many wrong attempts. Please wait five minutes and try again.",
    Reason.OTHER_DEVICE: "This account may only be used with its own devices.",
    Reason.UNAVAILABLE: "The service is not available at the moment. Please try again.",
}
