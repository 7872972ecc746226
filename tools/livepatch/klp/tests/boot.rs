// SPDX-License-Identifier: GPL-2.0

//! Installing, and loading at boot.

mod common;

use common::{module, until, Machine};
use std::{fs, process::Command};

const WILLING: &str = "appear $name 1 1; later 0.05 put $LP/$name/transition 0";
const MARKER: &str = "var/lib/klp/7.3.4/booting/p";

/// Another boot: no patch is loaded.
fn reboot(m: &Machine, id: &str) {
    let _ = fs::remove_dir_all(m.path("sys/kernel/livepatch"));
    let _ = fs::remove_dir_all(m.path("sys/module"));
    fs::create_dir_all(m.path("sys/kernel/livepatch")).unwrap();
    m.write("proc/sys/kernel/random/boot_id", id);
}

fn installed(script: &str) -> Machine {
    let m = Machine::new();
    m.kernel(script);
    m.klp(&["install", &m.livepatch("p")]).is(0);
    m
}

#[test]
fn install_and_uninstall_for_several_kernels() {
    let m = Machine::new();
    let value = m.json(&["install", &m.livepatch("p")], 0);
    assert_eq!(value["release"], "7.3.4");
    assert_eq!(m.json(&["install", &m.livepatch("p")], 0)["replaced"], true);
    let other = m.file("other", &module("p", "livepatch=Y\0", "7.3.5", 0));
    m.klp(&["install", &other]).failed(6, "built for 7.3.5");
    m.klp(&["install", &other, "--kernel", "7.3.5"]).is(0);
    assert!(m.has("var/lib/klp/7.3.5/p.ko"));
    m.kernel(WILLING);
    m.klp(&["load", "p"]).is(0);
    assert!(m.read("calls").contains("var/lib/klp/7.3.4/p.ko"));
    assert_eq!(m.json(&["uninstall", "p"], 0)["loaded"], true);
    assert!(!m.has("var/lib/klp/7.3.4") && m.has("var/lib/klp/7.3.5/p.ko"));
    m.klp(&["uninstall", "p", "--kernel=7.3.5"]).is(0);
}

#[test]
fn a_full_disk_leaves_nothing() {
    let m = Machine::new();
    fs::create_dir_all(m.path("var/lib/klp")).unwrap();
    let state = m.path("var/lib/klp");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&state)
        .status()
        .is_ok_and(|s| s.success());
    if !mounted {
        eprintln!("not tested: only root can mount a small file system");
        return;
    }
    let small = m.file("small", &module("p", "livepatch=Y\0", "7.3.4", 100));
    m.klp(&["install", &small]).is(0);
    let before = fs::read(state.join("7.3.4/p.ko")).unwrap();
    let big = m.file("big", &module("p", "livepatch=Y\0", "7.3.4", 200_000));
    m.klp(&["install", &big])
        .failed(1, "No space left on device; nothing was changed");
    let names: Vec<_> = fs::read_dir(state.join("7.3.4"))
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    let after = fs::read(state.join("7.3.4/p.ko")).unwrap();
    Command::new("umount").arg(&state).status().unwrap();
    assert_eq!(names, ["p.ko"]);
    assert_eq!(before, after);
}

#[test]
fn boot_loads_what_is_installed() {
    // The marker must be there before the module is loaded.
    let m = installed(&format!("cp {MARKER} seen; {WILLING}"));
    let value = m.json(&["boot", "--settle=0.1"], 0);
    assert_eq!(value["loaded"][0], "p");
    assert_eq!(value["settled"], true);
    assert_eq!(m.read("seen"), "failures=0 boot=boot-1 tried=yes\n");
    assert!(!m.has(MARKER));
    assert_eq!(m.json(&["boot", "--settle=0"], 0)["already_loaded"][0], "p");
}

#[test]
fn nothing_installed_is_no_failure() {
    let m = Machine::new();
    assert!(m
        .klp(&["boot"])
        .is(0)
        .out
        .contains("no patch is installed for 7.3.4"));
}

#[test]
fn after_two_failures_a_patch_is_left_out() {
    let m = installed("kill -9 $PPID");
    // The machine goes down twice.
    for id in ["boot-1", "boot-2"] {
        reboot(&m, id);
        assert_eq!(m.klp(&["boot"]).code, -1);
        assert!(m.has(MARKER));
    }
    let calls = m.read("calls");
    for id in ["boot-3", "boot-4"] {
        reboot(&m, id);
        let said = m.klp(&["boot"]);
        said.is(1);
        assert!(
            said.err
                .contains("PATCH p IS LEFT OUT: the machine went down 2 times"),
            "{}",
            said.err
        );
        assert!(m.read("dev/kmsg").contains("<2>klp: PATCH p IS LEFT OUT"));
        assert_eq!(m.json(&["boot"], 1)["left_out"][0], "p");
        assert_eq!(m.json(&["status"], 0)["boot"][0]["failures"], 2);
    }
    assert_eq!(m.read("calls"), calls);
    m.kernel(WILLING);
    m.klp(&["boot", "--retry", "none"])
        .failed(5, "no patch none is installed");
    assert_eq!(
        m.json(&["boot", "--retry", "p", "--settle=0"], 0)["loaded"][0],
        "p"
    );
    assert_eq!(m.json(&["status"], 0)["boot"][0]["failures"], 0);
}

#[test]
fn installing_forgets_failures() {
    let m = installed(WILLING);
    m.write(MARKER, "failures=2 boot=x tried=no");
    let said = m.klp(&["install", &m.livepatch("p")]);
    assert!(said.is(0).out.contains("failures at boot are forgotten"));
    m.klp(&["boot", "--settle=0"]).is(0);
}

