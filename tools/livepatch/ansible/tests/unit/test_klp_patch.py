# SPDX-License-Identifier: GPL-2.0-or-later
"""klp_patch, with a fake klp."""

import pytest
from ansible_collections.livepatch.klp.plugins.modules import klp_patch
from ansible_collections.livepatch.klp.plugins.modules.klp_patch import main
from conftest import patch, task, transition

WAITING = ["--timeout", "60.0", "--on-timeout", "revert"]


@pytest.fixture
def src(tmp_path):
    path = tmp_path / "new" / "fix.ko"
    path.parent.mkdir()
    path.write_bytes(b"the module, with NOTE-1 in it")
    return str(path)


def have_installed(klp, content):
    folder = klp.folder / "7.3.4"
    folder.mkdir()
    (folder / "fix.ko").write_bytes(content)


INSTALLED = [("7.3.4", "fix")]


def test_load_and_install(klp, run, src):
    klp.verify().status().done("load", "enabled", unloaded=["old"]).install()
    klp.status(patch("fix"), installed=INSTALLED)
    result = run(main, src=src)
    assert result["changed"] and result["actions"] == ["load", "install"]
    assert (result["name"], result["before"], result["after"]) == ("fix", "absent", "enabled")
    assert (result["transition_ms"], result["waited_ms"]) == (31, 40)
    assert result["unloaded"] == ["old"]
    assert result["diff"]["after"] == dict(state="enabled", installed=True)
    assert klp.calls()[0] == ["verify", src]
    assert klp.calls()[2] == ["load", src] + WAITING
    assert klp.calls()[3] == ["install", src]


def test_enabled_and_installed_already(klp, run, src):
    have_installed(klp, b"the module, with NOTE-1 in it")
    klp.verify().status(patch("fix"), installed=INSTALLED)
    klp.status(patch("fix"), installed=INSTALLED)
    result = run(main, src=src)
    assert result["changed"] is False and result["actions"] == []
    assert [c[0] for c in klp.calls()] == ["verify", "status", "status"]


def test_enabled_and_not_installed(klp, run, src):
    klp.verify().status(patch("fix")).install().status(patch("fix"), installed=INSTALLED)
    assert run(main, src=src)["actions"] == ["install"]


def test_enabled_and_another_file_is_installed(klp, run, src):
    have_installed(klp, b"an earlier build")
    klp.verify().status(patch("fix"), installed=INSTALLED).install(replaced=True)
    klp.status(patch("fix"), installed=INSTALLED)
    assert run(main, src=src)["actions"] == ["install"]


def test_installed_for_another_kernel_only(klp, run, src):
    klp.verify().status(patch("fix"), installed=[("7.3.3", "fix")]).install()
    klp.status(patch("fix"), installed=INSTALLED + [("7.3.3", "fix")])
    assert run(main, src=src)["actions"] == ["install"]


def test_without_install(klp, run, src):
    klp.verify().status().done("load", "enabled").status(patch("fix"))
    assert run(main, src=src, install=False)["actions"] == ["load"]


def test_options_of_the_load(klp, run, src):
    klp.verify().status().done("load", "enabled").status(patch("fix"))
    run(main, src=src, install=False, parameters=["a=1"], timeout=5, on_timeout="leave")
    assert klp.calls()[2] == ["load", src, "a=1", "--timeout", "5.0", "--on-timeout", "leave"]


def test_another_build_is_enabled(klp, run, src, monkeypatch, tmp_path):
    note = tmp_path / "module" / "fix" / "notes" / ".note.gnu.build-id"
    note.parent.mkdir(parents=True)
    monkeypatch.setattr(klp_patch, "SYS_MODULE", str(tmp_path / "module"))
    note.write_bytes(b"NOTE-2")
    klp.verify().status(patch("fix"))
    result = run(main, src=src, install=False)
    assert result["failed"] and "another build of fix" in result["msg"]
    note.write_bytes(b"NOTE-1")
    (klp.folder / "calls").unlink()
    klp.steps.clear()
    klp.verify().status(patch("fix")).status(patch("fix"))
    assert run(main, src=src, install=False)["changed"] is False


def test_a_file_that_is_not_usable(klp, run, src):
    klp.verify(usable=False).status()
    result = run(main, src=src)
    assert result["failed"] and result["exit_code"] == 6 and result["changed"] is False
    assert "for 7.3.5" in result["msg"]
    assert [c["check"] for c in result["checks"]] == ["file", "vermagic"]


