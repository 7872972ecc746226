#!/usr/bin/python
# SPDX-License-Identifier: GPL-2.0-or-later

DOCUMENTATION = r"""
module: klp_patch
short_description: Enable, disable or remove a livepatch
version_added: "1.0.0"
description:
  - Enables a livepatch and waits until its transition has ended, disables it, or removes it.
  - Before a patch is loaded, C(klp verify) checks whether the kernel would take it. If the
    transition does not end within O(timeout), it is turned back by default and the module
    fails; the result names the tasks that blocked it.
  - A patch that is enabled already is left as it is. The module fails if another build of it
    is enabled, as far as the kernel tells the build.
author:
  - The Rust livepatch authors (@livepatching)
options:
  state:
    description:
      - V(enabled) loads the patch, unless it is enabled. V(disabled) disables it and leaves the
        module of the kernel. V(absent) disables it and unloads the module.
    type: str
    choices: [enabled, disabled, absent]
    default: enabled
  name:
    description:
      - The name of the patch, which is that of its kernel module.
      - Without O(src), V(state=enabled) loads the patch of this name that is installed for the
        running kernel, or is in C(/lib/modules). With O(src) it is what the file has to be.
    type: str
  src:
    description:
      - The module's file, on the controlling machine; it is copied to a temporary folder of the
        machine. Relative paths are looked for in the folder C(files), too.
      - Required if O(name) is missing.
    type: path
  remote_src:
    description: Whether O(src) is on the machine already.
    type: bool
    default: false
  install:
    description:
      - Whether C(klp boot) should do the same at the next boot. For O(state=enabled) the file of
        O(src) is installed, after it has been enabled. For the other states the patch is
        uninstalled, before it is disabled.
      - What is installed is left as it is if this is V(false).
    type: bool
    default: true
  parameters:
    description: Parameters of the module, as C(KEY=VALUE).
    type: list
    elements: str
    default: []
  timeout:
    description: How many seconds a transition may take.
    type: float
    default: 60
  on_timeout:
    description:
      - What to do with a transition that has not ended in time. V(revert) turns it back, so that
        a patch that was being enabled is unloaded, and one that was being disabled is enabled
        again; V(leave) leaves it, and it goes on.
    type: str
    choices: [revert, leave]
    default: revert
  executable:
    description: The program C(klp), as a name in the C(PATH) or in C(/usr/sbin), or as a path.
    type: str
    default: klp
  state_folder:
    description: Where C(klp) keeps installed patches, as its option C(--state).
    type: path
    default: /var/lib/klp
requirements:
  - klp on the machine
  - root, to change anything
notes:
  - A cumulative patch (C(replace)) unloads those that it replaces. To remove it does not bring
    them back; RV(unloaded) names them.
seealso:
  - module: livepatch.klp.klp_info
attributes:
  check_mode:
    description:
      - Runs C(klp verify) and C(klp status), and tells what would be done. It fails where the
        kernel would refuse the file, or a transition is under way. It cannot know whether the
        transition would end in time. The file is copied to a temporary folder for that.
    support: full
  diff_mode:
    description: Shows the state of the patch and what is installed.
    support: full
  action:
    description: A part of it copies the file from the controlling machine.
    support: full
"""

EXAMPLES = r"""
- name: Enable a patch now and at each boot
  livepatch.klp.klp_patch:
    src: fix.ko
    timeout: 120

- name: Try a patch until the next boot
  livepatch.klp.klp_patch:
    src: /root/fix.ko
    remote_src: true
    install: false
    on_timeout: leave

- name: Remove it
  livepatch.klp.klp_patch:
    name: fix
    state: absent
"""

