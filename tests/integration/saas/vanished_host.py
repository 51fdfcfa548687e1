"""A leader whose host vanishes: no packet says so. Runs as root, in a network namespace of its own; prints one line.

Usage: unshare --net python -m tests.integration.saas.vanished_host idle|transaction
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from sidecar.saas.sql_store import open_store
from tests import postgresql
from tests.integration.saas.support import DIMENSIONS, NOON, customer

SERVER: Final = "10.9.9.1"
REPLICA: Final = "10.9.9.2"
FOLLOWED_SECONDS: Final = 60
PAUSE_SECONDS: Final = 0.5


def ip(*words: str) -> None:
    """Run `ip`."""
    subprocess.run(["ip", *words], check=True)


def replica(holds: str) -> None:
    """Lead in a namespace of its own, until the end of the input: between transactions, or inside one."""
    sys.stdin.readline()  # the interface is there
    ip("address", "add", f"{REPLICA}/24", "dev", "there")
    ip("link", "set", "there", "up")
    store = open_store(f"postgresql://{postgresql.USER}@{SERVER}/postgres", DIMENSIONS, NOON)
    with store.leader() as leads:
        assert leads
        if holds == "idle":
            say_and_wait()
        else:
            store.keep_customer(customer())
            store._lead(lambda _: say_and_wait())


def say_and_wait() -> None:
    """Say that this replica leads, and do no more."""
    print("leads", flush=True)
    sys.stdin.readline()


def followed(holds: str) -> bool:
    """Return whether another replica leads within a minute after the leader's host has vanished."""
    ip("link", "add", "here", "type", "veth", "peer", "name", "there")
    ip("address", "add", f"{SERVER}/24", "dev", "here")
    ip("link", "set", "here", "up")
    with tempfile.NamedTemporaryFile("w", prefix="hba") as hba:
        hba.write(f"local all all trust\nhost all all {REPLICA}/32 trust\n")
        hba.flush()
        Path(hba.name).chmod(0o644)
        options = [word for one in (f"listen_addresses={SERVER}", f"hba_file={hba.name}") for word in ("-c", one)]
        with postgresql.running(*options) as server:
            line = ["unshare", "--net", sys.executable, "-m", __spec__.name, "--replica", holds]
            leader = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert leader.stdin is not None
            assert leader.stdout is not None
            try:
                return vanish(leader, server)
            finally:
                leader.kill()
                leader.wait()


def vanish(leader: subprocess.Popen[str], server: postgresql.Server) -> bool:
    """Wait until the leader leads, cut it off, and return whether another one follows."""
    store = open_store(server.url(), DIMENSIONS, NOON)
    while Path(f"/proc/{leader.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
        time.sleep(0.01)  # until `unshare` has made it
    ip("link", "set", "there", "netns", str(leader.pid))
    leader.stdin.write("\n")
    leader.stdin.flush()
    assert leader.stdout.readline() == "leads\n"
    ip("link", "set", "here", "down")
    until = time.monotonic() + FOLLOWED_SECONDS
    while time.monotonic() < until:
        with store.leader() as leads:
            if leads:
                return True
        time.sleep(PAUSE_SECONDS)
    return False


if __name__ == "__main__":
    if sys.argv[1] == "--replica":
        replica(sys.argv[2])
    else:
        print("followed" if followed(sys.argv[1]) else "not followed")
