"""`herotill nas`: the routers that may ask. Written to the stock nas table and to nas_profile beside it."""

import secrets
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from billing.paging import Page
from herotill.errors import InvalidValue, Refused
from herotill.multiplier import format_multiplier, parse_multiplier
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import arranged, keys_of, list_options
from sync_daemon.cli.nas_dialects import dialects_command
from sync_daemon.cli.nas_testing import testing_command
from sync_daemon.cli.output import Column, Format, Output
from sync_daemon.cli.parameters import ask_before, search_option, yes_option

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case

# The dialects' (herotill/dialects): written here too, so that help needs to read no files. A file of the operator's may add.
TYPES = (
    *(
        "mikrotik",
        "mikrotik-hotspot",
        "mikrotik-ppp",
        "mikrotik-pppoe",
        "chillispot",
        "coovachilli",
        "chilli",
        "wispr",
    ),
    *("cisco", "cisco-ios", "cisco-isg", "cisco-xe", "juniper", "junos", "huawei", "nokia", "alcatel"),
    *("unifi", "ubiquiti", "aruba", "ruckus", "cambium", "accel-ppp", "accel", "hostapd"),
    *("ocserv", "openconnect", "strongswan", "aos-cx", "generic", "other"),
)
SHORTEST_SECRET_OCTETS = 8
LONGEST_SECRET_OCTETS = 128

# A name is unique, and so is an address: FreeRADIUS knows its clients by source address alone.
FIND_TAKEN = "SELECT shortname, nasname FROM radius.nas WHERE shortname = %(name)s OR nasname = %(address)s"
INSERT_NAS = """
    INSERT INTO radius.nas (nasname, shortname, type, secret, description)
    VALUES (%(address)s, %(name)s, %(type)s, %(secret)s, %(description)s) RETURNING id
"""
INSERT_PROFILE = """
    INSERT INTO radius.nas_profile (nas_id, coa_port, multiplier_per_mille)
    VALUES (%(nas_id)s, %(coa_port)s, %(multiplier_per_mille)s)
"""
# NULL: as it is.
EDIT_NAS = """
    UPDATE radius.nas SET nasname = coalesce(%(address)s, nasname), type = coalesce(%(type)s, type)
    WHERE shortname = %(name)s RETURNING id
"""
EDIT_PROFILE = """
    INSERT INTO radius.nas_profile (nas_id, coa_port, multiplier_per_mille)
    VALUES (%(nas_id)s, coalesce(%(coa_port)s, 3799), coalesce(%(multiplier_per_mille)s, 1000))
    ON CONFLICT (nas_id) DO UPDATE
    SET coa_port = coalesce(%(coa_port)s, nas_profile.coa_port),
        multiplier_per_mille = coalesce(%(multiplier_per_mille)s, nas_profile.multiplier_per_mille)
"""
FIND_OTHER_AT = "SELECT shortname FROM radius.nas WHERE nasname = %(address)s AND shortname <> %(name)s"
LIST_NASES = """
    SELECT n.shortname AS name, n.nasname AS address, n.type, coalesce(p.coa_port, 3799) AS coa_port,
           coalesce(p.multiplier_per_mille, 1000) AS multiplier_per_mille
    FROM radius.nas n LEFT JOIN radius.nas_profile p ON p.nas_id = n.id ORDER BY n.shortname
"""
COLUMNS = (
    Column("name"),
    Column("address"),
    Column("type"),
    Column("coa_port", right=True, head="CoA port"),
    Column("multiplier_per_mille", format_multiplier, right=True, head="an octet counts"),
)
DELETE_NAS = "DELETE FROM radius.nas WHERE shortname = %(name)s RETURNING id"
# Every node reads its NASes anew when it hears this.
NOTIFY = "SELECT pg_notify('herotill_nas', '')"


