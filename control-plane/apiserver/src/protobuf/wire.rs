//! Protobuf's wire format: fields with numbers, and four forms of values. Knows
//! no messages. Used by the codec here and by the OpenAPI v2 document.

use super::Error;

/// A value as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireField<'a> {
    pub number: u32,
    pub value: Wire<'a>,
}

impl<'a> WireField<'a> {
    fn wrong(&self) -> Error {
        let wire_type = match self.value {
            Wire::Varint(_) => 0,
            Wire::Fixed64(_) => 1,
            Wire::Bytes(_) => 2,
            Wire::Fixed32(_) => 5,
        };
        Error::WireType { field: self.number, wire_type }
    }

    /// The bytes of a string, message or byte field.
    pub(crate) fn bytes(&self) -> Result<&'a [u8], Error> {
        match self.value {
            Wire::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong()),
        }
    }

    /// The text of a string field.
    pub(crate) fn text(&self) -> Result<String, Error> {
        let text = std::str::from_utf8(self.bytes()?);
        text.map(str::to_owned).map_err(|_| Error::Value("a string is not UTF-8".to_owned()))
    }

    /// The number of an integer or boolean field.
    pub(crate) fn varint(&self) -> Result<u64, Error> {
        match self.value {
            Wire::Varint(value) => Ok(value),
            _ => Err(self.wrong()),
        }
    }

    /// The number of a floating point field.
    pub(crate) fn double(&self) -> Result<f64, Error> {
        match self.value {
            Wire::Fixed64(bits) => Ok(f64::from_bits(bits)),
            Wire::Fixed32(bits) => Ok(f64::from(f32::from_bits(bits))),
            _ => Err(self.wrong()),
        }
    }
}

/// Reads the fields of one message.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<WireField<'a>>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Error::Overflow)?;
        let wire_type = u8::try_from(tag & 7).unwrap_or_default();
        let value = match wire_type {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Error::Truncated)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Error::WireType { field: number, wire_type }),
        };
        Ok(Some(WireField { number, value }))
    }

    /// A number of up to ten bytes, seven bits each.
    pub(crate) fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Error::Truncated)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Overflow)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Writes the fields of one message.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn starting_with(prefix: &[u8]) -> Self {
        Self { bytes: prefix.to_vec() }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A string, bytes or message.
    pub(crate) fn bytes(&mut self, number: u32, value: &[u8]) {
        self.tag(number, 2);
        self.raw_varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// A message, written by `with`.
    pub(crate) fn message<E>(&mut self, number: u32, with: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        let mut inner = Self::new();
        with(&mut inner)?;
        self.bytes(number, inner.as_slice());
        Ok(())
    }

    /// An integer or boolean.
    pub(crate) fn varint(&mut self, number: u32, value: u64) {
        self.tag(number, 0);
        self.raw_varint(value);
    }

    /// A floating point number.
    pub(crate) fn double(&mut self, number: u32, value: f64) {
        self.tag(number, 1);
        self.bytes.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    fn tag(&mut self, number: u32, wire_type: u8) {
        self.raw_varint(u64::from(number) << 3 | u64::from(wire_type));
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}
