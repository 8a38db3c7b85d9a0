"""The control groups of Linux, which containers are made of: where this process's lie, and the CPUs that they grant."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")


def cpus(root: Path = ROOT) -> tuple[float, str] | None:
    """How many CPUs' time this process may take, and the file that says so; None where no group of its limits it.

    The least of the quotas from the process's group up to the topmost one that is seen here: `cpu.max` of version 2,
    `cpu.cfs_quota_us` by `cpu.cfs_period_us` of version 1 (Linux, Documentation/admin-guide/cgroup-v2.rst and
    scheduler/sched-bwc.rst). root: where the system's files lie.

    >>> cpus(Path("/no/such/system")) is None
    True
    """
    found = []
    for folder in groups("cpu", root):
        for name, period_name in (("cpu.max", None), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            words = _read(folder / name).split() + (_read(folder / period_name).split() if period_name else [])
            if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
                found.append((int(words[0]) / int(words[1]), name))
    return min(found, default=None)


def groups(controller: str, root: Path = ROOT) -> Iterator[Path]:
    """The folders of the groups that this process is in for a controller, from its own up to the topmost seen here.

    >>> list(groups("memory", Path("/no/such/system")))
    []
    """
    own: dict[str, str] = {}  # by controller; "": version 2, which has one tree for all
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        own.update(dict.fromkeys(controllers.split(","), path))
    for line in _read(root / "proc/self/mountinfo").splitlines():
        mount, _, kind = line.partition(" - ")
        fields, about = mount.split(), kind.split()
        if len(fields) < 5 or not about or about[0] not in ("cgroup", "cgroup2"):
            continue
        if about[0] == "cgroup" and controller not in about[-1].split(","):
            continue
        place = own.get("" if about[0] == "cgroup2" else controller)
        if place is None:
            continue
        # A container sees its own group as the top, whether its path tells of those above or not.
        inside = PurePosixPath(place.removeprefix(fields[3])) if place.startswith(fields[3]) else PurePosixPath("/")
        parts = [part for part in inside.parts if part not in ("/", "..")]
        top = root / fields[4].lstrip("/")
        for depth in range(len(parts), -1, -1):
            yield top.joinpath(*parts[:depth])


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
