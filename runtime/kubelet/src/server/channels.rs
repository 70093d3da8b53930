//! The channel protocols: many streams in the messages of one WebSocket.
//!
//! The first byte of a message is the channel's number; in the base64 variants
//! it is a digit and the rest is base64 text. v5 adds channel 255, which closes
//! the channel whose number follows. (Upstream: `util/wsstream` and KEP-4006.)

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

const CLOSE_CHANNEL: u8 = 255;

/// How bytes are put in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Binary,
    Base64,
}

/// Which generation of the protocol; they differ in what the channels carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The error channel has plain text, and only on failure.
    V1,
    /// The error channel has a `v1.Status`.
    V4,
    /// As v4, and channels can be closed one by one.
    V5,
}

/// A channel protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    coding: Coding,
    /// Its generation.
    pub version: Version,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Bytes on a channel.
    Data(u8, Bytes),
    /// No more bytes on a channel.
    End(u8),
    /// The client has closed the connection.
    Close,
    /// Nothing for us.
    Nothing,
}

impl Protocol {
    /// The protocol of a WebSocket subprotocol name; `None` for other names.
    pub fn named(name: &str) -> Option<Self> {
        let (coding, version) = match name {
            "" | "channel.k8s.io" => (Coding::Binary, Version::V1),
            "base64.channel.k8s.io" => (Coding::Base64, Version::V1),
            "v4.channel.k8s.io" => (Coding::Binary, Version::V4),
            "v4.base64.channel.k8s.io" => (Coding::Base64, Version::V4),
            "v5.channel.k8s.io" => (Coding::Binary, Version::V5),
            _ => return None,
        };
        Some(Self { coding, version })
    }

    /// Understands a message. Whether it is marked as text does not matter, as
    /// upstream has it; one that is not valid says nothing.
    pub fn decode(self, message: Message) -> Input {
        let mut bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Close(_) => return Input::Close,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Input::Nothing,
        };
        if bytes.is_empty() {
            return Input::Nothing;
        }
        let channel = bytes.split_to(1)[0];
        match self.coding {
            Coding::Binary if channel == CLOSE_CHANNEL && self.version >= Version::V5 => {
                bytes.first().map_or(Input::Nothing, |channel| Input::End(*channel))
            }
            Coding::Binary => Input::Data(channel, bytes),
            Coding::Base64 => match STANDARD.decode(&bytes) {
                Ok(bytes) if channel.is_ascii_digit() => Input::Data(channel - b'0', bytes.into()),
                _ => Input::Nothing,
            },
        }
    }

    /// The message with these bytes on a channel (below 10).
    pub fn encode(self, channel: u8, bytes: &[u8]) -> Message {
        match self.coding {
            Coding::Binary => {
                let mut message = BytesMut::with_capacity(1 + bytes.len());
                message.put_u8(channel);
                message.put_slice(bytes);
                Message::Binary(message.freeze())
            }
            Coding::Base64 => Message::text(format!("{channel}{}", STANDARD.encode(bytes))),
        }
    }
}

/// The message that ends a connection in good order.
pub fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: Default::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn protocol(name: &str) -> Protocol {
        Protocol::named(name).expect("known")
    }

    #[test]
    fn each_coding_reads_what_it_writes() {
        for name in ["", "base64.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "v5.channel.k8s.io"]
        {
            let message = protocol(name).encode(1, b"hello");
            assert_eq!(protocol(name).decode(message), Input::Data(1, Bytes::from_static(b"hello")), "{name}");
        }
    }

    #[test]
    fn only_v5_closes_a_channel() {
        let message = Message::binary(vec![255, 0]);
        assert_eq!(protocol("v5.channel.k8s.io").decode(message.clone()), Input::End(0));
        assert_eq!(protocol("v4.channel.k8s.io").decode(message), Input::Data(255, Bytes::from_static(&[0])));
    }

    #[test]
    fn base64_has_a_digit_and_text() {
        assert_eq!(protocol("base64.channel.k8s.io").encode(2, b"hi"), Message::text("2aGk="));
    }

    proptest! {
        #[test]
        fn any_message_is_understood_or_ignored(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for name in ["", "base64.channel.k8s.io", "v5.channel.k8s.io"] {
                let _ = protocol(name).decode(Message::binary(bytes.clone()));
            }
        }
    }
}
