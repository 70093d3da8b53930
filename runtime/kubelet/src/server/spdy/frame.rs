//! Frames and their bytes (SPDY/3 draft, section 2.2 on).
//!
//! A control frame is small and read whole. A data frame may have 16 MiB, so its
//! bytes are given on as they come: one frame on the wire may be several here.

use super::{
    Error,
    headers::{Headers, Packer, Unpacker},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec;

/// Which stream; the client's are odd.
pub type StreamId = u32;

/// Payload of a control frame. Headers are the only ones that grow.
const CONTROL_BYTES_MAX: usize = 64 * 1024;

const HEAD_BYTES: usize = 8;
const CONTROL: u16 = 0x8000;
const VERSION: u16 = 3;
const ID_MASK: u32 = 0x7fff_ffff;
const FLAG_FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// `RST_STREAM`: this stream will not be served.
pub const REFUSED_STREAM: u32 = 3;
/// `RST_STREAM`: this stream is no longer wanted.
pub const CANCEL: u32 = 5;

/// A frame, or a part of a data frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The peer opens a stream.
    SynStream {
        /// Its id.
        stream: StreamId,
        /// It will send nothing on it.
        fin: bool,
        /// What the stream is for.
        headers: Headers,
    },
    /// A stream was accepted.
    SynReply {
        /// Its id.
        stream: StreamId,
        /// Nothing more will be sent on it.
        fin: bool,
        /// Usually none.
        headers: Headers,
    },
    /// A stream ends here, both ways.
    Reset {
        /// Its id.
        stream: StreamId,
        /// Why.
        status: u32,
    },
    /// More headers of a stream.
    Headers {
        /// Its id.
        stream: StreamId,
        /// Nothing more will be sent on it.
        fin: bool,
        /// The headers.
        headers: Headers,
    },
    /// Bytes of a stream.
    Data {
        /// Its id.
        stream: StreamId,
        /// Nothing more will be sent on it.
        fin: bool,
        /// The bytes.
        bytes: Bytes,
    },
    /// To be echoed.
    Ping(u32),
    /// No new streams are accepted.
    GoAway {
        /// The last stream that was.
        last: StreamId,
    },
}

/// What is left of a data frame.
struct DataRest {
    stream: StreamId,
    fin: bool,
    remaining: usize,
}

/// Bytes to frames. Kinds of frames that mean nothing here are skipped.
pub struct Decoder {
    unpacker: Unpacker,
    data: Option<DataRest>,
}

impl Decoder {
    /// At the start of a connection.
    pub fn new() -> Self {
        Self { unpacker: Unpacker::new(), data: None }
    }

    fn more_data(&mut self, mut data: DataRest, input: &mut BytesMut) -> Option<Frame> {
        if input.is_empty() && data.remaining > 0 {
            self.data = Some(data);
            return None;
        }
        let bytes = input.split_to(data.remaining.min(input.len())).freeze();
        data.remaining -= bytes.len();
        let (stream, last) = (data.stream, data.remaining == 0);
        let fin = data.fin && last;
        if !last {
            self.data = Some(data);
        }
        Some(Frame::Data { stream, fin, bytes })
    }

    fn control(&mut self, kind: u16, flags: u8, mut payload: Bytes) -> Result<Option<Frame>, Error> {
        let fin = flags & FLAG_FIN != 0;
        Ok(match kind {
            SYN_STREAM => {
                let stream = id(&mut payload)?;
                let _associated_and_priority = (word(&mut payload)?, half(&mut payload)?);
                Some(Frame::SynStream { stream, fin, headers: self.unpacker.unpack(&payload)? })
            }
            SYN_REPLY => {
                let stream = id(&mut payload)?;
                Some(Frame::SynReply { stream, fin, headers: self.unpacker.unpack(&payload)? })
            }
            HEADERS => {
                let stream = id(&mut payload)?;
                Some(Frame::Headers { stream, fin, headers: self.unpacker.unpack(&payload)? })
            }
            RST_STREAM => Some(Frame::Reset { stream: id(&mut payload)?, status: word(&mut payload)? }),
            PING => Some(Frame::Ping(word(&mut payload)?)),
            GOAWAY => Some(Frame::GoAway { last: id(&mut payload)? }),
            _ => None,
        })
    }
}

fn word(payload: &mut Bytes) -> Result<u32, Error> {
    payload.try_get_u32().map_err(|_| Error::Protocol("control frame is cut short"))
}

fn half(payload: &mut Bytes) -> Result<u16, Error> {
    payload.try_get_u16().map_err(|_| Error::Protocol("control frame is cut short"))
}

fn id(payload: &mut Bytes) -> Result<StreamId, Error> {
    Ok(word(payload)? & ID_MASK)
}

