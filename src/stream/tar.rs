//! A folder of plain files read as one tar archive, as `tar -x` unpacks it: no second copy on the disk, each file gone once it is open,
//! where that is wished.
//!
//! Owns [`Tar`]. It knows nothing of what the files mean; the order is the caller's. Headers are ustar's, with GNU's form of sizes from
//! 8 GiB on. Owner and times stay out: who unpacks it owns it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const BLOCK: usize = 512;
/// What the size field takes in octal digits; larger sizes are written as bytes.
const LARGEST_OCTAL: u64 = 0o77_777_777_777;
/// The longest name that fits the header.
const LONGEST: usize = 100;

/// An archive to be read from its beginning to its end, once.
#[derive(Debug)]
pub struct Tar {
    folder: PathBuf,
    /// Whether the files stay.
    keeps: bool,
    /// The names still to come, last one first.
    names: Vec<String>,
    /// What comes before anything else: a header, padding, or the end mark.
    ahead: Vec<u8>,
    taken: usize,
    body: Option<Body>,
    ended: bool,
}

#[derive(Debug)]
struct Body {
    file: File,
    name: String,
    left: u64,
    padding: usize,
}

impl Tar {
    /// The files of a folder as an archive: the one called `first` before the others, which follow by name. Anything but plain files
    /// with short names is refused; so is a folder without `first`.
    pub fn of(folder: &Path, first: &str) -> io::Result<Self> {
        Self::new(folder, first, false)
    }

    /// The same, and the files stay where they are.
    pub fn keeping(folder: &Path, first: &str) -> io::Result<Self> {
        Self::new(folder, first, true)
    }

    /// The archive's length, bytes, while nothing has been read of it.
    pub fn length(&self) -> io::Result<u64> {
        let block = BLOCK as u64;
        let member = |name: &String| Ok(block + std::fs::metadata(self.folder.join(name))?.len().next_multiple_of(block));
        let members = self.names.iter().map(member).sum::<io::Result<u64>>()?;
        Ok(members + 2 * block)
    }

    fn new(folder: &Path, first: &str, keeps: bool) -> io::Result<Self> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|name| io::Error::other(format!("{} is no plain name", name.display())))?;
            if !entry.file_type()?.is_file() || name.len() >= LONGEST {
                return Err(io::Error::other(format!("{name} is no plain file with a short name")));
            }
            names.push(name);
        }
        names.sort_unstable_by(|one, other| other.cmp(one));
        let Some(at) = names.iter().position(|name| name == first) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no {first}")));
        };
        let first = names.remove(at);
        names.push(first);
        Ok(Self { folder: folder.to_path_buf(), keeps, names, ahead: Vec::with_capacity(2 * BLOCK), taken: 0, body: None, ended: false })
    }

    /// Goes on to the next file, or to the end mark.
    fn next(&mut self) -> io::Result<()> {
        self.ahead.clear();
        self.taken = 0;
        let Some(name) = self.names.pop() else {
            self.ahead.resize(2 * BLOCK, 0);
            self.ended = true;
            return Ok(());
        };
        let path = self.folder.join(&name);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(&path).map_err(named)?;
        let size = file.metadata().map_err(named)?.len();
        // Its bytes stay until it is closed; its room is free for what is being written from it.
        if !self.keeps {
            std::fs::remove_file(&path).map_err(named)?;
        }
        self.ahead.extend_from_slice(&header(&name, size));
        let padding = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or_default();
        self.body = Some(Body { file, name, left: size, padding });
        Ok(())
    }
}

impl Read for Tar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(rest) = self.ahead.get(self.taken..).filter(|rest| !rest.is_empty()) {
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                self.taken += count;
                return Ok(count);
            }
            let Some(body) = self.body.as_mut() else {
                if self.ended || buffer.is_empty() {
                    return Ok(0);
                }
                self.next()?;
                continue;
            };
            if body.left == 0 {
                self.ahead.clear();
                self.ahead.resize(body.padding, 0);
                self.taken = 0;
                self.body = None;
                continue;
            }
            let wanted = usize::try_from(body.left).unwrap_or(usize::MAX).min(buffer.len());
            let count = body.file.read(&mut buffer[..wanted])?;
            if count == 0 && wanted > 0 {
                let why = format!("{} became {} bytes shorter while it was read", body.name, body.left);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
            body.left -= count as u64;
            return Ok(count);
        }
    }
}

/// A member's header (POSIX ustar).
fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if size <= LARGEST_OCTAL {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        put(124, &[0x80]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(files: &[(&str, &[u8])]) -> (tempfile::TempDir, io::Result<Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let bytes = Tar::of(folder.path(), "toc.dat").and_then(|mut tar| {
            let mut bytes = Vec::new();
            // Pieces of an odd size: headers and padding are met in their middle.
            let mut piece = [0; 77];
            loop {
                match tar.read(&mut piece)? {
                    0 => return Ok(bytes),
                    count => bytes.extend_from_slice(&piece[..count]),
                }
            }
        });
        (folder, bytes)
    }

    /// The machine's own tar is the judge of what it unpacks.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the judge is another program")]
    fn tar_unpacks_what_was_packed() {
        let long = vec![7_u8; 100_000];
        let files: [(&str, &[u8]); 5] =
            [("zz.dat", b"last"), ("toc.dat", b"contents"), ("1.dat", b""), ("2.dat", &[1; 512]), ("3.dat", &long)];
        let (folder, bytes) = packed(&files);
        let bytes = bytes.unwrap();
        assert_eq!(bytes.len() % BLOCK, 0);
        assert!(bytes.starts_with(b"toc.dat\0"), "the table of contents comes first");
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "what was packed is gone");
        let (archive, out) = (folder.path().join("a.tar"), tempfile::tempdir().unwrap());
        std::fs::write(&archive, &bytes).unwrap();
        let done = std::process::Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(out.path()).output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        for (name, bytes) in files {
            assert_eq!(std::fs::read(out.path().join(name)).unwrap(), bytes, "{name}");
        }
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), files.len());
    }

    #[test]
    fn sizes_beyond_octal_are_written_as_bytes() {
        let block = header("x", 1 << 40);
        assert_eq!(block[124..136], [0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(&header("x", LARGEST_OCTAL)[124..136], b"77777777777\0");
    }

    #[test]
    fn what_is_no_folder_of_plain_files_is_refused() {
        assert_eq!(packed(&[("1.dat", b"x")]).1.unwrap_err().kind(), io::ErrorKind::NotFound);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("toc.dat"), b"x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("1.dat")).unwrap();
        assert!(Tar::of(folder.path(), "toc.dat").is_err());
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toc.dat");
        std::fs::write(&path, [0; 4096]).unwrap();
        let held = File::options().write(true).open(&path).unwrap();
        let mut tar = Tar::of(folder.path(), "toc.dat").unwrap();
        let mut piece = [0; 600];
        tar.read_exact(&mut piece).unwrap();
        held.set_len(600).unwrap();
        assert!(tar.read_to_end(&mut Vec::new()).is_err());
    }
}
