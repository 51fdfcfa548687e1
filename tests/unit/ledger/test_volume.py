"""Which file system is it, and what are files called?"""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.ledger.volume import beside, file_system, ledger_path, other_ledgers

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/root rw
30 22 0:40 / /mnt/efs rw,relatime shared:1 - nfs4 127.0.0.1:/ rw,vers=4.1
31 22 0:41 / /mnt/efs/local rw - tmpfs tmpfs rw
32 22 0:42 / /mnt/with\\040blank rw - cifs //server/share rw
33 22 0:43 / /mnt/over rw - ext4 /dev/sdb rw
34 33 0:44 / /mnt/over rw - fuse.s3fs s3fs rw
garbage
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/var/lib/x", "ext4"),
        ("/mnt/efs", "nfs4"),
        ("/mnt/efs/deep/down", "nfs4"),
        ("/mnt/efs/local/x", "tmpfs"),
        ("/mnt/efsother", "ext4"),
        ("/mnt/with blank/x", "cifs"),
        ("/mnt/over/x", "fuse.s3fs"),
    ],
)
def test_the_innermost_mount_on_top_counts(directory: str, kind: str) -> None:
    assert file_system(Path(directory), MOUNTS) == kind


def test_without_mounts_the_file_system_is_unknown() -> None:
    assert file_system(Path("/x"), "") == ""


def test_a_file_name_reveals_no_workload_and_differs_by_it() -> None:
    one, other = (ledger_path(Path("/x"), name) for name in ("pod-1", "pod-2"))
    assert one != other
    assert "pod" not in one.name


def test_other_ledgers_are_the_ledgers_of_others(tmp_path: Path) -> None:
    ours = ledger_path(tmp_path, "ours")
    others = [ledger_path(tmp_path, "theirs"), beside(ours, 1)]
    for path in [
        ours,
        *others,
        tmp_path / f"{ours.name}-wal",
        tmp_path / f"{ours.name}.lock",
        tmp_path / "answer.json",
    ]:
        path.touch()
    (tmp_path / "ledger-link.sqlite3").symlink_to(ours)
    assert sorted(other_ledgers(ours)) == sorted(others)