def test_a_file_of_another_name(klp, run, src):
    klp.verify(name="other")
    assert "is the patch other, and not fix" in run(main, src=src, name="fix")["msg"]


def test_names_with_a_dash(klp, run, src):
    klp.verify(name="my-fix").status(patch("my_fix")).status(patch("my_fix"))
    result = run(main, src=src, name="my-fix", install=False)
    assert result["changed"] is False and result["name"] == "my_fix"


def test_reversed_after_the_timeout(klp, run, src):
    klp.verify().status().error("load", 9, "fix has not ended within 60 s", [task()])
    result = run(main, src=src)
    assert result["failed"] and result["timed_out"] and result["reversed"]
    assert result["blocking"][0]["comm"] == "backup"
    # It was not installed: the next boot must not load it.
    assert result["actions"] == ["load"]


def test_timed_out_and_left(klp, run, src):
    klp.verify().status().error("load", 8, "goes on", [task()])
    result = run(main, src=src, on_timeout="leave")
    assert result["timed_out"] and not result["reversed"]


@pytest.mark.parametrize("code,text", [(3, "this needs root"), (7, "busy"), (10, "EBUSY")])
def test_other_failures(klp, run, src, code, text):
    klp.verify().status().error("load", code, text)
    result = run(main, src=src)
    assert (result["exit_code"], result["msg"]) == (code, text)
    assert not result["timed_out"]


def test_install_fails_after_the_load(klp, run, src):
    klp.verify().status().done("load", "enabled").error("install", 1, "the disk is full")
    result = run(main, src=src)
    assert result["failed"] and result["changed"] and "full" in result["msg"]
    assert result["actions"] == ["load", "install"]


def test_by_name(klp, run):
    klp.status(installed=INSTALLED).done("load", "enabled").status(patch("fix"), installed=INSTALLED)
    assert run(main, name="fix")["actions"] == ["load"]
    assert klp.calls()[1][:2] == ["load", "fix"]


def test_being_enabled_already(klp, run, src):
    klp.verify().status(patch("fix", "enabling"), transition=transition("fix"))
    klp.done("wait", "enabled").status(patch("fix"))
    assert run(main, src=src, install=False)["changed"] is False


def test_being_enabled_and_stalled(klp, run, src):
    klp.verify().status(patch("fix", "enabling"), transition=transition("fix"))
    klp.error("wait", 8, "goes on", [task()])
    klp.done("reverse", "disabled").done("unload", "unloaded")
    result = run(main, src=src)
    assert result["failed"] and result["reversed"] and result["blocking"]
    assert result["actions"] == ["reverse", "unload"]


def test_being_enabled_stalled_and_left(klp, run, src):
    klp.verify().status(patch("fix", "enabling"), transition=transition("fix"))
    klp.error("wait", 8, "goes on", [task()])
    result = run(main, src=src, on_timeout="leave")
    assert result["timed_out"] and not result["reversed"]


def test_being_disabled_and_wanted_again(klp, run, src):
    klp.verify().status(patch("fix", "disabling"), transition=transition("fix"))
    klp.done("wait", "disabled").done("load", "enabled").status(patch("fix"))
    assert run(main, src=src, install=False)["actions"] == ["load"]


def test_disable(klp, run):
    klp.status(patch("fix"), installed=INSTALLED).uninstall().done("disable", "disabled")
    klp.status(patch("fix", "disabled"))
    result = run(main, name="fix", state="disabled")
    assert result["actions"] == ["uninstall", "disable"] and result["after"] == "disabled"
    assert klp.calls()[2] == ["disable", "fix"] + WAITING


@pytest.mark.parametrize("state", ["disabled", None])
def test_disabled_already(klp, run, state):
    patches = [patch("fix", state)] if state else []
    klp.status(*patches).status(*patches)
    assert run(main, name="fix", state="disabled")["changed"] is False


def test_disable_what_is_being_enabled(klp, run):
    klp.status(patch("fix", "enabling"), transition=transition("fix"))
    klp.done("reverse", "disabled").status(patch("fix", "disabled"))
    assert run(main, name="fix", state="disabled")["actions"] == ["reverse"]


def test_disable_what_is_being_disabled(klp, run):
    klp.status(patch("fix", "disabling"), transition=transition("fix"))
    klp.done("wait", "disabled").status(patch("fix", "disabled"))
    assert run(main, name="fix", state="disabled")["changed"] is False


