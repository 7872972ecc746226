// SPDX-License-Identifier: GPL-2.0

//! Commands that change what the kernel does, and the exit status of each end they can come to.

mod common;

use common::{module, until, Machine};
use std::{fs, os::unix::process::CommandExt, process::Command};

/// A kernel that enables a patch after 50 ms, and disables it as fast.
const WILLING: &str = r#"
case $1 in
load) appear $name 1 1; later 0.05 put $LP/$name/transition 0;;
wrote)
	patch=$(basename $(dirname "$2"))
	put $LP/$patch/transition 1
	case $3 in
	0) later 0.05 vanish $patch;;
	1) later 0.05 put $LP/$patch/transition 0;;
	esac;;
esac"#;

/// A kernel whose transitions to the patched state do not end, but can be turned back.
const STALLED: &str = r#"
case $1 in
load) appear $name 1 1;;
wrote)
	patch=$(basename $(dirname "$2"))
	case $2 in
	*/force) put $LP/$patch/transition 0;;
	*) later 0.05 vanish $patch;;
	esac;;
esac"#;

#[test]
fn load_disable_unload() {
    let m = Machine::new();
    m.kernel(WILLING);
    let file = m.livepatch("p");
    let said = m.klp(&["load", &file, "a=1", "b=2"]);
    said.is(0);
    assert!(said.out.starts_with("p: enabled after "), "{}", said.out);
    assert!(m.read("calls").contains(&format!("load {file} a=1 b=2")));
    let value = m.json(&["disable", "p"], 0);
    assert_eq!(value["outcome"], "disabled");
    assert!(m.has("sys/module/p"));
    m.klp(&["disable", "p"]).failed(1, "disabled already");
    assert_eq!(m.json(&["unload", "p"], 0)["outcome"], "unloaded");
    assert!(!m.has("sys/module/p"));
    m.klp(&["unload", "p"]).failed(5, "no patch p is loaded");
    m.klp(&["disable", "p"]).failed(5, "no patch p is enabled");
}

#[test]
fn unload_disables_first() {
    let m = Machine::new();
    m.kernel(WILLING);
    m.patch("p", "1", "0");
    m.klp(&["unload", "p"]).is(0);
    assert!(!m.has("sys/module/p") && !m.has("sys/kernel/livepatch/p"));
}

#[test]
fn load_takes_the_place_of_a_disabled_module() {
    let m = Machine::new();
    m.kernel(WILLING);
    let file = m.livepatch("p");
    m.write("sys/module/p/taint", "OEK");
    m.write("sys/module/p/refcnt", "0");
    assert_eq!(m.json(&["load", &file], 0)["outcome"], "enabled");
    assert!(m.read("calls").starts_with("unload p\nload "));
    m.klp(&["load", &file]).failed(1, "enabled already");
}

#[test]
fn another_module_of_the_name_is_not_touched() {
    let m = Machine::new();
    m.write("sys/module/p/refcnt", "0");
    m.klp(&["load", &m.livepatch("p")])
        .failed(1, "another module p");
    m.klp(&["unload", "p"]).failed(6, "not a livepatch");
    assert_eq!(m.read("calls"), "");
}

#[test]
fn replaced_patches_are_unloaded() {
    let m = Machine::new();
    m.patch("old", "1", "0");
    m.kernel(
        "appear $name 1 1 1; later 0.05 put $LP/$name/transition 0
         later 0.1 vanish old",
    );
    let value = m.json(&["load", &m.livepatch("p")], 0);
    assert_eq!(value["unloaded"][0], "old");
    assert!(!m.has("sys/module/old"));
}

#[test]
fn a_replaced_patch_whose_module_is_in_use_stays() {
    let m = Machine::new();
    m.patch("old", "1", "0");
    m.patch("kept", "1", "0");
    m.kernel("appear $name 1 0 0");
    let value = m.json(&["load", &m.livepatch("p")], 0);
    assert!(value["unloaded"].as_array().unwrap().is_empty());
    assert!(m.has("sys/module/old"));
}

