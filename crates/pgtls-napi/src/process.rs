//! What concerns the whole process: memory that the allocator holds back.

/// Gives freed memory back to the system: glibc keeps it otherwise. `None` where the allocator needs no telling.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) const RELEASE_MEMORY: Option<fn()> = Some(release_memory);

/// Likewise.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const RELEASE_MEMORY: Option<fn()> = None;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "a C library call")]
fn release_memory() {
    // SAFETY: malloc_trim may be called at any time from any thread; it touches nothing that is in use.
    let _ = unsafe { libc::malloc_trim(0) };
}
