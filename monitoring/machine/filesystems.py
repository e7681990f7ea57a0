"""The filesystems on this machine's own disks: how full they are, and whether they may be written to."""

import os
import re

import psutil

from monitoring.readings import Readings, discovery, key

# The filter of Zabbix's "Linux by Zabbix agent": by type ({$VFS.FS.FSTYPE.MATCHES}) those on disks, to which newer ones
# are added, and not what is below /dev, /sys, /run and /proc ({$VFS.FS.FSNAME.NOT_MATCHES}). Network filesystems are
# none of them: their server's sidecar tells of those, and statvfs on one whose server is away never returns.
_TYPES = re.compile(r"btrfs|ext[234]|reiserfs|xfs|jfs|vxfs|ntfs3?|zfs|f2fs|bcachefs")
_NOT_NAMES = re.compile(r"/(dev|sys|run|proc)(/|$)|.+/shm$")
# What a container has for its root; statvfs tells of the disk that is behind it.
_ROOTS_TYPE = "overlay"


def mounted() -> list[tuple[str, str, bool]]:
    """Mount point, type and whether it is read-only; what is mounted at several places is shown at the shortest."""
    found: dict[str, tuple[str, str, bool]] = {}
    for one in sorted(psutil.disk_partitions(all=True), key=lambda each: (len(each.mountpoint), each.mountpoint)):
        if is_shown(one.mountpoint, one.fstype) and one.device not in found:
            found[one.device] = one.mountpoint, one.fstype, "ro" in one.opts.split(",")
    return sorted(found.values())


def is_shown(name: str, kind: str) -> bool:
    """Whether there is a filesystem of that type which is told of."""
    if kind == _ROOTS_TYPE:
        return name == "/"
    # Containers have single files mounted, such as /etc/hosts.
    return bool(_TYPES.fullmatch(kind)) and not _NOT_NAMES.match(name) and os.path.isdir(name)


def read() -> tuple[Readings, str]:
    """The figures of all, and the value of their discovery rule."""
    told: Readings = {}
    rows = []
    for name, kind, is_readonly in mounted():
        try:
            size = os.statvfs(name)
        except OSError:
            # Unmounted meanwhile, or not ours to look at.
            continue
        rows.append({"{#FSNAME}": name, "{#FSTYPE}": kind})
        told |= _figures(name, size)
        told[key("host.fs.readonly", name)] = int(is_readonly)
    return told, discovery(rows)


def _figures(name: str, size: os.statvfs_result) -> Readings:
    """Shares are of what others than root may use, as df has it: 100 is when nothing more fits."""
    used, free = (size.f_blocks - size.f_bfree) * size.f_frsize, size.f_bavail * size.f_frsize
    told: Readings = {
        key("host.fs.total", name): size.f_blocks * size.f_frsize,
        key("host.fs.used", name): used,
        key("host.fs.free", name): free,
    }
    if used + free:
        told[key("host.fs.used.share", name)] = 100 * used / (used + free)
    inodes, left = size.f_files - size.f_ffree, size.f_favail
    # Some, such as btrfs, make inodes as they are needed and tell 0.
    if size.f_files and inodes + left:
        told[key("host.fs.inodes.share", name)] = 100 * inodes / (inodes + left)
    return told
