# ruff: noqa: S608 - every part of the SQL is our own text
"""What is compared: each relation of schema radius as rows of (name, item, content), wanted by the books and present.

`name` is the account, group or NAS a row belongs to, `item` what of it, `content` the rest as a JSON object. Queries only;
nothing here decides. The books' views billing.projected_* are the desired state.
"""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """Whose name a relation's rows carry."""

    ACCOUNT = "account"
    GROUP = "group"
    NAS = "nas"


@dataclass(frozen=True, slots=True)
class Relation:
    """One table of schema radius.

    `wanted` is asked of the books (of RADIUS itself where `entered_in_radius`), `present` of RADIUS; both yield name, item
    and the columns of `content`. The temporary table `wanted` holds the former when `present` is asked. A `keyed` one has
    one row for each item; in others the same row may stand there twice, which is a difference.
    `known` asks the books which of these names or items are theirs. With one database the two sides of one that is only
    compared `apart` are the same rows.
    """

    name: str
    scope: Scope
    name_column: str
    item_column: str
    content: tuple[str, ...]
    wanted: str
    present: str
    keyed: bool
    known: str | None
    present_once: str | None = None
    entered_in_radius: bool = False
    apart: bool = False

    def as_rows(self, columns: str) -> str:
        """Return `wanted` or `present` as rows of name, item and content."""
        pairs = ", ".join(f"'{column}', {column}" for column in self.content)
        return f"SELECT name, item, jsonb_build_object({pairs}) AS content FROM ({columns}) AS raw"

    def as_sums(self, columns: str, mask: int) -> str:
        """Return `wanted` or `present` as a count and a sum of hashes for each bucket of names."""
        row = ", ".join(("name", "item", *self.content))
        return f"""
            SELECT hashtext(name) & {mask}, count(*), sum(hash_record_extended(ROW({row}), 0))::text
            FROM ({columns}) AS raw GROUP BY 1
        """


_KNOWN_ACCOUNTS = "SELECT username FROM billing.account WHERE username = ANY(%s)"
_KNOWN_GROUPS = "SELECT name FROM billing.customer_group WHERE name = ANY(%s)"

_TERMS = (
    "username", "source", "plan_name", "priority", "counting", "quota_octets", "quota_seconds", "policy", "granted_at",
    "expires_at", "seconds_after_first_use", "seconds_after_last_use", "ended_at", "ended_reason",
)  # fmt: skip
_ALLOCATION = (
    "period", "time_zone", "term_starts", "quota_octets", "quota_seconds", "valid_seconds", "rolls_over", "counting",
    "policy",
)  # fmt: skip
_NAS = ("nasname", "type", "ports", "secret", "server", "community", "description")


def _attributes(relation: str, scope: Scope, name_column: str) -> Relation:
    """A stock table of which we own only attributes that were taken over."""
    content = ("op", "value")
    owned = f"""
        (({name_column}, attribute) IN (SELECT name, attribute FROM radius.owned_attribute WHERE relation = '{relation}')
         OR ({name_column}, attribute) IN (SELECT name, item FROM wanted))
    """
    wanted = f"""
        SELECT name, attribute AS item, op::text, value
        FROM billing.projected_attribute WHERE relation = '{relation}'
    """
    present = f"""
        SELECT {name_column} AS name, attribute AS item, op::text, value FROM radius.{relation} WHERE {owned}
    """
    return Relation(relation, scope, name_column, "attribute", content, wanted, present, False, None)


MANAGED_ACCOUNT = Relation(
    name="managed_account",
    scope=Scope.ACCOUNT,
    name_column="username",
    item_column="username",
    content=("kind", "status", "group_name", "policy"),
    wanted="""
        SELECT username AS name, username AS item, kind, status, group_name, policy
        FROM billing.projected_account
    """,
    present="""
        SELECT username AS name, username AS item, kind, status, group_name, policy
        FROM radius.managed_account
    """,
    keyed=True,
    known=_KNOWN_ACCOUNTS,
)

