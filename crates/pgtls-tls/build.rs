//! Tells the crate which rustls it is built against, from the lock file.

use std::path::Path;
use std::{env, fs};

fn main() {
    let manifest_dir = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let lock_file = Path::new(&manifest_dir).join("../../Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock_file.display());
    let lock = fs::read_to_string(&lock_file).unwrap_or_default();
    println!(
        "cargo::rustc-env=PGTLS_RUSTLS_VERSION={}",
        version_of("rustls", &lock).unwrap_or("unknown")
    );
}

/// The version that stands below `name = "<package>"`.
fn version_of<'l>(package: &str, lock: &'l str) -> Option<&'l str> {
    let name = format!("name = \"{package}\"");
    lock.lines()
        .skip_while(|line| *line != name)
        .nth(1)?
        .strip_prefix("version = \"")?
        .strip_suffix('"')
}
