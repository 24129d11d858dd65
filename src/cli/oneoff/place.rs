//! Where the output goes: decided before anything is written, and never outside of what is allowed.

use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, FileType, OFlags};

use crate::error::{Cause, Failure, Result};

/// Where a backup goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Standard output.
    Pipe,
    /// A file of this name in this folder, which is there and no link.
    File(PathBuf, String),
    /// A folder; the file is named after the database.
    Folder(PathBuf),
}

/// Decides. A relative path stays below `allowed`, else below the working directory; an absolute one below `allowed`, where that is given.
pub(super) fn decide(output: Option<&str>, allowed: Option<&Path>) -> Result<Place> {
    let Some(output) = output else {
        return Ok(Place::Folder(folder(allowed.unwrap_or(Path::new(".")))?));
    };
    if output == "-" {
        return match allowed {
            None => Ok(Place::Pipe),
            Some(_) => Err(Failure::new(Cause::Configuration, "--output - goes to standard output, and --output-dir names a folder")),
        };
    }
    let path = Path::new(output);
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(unsafe_path(output, "leads upwards by \"..\""));
    }
    let bound = match allowed {
        Some(allowed) => Some(real(allowed)?),
        None if path.is_absolute() => None,
        None => Some(real(Path::new("."))?),
    };
    let full = bound.as_deref().map_or_else(|| path.to_path_buf(), |bound| bound.join(path));
    let within = |real: PathBuf| match &bound {
        Some(bound) if !real.starts_with(bound) => {
            Err(unsafe_path(output, &format!("lies outside of {}, by itself or through a link", bound.display())))
        }
        _ => Ok(real),
    };
    if full.is_dir() {
        return Ok(Place::Folder(within(folder(&full)?)?));
    }
    let name = full.file_name().and_then(|name| name.to_str()).filter(|_| !output.ends_with('/'));
    let (Some(name), Some(parent)) = (name, full.parent()) else {
        return Err(
            Failure::new(Cause::Storage, format!("the folder {output} doesn't exist, or its name isn't UTF-8")).hint("make it first")
        );
    };
    if let Ok(facts) = std::fs::symlink_metadata(&full)
        && !facts.is_file()
    {
        return Err(unsafe_path(output, "is a link or no plain file"));
    }
    let folder = within(folder(parent)?)?;
    fits(&folder, name)?;
    Ok(Place::File(folder, name.to_owned()))
}

/// Fails where the file system takes no name of this length: that would be told by its refusal, after the dump.
fn fits(folder: &Path, name: &str) -> Result<()> {
    let most = rustix::fs::statvfs(folder).map_or(255, |facts| facts.f_namemax);
    if name.len() as u64 <= most {
        return Ok(());
    }
    let words = format!("the output's name has {} bytes, and {} takes names of {most} at most", name.len(), folder.display());
    Err(Failure::new(Cause::Configuration, words).hint("give it a shorter name"))
}

/// The real path of a folder that can be written to.
fn folder(path: &Path) -> Result<PathBuf> {
    let real = real(path)?;
    rustix::fs::access(&real, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        Failure::storage(format!("writing into {}", real.display()), &error.into())
            .hint("run as a user that may write there, or name another folder with --output")
    })?;
    Ok(real)
}

/// The real path of a folder.
fn real(path: &Path) -> Result<PathBuf> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let real = path.canonicalize().map_err(|error| {
        Failure::storage(format!("the output folder {}", path.display()), &error).hint("make it first, or name another")
    })?;
    if !real.is_dir() {
        return Err(unsafe_path(&path.display().to_string(), "is no folder"));
    }
    Ok(real)
}

fn unsafe_path(path: &str, why: &str) -> Failure {
    Failure::new(Cause::UnsafePath, format!("the output {path:?} {why}")).hint("name the place itself, below the folder that is allowed")
}

