//! Protobuf's wire format: tags, varints, lengths. No message is known here.

use crate::schema::Scalar;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Error {
    #[error("proto: unexpected end of message")]
    End,
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: illegal tag or wire type")]
    Tag,
    #[error("proto: wrong wire type for a field")]
    WireType,
    #[error("proto: time out of range")]
    Time,
    #[error("proto: embedded JSON cannot be read")]
    Raw,
    #[error("proto: message is nested too deep")]
    TooDeep,
    #[error("proto: too many values")]
    TooLarge,
}

/// The value of one field as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

impl<'a> Payload<'a> {
    pub(super) fn bytes(&self) -> Result<&'a [u8], Error> {
        match self {
            Payload::Bytes(bytes) => Ok(bytes),
            Payload::Varint(_) | Payload::Fixed64(_) | Payload::Fixed32 => Err(Error::WireType),
        }
    }

    pub(super) fn varint(&self) -> Result<u64, Error> {
        match self {
            Payload::Varint(value) => Ok(*value),
            Payload::Bytes(_) | Payload::Fixed64(_) | Payload::Fixed32 => Err(Error::WireType),
        }
    }

    pub(super) fn fixed64(&self) -> Result<u64, Error> {
        match self {
            Payload::Fixed64(value) => Ok(*value),
            Payload::Bytes(_) | Payload::Varint(_) | Payload::Fixed32 => Err(Error::WireType),
        }
    }
}

/// The fields of a message, in its order. Numbers above 65535 are never ours and are skipped as 0.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(Error::End)?;
            self.rest = rest;
            if shift == 63 && byte > 1 {
                return Err(Error::Overflow);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Overflow)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Error> {
        let length = usize::try_from(length).map_err(|_| Error::End)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Error::End)?;
        self.rest = rest;
        Ok(taken)
    }

    fn entry(&mut self) -> Result<(u16, Payload<'a>), Error> {
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > 0x1fff_ffff {
            return Err(Error::Tag);
        }
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?.try_into().map_err(|_| Error::End)?;
                Payload::Fixed64(u64::from_le_bytes(bytes))
            }
            2 => {
                let length = self.varint()?;
                Payload::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Payload::Fixed32
            }
            // Groups are older than any message of ours.
            _ => return Err(Error::Tag),
        };
        Ok((u16::try_from(number).unwrap_or_default(), payload))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u16, Payload<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

/// The values of a packed list.
pub(super) fn packed(bytes: &[u8]) -> impl Iterator<Item = Result<u64, Error>> + '_ {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || {
        if reader.rest.is_empty() {
            return None;
        }
        let value = reader.varint();
        if value.is_err() {
            reader.rest = &[];
        }
        Some(value)
    })
}

/// All fields of a small message in pieces.
pub(super) fn fields<'a>(pieces: &[&'a [u8]]) -> Result<Vec<(u16, Payload<'a>)>, Error> {
    pieces.iter().flat_map(|piece| Reader::new(piece)).collect()
}

pub(super) fn last_varint(fields: &[(u16, Payload<'_>)], number: u16) -> Result<Option<u64>, Error> {
    fields.iter().rfind(|(other, _)| *other == number).map(|(_, payload)| payload.varint()).transpose()
}

pub(super) fn last_bytes<'a>(fields: &[(u16, Payload<'a>)], number: u16) -> Result<Option<&'a [u8]>, Error> {
    fields.iter().rfind(|(other, _)| *other == number).map(|(_, payload)| payload.bytes()).transpose()
}

/// Whether a scalar of JSON is a message here, which is merged when it comes twice.
pub(super) fn is_message(of: Scalar) -> bool {
    match of {
        Scalar::Time
        | Scalar::MicroTime
        | Scalar::Duration
        | Scalar::Quantity
        | Scalar::IntOrString
        | Scalar::FieldsV1
        | Scalar::RawExtension
        | Scalar::Strings => true,
        Scalar::String
        | Scalar::Int32
        | Scalar::Int64
        | Scalar::Bool
        | Scalar::Double
        | Scalar::Bytes
        | Scalar::Any => false,
    }
}
