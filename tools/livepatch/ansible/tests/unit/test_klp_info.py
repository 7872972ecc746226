# SPDX-License-Identifier: GPL-2.0-or-later
"""klp_info, with a fake klp."""

from ansible_collections.livepatch.klp.plugins.modules.klp_info import main
from conftest import patch, transition


def test_tells_what_klp_tells(klp, run):
    klp.status(
        patch("old"), patch("fix", "enabling"), patch("gone", "disabled"),
        transition=transition("fix"), installed=[("7.3.4", "fix")],
        boot=[dict(name="fix", failures=1, left_out=False)],
    )
    result = run(main)
    assert result["changed"] is False
    assert result["release"] == "7.3.4"
    assert result["enabled"] == ["old"]
    assert result["transition"]["patch"] == "fix"
    assert result["installed"] == [dict(release="7.3.4", name="fix")]
    assert result["boot"][0]["failures"] == 1
    assert "history" not in result


def test_tells_the_same_in_check_mode(klp, run):
    klp.status(patch("fix"))
    assert run(main, check=True)["enabled"] == ["fix"]


def test_history(klp, run):
    klp.status().says("history", transitions=[])
    assert run(main, history=True)["history"] == []


def test_a_kernel_without_history_is_no_failure(klp, run):
    klp.status().error("history", 1, "this kernel tells no history")
    result = run(main, history=True)
    assert result["history"] is None
    assert "no history" in str(result["warnings"])


def test_a_kernel_without_livepatch(klp, run):
    klp.error("status", 4, "this kernel has no livepatch")
    result = run(main)
    assert result["failed"] and result["exit_code"] == 4
    assert result["msg"] == "this kernel has no livepatch"


def test_a_klp_of_another_version(klp, run):
    klp.says_other("status", dict(version=2, command="status"))
    assert "version 2" in run(main)["msg"]


def test_a_klp_that_says_no_json(klp, run):
    klp.says_text("status", "Illegal instruction", 132)
    result = run(main)
    assert result["failed"] and result["exit_code"] == 132
    assert "Illegal instruction" in result["msg"]


def test_fields_that_it_does_not_know(klp, run):
    klp.status(patch("fix"))
    klp.steps[0]["answer"]["new"] = 1
    klp.steps[0]["answer"]["patches"][0]["new"] = 1
    assert run(main)["enabled"] == ["fix"]


def test_no_klp(klp, run):
    result = run(main, executable="klp-that-is-not-there")
    assert result["failed"] and "not installed" in result["msg"]