/// Fails where standard output was closed by whoever started this: the runtime has put /dev/null there, open for reading as well, which
/// no shell's redirection is.
pub(super) fn leads_somewhere(output: impl AsFd) -> Result<()> {
    let is_null = rustix::fs::fstat(&output).is_ok_and(|facts| facts.st_rdev == rustix::fs::makedev(1, 3));
    let reads_too = rustix::fs::fcntl_getfl(&output).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR);
    if is_null && reads_too {
        return Err(Failure::new(Cause::Configuration, "standard output is closed, so the backup would go nowhere")
            .hint("name a file with --output, or give standard output a reader: | ssh host 'cat > shop.dump'"));
    }
    Ok(())
}

/// Fails where standard output is a file that would be taken for the dump: it would hold a few words.
pub(super) fn carries_words(output: impl AsFd) -> Result<()> {
    let is_file = |facts: rustix::fs::Stat| FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile;
    if !rustix::fs::fstat(&output).is_ok_and(is_file) {
        return Ok(());
    }
    let words = "standard output is a file, and only the summary would go there: the dump is written into a file of its own";
    Err(Failure::new(Cause::Configuration, words).hint(
        "type: pgdumpd backup … --output FILE, or pgdumpd backup … --output - >FILE\n\
         where the file is a log, say where the dump goes: --output . is this folder",
    ))
}

/// Endings that promise what isn't written: a program that goes by them would call the file broken.
const FOREIGN: [&str; 15] = ["xz", "lz4", "zip", "tgz", "tbz", "tbz2", "txz", "tzst", "lzma", "lz", "br", "7z", "z", "rar", "gpg"];

/// Fails where a name promises what isn't written.
pub(super) fn is_kept(name: &str) -> Result<()> {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_lowercase()).unwrap_or_default();
    if !FOREIGN.contains(&ending.as_str()) {
        return Ok(());
    }
    Err(Failure::new(Cause::Configuration, format!("the name {name:?} promises a .{ending} file, which pgdumpd doesn't write")).hint(
        "end the name in .dump, .sql, .tar or .dir.tar, and after it .zst, .gz or .bz2 if wanted; or hand the dump to another program: \
         --output - --format plain | xz > FILE",
    ))
}

/// Fails where a name's endings promise something else than is written: a program that goes by them would call the file broken.
pub(super) fn is_kept_by(name: &str, format: &str, compression: &str) -> Result<()> {
    let lower = name.to_lowercase();
    let (promised, packed) = told_by_name(name);
    let says = |ending: &str| lower.split('.').skip(1).any(|part| part == ending);
    let method = compression.split(':').next().unwrap_or(compression);
    let method = if method == "native" { "none" } else { method };
    let is_other_form = match promised {
        "plain" => format != "plain",
        "tar" | "directory" => !matches!(format, "tar" | "directory"),
        _ => false,
    };
    let is_packed = ["zst", "zstd", "gz", "bz2"].into_iter().any(|ending| lower.ends_with(&format!(".{ending}")));
    // A .dump may be anything that pgdumpd writes; what is compressed inside is not packed from outside.
    let is_packed_otherwise = (is_packed || says("sql") || says("tar")) && METHODS.contains(&method) && method != packed;
    if !is_other_form && !is_packed_otherwise {
        return Ok(());
    }
    let words = format!("the name {name:?} promises another file than a {format} dump with compression {compression}");
    let ending = match format {
        "plain" => ".sql",
        "tar" => ".tar",
        "directory" => ".dir.tar",
        _ => ".dump",
    };
    let packed = match method {
        "zstd" => ".zst",
        "gzip" => ".gz",
        "bzip2" => ".bz2",
        _ => "",
    };
    Err(Failure::new(Cause::Configuration, words)
        .hint(format!("end the name in {ending}{packed}, or leave out --format and --compress: the name tells")))
}

/// What compresses from outside, or nothing.
const METHODS: [&str; 4] = ["zstd", "gzip", "bzip2", "none"];