_EXTRA_CHECKS = _attributes("radcheck", Scope.ACCOUNT, "username")
# Of every account two attributes are ours; more where they were taken over.
RADCHECK = Relation(
    name="radcheck",
    scope=Scope.ACCOUNT,
    name_column="username",
    item_column="attribute",
    content=("op", "value"),
    wanted=f"""
        SELECT username AS name, attribute AS item, op::text, value FROM billing.projected_radcheck
        UNION ALL {_EXTRA_CHECKS.wanted}
    """,
    present="""
        SELECT username AS name, attribute AS item, op::text, value FROM radius.radcheck
        WHERE attribute IN ('Cleartext-Password', 'Auth-Type')
           OR (username, attribute) IN (SELECT name, attribute FROM radius.owned_attribute WHERE relation = 'radcheck')
           OR (username, attribute) IN (
               SELECT name, item FROM wanted WHERE item NOT IN ('Cleartext-Password', 'Auth-Type'))
    """,
    keyed=False,
    known=_KNOWN_ACCOUNTS,
)
RADUSERGROUP = Relation(
    name="radusergroup",
    scope=Scope.ACCOUNT,
    name_column="username",
    item_column="groupname",
    content=("priority",),
    wanted="""
        SELECT username AS name, group_name AS item, priority FROM billing.projected_radusergroup
    """,
    present="""
        SELECT username AS name, groupname AS item, priority FROM radius.radusergroup
    """,
    keyed=False,
    known=_KNOWN_ACCOUNTS,
)
# A living grant that is there but has ended is looked at too, when it is looked at closely.
_GRANTS = f"SELECT username AS name, external_key AS item, {', '.join(_TERMS)} FROM "
ENTITLEMENT = Relation(
    name="entitlement",
    scope=Scope.ACCOUNT,
    name_column="username",
    item_column="external_key",
    content=_TERMS,
    wanted=f"{_GRANTS} billing.granted WHERE ended_at IS NULL",
    present=f"""
        {_GRANTS} radius.entitlement WHERE ended_at IS NULL
        UNION ALL
        {_GRANTS} radius.entitlement WHERE ended_at IS NOT NULL AND external_key IN (SELECT item FROM wanted)
    """,
    present_once=f"{_GRANTS} radius.entitlement WHERE ended_at IS NULL",
    keyed=True,
    known=None,
)
# Logins are counted at RADIUS; how many are allowed, and which turn it is, the books say.
_LIMITS = "SELECT username AS name, username AS item, voucher_id, logins_max, pause_seconds, turn FROM radius.login_limit"
LOGIN_LIMIT = Relation(
    name="login_limit",
    scope=Scope.ACCOUNT,
    name_column="username",
    item_column="username",
    content=("voucher_id", "logins_max", "pause_seconds", "turn"),
    wanted=_LIMITS,
    present=_LIMITS,
    keyed=True,
    known=_KNOWN_ACCOUNTS,
    apart=True,
)
GROUP_ALLOCATION = Relation(
    name="group_allocation",
    scope=Scope.GROUP,
    name_column="group_name",
    item_column="group_name",
    content=_ALLOCATION,
    wanted=f"""
        SELECT group_name AS name, group_name AS item, {", ".join(_ALLOCATION)} FROM billing.projected_allocation
    """,
    present=f"""
        SELECT group_name AS name, group_name AS item, {", ".join(_ALLOCATION)} FROM radius.group_allocation
    """,
    keyed=True,
    known=_KNOWN_GROUPS,
)
NAS = Relation(
    name="nas",
    scope=Scope.NAS,
    name_column="shortname",
    item_column="shortname",
    content=_NAS,
    wanted=f"SELECT shortname AS name, shortname AS item, {', '.join(_NAS)} FROM radius.entered_nas",
    present=f"""
        SELECT shortname AS name, shortname AS item, {", ".join(_NAS)}
        FROM radius.nas WHERE shortname IN (SELECT item FROM wanted)
    """,
    keyed=True,
    known=None,
    entered_in_radius=True,
)

RELATIONS = (
    MANAGED_ACCOUNT,
    RADCHECK,
    RADUSERGROUP,
    _attributes("radreply", Scope.ACCOUNT, "username"),
    ENTITLEMENT,
    LOGIN_LIMIT,
    _attributes("radgroupcheck", Scope.GROUP, "groupname"),
    _attributes("radgroupreply", Scope.GROUP, "groupname"),
    GROUP_ALLOCATION,
    NAS,
)
BY_NAME = {relation.name: relation for relation in RELATIONS}
# Where rows can be many: compared by sums of hashes first.
SUMMED = frozenset({"managed_account", "radcheck", "radusergroup", "entitlement", "login_limit"})
