# SPDX-License-Identifier: GPL-2.0-or-later
"""The playbook on machines that are folders, with the real klp: KLP_PROGRAM is its path."""

import json
import os
import pathlib
import subprocess

import pytest

from machines import Machine, inventory, module

KLP = os.environ.get("KLP_PROGRAM")
pytestmark = pytest.mark.skipif(not KLP, reason="KLP_PROGRAM, the path of klp, is not set")


class Fleet:
    """Three machines, one of them the canary."""

    def __init__(self, folder, collections, names):
        self.folder = folder
        self.collections = collections
        self.machines = {n: Machine(folder / n, KLP) for n in names}
        for machine in self.machines.values():
            machine.write("healthy", "")
        (folder / "fix.ko").write_bytes(module("fix"))
        (folder / "fix_cumulative.ko").write_bytes(module("fix_cumulative"))
        (folder / "old.ko").write_bytes(module("old"))

    def __getitem__(self, name):
        return self.machines[name]

    def roll_out(self, patch="fix", canary=("one",), options=(), **variables):
        """Run the playbook. Its status, and the report."""
        hosts, report = self.folder / "hosts", self.folder / "report.json"
        hosts.write_text(inventory(self.machines, list(canary)) + variables.pop("more_hosts", ""))
        report.unlink(missing_ok=True)
        settings = dict(
            rollout_patch=patch,
            rollout_src=str(self.folder / (patch + ".ko")),
            rollout_report=str(report),
            rollout_soak=0,
            rollout_timeout=2,
            rollout_health_commands=["test -e {{ machine }}/healthy"],
            rollout_health_retries=1,
            rollout_health_delay=0,
            rollout_batches=[1, "100%"],
        )
        settings.update(variables)
        environment = dict(
            os.environ,
            ANSIBLE_COLLECTIONS_PATH=str(self.collections),
            ANSIBLE_HOME=str(self.folder / "home"),
            ANSIBLE_LOCALHOST_WARNING="false",
            ANSIBLE_NOCOLOR="true",
            ANSIBLE_PIPELINING="true",
            ANSIBLE_FORKS="3",
        )
        ran = subprocess.run(
            ["ansible-playbook", "-i", str(hosts), "livepatch.klp.rollout", "-e", json.dumps(settings)]
            + list(options),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            env=environment, cwd=self.folder,
        )
        print(ran.stdout)
        self.said = ran.stdout
        self.status = ran.returncode
        self.report = json.loads(report.read_text()) if report.exists() else None
        return ran.returncode

    def outcomes(self):
        return {h: r["outcome"] for h, r in self.report["hosts"].items()}

    def enabled(self, patch="fix"):
        return [n for n, m in self.machines.items() if m.has(patch) == ["enabled"]]

    def changed(self):
        """How many hosts the recap has with changes."""
        recap = self.said.split("PLAY RECAP")[1]
        return len([line for line in recap.splitlines() if "changed=" in line and "changed=0" not in line])


