//! A tar archive read member by member: `pg_dump -Ft`, or a directory dump packed into one tar.
//!
//! Reads forward only, a block at a time; what isn't read of a member is skipped.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::tar::{BLOCK, is_file, member};
use super::{altered, unread};
use crate::error::{Failure, Result};

/// The members of a tar; reading it reads the present one.
pub struct Members<R> {
    source: R,
    /// Bytes of the present member still to come.
    left: u64,
    /// Bytes after them, up to the next block.
    padding: u64,
}

impl<R: Read> Members<R> {
    /// A tar that begins where the source stands.
    pub fn new(source: R) -> Self {
        Self { source, left: 0, padding: 0 }
    }

    /// What it is read from.
    pub fn source(&self) -> &R {
        &self.source
    }

    /// Goes to the next plain file and gives its name without its folder; none at the end.
    pub fn next_member(&mut self) -> Result<Option<String>> {
        loop {
            match self.next_header()? {
                Some((_, false)) => {}
                found => return Ok(found.map(|(name, _)| name)),
            }
        }
    }

    /// The next member, and whether it is a plain file.
    fn next_header(&mut self) -> Result<Option<(String, bool)>> {
        let skipped = self.left + self.padding;
        let passed = io::copy(&mut Read::by_ref(&mut self.source).take(skipped), &mut io::sink()).map_err(unread)?;
        (self.left, self.padding) = (0, 0);
        let mut block = Vec::with_capacity(BLOCK);
        Read::by_ref(&mut self.source).take(BLOCK as u64).read_to_end(&mut block).map_err(unread)?;
        if passed < skipped || block.len() < BLOCK {
            return Err(altered(String::from("the tar archive ends inside a member")));
        }
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let Some((name, size)) = member(&block) else {
            return Err(altered(String::from("the tar archive is broken: a member's header has a wrong checksum")));
        };
        (self.left, self.padding) = (size, size.next_multiple_of(BLOCK as u64) - size);
        Ok(Some((name, is_file(&block))))
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.source.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left -= count as u64;
        if count == 0 && most > 0 {
            return Err(altered(String::from("the tar archive ends inside a member")).into());
        }
        Ok(count)
    }
}

/// Lays the members of a directory dump out in an empty folder again, as `pg_restore` reads it. They must be plain files of a dump.
///
/// # Errors
/// Where the archive is broken or its source can't be read; where the folder takes no more.
pub fn lay_out(source: impl Read, folder: &Path) -> Result<()> {
    let mut members = Members::new(source);
    while let Some(name) = members.next_member()? {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
            return Err(altered(format!("the archive holds a member called {name:?}, which no dump has")));
        }
        let made = File::options().write(true).create_new(true).mode(0o600).open(folder.join(&name));
        let mut file = made.map_err(|error| Failure::storage(format!("unpacking {name}"), &error))?;
        io::copy(&mut members, &mut file).map_err(|error| match error.raw_os_error() {
            Some(_) => Failure::storage(format!("unpacking {name}"), &error).hint("free some space on the storage"),
            None => Failure::from_io(format!("unpacking {name}"), error),
        })?;
    }
    Ok(())
}
