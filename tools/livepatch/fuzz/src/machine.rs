// SPDX-License-Identifier: GPL-2.0

//! The machine that this runs on: carries operations out, and compares what comes of it with what
//! may.

use crate::{
    check::{are_quiet, names, patches, read, state_files, State},
    mangle::mangle,
    operation::{Folder, Operation, CALLS, KPROBE, PATCHES, TARGET},
};
use rustix::{
    io::Errno,
    process::{kill_process, Pid, Signal},
    system::{delete_module, finit_module, init_module},
};
use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Mutex, MutexGuard, PoisonError,
    },
    thread,
    time::{Duration, Instant},
};

const LIVEPATCH: &str = "/sys/kernel/livepatch";
const TRACING: &str = "/sys/kernel/tracing";
const CPU: &str = "/sys/devices/system/cpu/cpu1/online";
const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";
const FAILSLAB: &str = "/sys/kernel/debug/failslab";

/// How many tasks are held at once.
const HELD: usize = 6;
/// How long an operation may take, and transitions once no task is held.
const PATIENCE: Duration = Duration::from_secs(180);

/// What came of one kind of operation.
#[derive(Clone, Copy, Default)]
struct Count {
    done: u64,
    refused: u64,
}

/// The machine, and what was found.
pub(crate) struct Machine {
    modules: PathBuf,
    /// The patch to be mangled.
    relocations: Option<Vec<u8>>,
    /// Processes that sleep in functions of the target.
    held: Mutex<Vec<Child>>,
    /// What is being done, by number.
    busy: Mutex<BTreeMap<u64, (Instant, String)>>,
    counts: Mutex<BTreeMap<&'static str, Count>>,
    number: AtomicU64,
    /// Whether a transition was forced: the modules of its patches stay.
    forced: AtomicBool,
    wrong: Mutex<Vec<String>>,
}

/// A lock's content, also if a thread has panicked with it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Write to a file that is there, as `echo` does with `>`, or, to add to it, with `>>`.
fn write(path: impl AsRef<Path>, value: &[u8], add: bool) -> Result<(), Errno> {
    let mut options = OpenOptions::new();
    if add {
        options.append(true);
    } else {
        options.write(true).truncate(true);
    }
    let mut file = options.open(path).map_err(|e| errno(&e))?;
    file.write_all(value).map_err(|e| errno(&e))
}

/// Ask again and again, until it is so or the time is over.
fn wait_until(time: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn is_loaded(module: &str) -> bool {
    Path::new("/sys/module")
        .join(module)
        .join("refcnt")
        .exists()
}

fn in_transition(patch: &str) -> bool {
    let file = Path::new(LIVEPATCH).join(patch).join("transition");
    read(&file).as_deref() == Some("1")
}

/// The modules that are patches.
fn patch_modules() -> impl Iterator<Item = &'static str> {
    PATCHES.iter().map(|(name, _)| *name).chain(CALLS)
}

impl Machine {
    /// This machine, with test modules.
    pub(crate) fn new(modules: PathBuf, relocations: Option<&Path>) -> Result<Self, String> {
        if !Path::new(LIVEPATCH).is_dir() {
            return Err(format!(
                "this kernel has no livepatch: there is no {LIVEPATCH}"
            ));
        }
        for name in [TARGET, "klpr_patch_a"] {
            let file = modules.join(format!("{name}.ko"));
            if !file.exists() {
                return Err(format!(
                    "there is no {}; build the test modules",
                    file.display()
                ));
            }
        }
        let relocations = match relocations {
            Some(file) => {
                let data = fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
                mangle(&data, 0).map_err(|e| format!("{}: {e}", file.display()))?;
                Some(data)
            }
            None => None,
        };
        if Path::new(FAILSLAB).exists() {
            for (file, value) in [("ignore-gfp-wait", "N"), ("verbose", "0")] {
                write(Path::new(FAILSLAB).join(file), value.as_bytes(), false)
                    .map_err(|e| format!("{FAILSLAB}/{file}: {e}"))?;
            }
        }
        Ok(Machine {
            modules,
            relocations,
            held: Mutex::default(),
            busy: Mutex::default(),
            counts: Mutex::default(),
            number: AtomicU64::new(0),
            forced: AtomicBool::new(false),
            wrong: Mutex::default(),
        })
    }

