// SPDX-License-Identifier: GPL-2.0

//! Commands that only read, as text and as JSON that is checked against the schema.

mod common;

use common::{check, Machine};
use std::process::Command;

fn two_patches() -> Machine {
    let m = Machine::new();
    m.patch("a", "1", "0");
    m.write("sys/kernel/livepatch/a/replace", "0\n");
    m.write("sys/kernel/livepatch/a/stack_order", "1\n");
    m.write("sys/kernel/livepatch/a/transition_ms", "31\n");
    m.write("sys/kernel/livepatch/a/vmlinux/patched", "1\n");
    m.write(
        "sys/kernel/livepatch/a/vmlinux/cmdline_proc_show,1/new_func",
        "live_cmdline [a]\n",
    );
    m.write("sys/kernel/livepatch/a/ext4/patched", "0\n");
    m.write("sys/kernel/livepatch/a/ext4/f,2/x", "");
    m.write("sys/module/old/taint", "K");
    m.write("sys/module/old/refcnt", "0");
    m
}

#[test]
fn list_and_status() {
    let m = Machine::new();
    assert_eq!(m.klp(&["list"]).is(0).out, "no patch is loaded\n");
    m.json(&["list"], 0);
    m.json(&["status"], 0);
    let m = two_patches();
    let out = m.klp(&["list"]).is(0).out.clone();
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        lines[1].split_whitespace().collect::<Vec<_>>(),
        ["a", "enabled", "2", "ext4,vmlinux"]
    );
    assert!(lines[2].starts_with("old   disabled"), "{out}");
    let value = m.json(&["list"], 0);
    assert_eq!(
        value["patches"][0]["objects"][1]["functions"][0]["new_function"],
        "live_cmdline"
    );
    let out = m.klp(&["status", "a"]).is(0).out.clone();
    for text in [
        "last transition took: 31 ms",
        "cmdline_proc_show -> live_cmdline",
        "f (number 2)",
        "ext4 (not loaded)",
    ] {
        assert!(out.contains(text), "{out}");
    }
    m.klp(&["status", "none"]).failed(5, "no patch none");
}

#[test]
fn status_has_what_is_installed_and_what_is_left_out() {
    let m = Machine::new();
    m.write("var/lib/klp/7.3.4/p.ko", "");
    m.write("var/lib/klp/7.3.5/p.ko", "");
    m.write("var/lib/klp/7.3.4/booting/p", "failures=2 boot=x tried=no");
    let out = m.klp(&["status"]).is(0).out.clone();
    assert!(out.contains("installed for 7.3.5: p"), "{out}");
    assert!(
        out.contains("p has failed at 2 boots and is LEFT OUT"),
        "{out}"
    );
    let value = m.json(&["status"], 0);
    assert_eq!(value["boot"][0]["left_out"], true);
    assert_eq!(value["installed"].as_array().unwrap().len(), 2);
}

#[test]
fn why_with_the_core_in_rust() {
    let m = Machine::new();
    assert!(m.klp(&["why"]).is(0).out.contains("no transition"));
    m.patch("p", "1", "1");
    m.stalled("p");
    let out = m.klp(&["why"]).is(0).out.clone();
    for text in [
        "enabling p for 5.2 s: 2 tasks left",
        "task foo \\u{1b} (123), blocked for 5.2 s, checked 6 times",
        "It is in klpr_wait, or will return to it, and the patch p changes that function.",
        "klpr_wait+0x1/0x2 [target]",
        "task bar (77), blocked for 10 ms, checked 1 time\n",
        "klp reverse p",
    ] {
        assert!(out.contains(text), "{text} is not in {out}");
    }
    let value = m.json(&["why"], 0);
    assert_eq!(value["transition"]["tasks"][0]["comm"], "foo \u{1b}");
    assert_eq!(value["transition"]["tasks"][1]["obstacle"], "running");
}

#[test]
fn why_with_the_core_in_c() {
    let m = Machine::new();
    m.patch("p", "1", "1");
    m.write("sys/kernel/livepatch/p/target/klpr_wait,1/x", "");
    for (tid, state) in [("5", "0"), ("6", "1"), ("7", "0")] {
        let dir = format!("proc/5/task/{tid}");
        m.write(&format!("{dir}/patch_state"), state);
        m.write(&format!("{dir}/comm"), format!("thread{tid}\n"));
        m.write(
            &format!("{dir}/stack"),
            "[<0>] schedule+0x1/0x2\n[<0>] klpr_wait+0x1/0x2 [target]\n",
        );
    }
    m.write("proc/5/task/7/stack", "");
    let value = m.json(&["why"], 0);
    assert_eq!(value["transition"]["remaining"], 2);
    let out = m.klp(&["why"]).is(0).out.clone();
    assert!(
        out.contains("task thread5 (5)\n  It is in klpr_wait"),
        "{out}"
    );
    assert!(out.contains("does not say what keeps it"), "{out}");
}