@pytest.fixture(scope="session")
def collections(tmp_path_factory):
    """The collection as a user gets it: built, and installed from its archive."""
    folder = tmp_path_factory.mktemp("collections")
    here = pathlib.Path(__file__).parents[2]
    subprocess.run(["ansible-galaxy", "collection", "build", str(here), "--output-path", str(folder)],
                   check=True, stdout=subprocess.DEVNULL)
    archive = next(folder.glob("*.tar.gz"))
    subprocess.run(["ansible-galaxy", "collection", "install", "--offline", str(archive), "-p", str(folder)],
                   check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture
def fleet(tmp_path, collections):
    return Fleet(tmp_path, collections, ["one", "two", "three"])


def test_good_patch_goes_everywhere_once(fleet):
    assert fleet.roll_out() == 0
    assert fleet.outcomes() == dict.fromkeys(["one", "two", "three"], "enabled")
    assert fleet.report["hosts"]["one"]["stage"] == "canary"
    assert fleet.enabled() == ["one", "two", "three"]
    assert all(m.installed() == ["fix.ko"] for m in fleet.machines.values())
    # The order: the canary, then a batch of one, then the rest.
    headings = [line for line in fleet.said.splitlines() if line.startswith("PLAY [")]
    assert [h.split("[")[1].split("]")[0] for h in headings] == ["Canary", "Batches", "Batches"]
    # And again: nothing is left to do.
    calls = {n: m.calls() for n, m in fleet.machines.items()}
    assert fleet.roll_out() == 0
    assert fleet.changed() == 0
    assert set(fleet.outcomes().values()) == {"already enabled"}
    assert calls == {n: m.calls() for n, m in fleet.machines.items()}


def test_stall_ends_the_rollout_and_is_reversed(fleet):
    fleet["two"].write("stalls", "")
    fleet["two"].write("proc/123/patch_state", "0\n")
    assert fleet.roll_out() != 0
    assert fleet.outcomes() == {"one": "enabled", "two": "reversed"}
    result = fleet.report["hosts"]["two"]
    assert result["reversed"] is True
    assert "has not ended within 2" in result["reason"]
    # The canary keeps it, the stalled machine is clean, the last one was never touched.
    assert fleet.enabled() == ["one"]
    assert fleet["two"].has("fix") == [] and fleet["two"].installed() == []
    assert fleet["three"].calls() == []
    assert "fix: 1 enabled, 1 reversed" in fleet.said
    assert "two (batch): reversed: Enable the patch" in fleet.said


def test_stall_reverses_the_others_of_its_batch(fleet):
    fleet["three"].write("stalls", "")
    assert fleet.roll_out(rollout_batches=["100%"]) != 0
    assert fleet.outcomes() == {"one": "enabled", "two": "reversed", "three": "reversed"}
    assert "too many machines" in fleet.report["hosts"]["two"]["reason"]
    assert fleet.enabled() == ["one"]
    assert fleet["two"].calls() == ["load", "wrote", "unload"]
    assert fleet["two"].installed() == []


def test_stall_of_the_canary_stops_everything(fleet):
    fleet["one"].write("stalls", "")
    assert fleet.roll_out() != 0
    assert fleet.outcomes() == {"one": "reversed"}
    assert fleet.enabled() == []
    assert fleet["two"].calls() == [] and fleet["three"].calls() == []


def test_ill_health_reverses(fleet):
    fleet["two"].path("healthy").unlink()
    assert fleet.roll_out() != 0
    assert fleet.outcomes() == {"one": "enabled", "two": "reversed"}
    assert "Check the health by commands" in fleet.report["hosts"]["two"]["reason"]
    assert fleet.enabled() == ["one"]


def test_url_that_does_not_answer_reverses(fleet):
    assert fleet.roll_out(rollout_health_urls=["http://127.0.0.1:1/"]) != 0
    assert fleet.outcomes() == {"one": "reversed"}
    assert "Check the health by addresses" in fleet.report["hosts"]["one"]["reason"]


def test_tolerated_failure_reverses_only_that_machine(fleet):
    fleet["two"].write("stalls", "")
    # Its play ends with a failure, but the other machine keeps the patch.
    assert fleet.roll_out(rollout_batches=["100%"], rollout_tolerance=50) != 0
    assert fleet.outcomes() == {"one": "enabled", "two": "reversed", "three": "enabled"}
    assert fleet.enabled() == ["one", "three"]


def test_replaced_patches_come_back(fleet):
    for name in fleet.machines:
        fleet[name].write("sys/module/.keep", "")
        subprocess.run([fleet[name].klp, "install", str(fleet.folder / "old.ko")], check=True)
        subprocess.run([fleet[name].klp, "load", "old"], check=True)
    fleet["three"].path("healthy").unlink()
    assert fleet.roll_out("fix_cumulative", rollout_batches=["100%"]) != 0
    assert fleet.outcomes() == {"one": "enabled", "two": "reversed", "three": "reversed"}
    assert fleet.enabled("fix_cumulative") == ["one"]
    assert fleet.enabled("old") == ["two", "three"]
    assert fleet["two"].installed() == ["old.ko"]
    assert fleet["one"].installed() == ["fix_cumulative.ko", "old.ko"]


def test_machine_that_has_the_patch_keeps_it(fleet):
    subprocess.run([fleet["two"].klp, "load", str(fleet.folder / "fix.ko")], check=True)
    fleet["three"].write("stalls", "")
    assert fleet.roll_out(rollout_batches=["100%"]) != 0
    assert fleet.enabled() == ["one", "two"]
    assert fleet["two"].calls() == ["load"]


def test_unreachable_machine_does_not_keep_the_batch_from_being_reversed(fleet):
    del fleet.machines["three"]
    fleet.folder.joinpath("no-ssh").write_text("#!/bin/sh\necho no route >&2\nexit 255\n")
    fleet.folder.joinpath("no-ssh").chmod(0o755)
    far = "three ansible_connection=ssh ansible_ssh_executable={0}/no-ssh ansible_ssh_retries=0 machine=none\n"
    more = far.format(fleet.folder)
    assert fleet.roll_out(rollout_batches=["100%"], more_hosts=more) != 0
    assert fleet.outcomes() == {"one": "enabled", "two": "reversed", "three": "unreachable"}
    assert fleet.enabled() == ["one"]


def test_check_mode_tells_and_changes_nothing(fleet):
    assert fleet.roll_out(options=["--check"]) == 0
    assert set(fleet.outcomes().values()) == {"would be enabled"}
    assert fleet.report["check_mode"] is True
    assert fleet.enabled() == []
    assert all(m.calls() == [] and m.installed() == [] for m in fleet.machines.values())


def test_check_mode_finds_a_patch_for_another_kernel(fleet):
    fleet["two"].write("proc/sys/kernel/osrelease", "7.3.5\n")
    assert fleet.roll_out(options=["--check"]) != 0
    assert fleet.outcomes()["two"] == "failed"
    assert "7.3.5" in fleet.report["hosts"]["two"]["reason"]
    assert fleet.enabled() == []


def test_without_a_canary_nothing_begins(fleet):
    assert fleet.roll_out(canary=()) != 0
    assert "has taken fix in this run" in fleet.said
    assert all(m.calls() == [] for m in fleet.machines.values())


def test_reversal_that_fails_is_reported(fleet):
    fleet["three"].write("stalls", "")
    fleet["two"].write("sticks", "")
    assert fleet.roll_out(rollout_batches=["100%"]) != 0
    assert fleet.outcomes() == {"one": "enabled", "two": "not reversed", "three": "reversed"}
    assert "Remove the patch" in fleet.report["hosts"]["two"]["reason"]
