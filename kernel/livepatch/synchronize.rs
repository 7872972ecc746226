// SPDX-License-Identifier: GPL-2.0

//! Waiting until each CPU has scheduled.

use crate::task;
use kernel::{
    cpu::{CpuId, HotplugLock},
    prelude::*,
    sync::{
        rcu,
        Arc,
        Completion, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    workqueue::{impl_has_work, new_work, system_highpri, Work, WorkItem},
};

/// A work item whose run shows that a CPU has scheduled.
#[pin_data]
struct Scheduled {
    #[pin]
    work: Work<Scheduled>,
    #[pin]
    done: Completion,
}

impl_has_work! {
    impl HasWork<Self> for Scheduled { self.work }
}

impl WorkItem for Scheduled {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.done.complete_all();
    }
}

impl Scheduled {
    fn new() -> Result<Arc<Self>> {
        let init = pin_init!(Self {
            work <- new_work!("livepatch::Scheduled::work"),
            done <- Completion::new(),
        });
        Arc::pin_init(init, GFP_KERNEL)
    }
}

/// Whether a CPU is not to be disturbed, and need not: what can be hooked runs there only while RCU
/// is watching, as the architecture promises (`ARCH_WANTS_NO_INSTR`).
fn is_spared(cpu: CpuId) -> bool {
    cfg!(CONFIG_ARCH_WANTS_NO_INSTR) && task::is_isolated(cpu)
}

/// Waits until each CPU has scheduled.
///
/// What ran with preemption disabled when this was called is done then, also where RCU was not
/// watching it: in the idle loop, and on the way from and to user mode. May sleep.
///
/// Isolated CPUs are not to be disturbed. They are waited for by RCU.
pub(crate) fn synchronize() {
    while schedule_on_cpus().is_err() {
        // No memory for the work items. To go on without having waited would not be safe.
        fsleep(Delta::from_millis(10));
    }
}

fn schedule_on_cpus() -> Result {
    let mut works = KVVec::new();
    let mut spared = false;
    let lock = HotplugLock::new();
    for cpu in CpuId::possible().filter(|cpu| cpu.is_online()) {
        if is_spared(cpu) {
            spared = true;
            continue;
        }
        let work = Scheduled::new()?;
        works.push(work.clone(), GFP_KERNEL)?;
        // Before ordinary tasks and work items: the transition waits for each of these.
        let _ = system_highpri().enqueue_on(cpu, work);
    }
    for work in works.iter() {
        work.done.wait_for_completion();
    }
    drop(lock);

    if spared {
        rcu::synchronize_rcu();
    }
    Ok(())
}