RETURN = r"""
name:
  description: The name of the patch.
  returned: success
  type: str
  sample: fix
before:
  description: Its state before; C(absent) if its module was not loaded.
  returned: once klp status has been read
  type: str
  sample: absent
after:
  description: Its state after; in check mode, the one that it would have.
  returned: success
  type: str
  sample: enabled
actions:
  description: The commands of klp that have changed something, or would in check mode.
  returned: once klp status has been read
  type: list
  elements: str
  sample: [load, install]
checks:
  description: What C(klp verify) has found.
  returned: if a file was verified
  type: list
  elements: dict
  sample: [{"check": "vermagic", "result": "ok", "message": "for 7.3.4"}]
transition_ms:
  description: How long the transition took, if the kernel says so.
  returned: if there was one
  type: int
  sample: 31
waited_ms:
  description: How long klp has waited for the transition.
  returned: if there was one
  type: int
  sample: 40
unloaded:
  description: The patches that this one has replaced.
  returned: if it was loaded
  type: list
  elements: str
  sample: [old_fix]
exit_code:
  description: The exit status of klp.
  returned: failure
  type: int
  sample: 9
timed_out:
  description: Whether the transition did not end in time.
  returned: failure
  type: bool
reversed:
  description: Whether it was turned back for that.
  returned: failure
  type: bool
blocking:
  description: The tasks that blocked the transition.
  returned: failure
  type: list
  elements: dict
  sample: [{"pid": 123, "comm": "backup", "obstacle": "function", "function": "vfs_read"}]
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.livepatch.klp.plugins.module_utils.klp import (
    ARGUMENTS,
    BUSY,
    NOT_USABLE,
    REVERSED,
    TIMED_OUT,
    Klp,
    KlpError,
    fail,
)

# Where the kernel has the modules that are loaded.
SYS_MODULE = "/sys/module"


def read(path):
    """A file's content, or None."""
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return None


