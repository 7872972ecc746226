# SPDX-License-Identifier: GPL-2.0-or-later
"""What the modules share: run klp with --json, and read what it says."""

import json

# The version of klp's JSON that this knows.
VERSION = 1

# Where klp keeps installed patches, unless it is told otherwise.
STATE = "/var/lib/klp"

# Exit statuses of klp that the modules tell apart.
NOT_USABLE = 6
BUSY = 7
TIMED_OUT = 8
REVERSED = 9

ARGUMENTS = dict(
    executable=dict(type="str", default="klp"),
    state_folder=dict(type="path", default=STATE),
)


class KlpError(Exception):
    """klp has failed: its message, its exit status, and the tasks that block a transition."""

    def __init__(self, message, exit_code=1, blocking=None):
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.blocking = blocking or []


class Klp:
    """The klp of the machine."""

    def __init__(self, module):
        self.module = module
        name = module.params["executable"]
        if "/" in name:
            self.program = name
        else:
            # A login without /usr/sbin in its PATH is common.
            self.program = module.get_bin_path(
                name, opt_dirs=["/usr/sbin", "/usr/local/sbin"]
            )
        if not self.program:
            module.fail_json(
                msg="{0} is not installed on this machine; install klp to /usr/sbin, "
                "or set executable".format(name)
            )

    def run(self, *arguments):
        """Run a command, and return its object. The checks of verify may have failed in it."""
        options = ["--json"]
        if self.module.params["state_folder"] != STATE:
            options += ["--state", self.module.params["state_folder"]]
        code, out, err = self.module.run_command(
            [self.program] + options + [str(a) for a in arguments]
        )
        try:
            answer = json.loads(out)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            text = err.strip() or "no JSON, and nothing on stderr"
            raise KlpError(
                "klp {0}: exit status {1}: {2}".format(
                    " ".join(str(a) for a in arguments), code, text
                ),
                code or 1,
            )
        if answer.get("version") != VERSION:
            raise KlpError(
                "this klp speaks version {0} of its JSON, and the collection version {1}; "
                "install a collection that fits".format(answer.get("version"), VERSION)
            )
        error = answer.get("error")
        if error:
            raise KlpError(
                error.get("message", "no message"),
                error.get("exit_code", code),
                answer.get("blocking"),
            )
        return answer

    def status(self):
        """What is loaded, under way, and installed."""
        return self.run("status")


def fail(module, error, **result):
    """End a module with an error of klp."""
    module.fail_json(
        msg=error.message,
        exit_code=error.exit_code,
        blocking=error.blocking,
        timed_out=error.exit_code in (TIMED_OUT, REVERSED),
        reversed=error.exit_code == REVERSED,
        **result
    )
