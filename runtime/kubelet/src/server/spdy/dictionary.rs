//! The dictionary both ends prime zlib with (SPDY/3 draft, section 2.6.10.1),
//! made from its words so that it can be read.

use std::sync::LazyLock;

/// Each with its length before it, as a header block writes a name.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host \
    if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards \
    pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding \
    upgrade user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public \
    set-cookie keep-alive origin";

/// As it is.
const TEXT: &str = concat!(
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505",
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized",
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable",
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT",
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,",
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.",
);

/// The dictionary's bytes.
pub static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::with_capacity(1423);
    for word in WORDS.split_whitespace().map(|word| word.replace('_', " ")) {
        bytes.extend((word.len() as u32).to_be_bytes());
        bytes.extend(word.bytes());
    }
    bytes.extend(TEXT.bytes());
    bytes
});

#[cfg(test)]
mod tests {
    use super::*;

    /// Adler-32 (RFC 1950, section 9), the id that zlib writes for a dictionary.
    fn adler32(bytes: &[u8]) -> u32 {
        let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65521;
            (a, (b + a) % 65521)
        });
        (b << 16) | a
    }

    #[test]
    fn it_is_the_one_every_spdy_3_connection_names() {
        assert_eq!((DICTIONARY.len(), adler32(&DICTIONARY)), (1423, 0xe3c6_a7c2));
    }
}