impl codec::Decoder for Decoder {
    type Item = Frame;
    type Error = Error;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(data) = self.data.take() {
                return Ok(self.more_data(data, input));
            }
            let Some((head, payload)) = input.split_at_checked(HEAD_BYTES) else { return Ok(None) };
            let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
            let (kind, flags, available) = (first as u16, head[4], payload.len());
            if first & !ID_MASK == 0 {
                input.advance(HEAD_BYTES);
                self.data = Some(DataRest { stream: first, fin: flags & FLAG_FIN != 0, remaining: length });
                continue;
            }
            if (first >> 16) as u16 != CONTROL | VERSION {
                return Err(Error::Protocol("frame is not of version 3"));
            }
            if length > CONTROL_BYTES_MAX {
                return Err(Error::Protocol("control frame is too large"));
            }
            if available < length {
                return Ok(None);
            }
            input.advance(HEAD_BYTES);
            let payload = input.split_to(length).freeze();
            if let Some(frame) = self.control(kind, flags, payload)? {
                return Ok(Some(frame));
            }
        }
    }
}

/// Frames to bytes.
pub struct Encoder {
    packer: Packer,
}

impl Encoder {
    /// At the start of a connection.
    pub fn new() -> Self {
        Self { packer: Packer::new() }
    }
}

fn put_control(output: &mut BytesMut, kind: u16, fin: bool, payload: &[&[u8]]) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    output.reserve(HEAD_BYTES + length);
    output.put_u16(CONTROL | VERSION);
    output.put_u16(kind);
    put_flags_and_length(output, fin, length);
    payload.iter().for_each(|part| output.put_slice(part));
}

fn put_flags_and_length(output: &mut BytesMut, fin: bool, length: usize) {
    output.put_u32((u32::from(fin) << 24) | (length as u32 & 0x00ff_ffff));
}

impl codec::Encoder<Frame> for Encoder {
    type Error = Error;

