#!/usr/bin/env python
# SPDX-License-Identifier: GPL-2.0-or-later
"""A klp that plays answers: FAKE_KLP is a folder with script.json, a list of steps.

A step has the command that has to come next ("command"), the exit status ("exit") and what is
printed ("answer", an object; or "text"). What was called goes to the file calls. A command that
the script does not have next fails in a way that no test expects.
"""

import json
import os
import sys

folder = os.environ["FAKE_KLP"]
with open(os.path.join(folder, "calls"), "a", encoding="utf-8") as f:
    f.write(json.dumps(sys.argv[1:]) + "\n")
path = os.path.join(folder, "script.json")
with open(path, encoding="utf-8") as f:
    steps = json.load(f)
# Before the command are --json and --state FOLDER.
if not steps or sys.argv[4:5] != [steps[0]["command"]]:
    sys.exit("fake klp: {0} was not expected".format(sys.argv[1:]))
step = steps.pop(0)
with open(path, "w", encoding="utf-8") as f:
    json.dump(steps, f)
if "answer" in step:
    print(json.dumps(step["answer"]))
else:
    sys.stderr.write(step["text"])
sys.exit(step["exit"])
