# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of klp_patch that runs on the controlling machine: it copies the module's file."""

import os

from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Copy src to the machine's temporary folder, and run the module there."""

    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        arguments = self._task.args.copy()
        src = arguments.get("src")
        try:
            if (
                src
                and arguments.get("state", "enabled") == "enabled"
                and not boolean(arguments.get("remote_src", False), strict=False)
            ):
                try:
                    here = self._find_needle("files", src)
                except AnsibleError as error:
                    return dict(result, failed=True, msg=str(error))
                there = self._connection._shell.join_path(
                    self._connection._shell.tmpdir or self._make_tmp_path(),
                    os.path.basename(src),
                )
                self._transfer_file(here, there)
                self._fixup_perms2((self._connection._shell.tmpdir, there))
                arguments.update(src=there, remote_src=True)
            result.update(
                self._execute_module(
                    module_name="livepatch.klp.klp_patch",
                    module_args=arguments,
                    task_vars=task_vars,
                )
            )
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result
