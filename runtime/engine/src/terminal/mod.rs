//! A terminal in user space: between a client who types and the processes that
//! read and write it.
//!
//! ```text
//! client ─ keys ─▶ run ─▶ LineDiscipline ─ lines ──▶ processes (through OpenFile)
//!    ▲                │ signals: to the foreground    │
//!    └────────────────┴─ echo ──── output, NL → CR NL ◀┘
//! ```
//!
//! An exec or a container with `tty` has one; all its processes share it. It
//! knows processes only as [`Signalled`].

mod discipline;

use crate::{
    files::Waiters,
    stdio::{Sink, Source},
};
use bytes::{Buf, Bytes};
use discipline::{Accepted, LineDiscipline, Signal, process_output};
use parking_lot::Mutex;
use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::{mpsc, watch};
use wk_cri::TerminalSize;

/// Bytes that were typed and find no room, kept so that a ^C behind them is seen.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Who gets the signals of a terminal's keys.
pub(crate) trait Signalled: Send + Sync {
    /// Signals `leader` and what it started, but for what runs in the background.
    fn signal(&self, leader: u32, signal: u8);
}

/// A terminal.
pub(crate) struct Terminal {
    state: Mutex<State>,
    readers: Waiters,
    /// Woken when something was read and there is room to type.
    typists: Waiters,
    /// The process that was started on it.
    leader: u32,
    output: Sink,
    size: watch::Receiver<TerminalSize>,
    /// Of a terminal at which nobody can type.
    keyboard: Mutex<Option<mpsc::Sender<Bytes>>>,
}

struct State {
    discipline: LineDiscipline,
    /// Nobody will type again: all reads are at the end.
    hung_up: bool,
}

impl Terminal {
    /// Shows what is written to `output`; the keys are for the process `leader` and
    /// its children.
    pub fn new(output: Sink, size: watch::Receiver<TerminalSize>, leader: u32) -> Arc<Self> {
        let state = State { discipline: LineDiscipline::default(), hung_up: false };
        Arc::new(Self {
            state: Mutex::new(state),
            readers: Waiters::default(),
            typists: Waiters::default(),
            leader,
            output,
            size,
            keyboard: Mutex::default(),
        })
    }

    /// Keeps what [`Terminal::run`] reads from ending: without a client's stdin, a
    /// read of the terminal waits and is not at the end.
    pub fn keep_open(&self, keyboard: mpsc::Sender<Bytes>) {
        *self.keyboard.lock() = Some(keyboard);
    }

    /// Takes what a client types until there are no more clients, and then hangs
    /// up. Cancel safety: what was typed and has found no room is lost.
    pub async fn run(&self, mut typed: mpsc::Receiver<Bytes>, processes: &impl Signalled) {
        let mut held = Bytes::new();
        loop {
            self.accept_all(&mut held, processes).await;
            let more = if held.is_empty() {
                typed.recv().await
            } else if held.len() < HELD_BYTES_MAX {
                tokio::select! {
                    biased; // a key may be ^C
                    more = typed.recv() => more,
                    () = self.has_room() => Some(Bytes::new()),
                }
            } else {
                self.has_room().await;
                Some(Bytes::new())
            };
            match more {
                Some(bytes) if held.is_empty() => held = bytes,
                Some(bytes) => held = [held, bytes].concat().into(),
                None => break,
            }
        }
        // What is held is still to be read; then it is the end.
        while !held.is_empty() {
            self.has_room().await;
            self.accept_all(&mut held, processes).await;
        }
        self.state.lock().hung_up = true;
        self.readers.wake_all();
    }

    /// Takes what there is room for, and then what is behind a signal.
    async fn accept_all(&self, held: &mut Bytes, processes: &impl Signalled) {
        let mut echo = Vec::new();
        let signals = {
            let mut state = self.state.lock();
            let mut signals = Vec::new();
            while let Some(byte) = held.first() {
                match state.discipline.accept(*byte, &mut echo) {
                    Accepted::Taken => held.advance(1),
                    Accepted::Signal(signal) => {
                        held.advance(1);
                        signals.push(signal);
                    }
                    Accepted::Full => match held.iter().position(|byte| state.discipline.signal_of(*byte).is_some()) {
                        Some(position) => held.advance(position),
                        None => break,
                    },
                }
            }
            signals
        };
        signals.into_iter().for_each(|signal: Signal| processes.signal(self.leader, signal.number()));
        self.readers.wake_all();
        self.show(echo).await;
    }

    async fn show(&self, echo: Vec<u8>) {
        let echo = Bytes::from(echo);
        while !echo.is_empty() {
            self.output.clone().wait_for_room().await;
            match self.output.write(Source::Stdout, echo.clone()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return, // nobody looks at the screen: fine
            }
        }
    }