#[test]
fn a_transition_that_does_not_end_is_left() {
    let m = Machine::new();
    m.kernel(STALLED);
    m.stalled("p");
    let said = m.klp(&["load", &m.livepatch("p"), "--timeout", "0.3"]);
    said.failed(
        8,
        "held up by foo \\u{1b} (123) in klpr_wait, bar (77): running",
    );
    assert!(said.err.contains("klp reverse p"), "{}", said.err);
    // Not on a terminal: a line, as it takes long.
    assert!(
        said.err
            .starts_with("klp: enabling p: 2 tasks left: foo \\u{1b} (123) in klpr_wait"),
        "{}",
        said.err
    );
    assert_eq!(m.read("sys/kernel/livepatch/p/enabled").trim(), "1");
    let value = m.json(&["wait", "p", "--timeout", "0"], 8);
    assert_eq!(value["error"]["exit_code"], 8);
    assert_eq!(value["blocking"][0]["pid"], 123);
}

#[test]
fn on_a_terminal_there_is_a_bar() {
    let m = Machine::new();
    m.kernel(STALLED);
    m.stalled("p");
    let klp = format!(
        "{} load {} --timeout=1",
        env!("CARGO_BIN_EXE_klp"),
        m.livepatch("p")
    );
    let output = Command::new("script")
        .args(["-qec", &klp, "/dev/null"])
        .env("KLP_ROOT", m.path(""))
        .env("TERM", "xterm")
        .env("COLUMNS", "100")
        .output();
    let Ok(output) = output else {
        eprintln!("not tested: there is no program script");
        return;
    };
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(8), "{out}");
    assert!(
        out.contains("\u{2591}") || out.contains("2 tasks left"),
        "{out}"
    );
    assert!(!out.contains("klp: enabling p: 2 tasks"), "{out}");
}

#[test]
fn a_signal_ends_the_wait_for_a_module_that_is_in_use() {
    let m = Machine::new();
    m.patch("p", "1", "0");
    fs::remove_dir_all(m.path("sys/kernel/livepatch/p")).unwrap();
    m.write("sys/module/p/refcnt", "1");
    let klp = m.start(&["unload", "p"]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    Command::new("kill")
        .arg(klp.id().to_string())
        .status()
        .unwrap();
    let output = klp.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8(output.stderr)
        .unwrap()
        .contains("still loaded"));
}

#[test]
fn a_transition_that_does_not_end_is_turned_back() {
    let m = Machine::new();
    m.kernel(STALLED);
    m.stalled("p");
    let file = m.livepatch("p");
    let arguments = ["load", &file, "--timeout=0.1", "--on-timeout=revert"];
    m.klp(&arguments)
        .failed(9, "it was turned back, and its module unloaded");
    assert!(!m.has("sys/kernel/livepatch/p") && !m.has("sys/module/p"));
    assert_eq!(
        m.json(&arguments, 9)["blocking"][0]["function"],
        "klpr_wait"
    );
}

#[test]
fn disabling_is_turned_back_to_enabled() {
    let m = Machine::new();
    m.patch("p", "1", "0");
    m.kernel(
        r#"case "$1 $3" in
        "wrote 0") put $LP/p/transition 1;;
        "wrote 1") later 0.05 put $LP/p/transition 0;;
        esac"#,
    );
    let arguments = ["disable", "p", "--timeout=0.1", "--on-timeout=revert"];
    m.klp(&arguments).failed(9, "the patch is enabled");
    assert!(m.read("sys/kernel/livepatch/p/enabled").starts_with('1'));
}

#[test]
fn interruption_says_that_the_transition_goes_on() {
    for signal in ["INT", "TERM"] {
        let m = Machine::new();
        m.kernel(STALLED);
        let file = m.livepatch("p");
        let klp = m.start(&["load", &file]);
        until(|| m.has("sys/kernel/livepatch/p/transition"));
        std::thread::sleep(std::time::Duration::from_millis(50));
        let kill = format!("kill -{signal} {}", klp.id());
        assert!(Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success());
        let output = klp.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{err}");
        assert!(
            err.contains("enabling p goes on; to turn it back: klp reverse p"),
            "{err}"
        );
        assert!(m.has("sys/kernel/livepatch/p"));
        // The lock is free.
        m.klp(&["disable", "p"]).failed(7, "klp reverse p");
    }
}

