//! Keys in, lines and echo out.

use super::*;

/// Types keys; what the terminal showed and the signals there were.
fn type_keys(discipline: &mut LineDiscipline, keys: &str) -> (String, Vec<Signal>) {
    let (mut echo, mut signals) = (Vec::new(), Vec::new());
    for byte in keys.bytes() {
        match discipline.accept(byte, &mut echo) {
            Accepted::Taken => {}
            Accepted::Signal(signal) => signals.push(signal),
            Accepted::Full => panic!("no room for {byte:?}"),
        }
    }
    (String::from_utf8(echo).unwrap(), signals)
}

fn read(discipline: &mut LineDiscipline) -> Option<String> {
    discipline.read(10_000).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

/// Types keys into a new terminal: the one line that can then be read.
fn line_of(keys: &str) -> Option<String> {
    let mut discipline = LineDiscipline::default();
    type_keys(&mut discipline, keys);
    read(&mut discipline)
}

#[test]
fn a_line_can_be_read_when_it_is_complete() {
    let mut discipline = LineDiscipline::default();
    assert_eq!(type_keys(&mut discipline, "echo hi").0, "echo hi");
    assert!(!discipline.is_readable());
    assert_eq!(type_keys(&mut discipline, "\rnext").0, "\r\nnext");
    assert_eq!(read(&mut discipline).as_deref(), Some("echo hi\n"));
    assert_eq!(read(&mut discipline), None);
}

#[test]
fn a_read_takes_at_most_one_line_and_its_size() {
    let mut discipline = LineDiscipline::default();
    type_keys(&mut discipline, "one\rtwo\r");
    assert_eq!(discipline.read(2).unwrap(), "on");
    assert_eq!(discipline.read(100).unwrap(), "e\n");
    assert_eq!(discipline.read(100).unwrap(), "two\n");
}

#[test]
fn keys_edit_the_line() {
    assert_eq!(line_of("lsx\x7f -l\r").as_deref(), Some("ls -l\n"));
    assert_eq!(line_of("lsx\x08\r").as_deref(), Some("ls\n"));
    assert_eq!(line_of("wrong\x15right\r").as_deref(), Some("right\n"));
    assert_eq!(line_of("one two  \x17three\r").as_deref(), Some("one three\n"));
    assert_eq!(line_of("\x7f\x17\x15ok\r").as_deref(), Some("ok\n"), "there is nothing before the first");
    assert_eq!(line_of("a\x13\x11\x1ab\r").as_deref(), Some("ab\n"), "^S, ^Q and ^Z do nothing");
}

#[test]
fn erasing_takes_off_the_screen_what_was_shown() {
    let shown = |keys: &str| type_keys(&mut LineDiscipline::default(), keys).0;
    assert_eq!(shown("a\x7f"), "a\x08 \x08");
    assert_eq!(shown("\x7f"), "");
    assert_eq!(shown("\x1b\x7f"), "^[\x08 \x08\x08 \x08");
    assert_eq!(shown("ab\t\x7f"), format!("ab      {}", "\x08 \x08".repeat(6)));
    assert_eq!(shown("é\x7f"), "é\x08 \x08", "one column, two bytes");
    assert_eq!(line_of("né\x7fo\r").as_deref(), Some("no\n"));
    assert_eq!(shown("ab\x12"), "ab^R\r\nab");
}

#[test]
fn end_of_file_is_after_what_was_typed_and_alone_is_the_end() {
    let mut discipline = LineDiscipline::default();
    type_keys(&mut discipline, "abc\x04");
    assert_eq!(read(&mut discipline).as_deref(), Some("abc"));
    assert_eq!(read(&mut discipline), None);
    type_keys(&mut discipline, "\x04x\r");
    assert_eq!(read(&mut discipline).as_deref(), Some(""));
    assert_eq!(read(&mut discipline).as_deref(), Some("x\n"), "a terminal goes on after its end");
}

#[test]
fn signals_are_shown_and_forget_what_was_typed() {
    let mut discipline = LineDiscipline::default();
    let (echo, signals) = type_keys(&mut discipline, "done\rhalf\x03");
    assert_eq!((echo.as_str(), signals), ("done\r\nhalf^C", vec![Signal::Interrupt]));
    assert_eq!(read(&mut discipline), None);
    let (echo, signals) = type_keys(&mut discipline, "\x1c");
    assert_eq!((echo.as_str(), signals), ("^\\", vec![Signal::Quit]));
}

#[test]
fn the_next_key_can_be_taken_literally() {
    let mut discipline = LineDiscipline::default();
    let (echo, signals) = type_keys(&mut discipline, "\x16\x03\x16\x04\r");
    assert_eq!((echo.as_str(), signals.len()), ("^C^D\r\n", 0));
    assert_eq!(read(&mut discipline).as_deref(), Some("\x03\x04\n"));
}

#[test]
fn raw_bytes_come_as_they_are_typed() {
    let mut discipline = LineDiscipline::default();
    discipline.set_raw(true);
    let (echo, signals) = type_keys(&mut discipline, "a\r\x03\x04\x7f\x1b[A");
    assert_eq!((echo.as_str(), signals.len()), ("", 0));
    assert_eq!(read(&mut discipline).as_deref(), Some("a\r\x03\x04\x7f\x1b[A"));
    discipline.set_raw(false);
    assert_eq!(type_keys(&mut discipline, "b").0, "b");
}

#[test]
fn what_was_typed_before_raw_mode_is_not_lost() {
    let mut discipline = LineDiscipline::default();
    type_keys(&mut discipline, "ab");
    discipline.set_raw(true);
    assert_eq!(read(&mut discipline).as_deref(), Some("ab"));
}

#[test]
fn a_line_too_long_rings_the_bell_and_still_ends() {
    let mut discipline = LineDiscipline::default();
    let (echo, _) = type_keys(&mut discipline, &"x".repeat(LINE_BYTES_MAX + 5));
    assert!(echo.ends_with('\x07'));
    type_keys(&mut discipline, "\r");
    let line = read(&mut discipline).unwrap();
    assert!(line.len() == LINE_BYTES_MAX && line.ends_with("x\n"), "{}", line.len());
}

#[test]
fn without_a_reader_there_is_an_end_to_what_is_taken_but_not_to_signals() {
    for (raw, keys) in [(true, &b"x"[..]), (false, b"x\r"), (false, b"\r"), (false, b"\x04")] {
        let mut discipline = LineDiscipline::default();
        discipline.set_raw(raw);
        let mut echo = Vec::new();
        let mut typed = keys.iter().cycle().take(1_000_000);
        assert!(typed.any(|key| discipline.accept(*key, &mut echo) == Accepted::Full), "{keys:?}");
        if !raw {
            assert_eq!(discipline.accept(INTERRUPT, &mut echo), Accepted::Signal(Signal::Interrupt));
            assert_eq!(discipline.accept(b'x', &mut echo), Accepted::Taken);
        }
    }
}

#[test]
fn newlines_in_output_return_the_carriage() {
    assert_eq!(process_output(b"one\ntwo"), "one\r\ntwo");
    assert_eq!(process_output(b"\n\n"), "\r\n\r\n");
    assert_eq!(process_output(b""), "");
}
