#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Check the alert rules, the dashboard and the units: check.py PROMTOOL KLP.

Each file has the metrics that the program klp really writes, and no others of its own, and
promtool takes each expression. Each check that succeeds is counted.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

HERE = pathlib.Path(__file__).resolve().parent
# Not klp's, but of the others that the files name.
OTHERS = {"node_textfile_mtime_seconds", "node_uname_info", "up"}
passed = failed = 0


def check(name, what_is_wrong):
    global passed, failed
    if what_is_wrong:
        failed += 1
        print("FAILED: {0}: {1}".format(name, what_is_wrong))
    else:
        passed += 1
        print("ok: {0}".format(name))


def run(*command, **options):
    """What a command says if it fails, and else nothing."""
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         check=False, cwd=HERE, **options)
    return "" if ran.returncode == 0 else ran.stdout or "status {0}".format(ran.returncode)


def metrics_of_klp(klp, folder):
    """What klp writes on a machine that has everything: a folder stands for it. And the text."""
    for path, content in {
        "proc/sys/kernel/osrelease": "7.3.4\n",
        "sys/kernel/livepatch/fix/enabled": "1\n",
        "sys/kernel/livepatch/fix/transition": "0\n",
        "sys/kernel/livepatch/fix/transition_ms": "31\n",
        "sys/module/fix/taint": "OEK\n",
        "sys/module/fix/refcnt": "0\n",
        "var/lib/klp/7.3.4/fix.ko": "",
        "var/lib/klp/7.3.4/booting/fix": "failures=2 boot=x tried=no",
    }.items():
        path = folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    out = folder / "klp.prom"
    said = run(klp, "metrics", "--output", str(out), env=dict(os.environ, KLP_ROOT=str(folder)))
    check("klp metrics writes a file", said)
    check("and nothing beside it", [p.name for p in folder.iterdir() if "prom" in p.name] != ["klp.prom"])
    text = out.read_text() if out.exists() else ""
    return set(re.findall(r"^# TYPE (\S+)", text, re.M)), text


def names_in(expression):
    """The metrics that an expression names. Labels and functions have other names."""
    return set(re.findall(r"\b(?:klp_[a-z_]+|klp:[a-z_:]+|node_[a-z_]+|up)\b", expression))


def check_dashboard(known, promtool):
    dashboard = json.loads((HERE / "klp-dashboard.json").read_text())
    panels = dashboard["panels"]
    ids = [p["id"] for p in panels]
    check("panels have ids of their own", sorted(ids) != sorted(set(ids)))
    taken = {}
    overlaps = []
    for p in panels:
        g = p["gridPos"]
        if g["x"] + g["w"] > 24:
            overlaps.append(p["title"])
        for x in range(g["x"], g["x"] + g["w"]):
            for y in range(g["y"], g["y"] + g["h"]):
                if taken.setdefault((x, y), p["id"]) != p["id"]:
                    overlaps.append(p["title"])
    check("panels do not overlap", sorted(set(overlaps)))
    expressions = {(p["id"], t["refId"]): t["expr"] for p in panels for t in p["targets"]}
    check("each panel has an expression", [p["title"] for p in panels if not p["targets"]])
    used = set().union(*(names_in(e) for e in expressions.values()))
    check("the dashboard names metrics that exist", sorted(used - known - OTHERS))
    check("the dashboard shows each of klp's metrics",
          sorted(k for k in known if k.startswith("klp_") and k not in used))
    variables = {v["name"] for v in dashboard["templating"]["list"]}
    mentioned = set(re.findall(r"\$\{?([a-z]+)", json.dumps(panels)))
    check("its variables are those that it uses", sorted(mentioned ^ variables))
    # With values for the variables promtool has to take them.
    rules = {"groups": [{"name": "dashboard", "rules": [
        {"record": "panel:{0}".format(i), "expr": re.sub(r"\$[a-z]+", ".*", e)}
        for i, e in enumerate(expressions.values())]}]}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(rules, f)
        f.flush()
        check("promtool takes the {0} expressions of the dashboard".format(len(expressions)),
              run(promtool, "check", "rules", f.name))


def check_rules(known, promtool):
    check("promtool check rules", run(promtool, "check", "rules", "--lint-fatal", "klp-rules.yml"))
    tests = (HERE / "klp-rules-test.yml").read_text()
    rules = (HERE / "klp-rules.yml").read_text()
    check("promtool test rules", run(promtool, "test", "rules", "klp-rules-test.yml"))
    alerts = re.findall(r"- alert: (\S+)", rules)
    for alert in alerts:
        parts = tests.split("alertname: {0}\n".format(alert))[1:]
        quiet = [p for p in parts if "exp_alerts: []" in p.split("alertname:")[0]]
        check("{0} is tested where it fires".format(alert), len(parts) - len(quiet) < 1)
        check("{0} is tested where it does not".format(alert), len(quiet) < 1)
    used = set()
    for rule in yaml.safe_load(rules)["groups"][0]["rules"]:
        used |= names_in(rule["expr"])
        # Queries in annotations.
        for text in re.findall(r'"([^"]*)"', str(rule.get("annotations", {}).get("description", ""))):
            used |= names_in(text)
    check("the rules name metrics that exist", sorted(used - known - OTHERS))


def check_units():
    service = (HERE / "klp-metrics.service").read_text()
    check("the unit calls klp metrics with --output", "klp metrics --output" not in service)
    name = re.search(r"KLP_PROM=.*/(\S+)", service).group(1)
    for path in ("klp-rules.yml", "klp-dashboard.json"):
        text = (HERE / path).read_text().replace("\\\\\\\\", "\\\\")
        check("{0} looks for the unit's file".format(path), name.replace(".", "\\\\.") not in text)


def main():
    promtool, klp = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        known, text = metrics_of_klp(klp, pathlib.Path(folder))
    check("klp has metrics", len(known) < 8)
    check("promtool check metrics", run(promtool, "check", "metrics", input=text))
    recorded = set(re.findall(r"record: (\S+)", (HERE / "klp-rules.yml").read_text()))
    check_rules(known | recorded, promtool)
    check_dashboard(known | recorded, promtool)
    check_units()
    print("prometheus: {0} passed, {1} failed".format(passed, failed))
    return failed != 0


sys.exit(main())
