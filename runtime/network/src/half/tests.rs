//! A half against a model: same bytes, same errors, same bound, no lost wakeup.

use super::*;
use proptest::prelude::*;
use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Wake,
};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    WriteBytes(usize),
    Read(usize),
    ReadInto(usize),
    WaitReadable,
    WaitWritable,
    Finish,
    StopReading,
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = || prop_oneof![Just(0_usize), Just(1), 2..5_000_usize, 5_000..400_000_usize];
    let step = prop_oneof![
        6 => size().prop_map(Step::Write),
        6 => size().prop_map(Step::WriteBytes),
        6 => size().prop_map(Step::Read),
        6 => size().prop_map(Step::ReadInto),
        4 => Just(Step::WaitReadable),
        4 => Just(Step::WaitWritable),
        1 => Just(Step::Finish),
        1 => Just(Step::StopReading),
        1 => Just(Step::Reset),
    ];
    prop::collection::vec(step, 1..60)
}

/// What a half must be: a list of bytes and three flags.
#[derive(Default)]
struct Model {
    queue: VecDeque<u8>,
    finished: bool,
    unread: bool,
    reset: bool,
    written: u8,
}

impl Model {
    fn readable(&self) -> Result<bool, ErrorKind> {
        match () {
            () if self.reset => Err(ErrorKind::ConnectionReset),
            () if !self.queue.is_empty() => Ok(true),
            () if self.finished || self.unread => Ok(false),
            () => Err(ErrorKind::WouldBlock),
        }
    }

    fn free(&self) -> Result<usize, ErrorKind> {
        match () {
            () if self.reset => Err(ErrorKind::ConnectionReset),
            () if self.finished || self.unread => Err(ErrorKind::BrokenPipe),
            () => Ok(HALF_BYTES_MAX - self.queue.len()),
        }
    }

    /// What a write of `wanted` bytes takes.
    fn accepts(&self, wanted: usize) -> Result<usize, ErrorKind> {
        match self.free()? {
            0 if wanted > 0 => Err(ErrorKind::WouldBlock),
            free => Ok(wanted.min(free)),
        }
    }

    fn next_bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| {
                self.written = self.written.wrapping_add(1) % 251;
                self.written
            })
            .collect()
    }
}

/// One role waiting: how often it had been woken when it went to sleep.
#[derive(Default)]
struct Sleeper {
    wakes: Arc<Wakes>,
    asleep_at: Option<usize>,
}

impl Sleeper {
    fn wait(&mut self, poll: impl FnOnce(&mut Context<'_>) -> Poll<()>) -> Poll<()> {
        let waker = Waker::from(self.wakes.clone());
        let result = poll(&mut Context::from_waker(&waker));
        self.asleep_at = result.is_pending().then(|| self.wakes.count());
        result
    }

    fn overslept(&self) -> bool {
        self.asleep_at == Some(self.wakes.count())
    }
}

fn write(half: &Half, model: &mut Model, size: usize, owned: bool) {
    let expected = model.accepts(size);
    let data = model.next_bytes(size);
    let result = match owned {
        true => half.try_write_bytes(&mut Bytes::from(data.clone())),
        false => half.try_write(&data),
    };
    assert_eq!(result.map_err(|error| error.kind()), expected);
    model.queue.extend(&data[..expected.unwrap_or(0)]);
}

fn read(half: &Half, model: &mut Model, size: usize) {
    let expected = model.readable();
    let result = half.try_read(size).map_err(|error| error.kind());
    let Ok(bytes) = result else { return assert_eq!(result.err(), expected.err()) };
    assert_eq!(expected, Ok(expected == Ok(true)));
    assert_eq!(bytes.is_empty(), size == 0 || expected == Ok(false));
    assert!(bytes.len() <= size);
    assert!(bytes.iter().copied().eq(model.queue.drain(..bytes.len())));
}

fn read_into(half: &Half, model: &mut Model, size: usize) {
    let expected = model.readable();
    let mut buffer = vec![0; size];
    let mut buffer = tokio::io::ReadBuf::new(&mut buffer);
    let result = half.try_read_into(&mut buffer).map_err(|error| error.kind());
    assert_eq!(result.err(), expected.err());
    let count = if expected == Ok(true) { size.min(model.queue.len()) } else { 0 };
    assert_eq!(buffer.filled().len(), count, "everything there is, up to the buffer's size");
    assert!(buffer.filled().iter().copied().eq(model.queue.drain(..count)));
}

fn run(steps: Vec<Step>) {
    let budget = Arc::new(Budget::new(usize::MAX));
    let (half, mut model) = (Half::charged_to(Some(budget.clone())), Model::default());
    let (mut reader, mut writer) = (Sleeper::default(), Sleeper::default());
    for step in steps {
        match step {
            Step::Write(size) => write(&half, &mut model, size, false),
            Step::WriteBytes(size) => write(&half, &mut model, size, true),
            Step::Read(size) => read(&half, &mut model, size),
            Step::ReadInto(size) => read_into(&half, &mut model, size),
            Step::WaitReadable => {
                let ready = reader.wait(|cx| half.poll_readable(cx)).is_ready();
                assert_eq!(ready, model.readable() != Err(ErrorKind::WouldBlock));
            }
            Step::WaitWritable => {
                let ready = writer.wait(|cx| half.poll_writable(cx)).is_ready();
                assert_eq!(ready, model.free() != Ok(0));
            }
            Step::Finish => {
                half.finish();
                model.finished = true;
            }
            Step::StopReading => {
                half.stop_reading();
                model.unread = true;
                model.queue.clear();
            }
            Step::Reset => {
                half.reset();
                model.reset = true;
                model.queue.clear();
            }
        }
        assert_eq!((half.queued(), budget.used()), (model.queue.len(), model.queue.len()));
        assert!(half.queued() <= HALF_BYTES_MAX);
        assert_eq!(half.writable().map_err(|error| error.kind()), model.free());
        let readable = model.readable() != Err(ErrorKind::WouldBlock);
        assert!(!(readable && reader.overslept()), "the reader missed its wakeup after {step:?}");
        // The writer may sleep on until half of the queue is free.
        let writable = model.free().map_or(true, |free| free >= HALF_BYTES_MAX - WAKE_WRITER_AT);
        assert!(!(writable && writer.overslept()), "the writer missed its wakeup after {step:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_half_is_a_bounded_queue_with_wakeups(steps in steps()) {
        run(steps);
    }
}

#[test]
fn many_tiny_writes_share_few_allocations() {
    let half = Half::default();
    for _ in 0..HALF_BYTES_MAX {
        half.try_write(b"x").expect("there is room");
    }
    assert!(half.state.lock().chunks.len() <= HALF_BYTES_MAX / TAIL_BYTES_MAX);
    assert_eq!(half.try_write(b"x").map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
}

#[test]
fn large_writes_are_not_copied() {
    let half = Half::default();
    let mut data = Bytes::from(vec![7; 64 * 1024]);
    let address = data.as_ptr();
    half.try_write_bytes(&mut data).expect("there is room");
    assert_eq!(half.try_read(usize::MAX).expect("written above").as_ptr(), address);
}
