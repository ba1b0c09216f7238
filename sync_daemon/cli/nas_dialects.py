"""`herotill nas dialects`: which makes of NAS are spoken, how each is told, and whether a file of your own is right."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from herotill.errors import InvalidValue
from sync_daemon.cli.output import Column, Format, Output, output_options, show_list

if TYPE_CHECKING:
    from herotill.dialect_model import Dialect, IdentificationProfile, Saying

SAID_OF_A_MAKE = (
    Column("name"),
    Column("title"),
    Column("nas_types", show_list, head="types"),
    Column("coa_port", head="CoA port"),
    Column("sends_gigawords", absent="not known"),
    Column("live", show_list, head="changed live"),
)
SAID_OF_A_FIELD = (
    Column("field", lambda name: name.replace("_", " ")),
    Column("attribute"),
    Column("as", head="said as"),
    Column("live", absent="not known"),
    Column("lifted", absent="", head="no limit"),
)


@click.command("dialects")
@click.option("--show", "name", help="Show one whole, by its name or by a NAS type.")
@click.option(
    "--check",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Check a file before it goes into the directory dialects of the state directory.",
)
@output_options
def dialects_command(output: Output, name: str | None, file: Path | None) -> None:
    """List how each make of NAS is spoken to; --show tells all of one, --check looks at a file of your own."""
    # Not every command needs them.
    from herotill.dialect import dialects  # noqa: PLC0415
    from herotill.dialect_reading import check_file  # noqa: PLC0415

    if file is not None:
        checked = check_file(file)
        click.echo(f"{file.name} is right: {checked.name}, for {show_list(checked.nas_types)}")
        return
    _ = output.application.settings  # the installation's own dialects
    known = dialects()
    if name is None:
        output.rows([_row(known[each]) for each in sorted(known)], SAID_OF_A_MAKE)
    else:
        _show(output, _find(name, known))


def _find(name: str, known: "Mapping[str, Dialect]") -> "Dialect":
    wanted = name.lower()
    for dialect in known.values():
        if wanted == dialect.name or wanted in dialect.nas_types:
            return dialect
    raise InvalidValue("show", name, f"it is one of {', '.join(sorted(known))}, or a NAS type of one")


def _row(dialect: "Dialect") -> dict[str, Any]:
    live = [saying.field.replace("_", " ") for saying in dialect.sayings if saying.live]
    known = {field.name: getattr(dialect, field.name) for field in fields(dialect)}
    return known | {"nas_types": list(dialect.nas_types), "live": live}


def _show(output: Output, dialect: "Dialect") -> None:
    if output.format is Format.JSON:
        click.echo(json.dumps(asdict(dialect), ensure_ascii=False, indent=2))
        return
    output.record(_row(dialect), SAID_OF_A_MAKE)
    direction = "upload" if dialect.input_is_upload else "download"
    click.echo(f"its Input is the {direction}{', a CoA must say everything' if dialect.coa_is_whole else ''}")
    output.rows([_said(saying) for saying in dialect.sayings], SAID_OF_A_FIELD)
    click.echo(f"not said: {_not_said(dialect)}")
    for word, profiles in (("Disconnect", dialect.disconnect), ("CoA", dialect.coa)):
        click.echo(f"named for {word} by: {_ways(profiles)}")
    for word, texts in (("note", dialect.notes), ("source", dialect.sources)):
        for text in texts:
            click.echo(f"{word}: {text}")


def _said(saying: "Saying") -> dict[str, Any]:
    if saying.text is not None:
        form = saying.text
    elif saying.gigawords is not None:
        form = f"octets, with {saying.gigawords}"
    else:
        form = "itself" if saying.unit == 1 else f"units of {saying.unit}"
    lifted = saying.unlimited if saying.lifted_live or not saying.live else "by a new login"
    return {
        "field": saying.field,
        "attribute": saying.attribute,
        "as": form,
        "live": saying.live,
        "lifted": lifted,
    }


def _not_said(dialect: "Dialect") -> str:
    from herotill.dialect_sayings import covered  # noqa: PLC0415
    from herotill.reply import Reply  # noqa: PLC0415

    said = {name for saying in dialect.sayings for name in covered(saying)}
    unsaid = [field.name.replace("_", " ") for field in fields(Reply) if field.name not in said]
    return show_list(unsaid) or "nothing, it takes all there is"


def _ways(profiles: "Sequence[IdentificationProfile]") -> str:
    if not profiles:
        return "nothing, it takes no such request"
    return "; else ".join(
        " + ".join([*profile.required, *(f"[{name}]" for name in profile.optional)]) for profile in profiles
    )
