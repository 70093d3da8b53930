//! Where the last lines of a file start.

use std::io::SeekFrom;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt};

/// Bytes read at a time, from the end.
const BLOCK_BYTES: u64 = 16 * 1024;

/// The offset at which the last `lines` lines of `file` start; its end for none.
///
/// # Errors
/// The file's.
pub async fn start<F: AsyncRead + AsyncSeek + Unpin>(file: &mut F, lines: u64) -> std::io::Result<u64> {
    let end = file.seek(SeekFrom::End(0)).await?;
    // The line feed that ends the last line wanted plus one for each line.
    let (mut wanted, mut left) = (lines.saturating_add(1), end);
    if lines == 0 {
        return Ok(end);
    }
    let mut block = vec![0; BLOCK_BYTES as usize];
    while left > 0 {
        let length = left.min(BLOCK_BYTES);
        left -= length;
        file.seek(SeekFrom::Start(left)).await?;
        let block = &mut block[..length as usize];
        file.read_exact(block).await?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            wanted -= 1;
            if wanted == 0 {
                return Ok(left + at as u64 + 1);
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    async fn tail(text: &str, lines: u64) -> String {
        let at = start(&mut Cursor::new(text.as_bytes()), lines).await.expect("memory");
        text[at as usize..].to_owned()
    }

    #[tokio::test]
    async fn the_last_lines_are_found() {
        assert_eq!(tail("a\nb\nc\n", 2).await, "b\nc\n");
        assert_eq!(tail("a\nb\nc\n", 3).await, "a\nb\nc\n");
        assert_eq!(tail("a\nb\nc\n", 9).await, "a\nb\nc\n");
        assert_eq!(tail("a\nb\n", 0).await, "");
        assert_eq!(tail("", 5).await, "");
    }

    #[tokio::test]
    async fn blocks_are_no_border() {
        let long = "x".repeat(BLOCK_BYTES as usize - 1);
        let text = format!("first\n{long}\n{long}\nlast\n");
        assert_eq!(tail(&text, 2).await, format!("{long}\nlast\n"));
        assert_eq!(tail(&text, 4).await, text);
    }
}
