//! Artifacts read back whole, from the middle, cut, altered and missing.

use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::model::dump::Compression;
use crate::storage::Memory;
use crate::stream::{gauge::Gauge, pump};

/// Cuts a frame at each of these offsets.
struct Cuts(Vec<u64>, u64);

impl stream::Observe for Cuts {
    fn observe(&mut self, chunk: &[u8], cuts: &mut Vec<usize>) -> Result<()> {
        let here = self.1..self.1 + chunk.len() as u64;
        cuts.extend(self.0.iter().filter(|at| here.contains(at)).map(|at| (at - here.start) as usize));
        self.1 = here.end;
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Sink(std::sync::Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Half a megabyte that compresses neither well nor to nothing.
fn archive() -> Vec<u8> {
    let mut seed = 7_u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8 & 15
    };
    (0..500_000).map(|_| next()).collect()
}

fn stored(compression: Compression, cuts: &[u64]) -> (Memory, Manifest) {
    let (sink, source) = (Sink::default(), Box::new(io::Cursor::new(archive())));
    let never = || false;
    let done = pump(source, &mut Cuts(cuts.to_vec(), 0), compression, 0, sink.clone(), &Gauge::default(), &never).unwrap();
    let bytes = std::mem::take(&mut *sink.0.lock());
    let manifest = json!({
        "format": 1, "backup_id": "a", "project": "shop", "database_name": "shop", "type": "full", "selection": "full", "trigger": "manual",
        "backup_timestamp": "2026-11-21T01:15:00Z", "finished_at": "2026-11-21T01:15:00Z", "duration_ms": 1, "backup_file": "a.dump",
        "backup_size_bytes": bytes.len(), "uncompressed_size_bytes": done.pumped.archive, "checksum_sha256": done.pumped.sha256,
        "compressed": true, "compression": compression, "dump_format": "custom", "structure": "whole", "tables": [], "table_counts": {},
        "frames": done.pumped.frames, "postgresql_version": "15", "postgresql_version_num": 150_000, "pg_dump_version": "15",
        "server_host": "x", "server_port": 1, "restore_command": "x", "made_on": "x", "pgdumpd_version": "x",
    });
    let storage = Memory::new("main");
    storage.initialize().unwrap();
    put(&storage, &bytes);
    (storage, serde_json::from_value(manifest).unwrap())
}

fn put(storage: &Memory, bytes: &[u8]) {
    storage.put(&key(), bytes).unwrap();
}

fn key() -> Key {
    Key { project: "shop".into(), file: "a.dump".into() }
}

fn bytes(storage: &Memory) -> Vec<u8> {
    let mut bytes = Vec::new();
    storage.get(&key()).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn rest(storage: &Memory, manifest: &Manifest, at: u64) -> Result<Vec<u8>> {
    let mut read = Vec::new();
    open_at(storage, manifest, at)?.read_to_end(&mut read).map_err(|error| Failure::from_io("reading", error))?;
    Ok(read)
}

#[test]
fn every_compression_is_read_from_the_start_and_from_the_middle() {
    let whole = archive();
    for compression in [Compression::Zstd(3), Compression::Gzip(6), Compression::Bzip2(9), Compression::None, Compression::Native] {
        let (storage, mut manifest) = stored(compression, &[100_000, 300_000]);
        assert_eq!(manifest.frames.len(), 3);
        for at in [0, 1, 99_999, 100_000, 100_001, 299_999, 300_000, 499_999, 500_000] {
            assert!(rest(&storage, &manifest, at).unwrap() == whole[at as usize..], "{compression:?} from {at}");
        }
        manifest.frames.clear();
        assert!(rest(&storage, &manifest, 400_000).unwrap() == whole[400_000..], "{compression:?} without frames");
    }
}

#[test]
fn what_lies_before_the_frame_is_not_read() {
    let (storage, manifest) = stored(Compression::Zstd(3), &[100_000, 300_000]);
    let mut damaged = bytes(&storage);
    damaged[..manifest.frames[2].stored as usize].fill(0);
    put(&storage, &damaged);
    assert!(rest(&storage, &manifest, 300_000).unwrap() == archive()[300_000..]);
    assert!(rest(&storage, &manifest, 299_999).is_err());
}

#[test]
fn a_cut_or_altered_or_missing_artifact_is_told_with_its_name() {
    for compression in [Compression::Zstd(3), Compression::Gzip(6), Compression::Bzip2(9)] {
        let (storage, mut manifest) = stored(compression, &[]);
        let whole = bytes(&storage);
        let mut altered = whole.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 0xff;
        put(&storage, &altered);
        let mut failures = vec![rest(&storage, &manifest, 0).unwrap_err()];
        put(&storage, &whole[..middle]);
        failures.push(rest(&storage, &manifest, 0).unwrap_err());
        manifest.backup_size_bytes = middle as u64;
        failures.push(rest(&storage, &manifest, 0).unwrap_err());
        storage.delete(&key()).unwrap();
        failures.push(rest(&storage, &manifest, 0).unwrap_err());
        for failure in failures {
            assert!(failure.cause == Cause::Damaged && failure.message.starts_with("a.dump ") && failure.hint.is_some(), "{failure:?}");
        }
    }
}

#[test]
fn an_archive_of_another_length_is_refused() {
    let (storage, mut manifest) = stored(Compression::Zstd(3), &[]);
    manifest.uncompressed_size_bytes -= 1;
    assert!(rest(&storage, &manifest, 0).unwrap_err().message.contains("more than the 499999 bytes"));
    manifest.uncompressed_size_bytes += 2;
    assert!(rest(&storage, &manifest, 0).unwrap_err().message.contains("ends after 500000 of the 500001 bytes"));
    assert!(rest(&storage, &manifest, 500_002).unwrap_err().message.contains("byte 500002"));
}

#[test]
fn a_frame_that_begins_nowhere_is_damage() {
    let (storage, mut manifest) = stored(Compression::Zstd(3), &[100_000]);
    manifest.frames[1].stored += 3;
    assert_eq!(rest(&storage, &manifest, 100_000).unwrap_err().cause, Cause::Damaged);
}

#[test]
fn a_failing_disk_is_not_called_damage() {
    struct Eio;
    impl Read for Eio {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    let source = Stored { inner: Box::new(Eio), file: "a.dump".into() };
    let error = stream::decompress(Compression::Zstd(3), Box::new(source)).unwrap().read(&mut [0; 10]).unwrap_err();
    let failure = Failure::from_io("reading", error);
    assert!(failure.cause == Cause::Storage && failure.message.starts_with("reading a.dump: "), "{failure:?}");
}
