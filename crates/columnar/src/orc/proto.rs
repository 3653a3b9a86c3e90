//! Protocol Buffers, as far as ORC's footers need them.
//!
//! Invariant: a message is walked once, in order, and never past its end. Non-goals: writing, groups,
//! and numbers of fixed width, which are skipped.

use crate::Damaged;

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

impl<'a> Value<'a> {
    pub(super) fn number(self) -> Result<u64, Damaged> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Bytes(_) | Self::Fixed => Err(damaged()),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], Damaged> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) | Self::Fixed => Err(damaged()),
        }
    }

    pub(super) fn text(self) -> Result<String, Damaged> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    /// A repeated number, which may be packed.
    pub(super) fn numbers(self, numbers: &mut Vec<u64>) -> Result<(), Damaged> {
        match self {
            Self::Number(number) => numbers.push(number),
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    numbers.push(varint(&mut packed)?);
                }
            }
            Self::Fixed => return Err(damaged()),
        }
        Ok(())
    }
}

/// Hands on every field of a message: its number and its value.
pub(super) fn fields<'a>(
    mut message: &'a [u8],
    mut field: impl FnMut(u64, Value<'a>) -> Result<(), Damaged>,
) -> Result<(), Damaged> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut message)?),
            1 => take(&mut message, 8).map(|_| Value::Fixed)?,
            2 => {
                let length = varint(&mut message)?;
                Value::Bytes(take(&mut message, length)?)
            }
            5 => take(&mut message, 4).map(|_| Value::Fixed)?,
            _ => return Err(damaged()),
        };
        field(tag >> 3, value)?;
    }
    Ok(())
}

fn take<'a>(message: &mut &'a [u8], length: u64) -> Result<&'a [u8], Damaged> {
    let (taken, rest) = usize::try_from(length)
        .ok()
        .and_then(|length| message.split_at_checked(length))
        .ok_or_else(damaged)?;
    *message = rest;
    Ok(taken)
}

fn varint(message: &mut &[u8]) -> Result<u64, Damaged> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first().ok_or_else(damaged)?;
        *message = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(damaged())
}

fn damaged() -> Damaged {
    Damaged::new("a footer of the file can't be decoded")
}
