//! Tests of the whole way from a guest's write to the file.

use super::*;
use std::fs;

fn output(directory: &tempfile::TempDir) -> Arc<ContainerOutput> {
    let writer = LogWriter::start().unwrap();
    let path = directory.path().join("main/0.log");
    ContainerOutput::open(&path, Clock::system(), writer, watch::Sender::default()).unwrap()
}

fn texts(directory: &tempfile::TempDir) -> Vec<String> {
    let log = fs::read_to_string(directory.path().join("main/0.log")).unwrap();
    log.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

#[tokio::test]
async fn what_is_finished_is_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let output = output(&directory);
    output.write(Source::Stdout, &Bytes::from_static(b"one\ntw"));
    output.write(Source::Stderr, &Bytes::from_static(b"oops\n"));
    output.write(Source::Stdout, &Bytes::from_static(b"o"));
    output.finish().await;
    assert_eq!(texts(&directory), ["stdout F one", "stderr F oops", "stdout F two"]);
}

#[tokio::test]
async fn a_guest_that_writes_faster_than_the_disk_waits() {
    let directory = tempfile::tempdir().unwrap();
    let output = output(&directory);
    let stopped = output.file.lock(); // the disk does not answer
    let line = Bytes::from(vec![b'\n'; 1024]);
    let mut written = 0;
    while output.room() > 0 {
        output.write(Source::Stdout, &line);
        written += line.len();
    }
    drop(stopped);
    output.wait_for_room().await;
    output.finish().await;
    assert_eq!(texts(&directory).len(), written);
}

#[tokio::test]
async fn the_attached_see_what_comes_and_the_slow_are_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let output = output(&directory);
    output.write(Source::Stdout, &Bytes::from_static(b"before\n"));
    let mut attached = output.attach();
    for _ in 0..OUTPUT_PIECES_MAX + 1 {
        output.write(Source::Stderr, &Bytes::from_static(b"x"));
    }
    let mut seen = 0;
    while let Some(piece) = attached.recv().await {
        assert_eq!(piece, Output::Stderr(Bytes::from_static(b"x")));
        seen += 1;
    }
    assert_eq!(seen, OUTPUT_PIECES_MAX);
}

#[tokio::test]
async fn who_follows_is_told_when_it_is_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let output = output(&directory);
    let mut progress = output.progress.subscribe();
    output.write(Source::Stdout, &Bytes::from_static(b"one\n"));
    progress.changed().await.unwrap();
    assert_eq!(texts(&directory), ["stdout F one"]);
    output.finish().await;
    progress.mark_unchanged();
    fs::rename(directory.path().join("main/0.log"), directory.path().join("main/old")).unwrap();
    output.reopen().unwrap();
    assert!(progress.has_changed().unwrap(), "the path is another file");
}
