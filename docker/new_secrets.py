"""`new_secrets.py DIRECTORY FILE...`: makes the secrets that are not there yet. For trying out, and a first start.

An installation that is meant to last mounts secrets of its own in their place.
"""

import os
import secrets
import sys
from pathlib import Path

READER = 10001
"""The user of our images, by number."""


def write(path: Path, text: str, mode: int) -> None:
    """Write a file for our user, appearing whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.chmod(mode)
    os.chown(fresh, READER, READER)
    fresh.replace(path)


def make(path: Path, mode: int) -> None:
    """Write 256 random bits, hexadecimal; keep what is there."""
    if not path.exists():
        write(path, secrets.token_hex(32) + "\n", mode)


def main(root: Path) -> None:
    """Make what each service of compose.yaml reads: nobody sees more than it needs."""
    # PostgreSQL runs as another user. Only its container and the one that prepares it have this directory.
    make(root / "owner/owner-password", 0o444)
    for name in ("daemon-password", "class-secret", "voucher-secret"):
        make(root / "daemon" / name, 0o440)
    make(root / "radius/radius-password", 0o440)
    make(root / "nas/nas-secret", 0o440)
    write(root / "radius/class-secret", (root / "daemon/class-secret").read_text(), 0o440)
    write(root / "nas/subscriber-password", "try-it-out\n", 0o440)  # everybody's in the example


if __name__ == "__main__":
    main(Path(sys.argv[1]))
