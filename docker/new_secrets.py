"""`new_secrets.py DIRECTORY FILE...`: makes the secrets that are not there yet. For trying out, and a first start.

An installation that is meant to last mounts secrets of its own in their place.
"""

import os
import secrets
import sys
from pathlib import Path

READER = 10001
"""The user of our images, by number."""


def make(path: Path, mode: int) -> None:
    """Write 256 random bits, hexadecimal, appearing whole or not at all; keep what is there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(secrets.token_hex(32) + "\n")
    fresh.chmod(mode)
    os.chown(fresh, READER, READER)
    fresh.replace(path)


def copy(source: Path, target: Path) -> None:
    """Let another service read the same secret, in a place of its own."""
    target.write_bytes(source.read_bytes())
    target.chmod(0o440)
    os.chown(target, READER, READER)


def main(root: Path) -> None:
    """Make what each service of compose.yaml reads: nobody sees more than it needs."""
    # PostgreSQL runs as another user. Only its container and the one that prepares it have this directory.
    make(root / "owner/owner-password", 0o444)
    for name in ("daemon-password", "class-secret", "voucher-secret"):
        make(root / "daemon" / name, 0o440)
    make(root / "radius/radius-password", 0o440)
    make(root / "nas/nas-secret", 0o440)
    copy(root / "daemon/class-secret", root / "radius/class-secret")
    subscriber = root / "nas/subscriber-password"
    subscriber.write_text("try-it-out\n")  # everybody's in the example
    subscriber.chmod(0o444)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