#[test]
fn one_failure_is_forgotten_after_a_boot_that_holds() {
    let m = installed(WILLING);
    m.write(MARKER, "failures=0 boot=earlier tried=yes");
    assert_eq!(m.json(&["status"], 0)["boot"][0]["failures"], 1);
    m.klp(&["boot", "--settle=0"]).is(0);
    assert_eq!(m.json(&["status"], 0)["boot"][0]["failures"], 0);
}

#[test]
fn a_klp_that_was_killed_is_not_the_machine_going_down() {
    let m = installed(WILLING);
    m.patch("p", "1", "0");
    m.write(MARKER, "failures=1 boot=boot-1 tried=yes");
    assert_eq!(m.json(&["boot", "--settle=0"], 0)["already_loaded"][0], "p");
    assert!(!m.has(MARKER));
}

#[test]
fn a_refusal_is_not_the_machine_going_down() {
    let m = installed("exit 22");
    let value = m.json(&["boot"], 1);
    assert_eq!(value["failed"][0]["exit_code"], 10);
    assert!(!m.has(MARKER));
    assert!(m.read("dev/kmsg").contains("patch p is not enabled"));
}

#[test]
fn a_stalled_transition_ends_the_boot() {
    let m = installed("appear $name 1 1");
    m.klp(&["install", &m.livepatch("q")]).is(0);
    let value = m.json(&["boot", "--timeout=0.1", "--settle=0"], 8);
    assert_eq!(value["failed"][0]["name"], "p");
    assert_eq!(value["not_tried"][0], "q");
}

#[test]
fn a_shutdown_in_order_is_no_failure() {
    let m = installed(WILLING);
    let klp = m.start(&["boot", "--settle=600"]);
    until(|| m.read("sys/kernel/livepatch/p/transition").trim() == "0");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(m.has(MARKER));
    // The lock is free while the machine has to stay up.
    m.klp(&["load", "none"]).failed(5, "no patch none");
    m.klp(&["load", &m.livepatch("p")])
        .failed(1, "enabled already");
    Command::new("kill")
        .arg(klp.id().to_string())
        .status()
        .unwrap();
    assert_eq!(klp.wait_with_output().unwrap().status.code(), Some(130));
    assert!(!m.has(MARKER));
}

#[test]
fn patches_of_kpatch_are_copied() {
    let m = Machine::new();
    m.klp(&["install", "--from-kpatch"])
        .failed(5, "kpatch has installed nothing");
    m.write(
        "var/lib/kpatch/7.3.4/a.ko",
        module("a", "livepatch=Y\0", "7.3.4", 0),
    );
    m.write(
        "var/lib/kpatch/7.3.5/b.ko",
        module("b", "livepatch=Y\0", "7.3.5", 0),
    );
    m.klp(&["install", "--from-kpatch"]).is(0);
    assert!(m.has("var/lib/klp/7.3.4/a.ko") && m.has("var/lib/klp/7.3.5/b.ko"));
    assert!(m.has("var/lib/kpatch/7.3.4/a.ko"));
    m.write("var/lib/kpatch/7.3.4/bad.ko", "text");
    m.write(
        "var/lib/kpatch/7.3.4/old.ko",
        module("old", "livepatch=Y\0", "7.3.3", 0),
    );
    let value = m.json(&["install", "--from-kpatch"], 1);
    let copied = value["taken_over"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|t| t["copied"] == true);
    assert_eq!(copied.count(), 2);
    let said = m.klp(&["install", "--from-kpatch"]);
    assert!(
        said.out.contains("bad.ko: left out: it is not an ELF file"),
        "{}",
        said.out
    );
}

#[test]
fn verify_a_good_file() {
    let m = Machine::new();
    let file = m.livepatch("p");
    let value = m.json(&["verify", &file], 0);
    assert_eq!(value["name"], "p");
    assert_eq!(value["usable"], true);
    m.klp(&["verify", &file, "--kernel", "7.3.5"]).is(6);
    let message = |check: &str, code| {
        let value = m.json(&["verify", &file], code);
        let checks = value["checks"].as_array().unwrap().clone();
        let of = |c: &&serde_json::Value| c["check"] == check;
        let found: Vec<_> = checks
            .iter()
            .filter(of)
            .map(|c| c["message"].to_string())
            .collect();
        found.join(" ")
    };
    assert!(message("target", 0).contains("there is no module nfs here"));
    assert!(message("symbols", 0).contains("2 livepatch symbols are there"));
    assert!(message("signature", 0).contains("it is not signed"));
    m.write("proc/kallsyms", "0 T one\n0 t two\n");
    assert!(message("symbols", 6).contains("the patch wants number 2"));
    m.write("proc/kallsyms", "0 T one\n0 T one\n0 t two\n0 t two\n");
    assert!(message("symbols", 6).contains("does not say which"));
    m.write("proc/kallsyms", "0 T one\n0 t two\n0 t two\n");
    let mut signed = fs::read(&file).unwrap();
    signed.extend(b"signature~Module signature appended~\n");
    fs::write(&file, signed).unwrap();
    assert!(message("signature", 0).contains("it is signed"));
    // Other modules tell more than the release.
    m.write("proc/modules", "ext4 1 0 - Live 0x0\n");
    m.write("lib/modules/7.3.4/modules.dep", "kernel/ext4.ko:\n");
    m.write(
        "lib/modules/7.3.4/kernel/ext4.ko",
        module("ext4", "", "7.3.4 PREEMPT", 0),
    );
    m.klp(&["load", &file])
        .failed(6, "loaded modules for \"7.3.4 PREEMPT SMP mod_unload \"");
}
