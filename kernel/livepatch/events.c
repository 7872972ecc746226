// SPDX-License-Identifier: GPL-2.0
/* The trace events of livepatch, called from Rust. */

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include <trace/events/livepatch.h>