    /// Say something here and in the kernel's log, so that its messages have a place.
    pub(crate) fn say(&self, text: &str) {
        println!("{text}");
        // Without it there is still the output.
        let _ = write("/dev/kmsg", format!("klp-fuzz: {text}\n").as_bytes(), false);
    }

    /// Something is wrong.
    fn report(&self, text: String) {
        self.say(&format!("WRONG: {text}"));
        locked(&self.wrong).push(text);
    }

    /// What was wrong.
    pub(crate) fn wrong(&self) -> Vec<String> {
        locked(&self.wrong).clone()
    }

    /// Whether nothing was.
    pub(crate) fn is_right(&self) -> bool {
        locked(&self.wrong).is_empty()
    }

    /// How many operations were done.
    pub(crate) fn count(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Print how many operations of each kind were done, and how many refused.
    pub(crate) fn print_counts(&self) {
        for (name, count) in locked(&self.counts).iter() {
            println!(
                "{name:24} {:6} done {:6} refused",
                count.done, count.refused
            );
        }
    }

    /// Carry out what a round does, each thread's operations in their order. If one takes too
    /// long, the stacks of all threads are printed, and the program ends.
    pub(crate) fn carry_out(&self, round: Vec<Vec<Operation>>) {
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(100));
                    self.watch();
                }
            });
            thread::scope(|scope| {
                for thread in &round {
                    let alone = round.len() == 1;
                    scope.spawn(move || thread.iter().for_each(|it| self.one(it, alone)));
                }
            });
            ended.store(true, Ordering::Relaxed);
        });
    }

    fn watch(&self) {
        let busy = locked(&self.busy);
        let Some((_, text)) = busy.values().find(|(since, _)| since.elapsed() > PATIENCE) else {
            return;
        };
        println!("WRONG: does not end: {text}");
        for task in names(Path::new("/proc/self/task")) {
            let stack = read(&Path::new("/proc/self/task").join(&task).join("stack"));
            println!("stack of thread {task}:\n{}", stack.unwrap_or_default());
        }
        // A thread that is stuck in the kernel cannot be ended.
        process::exit(1);
    }

    /// Carry out one operation, and see whether its result is one that it may have.
    fn one(&self, operation: &Operation, alone: bool) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let text = format!("{number}: {operation}");
        self.say(&text);
        locked(&self.busy).insert(number, (Instant::now(), text.clone()));
        let name = match operation {
            Operation::Write(patch, "enabled", _) if in_transition(patch) => "reverse a transition",
            Operation::Write(patch, "force", _) if in_transition(patch) => "force a transition",
            _ => operation.name(),
        };
        let result = self.carry(operation);
        locked(&self.busy).remove(&number);
        let mut counts = locked(&self.counts);
        let count = counts.entry(name).or_default();
        match result {
            Ok(()) => count.done += 1,
            Err(_) => count.refused += 1,
        }
        drop(counts);
        match result {
            Ok(()) if operation.must_fail(alone) => self.report(format!("{text}: no error")),
            Ok(()) => (),
            Err(error) => {
                println!("{number}: {error}");
                if !operation.may_fail_with().contains(&error) {
                    self.report(format!("{text}: {error}"));
                }
            }
        }
    }

    fn carry(&self, operation: &Operation) -> Result<(), Errno> {
        match operation {
            Operation::Patch(name, parameters) => self.load(name, &parameters.to_string()),
            Operation::Load(name, parameters) => self.load(name, parameters),
            Operation::Mangled(seed) => {
                let Some(good) = &self.relocations else {
                    return Ok(());
                };
                let bad = mangle(good, *seed).map_err(|_| Errno::NOEXEC)?;
                init_module(&bad, c"what=good")
            }
            Operation::Unload(name) => unload(name),
            Operation::Write(patch, file, value) => {
                write(Path::new(LIVEPATCH).join(patch).join(file), value, false)?;
                if *file == "force" && value.starts_with(b"1") {
                    self.forced.store(true, Ordering::Relaxed);
                }
                Ok(())
            }
            Operation::Read(folder) => {
                read_all(*folder);
                Ok(())
            }
            Operation::Hold(function) => {
                self.hold(function);
                Ok(())
            }
            Operation::Release => {
                release(b"1");
                thread::sleep(Duration::from_millis(100));
                release(b"0");
                Ok(())
            }
            Operation::Signal(name) => {
                let signal = match *name {
                    "STOP" => Signal::STOP,
                    "CONT" => Signal::CONT,
                    _ => Signal::KILL,
                };
                if let Some(child) = locked(&self.held).last() {
                    send(child, signal);
                }
                Ok(())
            }
            Operation::Processes => processes(),
            Operation::Cpu(on) => write(CPU, if *on { b"1" } else { b"0" }, false),
            Operation::Tracer(name) => tracer(name),
            Operation::Probe(line) => probe(line),
            Operation::Events(on) => {
                let file = Path::new(TRACING).join("events/livepatch/enable");
                write(file, if *on { b"1" } else { b"0" }, false)
            }
            Operation::Ftrace(on) => write(FTRACE, if *on { b"1" } else { b"0" }, false),
        }
    }

    fn load(&self, name: &str, parameters: &str) -> Result<(), Errno> {
        let file = File::open(self.modules.join(format!("{name}.ko"))).map_err(|e| errno(&e))?;
        let parameters = CString::new(parameters).map_err(|_| Errno::INVAL)?;
        finit_module(file, &parameters, 0)
    }

    /// Make a process sleep in a function of the target, unless enough of them do.
    fn hold(&self, function: &str) {
        let mut held = locked(&self.held);
        if held.len() >= HELD {
            return;
        }
        let child = Command::new("cat")
            .arg(Path::new("/sys/module").join(TARGET).join(function))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => held.push(child),
            Err(e) => self.report(format!("a process cannot be started: {e}")),
        }
    }

    /// Let all held tasks go, wait for the end of all transitions, and check what there is then.
    pub(crate) fn settle(&self) {
        release(b"1");
        for mut child in locked(&self.held).drain(..) {
            send(&child, Signal::CONT);
            send(&child, Signal::KILL);
            // It has been started, so it can be waited for.
            let _ = child.wait();
        }
        release(b"0");
        if !wait_until(PATIENCE, || are_quiet(&patches(Path::new("/")))) {
            let patches = patches(Path::new("/"));
            self.report(format!("a transition does not end: {patches:?}"));
            return;
        }
        for fault in State::read(Path::new("/")).faults() {
            self.report(fault);
        }
        self.unload_disabled();
    }

    /// Unload the patches that are not enabled: nothing may keep them.
    fn unload_disabled(&self) {
        let enabled = patches(Path::new("/"));
        for module in patch_modules() {
            if !is_loaded(module) || enabled.iter().any(|patch| patch.name == module) {
                continue;
            }
            let mut last = Ok(());
            let gone = wait_until(Duration::from_secs(30), || {
                last = unload(module);
                last.is_ok() || self.forced.load(Ordering::Relaxed)
            });
            if !gone {
                self.report(format!(
                    "{module} is disabled, and cannot be unloaded: {last:?}"
                ));
            }
        }
    }

    /// Disable and unload everything, and check that nothing is left.
    pub(crate) fn take_away(&self) {
        for result in [
            tracer("nop"),
            write(FTRACE, b"1", false),
            write(Path::new(TRACING).join("events/enable"), b"0", false),
            write(Path::new(TRACING).join("kprobe_events"), b"", false),
        ] {
            // This kernel may have no such probes.
            if let Err(error) = result.or_else(|e| if e == Errno::NOENT { Ok(()) } else { Err(e) })
            {
                self.report(format!("a tracer or a probe cannot be removed: {error}"));
            }
        }
        // There may be one CPU only.
        let _ = write(CPU, b"1", false);
        for patch in patches(Path::new("/")) {
            let file = Path::new(LIVEPATCH).join(&patch.name).join("enabled");
            let done = write(file, b"0", false);
            if done.is_err()
                || !wait_until(PATIENCE, || {
                    !Path::new(LIVEPATCH).join(&patch.name).exists()
                })
            {
                self.report(format!("{} cannot be disabled: {done:?}", patch.name));
                return;
            }
        }
        self.settle();
        for module in [TARGET, KPROBE] {
            if is_loaded(module) && !wait_until(Duration::from_secs(30), || unload(module).is_ok())
            {
                self.report(format!("{module} cannot be unloaded"));
            }
        }
        let functions = read(&Path::new(TRACING).join("enabled_functions")).unwrap_or_default();
        if functions.lines().any(|line| !line.starts_with('#')) {
            self.report(format!("functions are still hooked: {functions}"));
        }
    }
}

