"""Conditions: what each kind of system tells of clocks, heat and limits, on trees laid out as the kernel documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from edgekit.profile.conditions import Conditions, changes, files_below, read_conditions
from edgekit.profile.measurer import Measurer
from edgekit.profile.places import Here

CPU, THERMAL = "sys/devices/system/cpu", "sys/class/thermal"
PI = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/sys/kernel/osrelease": "6.6.31+rpt-rpi-2712\n",
    "proc/loadavg": "0.42 0.30 0.20 1/200 4242\n",
    "proc/self/cgroup": "0::/user.slice/user-1000.slice\n",
    f"{CPU}/online": "0-3\n",
    f"{CPU}/cpufreq/policy0/scaling_governor": "ondemand\n",
    f"{CPU}/cpufreq/policy0/scaling_cur_freq": "2400000\n",
    f"{CPU}/cpufreq/policy0/scaling_max_freq": "2400000\n",
    f"{CPU}/cpufreq/boost": "1\n",
    f"{THERMAL}/thermal_zone0/type": "cpu-thermal\n",
    f"{THERMAL}/thermal_zone0/temp": "51200\n",
    f"{THERMAL}/cooling_device0/type": "pwm-fan\n",
    f"{THERMAL}/cooling_device0/cur_state": "1\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
    "sys/fs/cgroup/user.slice/user-1000.slice/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/user.slice/user-1000.slice/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 2\n",
}
JETSON = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    f"{CPU}/cpufreq/policy0/scaling_governor": "schedutil\n",
    f"{CPU}/cpufreq/policy0/scaling_cur_freq": "729600\n",
    f"{CPU}/cpufreq/policy4/scaling_governor": "schedutil\n",
    f"{CPU}/cpufreq/policy4/scaling_cur_freq": "1510400\n",
    f"{THERMAL}/thermal_zone0/type": "cpu-thermal\n",
    f"{THERMAL}/thermal_zone0/temp": "44812\n",
    f"{THERMAL}/thermal_zone1/type": "cpu-thermal\n",
    f"{THERMAL}/thermal_zone1/temp": "45000\n",
    "sys/class/hwmon/hwmon2/oc1_event_cnt": "3\n",
}
SERVER = {
    "proc/self/cgroup": "5:cpuacct,cpu:/docker/abc\n1:name=systemd:/docker/abc\n",
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "7\n",
    f"{CPU}/cpu0/thermal_throttle/package_throttle_count": "8\n",
    f"{CPU}/intel_pstate/no_turbo": "1\n",
    "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
}


def look_at(root: Path, files: Mapping[str, str]) -> Conditions:
    """Lay out a tree that stands for `/` of a board that is not here, and look at it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_conditions(files_below(root))


def test_a_raspberry_pi(tmp_path):
    found = look_at(tmp_path, PI)
    assert (found.model, found.kernel, found.online) == ("Raspberry Pi 5 Model B Rev 1.0", "6.6.31+rpt-rpi-2712", "0-3")
    assert found.load == 0.42
    assert found.governors == {"policy0": "ondemand"}
    assert found.frequencies_khz == found.most_khz == {"policy0": 2_400_000}
    assert found.boost is True
    assert found.temperatures_c == {"cpu-thermal": 51.2}
    assert found.cooling == {"pwm-fan": 1}
    assert found.warnings == ()
    assert found.quota_cpus == 1.5, "the least of the control groups above it"
    assert found.throttled == {"control group": 2}
    assert json.loads(json.dumps(found.to_dict()))["temperatures_c"] == {"cpu-thermal": 51.2}


def test_a_jetson_has_a_clock_for_each_cluster_and_counts_over_currents(tmp_path):
    found = look_at(tmp_path, JETSON)
    assert found.frequencies_khz == {"policy0": 729_600, "policy4": 1_510_400}
    assert found.temperatures_c == {"cpu-thermal": 44.812, "cpu-thermal 2": 45.0}
    assert found.throttled == {"over-current hwmon2/oc1_event_cnt": 3}
    assert (found.quota_cpus, found.boost, found.load) == (None, None, None)


def test_a_server_in_a_container_of_the_first_layout(tmp_path):
    found = look_at(tmp_path, SERVER)
    assert found.quota_cpus == 0.5
    assert found.throttled == {"core temperature": 7, "package temperature": 8}
    assert found.boost is False


def test_what_happened_in_between_is_said(tmp_path):
    before = look_at(tmp_path, PI)
    after = look_at(
        tmp_path,
        {
            f"{CPU}/cpufreq/policy0/scaling_cur_freq": "1500000\n",
            f"{THERMAL}/cooling_device0/cur_state": "4\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
            "sys/fs/cgroup/user.slice/user-1000.slice/cpu.stat": "nr_throttled 9\n",
        },
    )
    assert changes(before, before) == ()
    assert changes(before, after) == (
        "throttled by control group: 7 times",
        "cooling device pwm-fan went from state 1 to 4",
        "clock of policy0 went from 2.40 GHz to 1.50 GHz",
        "the board warns of too low a voltage, now",
        "the board warns of throttling, now",
        "the board warns of too low a voltage, since it was started",
        "the board warns of throttling, since it was started",
    )


@pytest.mark.parametrize("junk", ["", "\n", "no number", "\0\0", "-", "9" * 400])
def test_a_system_that_tells_nonsense_tells_nothing(tmp_path, junk):
    found = look_at(tmp_path, dict.fromkeys([*PI, *JETSON, *SERVER], junk))
    assert found.warnings == () or junk.startswith("9")
    json.dumps(found.to_dict())


def test_a_system_that_tells_nothing_leaves_gaps(tmp_path):
    assert look_at(tmp_path, {}) == Conditions()


def test_this_computer_is_the_same_read_by_the_measurer():
    with Here() as place:
        there = read_conditions(Measurer(place).read_files)
    here = read_conditions(files_below())
    assert there.kernel == here.kernel
    assert there.online == here.online
    assert there.governors == here.governors
    assert there.temperatures_c.keys() == here.temperatures_c.keys()
    assert there.quota_cpus == here.quota_cpus
    assert there.load is not None


def test_what_was_not_told_before_is_no_change():
    after = Conditions(throttled={"core temperature": 7}, cooling={"fan": 2})
    assert changes(Conditions(), after) == ()
    assert len(changes(Conditions(throttled={"core temperature": 6}, cooling={"fan": 1}), after)) == 2