def test_disable_leaves_what_is_installed(klp, run):
    klp.status(patch("fix"), installed=INSTALLED).done("disable", "disabled")
    klp.status(patch("fix", "disabled"), installed=INSTALLED)
    assert run(main, name="fix", state="disabled", install=False)["actions"] == ["disable"]


@pytest.mark.parametrize("state", ["enabled", "disabled", "disabling"])
def test_remove(klp, run, state):
    klp.status(patch("fix", state)).done("unload", "unloaded").status()
    result = run(main, name="fix", state="absent")
    assert result["actions"] == ["unload"] and result["after"] == "absent"


def test_remove_what_is_being_enabled(klp, run):
    klp.status(patch("fix", "enabling"), transition=transition("fix"))
    klp.done("reverse", "disabled").done("unload", "unloaded").status()
    assert run(main, name="fix", state="absent")["actions"] == ["reverse", "unload"]


def test_remove_what_is_only_installed(klp, run):
    klp.status(installed=INSTALLED).uninstall().status()
    assert run(main, name="fix", state="absent")["actions"] == ["uninstall"]


def test_absent_already(klp, run):
    klp.status(patch("other")).status(patch("other"))
    assert run(main, name="fix", state="absent")["changed"] is False


def test_removal_that_stalls(klp, run):
    klp.status(patch("fix")).error("unload", 8, "goes on", [task()]).done("reverse", "enabled")
    result = run(main, name="fix", state="absent")
    assert result["failed"] and result["reversed"] and result["blocking"]
    assert klp.calls()[1] == ["unload", "fix", "--timeout", "60.0"]


def test_removal_that_stalls_and_goes_on(klp, run):
    klp.status(patch("fix")).error("unload", 8, "goes on", [task()])
    result = run(main, name="fix", state="absent", on_timeout="leave")
    assert result["timed_out"] and not result["reversed"]


# Check mode: klp is asked only what changes nothing.


def test_check_tells_what_would_be_done(klp, run, src):
    klp.verify().status()
    result = run(main, check=True, src=src)
    assert result["changed"] and result["actions"] == ["load", "install"]
    assert result["after"] == "enabled" and result["diff"]["after"]["installed"]
    assert [c[0] for c in klp.calls()] == ["verify", "status"]


def test_check_tells_that_nothing_would_be_done(klp, run, src):
    klp.verify().status(patch("fix"))
    assert run(main, check=True, src=src, install=False)["changed"] is False


def test_check_fails_where_the_kernel_would_refuse(klp, run, src):
    klp.verify(usable=False).status()
    assert run(main, check=True, src=src)["exit_code"] == 6


def test_check_fails_while_another_transition_is_under_way(klp, run, src):
    klp.verify().status(patch("other", "enabling"), transition=transition("other"))
    result = run(main, check=True, src=src)
    assert result["exit_code"] == 7 and result["blocking"][0]["pid"] == 123


def test_check_by_name(klp, run):
    klp.status(installed=INSTALLED).verify()
    assert run(main, check=True, name="fix")["actions"] == ["load"]
    assert klp.calls()[1] == ["verify", str(klp.folder / "7.3.4" / "fix.ko")]


def test_check_by_name_says_what_it_cannot_know(klp, run):
    klp.status()
    assert "not checked" in str(run(main, check=True, name="fix")["warnings"])


@pytest.mark.parametrize(
    "state,wanted,actions,after",
    [
        ("enabled", "disabled", ["uninstall", "disable"], "disabled"),
        ("enabled", "absent", ["uninstall", "unload"], "absent"),
        (None, "disabled", ["uninstall"], "absent"),
        (None, "absent", ["uninstall"], "absent"),
    ],
)
def test_check_of_the_other_states(klp, run, state, wanted, actions, after):
    klp.status(*([patch("fix", state)] if state else []), installed=INSTALLED)
    result = run(main, check=True, name="fix", state=wanted)
    assert (result["actions"], result["after"]) == (actions, after)
    assert len(klp.calls()) == 1


@pytest.mark.parametrize(
    "arguments", [dict(), dict(state="absent", src="x"), dict(state="loaded", name="x")]
)
def test_arguments_that_make_no_sense(klp, run, arguments):
    assert run(main, **arguments)["failed"]
    assert klp.calls() == []
