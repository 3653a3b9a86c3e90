//! Room for files that are read from their end: `/tmp` of the function.

use std::fs::File;

use brigade::ports::Scratch;

/// Files in the system's temporary folder, which are gone when they are closed.
#[derive(Clone, Copy, Debug)]
pub struct TempFiles;

impl Scratch for TempFiles {
    fn file(&self) -> std::io::Result<File> {
        tempfile::tempfile()
    }
}
