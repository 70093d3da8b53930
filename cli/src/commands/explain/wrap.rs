//! Text in lines of bounded length, broken as kubectl breaks them: between
//! words, never inside one, and where the text itself does.

/// Lines of at most `width` characters. The blanks at a break go; all others stay.
pub(super) fn wrap(width: usize, text: &str) -> String {
    text.split('\n').map(|line| wrap_line(width, line)).collect::<Vec<_>>().join("\n")
}

fn wrap_line(width: usize, line: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for (blanks, word) in words(line) {
        let (gap, length) = (blanks.chars().count(), word.chars().count());
        // A word as long as a line has no better place than this one.
        let fits = column + gap + length.min(width - 1) <= width;
        if word.is_empty() {
            if column + gap <= width {
                out.push_str(blanks);
            }
        } else if fits {
            out.push_str(blanks);
            out.push_str(word);
            column += gap + length;
        } else {
            out.push('\n');
            out.push_str(word);
            column = length;
        }
    }
    out
}

/// Each word with the blanks before it; the last word may be empty.
fn words(line: &str) -> Vec<(&str, &str)> {
    let is_blank = |letter: char| letter.is_whitespace() && letter != '\u{a0}';
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (blanks, after) = rest.split_at(rest.find(|letter| !is_blank(letter)).unwrap_or(rest.len()));
        let (word, next) = after.split_at(after.find(is_blank).unwrap_or(after.len()));
        words.push((blanks, word));
        rest = next;
    }
    words
}

/// Puts that many blanks before each line, empty ones too.
pub(super) fn indent(blanks: usize, text: &str) -> String {
    let margin = " ".repeat(blanks);
    format!("{margin}{}", text.replace('\n', &format!("\n{margin}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap(9, "one two three"), "one two\nthree");
        assert_eq!(wrap(7, "one two three"), "one two\nthree");
        assert_eq!(wrap(5, "a  b\n\n  c "), "a  b\n\n  c ");
        assert_eq!(wrap(4, "ab cdefghij k"), "ab\ncdefghij\nk");
        assert_eq!(indent(2, "a\n\nb"), "  a\n  \n  b");
    }
}