fn unload(name: &str) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    // Without waiting: O_NONBLOCK.
    delete_module(&name, 0o4000)
}

/// Let the tasks go that sleep in functions of the target (1), or let later ones sleep (0).
fn release(value: &[u8]) {
    // The target need not be loaded.
    let _ = write(
        Path::new("/sys/module")
            .join(TARGET)
            .join("parameters/release"),
        value,
        false,
    );
}

/// Send a signal to a process that may have ended.
fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let _ = pid.map(|pid| kill_process(pid, signal));
}

/// Start processes that end at once, and call what patches replace.
fn processes() -> Result<(), Errno> {
    for _ in 0..4 {
        let status = Command::new("/bin/true").status().map_err(|e| errno(&e))?;
        if !status.success() {
            return Err(Errno::IO);
        }
        read(Path::new("/proc/cmdline"));
        read(&Path::new("/sys/module").join(TARGET).join("parameters/one"));
    }
    Ok(())
}

/// Use a tracer of ftrace for the functions that are patched, where they are.
fn tracer(name: &str) -> Result<(), Errno> {
    let filter = Path::new(TRACING).join("set_ftrace_filter");
    if name != "nop" {
        // One function stays in the filter when the target goes. An empty one has all functions.
        write(&filter, b"cmdline_proc_show\n", false)?;
        // The target need not be loaded.
        let _ = write(&filter, b"klpr_target_one klpr_target_two\n", true);
    }
    let result = write(
        Path::new(TRACING).join("current_tracer"),
        name.as_bytes(),
        false,
    );
    if name == "nop" && result.is_ok() {
        write(Path::new(TRACING).join("trace"), b"", false)?;
    }
    result
}

