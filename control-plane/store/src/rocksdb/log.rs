//! Tells a torn write-ahead log from a damaged one, before RocksDB reads it.
//!
//! RocksDB replays a log up to the first record that is not in order and drops
//! what follows, or refuses any log that is not in order. We need the difference:
//! a commit that was on its way when the power went was never acknowledged and
//! may go; a damaged record before others, or one that was complete, was
//! acknowledged, and nothing may be dropped silently. Every commit is synced
//! before the next one begins, so that only the last record can be torn:
//!
//! ```text
//!  record  record  reco            the file ends early             torn: dropped
//!  record  record  re00000         sectors never arrived (zeros)   torn: dropped
//!  record  re##rd  record          something follows               damaged
//!  record  record  re##rd          complete, and not what was sent damaged
//! ```
//!
//! The form is RocksDB's (`db/log_format.h`): blocks of 32 KiB; in them
//! fragments of checksum, length, type, payload; a payload is a write batch, which
//! begins with its sequence number and count. That a torn write leaves zeroed
//! sectors is what etcd goes by too (`isTornEntry` in `server/storage/wal`).
//! Called by `disk`; it writes nothing.

use super::crc::crc32c;
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

const BLOCK_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 7;

/// Sequence number and count, at the head of a record.
const BATCH_HEAD_BYTES: usize = 12;

/// What a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// Why a log must not be replayed.
#[derive(Debug)]
pub(super) enum Error {
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// An acknowledged record is damaged: where.
    Damaged(PathBuf, u64),
}

/// Looks through the logs of a store, oldest first.
pub(super) fn check(logs: &[PathBuf]) -> Result<(), Error> {
    let mut scan = Scan::default();
    logs.iter().try_for_each(|log| scan.file(log))
}

/// What has been read so far.
#[derive(Default)]
struct Scan {
    /// The sequence number that the next record must have.
    next_sequence: Option<u64>,
    /// A torn record: it is the end of the log, or of what was kept of it when
    /// it was replayed before.
    torn: Option<Torn>,
    /// A record whose last fragment has not come.
    open: Option<Record>,
}

struct Torn {
    log: PathBuf,
    at: u64,
}

struct Record {
    at: u64,
    /// Its first bytes.
    head: Vec<u8>,
}

/// What is wrong with a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It has not arrived as a whole.
    Torn,
    /// It has arrived, and is something else.
    Damaged,
}

impl Scan {
    fn file(&mut self, log: &Path) -> Result<(), Error> {
        let failed = |error| Error::Read(log.to_owned(), error);
        let mut file = File::open(log).map_err(failed)?;
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let mut at = 0;
        loop {
            block.clear();
            (&mut file).take(BLOCK_BYTES as u64).read_to_end(&mut block).map_err(failed)?;
            self.block(log, at, &block)?;
            at += block.len() as u64;
            if block.len() < BLOCK_BYTES {
                break;
            }
        }
        if let Some(record) = self.open.take() {
            self.tear(log, record.at);
        }
        Ok(())
    }

    fn tear(&mut self, log: &Path, at: u64) {
        self.open = None;
        self.torn.get_or_insert_with(|| Torn { log: log.to_owned(), at });
    }

    fn block(&mut self, log: &Path, start: u64, block: &[u8]) -> Result<(), Error> {
        let whole = block.len() == BLOCK_BYTES;
        let mut position = 0;
        while position < block.len() {
            let rest = &block[position..];
            if whole && rest.len() < HEADER_BYTES {
                return Ok(()); // no fragment begins here
            }
            let at = start + position as u64;
            match fragment(rest, position, whole) {
                Ok((kind, payload)) => {
                    self.fragment(log, at, kind, payload)?;
                    position += HEADER_BYTES + payload.len();
                }
                Err(Wrong::Damaged) => return Err(Error::Damaged(log.to_owned(), at)),
                Err(Wrong::Torn) => {
                    let record = self.open.as_ref().map_or(at, |record| record.at);
                    self.tear(log, record);
                    let Some(next) = next_beginning(block, position + 1, whole) else { return Ok(()) };
                    position = next;
                }
            }
        }
        Ok(())
    }