/// Format and compression that a file's name promises to whoever opens it.
pub(super) fn told_by_name(name: &str) -> (&'static str, &'static str) {
    let lower = name.to_lowercase();
    let (stem, compression) = match lower.rsplit_once('.') {
        Some((stem, "zst" | "zstd")) => (stem, Some("zstd")),
        Some((stem, "gz")) => (stem, Some("gzip")),
        Some((stem, "bz2")) => (stem, Some("bzip2")),
        _ => (lower.as_str(), None),
    };
    match stem.rsplit_once('.') {
        Some((_, "sql")) => ("plain", compression.unwrap_or("none")),
        Some((stem, "tar")) if stem.rsplit_once('.').is_some_and(|(_, last)| last == "dir") => ("directory", compression.unwrap_or("none")),
        Some((_, "tar")) => ("tar", compression.unwrap_or("none")),
        // pg_restore opens it as it is.
        _ => ("custom", compression.unwrap_or("native")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_promise_a_form() {
        let told = ["a.dump", "a.dump.zst", "a.sql", "A.SQL.GZ", "a.tar", "a.dir.tar.zst", "a", "a.tar.bz2"].map(told_by_name);
        let expected = [
            ("custom", "native"),
            ("custom", "zstd"),
            ("plain", "none"),
            ("plain", "gzip"),
            ("tar", "none"),
            ("directory", "zstd"),
            ("custom", "native"),
            ("tar", "bzip2"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_name_is_no_lie() {
        for (name, format, compression, is_kept) in [
            ("x.sql.gz", "plain", "none", false),
            ("x.sql.zst", "plain", "gzip", false),
            ("x.sql", "tar", "none", false),
            ("x.sql", "plain", "zstd:3", false),
            ("x.dump.gz", "custom", "zstd", false),
            ("x.dump.gz", "custom", "native", false),
            ("x.tar", "custom", "native", false),
            ("x.sql.gz", "plain", "gzip:9", true),
            ("x.dump", "custom", "zstd", true),
            ("x.dump", "directory", "none", true),
            ("x.tar", "directory", "none", true),
            ("x.dump.zst", "custom", "zstd", true),
            ("x", "plain", "bzip2", true),
            ("x.2026", "tar", "none", true),
            ("x.tgz", "directory", "gzip", true),
            ("x.sql.gz", "plain", "zip", true),
        ] {
            assert_eq!(is_kept_by(name, format, compression).is_ok(), is_kept, "{name} {format} {compression}");
        }
    }

    #[test]
    fn outputs_stay_where_they_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let (allowed, outside) = (folder.path().join("allowed"), folder.path().join("outside"));
        for made in [&allowed, &outside, &allowed.join("sub")] {
            std::fs::create_dir(made).unwrap();
        }
        std::os::unix::fs::symlink(&outside, allowed.join("link")).unwrap();
        std::os::unix::fs::symlink("sub", allowed.join("inner")).unwrap();
        std::os::unix::fs::symlink(outside.join("x"), allowed.join("file")).unwrap();
        let real = allowed.canonicalize().unwrap();
        let decide = |output: &str| decide(Some(output), Some(&allowed));
        for bad in ["../x", "sub/../../x", "link/x", "link", "file", outside.join("x").to_str().unwrap(), "/etc", "sub/..", "/dev/null"] {
            assert_eq!(decide(bad).unwrap_err().cause, Cause::UnsafePath, "{bad}");
        }
        assert_eq!(decide("x.dump").unwrap(), Place::File(real.clone(), String::from("x.dump")));
        assert_eq!(decide("inner/x").unwrap(), Place::File(real.join("sub"), String::from("x")));
        assert_eq!(decide("sub").unwrap(), Place::Folder(real.join("sub")));
        assert_eq!(decide("-").unwrap_err().cause, Cause::Configuration);
        assert!(decide("none/x").is_err() && decide("none/").is_err());
    }
}
