"""cgroups.py: the least quota on the way up counts, in both versions, wherever they are mounted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword import cpu
from nextword.machine import cgroups


def system(root, own, mounts, files):
    """A system's files: the process's groups, the mounts, and what the groups' files hold."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own)
    (root / "proc/self/mountinfo").write_text(mounts)
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = ("35 34 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "36 34 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n")


def test_the_least_quota_of_version_2_up_the_tree_counts(tmp_path):
    root = system(tmp_path, "0::/a/b\n", V2, {
        "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
        "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/cpu.max": "400000 100000\n",
    })
    assert cgroups.cpus(root) == (1.5, "cpu.max")


def test_version_1_has_quota_and_period_in_two_files(tmp_path):
    root = system(tmp_path, "4:memory:/m\n3:cpu,cpuacct:/docker/x\n", V1, {
        "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "200000\n",
        "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/m/cpu.cfs_quota_us": "1000\n",  # another controller's tree
        "sys/fs/cgroup/memory/m/cpu.cfs_period_us": "100000\n",
    })
    assert cgroups.cpus(root) == (2.0, "cpu.cfs_quota_us")


@pytest.mark.parametrize("own", ["0::/docker/x\n", "0::/\n", "0::/../other\n"])
def test_a_container_finds_its_own_group_at_the_top_of_its_mount(tmp_path, own):
    mounts = V2.replace(" / /sys", " /docker/x /sys") if "docker" in own else V2
    root = system(tmp_path, own, mounts, {"sys/fs/cgroup/cpu.max": "50000 100000\n"})
    assert cgroups.cpus(root) == (0.5, "cpu.max")


@given(st.text(max_size=40), st.text(max_size=60), st.text(max_size=30))
def test_whatever_the_files_hold_there_is_an_answer(tmp_path_factory, own, mounts, quota):
    root = tmp_path_factory.mktemp("system")
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"0::/\n{own}", errors="replace")
    (root / "proc/self/mountinfo").write_text(f"{V2}{mounts}\nx - cgroup2\n - \n", errors="replace")
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cpu.max").write_text(quota, errors="replace")
    found = cgroups.cpus(root)
    assert found is None or found[0] >= 0


def test_no_quota_or_no_such_system_is_none(tmp_path):
    assert cgroups.cpus(tmp_path) is None
    root = system(tmp_path / "x", "0::/\n", V2, {"sys/fs/cgroup/cpu.max": "max 100000\n"})
    assert cgroups.cpus(root) is None


@pytest.mark.parametrize(("quota", "every", "threads"), [(0.2, 8, 1), (1.0, 2, 1), (1.9, 2, 1), (3.5, 8, 3)])
def test_threads_are_at_most_the_whole_cpus_of_the_quota(monkeypatch, quota, every, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cgroups, "cpus", lambda: (quota, "cpu.max"))
    monkeypatch.setattr(cpu._core, "processors", lambda: every)
    assert cpu._default_threads() == (threads, f"a quota of {quota:g} CPUs (cpu.max) for {every} processors")
    monkeypatch.setattr(cgroups, "cpus", lambda: (float(every), "cpu.max"))
    assert cpu._default_threads() == (every, "all processors that this process may run on")


def test_a_process_with_a_quota_uses_fewer_threads_and_says_why():
    """Seen from outside, with the system's own files replaced."""
    code = ("from nextword.machine import cgroups, cpu; cgroups.cpus = lambda: (0.75, 'cpu.max')\n"
            "cpu._from_environment(); print(cpu.threads(), cpu.why_threads(), sep='|')")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("NEXTWORD_", "OMP_"))}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=clean)
    if not cpu.openmp():
        assert out.stdout.startswith("1|built without OpenMP")
        return
    assert out.stdout.startswith("1|a quota of 0.75 CPUs (cpu.max)"), out.stderr
