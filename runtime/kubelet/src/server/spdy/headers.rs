//! Name and value blocks: their form, and the zlib stream they travel in.
//!
//! All blocks of one direction share one zlib stream, each ending at a sync
//! flush; so a block must be read even when its stream is refused.

use super::{Error, dictionary::DICTIONARY};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Bytes of one block when unpacked. Real ones have a hundred; a small packed
/// block could otherwise unpack to a thousand times its size.
const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// How much room zlib is given at a time.
const STEP_BYTES: usize = 1024;

/// Names (in lower case) and values of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of `name` (in lower case).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn parse(mut block: &[u8]) -> Result<Self, Error> {
        let count = take_u32(&mut block)?;
        // Each pair takes eight bytes, so a wrong count ends soon.
        let mut pairs = Vec::new();
        for _ in 0..count {
            let name = take_string(&mut block)?.to_ascii_lowercase();
            pairs.push((name, take_string(&mut block)?));
        }
        Ok(Self(pairs))
    }

    fn to_block(&self) -> Vec<u8> {
        let mut block = (self.0.len() as u32).to_be_bytes().to_vec();
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            block.extend((text.len() as u32).to_be_bytes());
            block.extend(text.bytes());
        }
        block
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Headers {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

fn take<'a>(block: &mut &'a [u8], count: usize) -> Result<&'a [u8], Error> {
    let (taken, rest) = block.split_at_checked(count).ok_or(Error::Protocol("header block is cut short"))?;
    *block = rest;
    Ok(taken)
}

fn take_u32(block: &mut &[u8]) -> Result<u32, Error> {
    let bytes = take(block, 4)?;
    Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn take_string(block: &mut &[u8]) -> Result<String, Error> {
    let length = take_u32(block)? as usize;
    Ok(String::from_utf8_lossy(take(block, length)?).into_owned())
}

/// Unpacks the blocks of one direction, in order.
pub struct Unpacker {
    zlib: Decompress,
}

impl Unpacker {
    /// At the start of a connection.
    pub fn new() -> Self {
        Self { zlib: Decompress::new(true) }
    }

    /// The next block. After an error the connection cannot go on.
    ///
    /// # Errors
    /// [`Error::Protocol`] for a block that is not valid or too large.
    pub fn unpack(&mut self, packed: &[u8]) -> Result<Headers, Error> {
        let (mut rest, mut block) = (packed, Vec::new());
        loop {
            if block.len() > BLOCK_BYTES_MAX {
                return Err(Error::Protocol("header block is too large"));
            }
            block.reserve(STEP_BYTES);
            let before = (self.zlib.total_in(), self.zlib.total_out());
            let result = self.zlib.decompress_vec(rest, &mut block, FlushDecompress::Sync);
            rest = &rest[(self.zlib.total_in() - before.0) as usize..];
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    let set = self.zlib.set_dictionary(&DICTIONARY);
                    set.map_err(|_| Error::Protocol("header block names an unknown dictionary"))?;
                    continue;
                }
                Err(_) => return Err(Error::Protocol("header block is no zlib")),
                Ok(Status::StreamEnd) => return Err(Error::Protocol("zlib stream has ended")),
                Ok(Status::Ok | Status::BufError) => {}
            }
            let progress = before != (self.zlib.total_in(), self.zlib.total_out());
            match (rest.is_empty(), block.len() < block.capacity()) {
                (true, true) => return Headers::parse(&block),
                _ if progress => {}
                _ => return Err(Error::Protocol("header block does not end")),
            }
        }
    }
}

/// Packs the blocks of one direction, in order.
pub struct Packer {
    zlib: Compress,
}

impl Packer {
    /// At the start of a connection.
    pub fn new() -> Self {
        let mut zlib = Compress::new(Compression::default(), true);
        zlib.set_dictionary(&DICTIONARY).expect("nothing was packed yet");
        Self { zlib }
    }

    /// The next block.
    ///
    /// # Errors
    /// [`Error::Protocol`] never in practice: zlib takes any bytes.
    pub fn pack(&mut self, headers: &Headers) -> Result<Vec<u8>, Error> {
        let block = headers.to_block();
        let (mut rest, mut packed) = (block.as_slice(), Vec::new());
        loop {
            packed.reserve(STEP_BYTES);
            let before = self.zlib.total_in();
            let result = self.zlib.compress_vec(rest, &mut packed, FlushCompress::Sync);
            result.map_err(|_| Error::Protocol("header block cannot be packed"))?;
            rest = &rest[(self.zlib.total_in() - before) as usize..];
            if rest.is_empty() && packed.len() < packed.capacity() {
                return Ok(packed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn data_stream(request: &str) -> Headers {
        Headers::from([("streamtype", "data"), ("port", "8080"), ("requestid", request)])
    }

    #[test]
    fn blocks_of_one_direction_share_one_zlib_stream() {
        let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new());
        let sizes: Vec<usize> = (0..4)
            .map(|request| {
                let packed = packer.pack(&data_stream(&request.to_string())).expect("packs");
                assert_eq!(unpacker.unpack(&packed).expect("unpacks"), data_stream(&request.to_string()));
                packed.len()
            })
            .collect();
        assert!(sizes[3] < sizes[0] / 2, "later blocks refer to earlier ones: {sizes:?}");
    }

    #[test]
    fn the_first_block_names_the_dictionary_as_go_writes_it() {
        let packed = Packer::new().pack(&Headers::default()).expect("packs");
        assert_eq!(packed[2..6], 0xe3c6_a7c2_u32.to_be_bytes());
    }

    #[test]
    fn a_bomb_is_refused() {
        let headers = Headers(vec![("a".to_owned(), "x".repeat(BLOCK_BYTES_MAX * 2))]);
        let packed = Packer::new().pack(&headers).expect("packs");
        assert!(packed.len() < 1024 && Unpacker::new().unpack(&packed).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_a_block(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Unpacker::new().unpack(&bytes);
            let _ = Headers::parse(&bytes);
        }

        #[test]
        fn what_is_packed_unpacks(pairs in proptest::collection::vec(("[a-z]{0,9}", ".{0,40}"), 0..20)) {
            let headers = Headers(pairs);
            let packed = Packer::new().pack(&headers).expect("packs");
            prop_assert_eq!(Unpacker::new().unpack(&packed).expect("unpacks"), headers);
        }
    }
}
