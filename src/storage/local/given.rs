//! A dump that a person named, to be read and nothing else: a file, or a folder of `pg_dump`'s directory format as one tar.
//!
//! Nothing is ever written beside it. What has to lie unpacked for a while lies among the system's temporary files, under a name that
//! tells whose it is: what a killed process left there, the next one removes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::RunId;
use crate::process::{self, Identity};
use crate::storage::{Entry, InUse, Key, Pending, Scratch, Storage, Use, names, scratch};
use crate::stream::Tar;
use crate::stream::gauge::Gauge;

/// A directory dump's table of contents.
const CONTENTS: &str = "toc.dat";

/// One file or one folder.
#[derive(Debug, Clone)]
pub struct Given {
    path: PathBuf,
    is_folder: bool,
    scratch: PathBuf,
    gauge: Gauge,
}

impl Given {
    /// What stands at this path; a link leads to what it names. What is neither a plain file nor a folder with a `toc.dat` is refused.
    pub fn at(path: &Path) -> Result<Self> {
        let failed = |error: &io::Error| {
            let failure = Failure::storage(format!("opening {}", path.display()), error);
            if error.kind() == io::ErrorKind::NotFound { failure.hint("look for a slip in its name") } else { failure }
        };
        // What stands behind /dev/stdin or <(…) has no path of its own.
        let is_other = |facts: std::fs::Metadata| !facts.is_file() && !facts.is_dir();
        if std::fs::metadata(path).is_ok_and(is_other) {
            let words = format!("{} is neither a file nor a folder", path.display());
            return Err(Failure::new(Cause::UnsafePath, words).hint("write what comes out of a pipe to a file first"));
        }
        let real = path.canonicalize().map_err(|error| failed(&error))?;
        let facts = std::fs::metadata(&real).map_err(|error| failed(&error))?;
        if facts.is_dir() && !real.join(CONTENTS).is_file() {
            let words = format!("the folder {} is no dump: it holds no {CONTENTS}", path.display());
            return Err(Failure::new(Cause::NotFound, words).hint("name the folder that pg_dump -Fd has made, or a file"));
        }
        Ok(Self { path: real, is_folder: facts.is_dir(), scratch: std::env::temp_dir(), gauge: Gauge::new() })
    }

    /// The same, where this gauge shows how much of it has been read.
    #[must_use]
    pub fn shown_by(self, gauge: &Gauge) -> Self {
        Self { gauge: gauge.clone(), ..self }
    }

    /// Says for what it is read from its start now.
    pub fn begin_reading(&self, doing: &'static str) {
        self.gauge.begin(doing);
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// Everything, from its start.
    pub fn open(&self) -> Result<Box<dyn Read + Send>> {
        let failed = |error: io::Error| Failure::storage(format!("opening {}", self.path.display()), &error);
        if self.is_folder {
            return Ok(Box::new(Counted(Tar::keeping(&self.path, CONTENTS).map_err(failed)?, self.gauge.clone())));
        }
        Ok(Box::new(Counted(self.file().map_err(failed)?, self.gauge.clone())))
    }

    /// The length of all that [`Given::open`] reads, bytes.
    pub fn length(&self) -> Result<u64> {
        let failed = |error: io::Error| Failure::storage(format!("looking at {}", self.path.display()), &error);
        if self.is_folder {
            return Tar::keeping(&self.path, CONTENTS).and_then(|tar| tar.length()).map_err(failed);
        }
        self.file().and_then(|file| file.metadata()).map(|facts| facts.len()).map_err(failed)
    }

    fn file(&self) -> io::Result<File> {
        // NONBLOCK so that a pipe somebody has put there meanwhile can't hold us.
        File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(&self.path)
    }

    fn read_only(&self) -> Failure {
        Failure::new(Cause::Storage, format!("nothing is written beside {}", self.path.display()))
    }
}

/// What is read, shown by a gauge.
struct Counted<R>(R, Gauge);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.passed(count);
        Ok(count)
    }
}