    fn encode(&mut self, frame: Frame, output: &mut BytesMut) -> Result<(), Error> {
        match frame {
            Frame::SynStream { stream, fin, headers } => {
                let block = self.packer.pack(&headers)?;
                put_control(output, SYN_STREAM, fin, &[&stream.to_be_bytes(), &[0; 6], &block]);
            }
            Frame::SynReply { stream, fin, headers } => {
                let block = self.packer.pack(&headers)?;
                put_control(output, SYN_REPLY, fin, &[&stream.to_be_bytes(), &block]);
            }
            Frame::Headers { stream, fin, headers } => {
                let block = self.packer.pack(&headers)?;
                put_control(output, HEADERS, fin, &[&stream.to_be_bytes(), &block]);
            }
            Frame::Reset { stream, status } => {
                put_control(output, RST_STREAM, false, &[&stream.to_be_bytes(), &status.to_be_bytes()]);
            }
            Frame::Ping(id) => put_control(output, PING, false, &[&id.to_be_bytes()]),
            Frame::GoAway { last } => put_control(output, GOAWAY, false, &[&last.to_be_bytes(), &[0; 4]]),
            Frame::Data { stream, fin, bytes } => {
                output.reserve(HEAD_BYTES + bytes.len());
                output.put_u32(stream & ID_MASK);
                put_flags_and_length(output, fin, bytes.len());
                output.put_slice(&bytes);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio_util::codec::{Decoder as _, Encoder as _};

    fn decode_all(input: &[u8]) -> Result<Vec<Frame>, Error> {
        let (mut decoder, mut buffer, mut frames) = (Decoder::new(), BytesMut::from(input), Vec::new());
        while let Some(frame) = decoder.decode(&mut buffer)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn examples() -> Vec<Frame> {
        let headers = Headers::from([("streamtype", "error"), ("port", "80")]);
        vec![
            Frame::SynStream { stream: 1, fin: true, headers: headers.clone() },
            Frame::SynReply { stream: 1, fin: false, headers: Headers::default() },
            Frame::Data { stream: 1, fin: false, bytes: Bytes::from_static(b"GET / HTTP/1.1\r\n") },
            Frame::Data { stream: 1, fin: true, bytes: Bytes::new() },
            Frame::Headers { stream: 3, fin: false, headers },
            Frame::Reset { stream: 3, status: CANCEL },
            Frame::Ping(7),
            Frame::GoAway { last: 3 },
        ]
    }

    #[test]
    fn frames_survive_the_wire() {
        let (mut encoder, mut wire) = (Encoder::new(), BytesMut::new());
        examples().into_iter().for_each(|frame| encoder.encode(frame, &mut wire).expect("encodes"));
        assert_eq!(decode_all(&wire).expect("decodes"), examples());
    }

    /// What kubectl 1.32 sends when it forwards a port and a page is fetched
    /// through it (its request cut short here).
    const KUBECTL: &[&[u8]] = &[
        b"\x80\x03\x00\x01\x00\x00\x00\x3d\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00",
        b"\x78\xf9\xe3\xc6\xa7\xc2\x02\x25\x3a\x70\x3a\x2b\x29\x4a\x4d\xcc\x85\x16\x25\xac\xa9\xa0\x80\x86",
        b"\x14\xcb\x45\xa0\x24\xcc\x64\x61\xc0\xc0\xc0\xc0\x59\x04\x89\xc4\x4c\x50\xe2\x66\x34\x00\x00\x00\x00",
        b"\xff\xff\x00\x00\x00\x01\x01\x00\x00\x00",
        b"\x80\x03\x00\x01\x00\x00\x00\x18\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00",
        b"\xc2\xaa\x15\x54\x0a\x25\x12\xd2\x09\x00\x00\x00\xff\xff",
        b"\x00\x00\x00\x03\x00\x00\x00\x04GET ",
        b"\x80\x03\x00\x03\x00\x00\x00\x08\x00\x00\x00\x03\x00\x00\x00\x05",
    ];

    #[test]
    fn what_kubectl_sends_is_understood() {
        let pair = |kind| Headers::from([("port", "80"), ("requestid", "0"), ("streamtype", kind)]);
        let sorted = |mut headers: Headers| {
            headers.0.sort(); // Go writes them in any order
            headers
        };
        let frames: Vec<Frame> = decode_all(&KUBECTL.concat())
            .expect("decodes")
            .into_iter()
            .map(|frame| match frame {
                Frame::SynStream { stream, fin, headers } => Frame::SynStream { stream, fin, headers: sorted(headers) },
                frame => frame,
            })
            .collect();
        assert_eq!(
            frames,
            [
                Frame::SynStream { stream: 1, fin: false, headers: pair("error") },
                Frame::Data { stream: 1, fin: true, bytes: Bytes::new() },
                Frame::SynStream { stream: 3, fin: false, headers: pair("data") },
                Frame::Data { stream: 3, fin: false, bytes: Bytes::from_static(b"GET ") },
                Frame::Reset { stream: 3, status: CANCEL },
            ]
        );
    }

    #[test]
    fn settings_and_window_updates_are_skipped() {
        let settings = [0x80, 3, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0];
        let window_update = [0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 16, 0];
        let ping = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9];
        let wire = [&settings[..], &window_update, &ping].concat();
        assert_eq!(decode_all(&wire).expect("decodes"), [Frame::Ping(9)]);
    }

    #[test]
    fn a_large_data_frame_is_given_on_as_it_comes() {
        let mut decoder = Decoder::new();
        let mut wire = BytesMut::from(&[0, 0, 0, 5, 1, 0, 0, 4, b'a', b'b'][..]);
        let part = Frame::Data { stream: 5, fin: false, bytes: Bytes::from_static(b"ab") };
        assert_eq!(decoder.decode(&mut wire).expect("decodes"), Some(part));
        assert_eq!(decoder.decode(&mut wire).expect("decodes"), None);
        wire.extend_from_slice(b"cd");
        let last = Frame::Data { stream: 5, fin: true, bytes: Bytes::from_static(b"cd") };
        assert_eq!(decoder.decode(&mut wire).expect("decodes"), Some(last));
    }

    #[test]
    fn other_versions_and_huge_control_frames_are_errors() {
        assert!(decode_all(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9]).is_err());
        assert!(decode_all(&[0x80, 3, 0, 1, 0, 0xff, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_frames(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode_all(&bytes);
        }

        #[test]
        fn any_payload_of_a_control_frame_is_an_error_or_a_frame(
            kind in 0u8..12,
            payload in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let wire = [&[0x80, 3, 0, kind, 0, 0, 0, payload.len() as u8], payload.as_slice()].concat();
            let _ = decode_all(&wire);
        }

        #[test]
        fn where_the_wire_is_cut_does_not_matter(cut in 0usize..400) {
            let (mut encoder, mut wire) = (Encoder::new(), BytesMut::new());
            examples().into_iter().for_each(|frame| encoder.encode(frame, &mut wire).expect("encodes"));
            let (first, rest) = wire.split_at(cut.min(wire.len()));
            let (mut decoder, mut buffer, mut streams) = (Decoder::new(), BytesMut::from(first), 0);
            loop {
                match decoder.decode(&mut buffer).expect("decodes") {
                    Some(Frame::GoAway { .. }) => break,
                    Some(_) => streams += 1,
                    None if buffer.len() < wire.len() => buffer.extend_from_slice(rest),
                    None => unreachable!("all bytes are there"),
                }
            }
            prop_assert!(streams >= 7);
        }
    }
}