class Patch:
    """A patch on its way to the state that it should have."""

    def __init__(self, module, klp):
        self.module = module
        self.klp = klp
        self.params = module.params
        self.src = self.params["src"]
        self.wanted = self.params["state"]
        self.name = (self.params["name"] or "").replace("-", "_")
        self.result = dict(changed=False, actions=[])

    # What is known.

    def look(self):
        """Read the machine's state."""
        self.status = self.klp.status()
        self.state = "absent"
        for patch in self.status["patches"]:
            if patch["name"] == self.name:
                self.state = patch["state"]
        release = self.status["release"]
        # The kernel writes names with _, and a file may have been installed with -.
        self.installed = [
            i["name"]
            for i in self.status["installed"]
            if i["release"] == release and i["name"].replace("-", "_") == self.name
        ]

    def verify(self):
        """Let klp check the file. This also tells the patch's name."""
        answer = self.klp.run("verify", self.src)
        self.result["checks"] = answer["checks"]
        name = answer["name"].replace("-", "_")
        if not self.name:
            self.name = name
        elif name != self.name:
            raise KlpError(
                "{0} is the patch {1}, and not {2}".format(self.src, name, self.name)
            )
        self.verified = answer

    def verify_by_name(self):
        """In check mode: verify what klp load would take."""
        if not self.installed:
            self.module.warn(
                "{0} is not installed for {1}; whether /lib/modules has it was not "
                "checked".format(self.name, self.status["release"])
            )
            return
        answer = self.klp.run("verify", self.installed_file())
        self.result["checks"] = answer["checks"]
        self.need_usable(answer, self.installed_file())

    def need_usable(self, answer, path):
        """Fail if a check of klp verify has failed."""
        if not answer["usable"]:
            text = "; ".join(
                c["message"] for c in answer["checks"] if c["result"] == "failed"
            )
            raise KlpError("{0} is not usable here: {1}".format(path, text), NOT_USABLE)

    def other_build_is_loaded(self):
        """Whether the loaded module is not the one of the file, by its build ID."""
        if not self.src:
            return False
        note = read(
            os.path.join(SYS_MODULE, self.name, "notes", ".note.gnu.build-id")
        )
        # The file has the note as it is.
        return bool(note) and note not in (read(self.src) or b"")

    def installed_file(self):
        """The path of the installed file."""
        return os.path.join(
            self.params["state_folder"],
            self.status["release"],
            self.installed[0] + ".ko",
        )

    def needs_install(self):
        """Whether the file of src is not yet the one that is installed."""
        if not self.params["install"] or not self.src:
            return False
        if not self.installed:
            return True
        return read(self.installed_file()) != read(self.src)

    # What is done.

    def act(self, command, *arguments):
        """Run a command that changes something, unless this is check mode."""
        self.result["changed"] = True
        self.result["actions"].append(command)
        if self.module.check_mode:
            return {}
        answer = self.klp.run(command, *arguments)
        for field in ("transition_ms", "waited_ms", "unloaded"):
            if answer.get(field) is not None:
                self.result[field] = answer[field]
        return answer

    def waiting(self):
        """The options of klp for a transition that this module starts."""
        return [
            "--timeout",
            self.params["timeout"],
            "--on-timeout",
            self.params["on_timeout"],
        ]

    def wait(self):
        """Wait for a transition that somebody else has started. That changes nothing."""
        if self.module.check_mode:
            return
        try:
            self.klp.run("wait", self.name, "--timeout", self.params["timeout"])
        except KlpError as error:
            if (
                error.exit_code != TIMED_OUT
                or self.params["on_timeout"] != "revert"
                or self.state != "enabling"
            ):
                raise
            # As klp load would have done.
            self.act("reverse", self.name, "--timeout", max(self.params["timeout"], 60))
            self.act("unload", self.name)
            raise KlpError(error.message, REVERSED, error.blocking)

    def unload(self):
        """Disable and unload. klp unload does not turn back by itself."""
        try:
            self.act("unload", self.name, "--timeout", self.params["timeout"])
        except KlpError as error:
            if error.exit_code != TIMED_OUT or self.params["on_timeout"] != "revert":
                raise
            self.act("reverse", self.name, "--timeout", max(self.params["timeout"], 60))
            raise KlpError(error.message, REVERSED, error.blocking)

    def need_no_other_transition(self):
        """In check mode: fail as klp would, if it could not begin now."""
        under_way = self.status["transition"]
        if (
            self.module.check_mode
            and under_way
            and under_way["patch"] != self.name
        ):
            raise KlpError(
                "a transition of {0} is under way; wait for it, or see what it waits for: "
                "klp why".format(under_way["patch"]),
                BUSY,
                under_way.get("tasks"),
            )

    def enable(self):
        if self.state == "enabled" and self.other_build_is_loaded():
            raise KlpError(
                "another build of {0} is enabled; give the new one another name, or remove "
                "this one first (state=absent)".format(self.name)
            )
        if self.state == "disabling":
            # It is on its way out; klp load then unloads its module.
            self.wait()
            self.state = "disabled"
        if self.state == "enabling":
            self.wait()
        elif self.state != "enabled":
            if self.src:
                self.need_usable(self.verified, self.src)
            self.need_no_other_transition()
            if self.module.check_mode and not self.src:
                self.verify_by_name()
            what = self.src or self.name
            self.act("load", *([what] + self.params["parameters"] + self.waiting()))
        # Not before the patch is enabled: a file that is installed is loaded at each boot.
        if self.needs_install():
            self.act("install", self.src)

    def uninstall(self):
        if self.params["install"]:
            for name in self.installed:
                self.act("uninstall", name)

    def disable(self):
        self.uninstall()
        if self.state == "enabled":
            self.need_no_other_transition()
            self.act("disable", self.name, *self.waiting())
        elif self.state == "enabling":
            self.act("reverse", self.name, "--timeout", self.params["timeout"])
        elif self.state == "disabling":
            self.wait()

    def remove(self):
        self.uninstall()
        if self.state == "enabling":
            self.act("reverse", self.name, "--timeout", self.params["timeout"])
            self.act("unload", self.name)
        elif self.state != "absent":
            if self.state == "enabled":
                self.need_no_other_transition()
            self.unload()

    def run(self):
        if self.src and self.wanted == "enabled":
            self.verify()
        self.look()
        self.result.update(name=self.name, before=self.state)
        had = list(self.installed)
        {"enabled": self.enable, "disabled": self.disable, "absent": self.remove}[
            self.wanted
        ]()
        before = self.result["before"]
        if self.module.check_mode:
            after, has = self.wanted, had
            if self.wanted == "disabled" and before == "absent":
                after = "absent"
            if "install" in self.result["actions"]:
                has = [self.name]
            elif "uninstall" in self.result["actions"]:
                has = []
        else:
            self.look()
            after, has = self.state, self.installed
        self.result.update(
            after=after,
            diff=dict(
                before=dict(state=before, installed=bool(had)),
                after=dict(state=after, installed=bool(has)),
            ),
        )


def main():
    module = AnsibleModule(
        argument_spec=dict(
            ARGUMENTS,
            state=dict(
                type="str",
                choices=["enabled", "disabled", "absent"],
                default="enabled",
            ),
            name=dict(type="str"),
            src=dict(type="path"),
            remote_src=dict(type="bool", default=False),
            install=dict(type="bool", default=True),
            parameters=dict(type="list", elements="str", default=[]),
            timeout=dict(type="float", default=60),
            on_timeout=dict(
                type="str", choices=["revert", "leave"], default="revert"
            ),
        ),
        required_one_of=[("name", "src")],
        required_if=[("state", "disabled", ["name"]), ("state", "absent", ["name"])],
        supports_check_mode=True,
    )
    patch = Patch(module, Klp(module))
    try:
        patch.run()
    except KlpError as error:
        # changed is what has been done until then.
        fail(module, error, **patch.result)
    module.exit_json(**patch.result)


if __name__ == "__main__":
    main()
