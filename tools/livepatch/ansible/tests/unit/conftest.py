# SPDX-License-Identifier: GPL-2.0-or-later
"""A fake klp with a script, whose answers have the form that klp's schema says."""

import json
import os
import pathlib
import subprocess

import jsonschema
import pytest
from ansible.module_utils.testing import patch_module_args

HERE = pathlib.Path(__file__).resolve()
SCHEMA = pathlib.Path(
    os.environ.get("KLP_SCHEMA", HERE.parents[3] / "klp" / "schema" / "klp.schema.json")
)


def strict(schema):
    """Allow no fields but those of the schema: an answer must not promise more than klp does."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema["additionalProperties"] = False
        for value in schema.values():
            strict(value)
    elif isinstance(schema, list):
        for value in schema:
            strict(value)
    return schema


VALIDATOR = jsonschema.Draft202012Validator(strict(json.loads(SCHEMA.read_text())))


def patch(name, state="enabled", replace=False):
    """A patch, as klp list and klp status have it."""
    return dict(
        name=name, state=state, replace=replace, stack_order=1, remaining_tasks=0,
        transition_ms=31, references=0, objects=[],
    )


def task(pid=123, comm="backup"):
    return dict(
        pid=pid, comm=comm, obstacle="function", function="vfs_read", patch="fix",
        blocked_ms=5200, attempts=6, explanation="it sleeps in vfs_read", stack=None,
    )


def transition(name):
    return dict(
        patch=name, direction="patched", forced=False, signaled=False, running_ms=10,
        attempts=1, remaining=1, switched=None, tasks=[task()],
    )


class FakeKlp:
    """What klp is going to say, and what it was asked."""

    def __init__(self, folder):
        self.folder = folder
        self.steps = []

    def says(self, command, exit_code=0, **fields):
        answer = dict(version=1, command=command, **fields)
        errors = [e.message for e in VALIDATOR.iter_errors(answer)]
        assert not errors, (answer, errors)
        self.steps.append(dict(command=command, answer=answer, exit=exit_code))
        return self

    def says_text(self, command, text, exit_code):
        self.steps.append(dict(command=command, text=text, exit=exit_code))
        return self

    def says_other(self, command, answer, exit_code=0):
        """What no klp of this version says."""
        self.steps.append(dict(command=command, answer=answer, exit=exit_code))
        return self

    def status(self, *patches, transition=None, installed=(), boot=()):
        return self.says(
            "status", release="7.3.4", patches=list(patches), transition=transition,
            installed=[dict(release=r, name=n) for r, n in installed], boot=list(boot),
        )

    def verify(self, name="fix", usable=True):
        return self.says(
            "verify", exit_code=0 if usable else 6, file="fix.ko", name=name, release="7.3.4",
            usable=usable,
            checks=[
                dict(check="file", result="ok", message="a module"),
                dict(check="vermagic", result="ok" if usable else "failed",
                     message="for 7.3.4" if usable else "for 7.3.5, and this is 7.3.4"),
            ],
        )

    def done(self, command, outcome, name="fix", unloaded=()):
        return self.says(
            command, patch=name, outcome=outcome, waited_ms=40, transition_ms=31,
            unloaded=list(unloaded),
        )

    def install(self, replaced=False):
        return self.says(
            "install", name="fix", release="7.3.4", path="/var/lib/klp/7.3.4/fix.ko",
            replaced=replaced,
        )

    def uninstall(self):
        return self.says("uninstall", name="fix", release="7.3.4", loaded=True)

    def error(self, command, exit_code, message, blocking=()):
        return self.says(
            command, exit_code=exit_code,
            error=dict(exit_code=exit_code, message=message), blocking=list(blocking),
        )

    def write(self):
        (self.folder / "script.json").write_text(json.dumps(self.steps))

    def calls(self):
        """The commands, without --json and --state."""
        path = self.folder / "calls"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        assert all(line[:3] == ["--json", "--state", str(self.folder)] for line in lines)
        return [line[3:] for line in lines]

    def check_command_lines(self):
        """Let the real klp look at them, if there is one: 2 is a wrong command line."""
        if not os.environ.get("KLP_PROGRAM"):
            return
        empty = self.folder / "machine"
        empty.mkdir(exist_ok=True)
        for line in self.calls():
            ran = subprocess.run(
                [os.environ["KLP_PROGRAM"]] + line, env=dict(KLP_ROOT=str(empty)),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            )
            assert ran.returncode != 2, (line, ran.stdout)

    def left(self):
        return [s["command"] for s in json.loads((self.folder / "script.json").read_text())]


@pytest.fixture
def klp(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_KLP", str(tmp_path))
    return FakeKlp(tmp_path)


@pytest.fixture
def run(klp, capsys):
    """Run a module. Its result; what the script has must have been called."""

    def run_module(main, check=False, all_said=True, **arguments):
        klp.write()
        arguments.setdefault("executable", str(HERE.with_name("fake_klp.py")))
        arguments.update(state_folder=str(klp.folder), _ansible_check_mode=check)
        with patch_module_args(arguments), pytest.raises(SystemExit):
            main()
        if all_said:
            assert klp.left() == []
        klp.check_command_lines()
        return json.loads(capsys.readouterr().out)

    return run_module