    /// Waits until something was read.
    async fn has_room(&self) {
        poll_fn(|cx| {
            self.typists.register(cx);
            if self.state.lock().discipline.is_full() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Ready when a read would not wait.
    pub fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        self.readers.register(cx);
        let state = self.state.lock();
        if state.discipline.is_readable() || state.hung_up { Poll::Ready(()) } else { Poll::Pending }
    }

    /// A line, or what was typed in raw mode: `None` when that is nothing yet,
    /// empty at the end.
    pub fn try_read(&self, size: usize) -> Option<Bytes> {
        let mut state = self.state.lock();
        let bytes = state.discipline.read(size);
        let bytes = if state.hung_up { Some(bytes.unwrap_or_default()) } else { bytes };
        drop(state);
        self.typists.wake_all();
        bytes
    }

    /// As [`Sink::room`].
    ///
    /// # Errors
    /// As [`Sink::room`].
    pub fn room(&self) -> io::Result<usize> {
        self.output.room()
    }

    /// Waits until there is room. Cancel safe.
    pub async fn writable(&self) {
        self.output.clone().wait_for_room().await;
    }

    /// As [`Sink::write`], processed.
    ///
    /// # Errors
    /// As [`Sink::write`].
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.output.write(Source::Stdout, process_output(bytes))
    }

    /// Its size; `None` until a client has said it.
    pub fn size(&self) -> Option<TerminalSize> {
        let size = *self.size.borrow();
        (size != TerminalSize::default()).then_some(size)
    }

    /// See [`LineDiscipline::set_raw`].
    pub fn set_raw(&self, raw: bool) {
        self.state.lock().discipline.set_raw(raw);
        self.readers.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdio::OUTPUT_PIECES_MAX;
    use wk_cri::Output;

    /// Remembers whom it was to signal.
    #[derive(Default)]
    struct Recorded(Mutex<Vec<(u32, u8)>>);

    impl Signalled for Recorded {
        fn signal(&self, leader: u32, signal: u8) {
            self.0.lock().push((leader, signal));
        }
    }

    struct Screen {
        terminal: Arc<Terminal>,
        shown: mpsc::Receiver<Output>,
        resize: watch::Sender<TerminalSize>,
    }

    fn screen() -> Screen {
        let (client, shown) = mpsc::channel(OUTPUT_PIECES_MAX);
        let (resize, size) = watch::channel(TerminalSize::default());
        Screen { terminal: Terminal::new(Sink::Client(client), size, 7), shown, resize }
    }

    /// Types these pieces and hangs up.
    async fn typed(screen: &Screen, processes: &Recorded, pieces: &[&'static str]) {
        let (keys, typed) = mpsc::channel(pieces.len().max(1));
        for piece in pieces {
            keys.send(Bytes::from_static(piece.as_bytes())).await.unwrap();
        }
        drop(keys);
        screen.terminal.run(typed, processes).await;
    }

    fn shown(screen: &mut Screen) -> String {
        let mut text = Vec::new();
        while let Ok(Output::Stdout(bytes)) = screen.shown.try_recv() {
            text.extend(bytes);
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn lines_are_read_and_then_the_client_hangs_up() {
        let mut screen = screen();
        typed(&screen, &Recorded::default(), &["ls\r", "half"]).await;
        assert_eq!(shown(&mut screen), "ls\r\nhalf");
        assert_eq!(screen.terminal.try_read(100).unwrap(), "ls\n");
        assert_eq!(screen.terminal.try_read(100).unwrap(), "", "the end, and again");
        assert_eq!(screen.terminal.try_read(100).unwrap(), "");
        screen.terminal.write(b"a\nb\n").unwrap();
        assert_eq!(shown(&mut screen), "a\r\nb\r\n");
    }

    #[tokio::test]
    async fn signals_go_to_the_leader_and_forget_what_was_typed() {
        let (mut screen, processes) = (screen(), Recorded::default());
        typed(&screen, &processes, &["half\x03", "\x1c"]).await;
        assert_eq!(*processes.0.lock(), [(7, 2), (7, 3)]);
        assert_eq!(shown(&mut screen), "half^C^\\");
        assert_eq!(screen.terminal.try_read(9).unwrap(), "", "hung up and nothing typed");
    }

    #[tokio::test]
    async fn a_paste_waits_for_its_reader_and_loses_nothing() {
        let screen = screen();
        screen.terminal.set_raw(true);
        let (keys, pasted) = mpsc::channel(1);
        const PIECES: usize = 100;
        let processes = Recorded::default();
        let pasting = async {
            for _ in 0..PIECES {
                keys.send(Bytes::from_static(&[b'x'; 4096])).await.unwrap();
            }
            drop(keys);
        };
        let reading = async {
            let mut count = 0;
            loop {
                poll_fn(|cx| screen.terminal.poll_readable(cx)).await;
                match screen.terminal.try_read(1000) {
                    Some(bytes) if bytes.is_empty() => return count,
                    bytes => count += bytes.unwrap_or_default().len(),
                }
            }
        };
        let all = async { tokio::join!(screen.terminal.run(pasted, &processes), pasting, reading).2 };
        let count = tokio::time::timeout(std::time::Duration::from_secs(60), all).await.unwrap();
        assert_eq!(count, PIECES * 4096);
    }

    #[tokio::test]
    async fn an_interrupt_is_seen_behind_what_nobody_reads() {
        let (screen, processes) = (screen(), Recorded::default());
        let (keys, typed) = mpsc::channel(64);
        for _ in 0..20 {
            keys.send(Bytes::from_static(&[b'\r'; 1024])).await.unwrap();
        }
        keys.send(Bytes::from_static(b"\x03")).await.unwrap();
        drop(keys);
        let mut screen = screen;
        let terminal = screen.terminal.clone();
        let watching = async { while screen.shown.recv().await.is_some() {} };
        tokio::select! {
            () = terminal.run(typed, &processes) => {}
            () = watching => {}
        }
        assert_eq!(processes.0.lock().len(), 1);
    }

    #[tokio::test]
    async fn the_size_is_the_clients() {
        let screen = screen();
        assert_eq!(screen.terminal.size(), None);
        let size = TerminalSize { width: 120, height: 40 };
        screen.resize.send_replace(size);
        assert_eq!(screen.terminal.size(), Some(size));
    }
}