#[test]
fn watch_ends_with_the_transition() {
    let m = Machine::new();
    m.klp(&["watch"]).is(0);
    m.patch("p", "1", "1");
    m.stalled("p");
    let klp = m.start(&["watch", "--json", "--interval=0.05"]);
    std::thread::sleep(std::time::Duration::from_millis(200));
    m.write("sys/kernel/debug/livepatch/transition", "");
    let out = String::from_utf8(klp.wait_with_output().unwrap().stdout).unwrap();
    let lines: Vec<_> = out.lines().collect();
    assert!(lines.len() >= 2);
    for line in lines {
        check(&serde_json::from_str(line).unwrap());
    }
}

/// What checks all JSON here finds what is wrong.
#[test]
fn the_schema_is_kept() {
    let schema = common::schema::Schema::new();
    let boot = serde_json::json!({ "name": "p", "failures": 1, "left_out": false });
    let good = serde_json::json!({
        "version": 1, "command": "status", "release": "7.3.4", "patches": [],
        "transition": null, "installed": [], "boot": [boot],
    });
    assert_eq!(schema.check(&good), Ok(()));
    for (pointer, value) in [
        ("/version", serde_json::json!(2)),
        ("/command", serde_json::json!("list")),
        ("/release", serde_json::json!(null)),
        ("/patches", serde_json::json!({})),
        ("/patches", serde_json::json!([{ "name": "p" }])),
        ("/transition", serde_json::json!({})),
        ("/boot/0/failures", serde_json::json!(-1)),
        ("/boot/0/failures", serde_json::json!(1.5)),
        ("/boot/0/left_out", serde_json::json!("no")),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(schema.check(&bad).is_err(), "{bad}");
    }
    let mut more = good.clone();
    more["new"] = serde_json::json!(1);
    assert!(schema.check(&more).is_err());
    let mut less = good;
    less.as_object_mut().unwrap().remove("boot");
    assert!(schema.check(&less).is_err());
}

#[test]
fn history() {
    let m = Machine::new();
    m.klp(&["history"]).failed(1, "keeps no history");
    m.write("sys/kernel/debug/livepatch/history", "");
    assert!(m
        .klp(&["history"])
        .is(0)
        .out
        .contains("no transition has ended"));
    m.write(
        "sys/kernel/debug/livepatch/history",
        "patch=a direction=unpatched outcome=reversed was_forced=yes signaled=no ended_ago_ms=1000 \
         duration_ms=5231 attempts=6 exit_to_user=10 slowest_pid=123 slowest_comm=\"foo\" \
         slowest_obstacle=function slowest_function=\"klpr_wait\"\n",
    );
    let out = m.klp(&["history"]).is(0).out.clone();
    for text in ["reversed by force", "foo (123) in klpr_wait"] {
        assert!(out.contains(text), "{out}");
    }
    assert_eq!(
        m.json(&["history"], 0)["transitions"][0]["slowest"]["pid"],
        123
    );
}

#[test]
fn metrics() {
    let m = two_patches();
    let out = m.klp(&["metrics"]).is(0).out.clone();
    assert!(out.contains("klp_patches_loaded 2\n"), "{out}");
    m.json(&["metrics"], 0);
    let file = m.path("klp.prom");
    m.klp(&["metrics", "--output", file.to_str().unwrap()])
        .is(0);
    assert_eq!(m.read("klp.prom"), out);
    m.klp(&["metrics", "--output", "/no/such/file"])
        .failed(5, "cannot write");
}

#[test]
fn help_completions_and_manual() {
    let m = Machine::new();
    let help = m.klp(&["--help"]).is(0).out.clone();
    assert!(help.contains("130  interrupted"), "{help}");
    assert!(!help.contains("--root"), "{help}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(m
            .klp(&["completions", shell])
            .is(0)
            .out
            .contains("on-timeout"));
    }
    let manual = m.klp(&["man"]).is(0).out.clone();
    for text in [".TH klp", "KLP load", "on\\-timeout", "130  interrupted"] {
        assert!(manual.contains(text), "{text} is not in {manual}");
    }
}

#[test]
fn output_that_is_not_read_is_no_error() {
    let m = two_patches();
    let klp = env!("CARGO_BIN_EXE_klp");
    let root = m.path("");
    let status = Command::new("sh")
        .args([
            "-c",
            "set -e; (\"$1\" status; echo $? >\"$2/code\") | :",
            "sh",
            klp,
        ])
        .arg(&root)
        .env("KLP_ROOT", &root)
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(m.read("code"), "0\n");
}