class NasType(click.Choice):  # type: ignore[type-arg]  # it takes none before click 8.2
    """One of TYPES, or one that a dialect of the operator's own claims."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the type in small letters. A usage error for one nobody speaks."""
        application = ctx.find_object(Application) if ctx is not None else None
        if application is not None and str(value).lower() not in TYPES:
            from herotill.dialect import dialects  # noqa: PLC0415 - slow to read, and rarely needed

            _ = application.settings  # its dialects are spoken from here on
            if any(str(value).lower() in dialect.nas_types for dialect in dialects().values()):
                return str(value).lower()
        return super().convert(value, param, ctx)


@click.group()
def nas() -> None:
    """The routers that may ask."""


nas.add_command(dialects_command)
nas.add_command(testing_command)


@nas.command()
@click.argument("name")
@click.option(
    "--address", required=True, help="Source address of its packets, or a network: 10.1.0.0/16, 2001:db8::7."
)
@click.option(
    "--type",
    "nas_type",
    type=NasType(TYPES, case_sensitive=False),
    default="other",
    show_default=True,
    help="Its make.",
)
@click.option(
    "--secret-file", type=click.Path(path_type=Path, dir_okay=False), help="The shared secret; - is stdin."
)
@click.option("--generate-secret", is_flag=True, help="Make a secret and print it, once.")
@click.option(
    "--coa-port", type=click.INT, help="Where it takes Disconnect and CoA requests; else where its make does."
)
@click.option(
    "--multiplier", default="1x", show_default=True, help="What an octet counts there: 0x, 0.5x, 2x."
)
@pass_application
def add(application: Application, /, name: str, address: str, **chosen: object) -> None:
    """Let a NAS ask. It works at once; FreeRADIUS needs no restart."""
    row: dict[str, object] = {
        "name": checked_name(name),
        "address": checked_address(address),
        "type": chosen["nas_type"],
        "coa_port": _port_of(chosen["coa_port"], str(chosen["nas_type"])),
        "multiplier_per_mille": parse_multiplier(str(chosen["multiplier"]), "--multiplier"),
        "description": None,
    }
    row["secret"] = _secret(chosen["secret_file"], is_generated=bool(chosen["generate_secret"]))
    with application.radius_connection() as connection:
        _insert(connection, row)
    click.echo(f"added {row['name']} ({row['address']})")
    if chosen["generate_secret"]:
        click.echo(f"its secret, shown only now: {row['secret']}")


@nas.command()
@click.argument("name")
@click.option("--address", help="Source address of its packets, or a network.")
@click.option("--type", "nas_type", type=NasType(TYPES, case_sensitive=False), help="Its make.")
@click.option("--coa-port", type=click.INT, help="Where it takes Disconnect and CoA requests.")
@click.option("--multiplier", help="What an octet counts there from now on: 0x, 0.5x, 2x.")
@pass_application
def edit(
    application: Application,
    /,
    name: str,
    address: str | None,
    nas_type: str | None,
    coa_port: int | None,
    multiplier: str | None,
) -> None:
    """Change a NAS; what is not said stays. Every node and the meter know it at once."""
    row: dict[str, object] = {
        "name": name,
        "address": None if address is None else checked_address(address),
        "type": nas_type,
        "coa_port": None if coa_port is None else checked_port(coa_port),
        "multiplier_per_mille": None if multiplier is None else parse_multiplier(multiplier, "--multiplier"),
    }
    changed = [field for field, value in row.items() if value is not None and field != "name"]
    with application.radius_connection() as connection:
        _edit(connection, row)
    click.echo(f"changed {name}: {', '.join(changed).replace('_per_mille', '') or 'nothing'}")


@nas.command("list")
@search_option
@list_options(keys_of(COLUMNS))
@pass_application
def list_(application: Application, /, output: Output, search: str, page: Page) -> None:
    """List the NASes; secrets are never shown."""
    with application.radius_connection() as connection, connection.cursor() as cursor:
        cursor.execute(LIST_NASES)
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    if not rows and output.format is Format.TABLE:
        click.echo("there is no NAS yet: herotill nas add")
        return
    wanted = [row for row in rows if any(search.lower() in str(value).lower() for value in row.values())]
    output.rows(arranged(wanted, page), COLUMNS)


