//! Reads protobuf messages field by field, borrowing from the body.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

/// How deep deprecated groups may nest in fields that are skipped.
const GROUP_DEPTH_MAX: usize = 32;

/// Where and why a body is not valid protobuf, or not the expected message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub(crate) struct Malformed {
    /// The offset in the whole body.
    pub(crate) offset: usize,
    /// What is wrong there.
    pub(crate) reason: &'static str,
}

/// The number of a field and how its value is spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(u32);

impl Tag {
    /// Returns the tag of a field whose value is a varint.
    pub(crate) const fn varint(field: u32) -> Self {
        Self(field << 3)
    }

    /// Returns the tag of a field whose value has eight bytes.
    pub(crate) const fn fixed64(field: u32) -> Self {
        Self(field << 3 | 1)
    }

    /// Returns the tag of a field whose value has its length before it: text, bytes, message, packed numbers.
    pub(crate) const fn bytes(field: u32) -> Self {
        Self(field << 3 | 2)
    }

    /// Returns the field's number.
    pub(crate) const fn field(self) -> u32 {
        self.0 >> 3
    }
}

/// What is left of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// The offset of the message's end in the whole body.
    end: usize,
}

impl<'a> Reader<'a> {
    /// Returns a reader of a whole body.
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body, end: body.len() }
    }

    /// Returns the offset of the next byte in the whole body.
    pub(crate) const fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// Returns whether nothing is left.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns the bytes that are left.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns the error `reason` at the next byte.
    #[cold]
    pub(crate) const fn malformed(&self, reason: &'static str) -> Malformed {
        Malformed { offset: self.offset(), reason }
    }

    /// Takes the next field's tag; `None` at the end of the message.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<Option<Tag>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let at = *self;
        let tag =
            u32::try_from(self.varint()?).map_err(|_| at.malformed("field number too large"))?;
        if tag >> 3 == 0 {
            return Err(at.malformed("field number 0"));
        }
        Ok(Some(Tag(tag)))
    }

    /// Takes a number of variable length.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            [first, rest @ ..] if *first < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*first))
            }
            _ => self.long_varint(),
        }
    }

    #[inline]
    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            // The tenth byte holds the last bit.
            if index == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(self.malformed(if self.rest.len() < 10 { "number cut off" } else { "number too long" }))
    }

    /// Takes eight bytes as a number.
    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<u64, Malformed> {
        match self.rest.split_first_chunk() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => Err(self.malformed("number cut off")),
        }
    }

    /// Takes eight bytes as a floating-point number, bit for bit.
    #[inline]
    pub(crate) fn double(&mut self) -> Result<f64, Malformed> {
        self.fixed64().map(f64::from_bits)
    }

    /// Takes a number of variable length that is signed, in two's complement.
    #[inline]
    pub(crate) fn int64(&mut self) -> Result<i64, Malformed> {
        self.varint().map(u64::cast_signed)
    }

    /// Takes a number of variable length, of which the lowest 32 bits count.
    #[inline]
    pub(crate) fn uint32(&mut self) -> Result<u32, Malformed> {
        #[expect(clippy::cast_possible_truncation, reason = "protobuf says so")]
        self.varint().map(|value| value as u32)
    }

    /// Takes a value with its length before it.
    #[inline]
    pub(crate) fn message(&mut self) -> Result<Reader<'a>, Malformed> {
        let at = *self;
        let length = self.varint()?;
        let split = usize::try_from(length).ok().and_then(|at| self.rest.split_at_checked(at));
        let Some((value, rest)) = split else {
            return Err(at.malformed("length beyond the end of the message"));
        };
        self.rest = rest;
        Ok(Reader { rest: value, end: self.offset() })
    }

    /// Takes the bytes of a value with its length before it.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        self.message().map(|message| message.rest)
    }

    /// Takes a text.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let at = *self;
        std::str::from_utf8(self.bytes()?).map_err(|_| at.malformed("text is not UTF-8"))
    }

    /// Skips the value of a field that is not `known`, or fails because a known one is spelt wrongly.
    pub(crate) fn skip_unknown(&mut self, tag: Tag, known: &[u32]) -> Result<(), Malformed> {
        if known.contains(&tag.field()) {
            return Err(self.malformed("field of the wrong type"));
        }
        self.skip(tag, GROUP_DEPTH_MAX)
    }

    fn skip(&mut self, tag: Tag, depth: usize) -> Result<(), Malformed> {
        match tag.0 & 7 {
            0 => self.varint().map(drop),
            1 => self.fixed64().map(drop),
            2 => self.message().map(drop),
            3 => self.skip_group(tag.field(), depth),
            5 => {
                let rest = self.rest.get(4..).ok_or_else(|| self.malformed("number cut off"))?;
                self.rest = rest;
                Ok(())
            }
            4 => Err(self.malformed("end of a group that did not begin")),
            _ => Err(self.malformed("unknown type of field")),
        }
    }

    fn skip_group(&mut self, field: u32, depth: usize) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.malformed("groups nest too deep"))?;
        loop {
            let tag = self.tag()?.ok_or_else(|| self.malformed("group without an end"))?;
            if tag == Tag(field << 3 | 4) {
                return Ok(());
            }
            self.skip(tag, depth)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip_all(body: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(body);
        while let Some(tag) = reader.tag()? {
            reader.skip_unknown(tag, &[])?;
        }
        Ok(())
    }

    #[track_caller]
    fn check(body: &[u8], expected: Result<(), (usize, &'static str)>) {
        let expected = expected.map_err(|(offset, reason)| Malformed { offset, reason });
        assert_eq!(skip_all(body), expected);
    }

    #[test]
    fn fields_of_every_type_are_skipped() {
        check(&[], Ok(()));
        check(&[0x08, 0x96, 0x01], Ok(()));
        check(&[0x09, 1, 2, 3, 4, 5, 6, 7, 8], Ok(()));
        check(&[0x0a, 2, 0xff, 0xff], Ok(()));
        check(&[0x0d, 1, 2, 3, 4], Ok(()));
        check(&[0x0b, 0x13, 0x08, 0x01, 0x14, 0x0c], Ok(()));
    }

    #[test]
    fn errors_say_where() {
        check(&[0x08, 1, 0x08], Err((3, "number cut off")));
        check(&[0x08, 1, 0x08, 0x80], Err((3, "number cut off")));
        check(&[0x09, 1], Err((1, "number cut off")));
        check(&[0x0d, 1], Err((1, "number cut off")));
        check(&[0x0a, 3, 1, 2], Err((1, "length beyond the end of the message")));
        check(&[0x0b, 0x08, 1], Err((3, "group without an end")));
        check(&[0x0b, 0x14], Err((2, "end of a group that did not begin")));
        check(&[0x0c], Err((1, "end of a group that did not begin")));
        check(&[0x0f], Err((1, "unknown type of field")));
        check(&[0x02, 0], Err((0, "field number 0")));
        check(&[0xff, 0xff, 0xff, 0xff, 0x1f, 0], Err((0, "field number too large")));
    }

    #[test]
    fn a_length_of_almost_2_to_the_64_does_not_wrap() {
        let body = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 1];
        check(&body, Err((1, "length beyond the end of the message")));
    }

    #[test]
    fn a_number_has_at_most_64_bits() {
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(&largest).varint(), Ok(u64::MAX));
        let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        let error = Malformed { offset: 0, reason: "number too long" };
        assert_eq!(Reader::new(&over).varint(), Err(error));
        assert_eq!(Reader::new(&largest).int64(), Ok(-1));
        assert_eq!(Reader::new(&largest).uint32(), Ok(u32::MAX));
    }

    #[test]
    fn groups_nest_up_to_the_limit() {
        let nested = |depth: usize| [vec![0x0b; depth], vec![0x0c; depth]].concat();
        check(&nested(GROUP_DEPTH_MAX), Ok(()));
        let error = (GROUP_DEPTH_MAX + 1, "groups nest too deep");
        check(&nested(GROUP_DEPTH_MAX + 1), Err(error));
    }
}