impl Storage for Given {
    fn name(&self) -> &'static str {
        "file"
    }

    fn id(&self) -> Result<Option<String>> {
        Ok(None)
    }

    fn initialize(&self) -> Result<String> {
        Err(self.read_only())
    }

    fn begin(&self, _key: &Key, _run: &str) -> Result<Box<dyn Pending>> {
        Err(self.read_only())
    }

    fn get(&self, key: &Key) -> Result<Box<dyn Read + Send>> {
        self.get_range(key, 0..u64::MAX)
    }

    fn get_range(&self, _key: &Key, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let failed = |error: io::Error| Failure::storage(format!("reading {} from byte {}", self.path.display(), range.start), &error);
        let length = range.end.saturating_sub(range.start);
        if self.is_folder {
            let mut tar = self.open()?;
            io::copy(&mut Read::by_ref(&mut tar).take(range.start), &mut io::sink()).map_err(failed)?;
            return Ok(Box::new(tar.take(length)));
        }
        let mut file = self.file().map_err(failed)?;
        file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        Ok(Box::new(file.take(length)))
    }

    fn size(&self, _key: &Key) -> Result<Option<u64>> {
        self.length().map(Some)
    }

    fn put(&self, _key: &Key, _bytes: &[u8]) -> Result<()> {
        Err(self.read_only())
    }

    fn list(&self, _project: &str) -> Result<Vec<Entry>> {
        Ok(Vec::new())
    }

    fn projects(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn mark(&self, _key: &Key, _wanted: Use) -> Result<Option<InUse>> {
        // Nobody of ours removes it.
        Ok(Some(InUse::nothing()))
    }

    fn delete(&self, _key: &Key) -> Result<()> {
        Err(self.read_only())
    }

    fn scratch(&self, _project: &str, _run: &str) -> Result<Scratch> {
        sweep(&self.scratch);
        let own = process::own_identity().unwrap_or(Identity { pid: std::process::id(), start_ticks: 0 });
        let path = self.scratch.join(format!("{}{}-{}-{}", prefix(), own.pid, own.start_ticks, RunId::random()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| Failure::storage(format!("making the folder {}", path.display()), &error))?;
        Ok(Scratch::new(path))
    }

    fn unfinished(&self, _project: &str) -> Result<Vec<String>> {
        Ok(Vec::new()) // nothing is stored here
    }

    fn sweep(&self, _project: &str, _run: Option<&str>) -> Result<Vec<String>> {
        Ok(sweep(&self.scratch))
    }

    fn free_space(&self) -> Result<Option<u64>> {
        let found = rustix::fs::statvfs(&self.scratch);
        let found = found.map_err(|error| Failure::storage(format!("asking for the room in {}", self.scratch.display()), &error.into()))?;
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }

    fn place(&self) -> String {
        self.path.parent().unwrap_or(&self.path).display().to_string()
    }

    fn lock_file(&self, _project: &str) -> Result<PathBuf> {
        Err(self.read_only())
    }

    fn lies_at(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

fn prefix() -> String {
    format!("{}tmp-given-", names::OWN)
}

/// Removes the scratch folders of this user's processes that are no more; returns their names.
fn sweep(folder: &Path) -> Vec<String> {
    let prefix = prefix();
    let me = rustix::process::geteuid().as_raw();
    let mut gone = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let Some(owner) = name.strip_prefix(&prefix).and_then(owner) else { continue };
        let ours = entry.path().symlink_metadata().is_ok_and(|facts| facts.is_dir() && facts.uid() == me);
        if ours && !owner.is_alive() && scratch::is_left(&entry.path()) && std::fs::remove_dir_all(entry.path()).is_ok() {
            gone.push(name);
        }
    }
    gone
}

fn owner(rest: &str) -> Option<Identity> {
    let mut parts = rest.split('-');
    Some(Identity { pid: parts.next()?.parse().ok()?, start_ticks: parts.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_scratch_of_the_dead_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.dump");
        std::fs::write(&file, "0123456789").unwrap();
        let given = Given { scratch: folder.path().to_path_buf(), ..Given::at(&file).unwrap() };
        let own = process::own_identity().unwrap();
        let dead = folder.path().join(format!("{}{}-{}-abc", prefix(), own.pid, own.start_ticks + 1));
        let other = folder.path().join(format!("{}mine", prefix()));
        std::fs::create_dir(&dead).unwrap();
        std::fs::create_dir(&other).unwrap();
        let living = given.scratch("", "run").unwrap();
        assert_eq!(given.sweep("", None).unwrap(), Vec::<String>::new(), "the making of one has swept");
        assert!(!dead.exists() && other.exists() && living.path().exists());
        // One whose process can't be seen from here, in another container, works in its folder.
        std::fs::create_dir(&dead).unwrap();
        let working = InUse::of_folder(&dead, Use::Reading).unwrap();
        assert_eq!(given.sweep("", None).unwrap().len(), 0);
        drop(working);
        assert_eq!(given.sweep("", None).unwrap().len(), 1);
    }

    #[test]
    fn a_file_is_read_from_anywhere_and_never_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.dump");
        std::fs::write(&file, "0123456789").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let given = Given::at(&link).unwrap();
        let key = Key { project: String::new(), file: String::from("whatever") };
        let mut text = String::new();
        given.get_range(&key, 3..5).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), given.size(&key).unwrap()), ("34", Some(10)));
        assert!(given.put(&key, b"x").is_err() && given.delete(&key).is_err() && given.begin(&key, "r").is_err());
        assert_eq!(Given::at(folder.path()).unwrap_err().cause, Cause::NotFound);
        assert!(Given::at(&folder.path().join("none")).unwrap_err().message.contains("opening"));
        assert_eq!(Given::at(Path::new("/dev/null")).unwrap_err().cause, Cause::UnsafePath);
    }

    #[test]
    fn a_folder_is_read_as_a_tar_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("toc.dat", "contents"), ("1.dat", "rows")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let given = Given::at(folder.path()).unwrap();
        let key = Key { project: String::new(), file: String::new() };
        let mut whole = Vec::new();
        given.get(&key).unwrap().read_to_end(&mut whole).unwrap();
        assert_eq!(given.size(&key).unwrap(), Some(whole.len() as u64));
        let mut rest = Vec::new();
        given.get_range(&key, 512..520).unwrap().read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"contents");
        assert!(whole.starts_with(b"toc.dat\0") && folder.path().join("1.dat").exists());
    }
}
