//! The `poll` of wasi-libc, which std links but does not offer.

use std::{ffi::c_int, io, os::fd::RawFd};

/// What to wait for on a descriptor.
#[derive(Clone, Copy, Debug)]
pub enum Interest {
    /// Something to read or accept, or the end.
    Read,
    /// Room to write.
    Write,
}

// As in wasi-libc's `poll.h`; the numbers differ from Linux.
const POLLIN: i16 = 0x1;
const POLLOUT: i16 = 0x2;

#[repr(C)]
struct PollFd {
    fd: RawFd,
    events: i16,
    revents: i16,
}

unsafe extern "C" {
    fn poll(fds: *mut PollFd, count: std::ffi::c_ulong, timeout_millis: c_int) -> c_int;
}

/// Returns when at least one of the descriptors is ready.
///
/// # Errors
/// What `poll` gives, such as a descriptor that is none.
pub fn wait(interests: &[(RawFd, Interest)]) -> io::Result<()> {
    let event = |interest| match interest {
        Interest::Read => POLLIN,
        Interest::Write => POLLOUT,
    };
    let mut fds: Vec<PollFd> =
        interests.iter().map(|&(fd, interest)| PollFd { fd, events: event(interest), revents: 0 }).collect();
    // SAFETY: `fds` is an array of `fds.len()` structs in the layout of C.
    let ready = unsafe { poll(fds.as_mut_ptr(), fds.len() as std::ffi::c_ulong, -1) };
    if ready < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