/// Add a probe and enable it, or disable a probe and remove it.
fn probe(line: &str) -> Result<(), Errno> {
    let events = Path::new(TRACING).join("kprobe_events");
    let name = line.split([':', ' ']).nth(1).unwrap_or_default();
    let enable = Path::new(TRACING).join("events").join(name).join("enable");
    if line.starts_with('-') {
        write(enable, b"0", false)?;
        write(events, line.as_bytes(), true)
    } else {
        write(events, line.as_bytes(), true)?;
        write(enable, b"1", false)
    }
}

/// Read all files of a folder that can be read.
fn read_all(folder: Folder) {
    let mut paths = match folder {
        Folder::Patches => vec![LIVEPATCH.into()],
        Folder::Debug => vec!["/sys/kernel/debug/livepatch".into()],
        Folder::States => state_files(Path::new("/")),
        Folder::Functions => vec![
            Path::new(TRACING).join("enabled_functions"),
            Path::new(TRACING).join("touched_functions"),
            "/proc/modules".into(),
        ],
    };
    while let Some(path) = paths.pop() {
        if fs::symlink_metadata(&path).is_ok_and(|data| data.is_dir()) {
            paths.extend(names(&path).into_iter().map(|name| path.join(name)));
            continue;
        }
        let mut content = Vec::new();
        // What goes meanwhile, and what can only be written, cannot be read.
        if let Ok(file) = File::open(&path) {
            let _ = file.take(1 << 20).read_to_end(&mut content);
        }
    }
}