#[test]
fn reverse_and_force_reach_a_transition_that_another_klp_waits_for() {
    let m = Machine::new();
    m.kernel(STALLED);
    let file = m.livepatch("p");
    let klp = m.start(&["load", &file]);
    until(|| m.has("sys/kernel/livepatch/p/transition"));
    let said = m.klp(&["load", &file]);
    said.failed(7, &format!("klp load {file} (pid {})", klp.id()));
    assert_eq!(m.json(&["reverse", "p"], 0)["outcome"], "disabled");
    let output = klp.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("another command has turned it back"), "{err}");
    assert!(!m.has("sys/module/p"));
}

#[test]
fn reverse_and_force_need_a_transition() {
    let m = Machine::new();
    m.klp(&["reverse", "p"]).failed(5, "no patch p");
    m.klp(&["force", "p", "--yes"]).failed(5, "no patch p");
    m.patch("p", "1", "0");
    m.klp(&["reverse", "p"]).failed(1, "no transition of it");
    m.klp(&["force", "p", "--yes"])
        .failed(1, "no transition of it");
    assert_eq!(m.read("calls"), "");
}

#[test]
fn force_asks() {
    let m = Machine::new();
    m.kernel(STALLED);
    m.write("sys/kernel/livepatch/p/force", "");
    m.patch("p", "1", "1");
    let said = m.klp(&["force", "p"]);
    said.failed(1, "not forced");
    assert!(said.err.contains("the kernel may crash"), "{}", said.err);
    assert_eq!(m.read("calls"), "");
    let mut command = m.command(&["force", "p"]);
    m.write("answer", "p\n");
    command.stdin(fs::File::open(m.path("answer")).unwrap());
    common::said(command).is(0);
    assert_eq!(m.read("sys/kernel/livepatch/p/force"), "1");
    m.patch("p", "1", "1");
    assert_eq!(m.json(&["force", "p", "--yes"], 0)["outcome"], "enabled");
}

#[test]
fn wait_for_any_transition() {
    let m = Machine::new();
    assert_eq!(m.json(&["wait"], 0)["outcome"], "none");
    m.klp(&["wait", "p"]).failed(5, "no patch p");
    m.patch("p", "0", "1");
    let klp = m.start(&["wait"]);
    std::thread::sleep(std::time::Duration::from_millis(50));
    fs::remove_dir_all(m.path("sys/kernel/livepatch/p")).unwrap();
    let output = klp.wait_with_output().unwrap();
    assert!(String::from_utf8(output.stdout)
        .unwrap()
        .starts_with("p: disabled"));
    assert_eq!(m.json(&["wait", "p"], 0)["outcome"], "disabled");
}

#[test]
fn without_waiting() {
    let m = Machine::new();
    m.kernel(STALLED);
    let file = m.livepatch("p");
    assert_eq!(
        m.json(&["load", &file, "--no-wait"], 0)["outcome"],
        "loaded"
    );
    assert_eq!(
        m.json(&["reverse", "p", "--no-wait"], 0)["outcome"],
        "reversed"
    );
}

#[test]
fn busy_with_another_transition() {
    let m = Machine::new();
    m.patch("p", "1", "0");
    m.patch("other", "1", "1");
    m.klp(&["load", &m.livepatch("q")])
        .failed(7, "enabling other");
    m.klp(&["disable", "p"]).failed(7, "enabling other");
    assert_eq!(m.read("calls"), "");
    fs::remove_dir_all(m.path("sys/kernel/livepatch/other")).unwrap();
    m.kernel("exit 16");
    m.klp(&["load", &m.livepatch("q")]).failed(7, "EBUSY 16");
    m.klp(&["disable", "p"]).failed(7, "EBUSY 16");
}

#[test]
fn the_kernel_refuses() {
    let m = Machine::new();
    for (errno, code, text) in [
        (22, 10, "Invalid argument (EINVAL 22)"),
        (8, 10, "ENOEXEC"),
        (129, 10, "sign the module"),
        (1, 3, "EPERM"),
    ] {
        m.kernel(&format!("exit {errno}"));
        m.klp(&["load", &m.livepatch("p")]).failed(code, text);
    }
    m.patch("p", "1", "0");
    m.kernel("exit 22");
    let value = m.json(&["disable", "p"], 10);
    assert!(value["error"]["message"]
        .as_str()
        .unwrap()
        .contains("disable p"));
}