    fn fragment(&mut self, log: &Path, at: u64, kind: u8, payload: &[u8]) -> Result<(), Error> {
        let damaged = |at| Err(Error::Damaged(log.to_owned(), at));
        match (kind, &mut self.open) {
            (FULL | FIRST, None) => {
                if let Some(torn) = self.torn.as_ref().filter(|torn| torn.log == log) {
                    return damaged(torn.at); // a later commit: the torn one was acknowledged
                }
                self.open = Some(Record { at, head: Vec::new() });
            }
            (MIDDLE | LAST, Some(_)) => {}
            // What is left of a torn record.
            (MIDDLE | LAST, None) if self.torn.is_some() => return Ok(()),
            (_, open) => return damaged(open.as_ref().map_or(at, |record| record.at)),
        }
        let Some(record) = &mut self.open else { return Ok(()) };
        record.head.extend_from_slice(&payload[..payload.len().min(BATCH_HEAD_BYTES - record.head.len())]);
        if kind == FULL || kind == LAST { self.finish(log) } else { Ok(()) }
    }

    /// The open record is complete.
    fn finish(&mut self, log: &Path) -> Result<(), Error> {
        let Some(record) = self.open.take() else { return Ok(()) };
        let (Some(sequence), Some(count)) = (record.head.first_chunk::<8>(), record.head.last_chunk::<4>()) else {
            return Err(Error::Damaged(log.to_owned(), record.at));
        };
        let sequence = u64::from_le_bytes(*sequence);
        if let Some(torn) = self.torn.take()
            && self.next_sequence.is_some_and(|next| next != sequence)
        {
            // This log goes on further than what came before the torn record.
            return Err(Error::Damaged(torn.log, torn.at));
        }
        self.next_sequence = Some(sequence + u64::from(u32::from_le_bytes(*count)));
        Ok(())
    }
}

/// The fragment at the head of `rest`, which begins at `position` of its block.
fn fragment(rest: &[u8], position: usize, whole_block: bool) -> Result<(u8, &[u8]), Wrong> {
    let Some((header, body)) = rest.split_first_chunk::<HEADER_BYTES>() else { return Err(Wrong::Torn) };
    let [c0, c1, c2, c3, l0, l1, kind] = *header;
    let (checksum, length) = (u32::from_le_bytes([c0, c1, c2, c3]), usize::from(u16::from_le_bytes([l0, l1])));
    let fits = |payload: &[u8]| masked(crc32c(&rest[HEADER_BYTES - 1..HEADER_BYTES + payload.len()])) == checksum;
    let Some(payload) = body.get(..length) else {
        // Longer than what is left: the end has not arrived, or the length is wrong.
        let torn = !whole_block && !fits(body) || has_zeroed_sector(rest, position);
        return Err(if torn { Wrong::Torn } else { Wrong::Damaged });
    };
    if matches!(kind, FULL | FIRST | MIDDLE | LAST) && fits(payload) {
        return Ok((kind, payload));
    }
    let all = &rest[..HEADER_BYTES + length];
    Err(if has_zeroed_sector(all, position) { Wrong::Torn } else { Wrong::Damaged })
}

/// Whether some sector, as far as it lies in `bytes`, is all zeros.
fn has_zeroed_sector(bytes: &[u8], position: usize) -> bool {
    let in_first = (SECTOR_BYTES - position % SECTOR_BYTES).min(bytes.len());
    let (first, rest) = bytes.split_at(in_first);
    let zeroed = |sector: &[u8]| sector.iter().all(|byte| *byte == 0);
    zeroed(first) || rest.chunks(SECTOR_BYTES).any(zeroed)
}

/// Where in a block, from `position` on, a record in order begins.
fn next_beginning(block: &[u8], position: usize, whole: bool) -> Option<usize> {
    (position..block.len()).find(|at| matches!(fragment(&block[*at..], *at, whole), Ok((FULL | FIRST, _))))
}

/// RocksDB stores checksums rotated, so that data with checksums inside has
/// others than they (`util/crc32c.h`).
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}
