#!/usr/bin/python
# SPDX-License-Identifier: GPL-2.0-or-later

DOCUMENTATION = r"""
module: klp_info
short_description: Tell which livepatches a machine has
version_added: "1.0.0"
description:
  - Tells which livepatches are loaded, which transition is under way and what it waits for,
    what is installed for which kernel, and what is left out at boot. It changes nothing.
  - It runs C(klp --json status), and C(klp --json history) on request.
author:
  - The Rust livepatch authors (@livepatching)
options:
  executable:
    description: The program C(klp), as a name in the C(PATH) or in C(/usr/sbin), or as a path.
    type: str
    default: klp
  state_folder:
    description: Where C(klp) keeps installed patches, as its option C(--state).
    type: path
    default: /var/lib/klp
  history:
    description: Whether to read the last transitions, too. Only the core in Rust has them.
    type: bool
    default: false
requirements:
  - klp on the machine
seealso:
  - module: livepatch.klp.klp_patch
attributes:
  check_mode:
    description: Can run in check mode, and tells the same there.
    support: full
  diff_mode:
    description: Has no differences to show.
    support: none
"""

EXAMPLES = r"""
- name: Read the livepatches
  livepatch.klp.klp_info:
  register: klp

- name: Stop if a transition is under way
  ansible.builtin.assert:
    that: klp.transition is none
    fail_msg: "{{ klp.transition.patch }} waits for {{ klp.transition.remaining }} tasks"

- name: See how long the last transitions took
  livepatch.klp.klp_info:
    history: true
  register: klp
"""

RETURN = r"""
release:
  description: The release of the running kernel.
  returned: success
  type: str
  sample: 7.3.4
patches:
  description: The livepatch modules that are loaded, as C(klp --json status) has them.
  returned: success
  type: list
  elements: dict
  sample: [{"name": "fix", "state": "enabled", "replace": false}]
enabled:
  description: The names of the patches that are enabled, in klp's order, which is that of the kernel where it tells it.
  returned: success
  type: list
  elements: str
  sample: [fix]
transition:
  description: The transition under way, with the tasks that block it; none if there is none.
  returned: success
  type: dict
  sample: {"patch": "fix", "direction": "patched", "remaining": 2}
installed:
  description: What is installed, for which kernel release.
  returned: success
  type: list
  elements: dict
  sample: [{"release": "7.3.4", "name": "fix"}]
boot:
  description: How the installed patches did at boot, and which are left out.
  returned: success
  type: list
  elements: dict
  sample: [{"name": "fix", "failures": 0, "left_out": false}]
history:
  description: The last transitions; none if the kernel does not tell.
  returned: if O(history=true)
  type: list
  elements: dict
  sample: [{"patch": "fix", "direction": "patched", "duration_ms": 31}]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.livepatch.klp.plugins.module_utils.klp import (
    ARGUMENTS,
    Klp,
    KlpError,
    fail,
)


def main():
    module = AnsibleModule(
        argument_spec=dict(ARGUMENTS, history=dict(type="bool", default=False)),
        supports_check_mode=True,
    )
    klp = Klp(module)
    try:
        status = klp.status()
        result = dict(
            (field, status[field])
            for field in ("release", "patches", "transition", "installed", "boot")
        )
        result["enabled"] = [
            p["name"] for p in status["patches"] if p["state"] == "enabled"
        ]
    except KlpError as error:
        fail(module, error)
    if module.params["history"]:
        try:
            result["history"] = klp.run("history")["transitions"]
        except KlpError as error:
            result["history"] = None
            module.warn("no history: {0}".format(error.message))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