#[test]
fn a_module_that_enables_nothing_is_unloaded() {
    let m = Machine::new();
    m.kernel("mkdir -p sys/module/$name; echo 0 >sys/module/$name/refcnt");
    m.klp(&["load", &m.livepatch("p")])
        .failed(1, "its module enables no patch");
    assert!(!m.has("sys/module/p"));
}

#[test]
fn a_patch_may_vanish_while_it_is_disabled() {
    let m = Machine::new();
    m.patch("p", "1", "0");
    m.kernel("vanish p; exit 19");
    m.klp(&["disable", "p"]).is(0);
}

#[test]
fn what_is_no_livepatch_does_not_reach_the_kernel() {
    let m = Machine::new();
    let files = [
        (m.file("text", b"not a module"), "not an ELF file"),
        (
            m.file("foreign", &module("foreign", "", "7.3.4", 0)),
            "not a livepatch",
        ),
        (
            m.file("old", &module("old", "livepatch=Y\0", "6.1.0", 0)),
            "built for 6.1.0",
        ),
        (
            m.file("path", &module("../x", "livepatch=Y\0", "7.3.4", 0)),
            "no name of a module",
        ),
        (
            m.file("half", &module("half", "livepatch=Y\0", "7.3.4", 0)[..200]),
            "not an ELF file",
        ),
    ];
    for (file, text) in files {
        m.klp(&["load", &file]).failed(6, text);
        m.klp(&["install", &file]).failed(6, text);
        assert_eq!(m.json(&["verify", &file], 6)["usable"], false);
    }
    assert_eq!(m.read("calls"), "");
    assert!(!m.has("var/lib/klp/7.3.4"));
}

#[test]
fn missing_files() {
    let m = Machine::new();
    m.klp(&["load", "/no/such.ko"]).failed(5, "No such file");
    m.klp(&["load", "nothing"])
        .failed(5, "no patch nothing is installed");
    m.klp(&["verify", "/no/such.ko"]).failed(5, "No such file");
    m.klp(&["install", "/no/such.ko"]).failed(5, "No such file");
    m.klp(&["uninstall", "p"])
        .failed(5, "no patch p is installed");
}

#[test]
fn a_kernel_without_livepatch() {
    let m = Machine::new();
    fs::remove_dir_all(m.path("sys/kernel/livepatch")).unwrap();
    let file = m.livepatch("p");
    for arguments in [
        &["list"][..],
        &["status"],
        &["why"],
        &["watch"],
        &["wait"],
        &["history"],
        &["metrics"],
        &["boot"],
        &["load", &file],
        &["disable", "p"],
        &["unload", "p"],
        &["reverse", "p"],
        &["force", "p"],
    ] {
        m.klp(arguments).failed(4, "this kernel has no livepatch");
        assert_eq!(m.json(arguments, 4)["error"]["exit_code"], 4);
    }
}

#[test]
fn the_command_line_is_checked() {
    let m = Machine::new();
    m.klp(&[]).failed(2, "which command");
    m.klp(&["frobnicate"]).failed(2, "unrecognized subcommand");
    m.klp(&["load"])
        .failed(2, "required arguments were not provided: <FILE|NAME>");
    m.klp(&["load", "x", "--timeout", "soon"])
        .failed(2, "a number of seconds");
    m.klp(&["load", "x", "--on-timeout=revert"])
        .failed(2, "--timeout");
    m.klp(&["disable", "../x"]).failed(2, "no name of a patch");
    m.klp(&["uninstall", "x", "--kernel", "../x"])
        .failed(2, "no release of a kernel");
}

#[test]
fn only_root_may_change_anything() {
    // The real machine: nothing of it is changed, as the first check fails.
    let dir = tempfile::tempdir().unwrap();
    let klp = dir.path().join("klp");
    fs::copy(env!("CARGO_BIN_EXE_klp"), &klp).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.path(), open).unwrap();
    for arguments in [
        &["load", "x.ko"][..],
        &["boot"],
        &["uninstall", "x"],
        &["reverse", "x"],
    ] {
        let mut command = Command::new(&klp);
        command.args(arguments).env_remove("KLP_ROOT");
        if fs::read("/etc/shadow").is_ok() {
            command.uid(65534);
        }
        common::said(command).failed(3, "needs root");
    }
}