@nas.command()
@click.argument("name")
@yes_option
@pass_application
def remove(application: Application, name: str, yes: bool) -> None:
    """No longer answer a NAS."""
    ask_before(f"{name} will not be answered any more: nobody logs in there, and nothing is metered", yes)
    with application.radius_connection() as connection, connection.cursor() as cursor:
        cursor.execute(DELETE_NAS, {"name": name})
        if cursor.fetchone() is None:
            raise Refused(f"there is no NAS named {name}", rule="R33")
        cursor.execute(NOTIFY)
    click.echo(f"removed {name}; it is not answered from at most a minute on")


def _insert(connection: "Connection", row: dict[str, object]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "LOCK TABLE radius.nas IN SHARE ROW EXCLUSIVE MODE"
        )  # two adds at once: the second sees the first
        cursor.execute(FIND_TAKEN, row)
        if (taken := cursor.fetchone()) is not None:
            raise Refused(f"there is already a NAS {taken[0]} at {taken[1]}", rule="R33")
        cursor.execute(INSERT_NAS, row)
        (nas_id,) = cursor.fetchone() or (None,)
        cursor.execute(INSERT_PROFILE, row | {"nas_id": nas_id})
        cursor.execute(NOTIFY)


def _edit(connection: "Connection", row: dict[str, object]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE radius.nas IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(FIND_OTHER_AT, row)
        if (other := cursor.fetchone()) is not None:
            raise Refused(f"there is already a NAS {other[0]} at {row['address']}", rule="R33")
        cursor.execute(EDIT_NAS, row)
        if (found := cursor.fetchone()) is None:
            raise Refused(f"there is no NAS named {row['name']}", rule="R33")
        cursor.execute(EDIT_PROFILE, row | {"nas_id": found[0]})
        cursor.execute(NOTIFY)


def checked_name(name: str) -> str:
    """Return a name FreeRADIUS can log. Raises InvalidValue."""
    if not 1 <= len(name) <= 64 or not all(
        letter.isascii() and (letter.isalnum() or letter in "-._") for letter in name
    ):
        raise InvalidValue("name", name, "it is 1 to 64 letters, digits, '-', '.' or '_'")
    return name


def checked_address(address: str) -> str:
    """Return an address or network in its one canonical form. Raises InvalidValue."""
    try:
        network = ip_network(address)
    except ValueError as error:
        raise InvalidValue(
            "address", address, f"it is an IPv4 or IPv6 address or network ({error})"
        ) from None
    if network.prefixlen == 0:
        raise InvalidValue("address", address, "the whole Internet cannot share one secret")
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if single else str(network)


def _port_of(port: object, nas_type: str) -> int:
    if port is not None:
        return checked_port(port)
    from herotill.dialect import dialect_for  # noqa: PLC0415

    return dialect_for(nas_type).coa_port


def checked_port(port: object) -> int:
    """Return a UDP port. Raises InvalidValue."""
    if not isinstance(port, int) or not 1 <= port <= 65_535:
        raise InvalidValue("coa-port", port, "it is a port from 1 to 65535")
    return port


def checked_secret(secret: str) -> str:
    """Return a shared secret worth the name. Raises InvalidValue, which never repeats it."""
    length = len(secret.encode())
    if not SHORTEST_SECRET_OCTETS <= length <= LONGEST_SECRET_OCTETS:
        span = f"{SHORTEST_SECRET_OCTETS} to {LONGEST_SECRET_OCTETS} octets"
        raise InvalidValue(
            "secret", f"({length} octets)", f"it has {span}; a shorter one is guessed from one packet"
        )
    if not secret.isascii() or not secret.isprintable() or secret != secret.strip():
        raise InvalidValue(
            "secret", "(not shown)", "it is printable ASCII without spaces around it, as routers want it"
        )
    return secret


def _secret(file: object, *, is_generated: bool) -> str:
    if (file is not None) == is_generated:
        raise InvalidValue("secret", None, "give --secret-file FILE or --generate-secret")
    if is_generated:
        return secrets.token_hex(16)
    try:
        with click.open_file(str(file), encoding="utf-8") as stream:
            return checked_secret(stream.read().removesuffix("\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue("secret-file", str(file), f"it must be readable ({error})") from None
