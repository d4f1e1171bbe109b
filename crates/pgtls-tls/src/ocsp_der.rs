//! A reader of DER elements one behind the other, as far as OCSP needs it; asn1-rs reads each element.

use x509_parser::asn1_rs::{Any, Class, FromDer, GeneralizedTime, Tag};

/// Not a response that can be read, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable OCSP response: {0}")]
pub struct Unreadable(pub &'static str);

const MALFORMED: Unreadable = Unreadable("malformed DER");

/// What is left to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// One element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    /// With its header.
    pub(crate) raw: &'a [u8],
    /// Without.
    pub(crate) content: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Element<'a> {
    /// Reads what is in it.
    pub(crate) fn content(&self) -> Reader<'a> {
        Reader { rest: self.content }
    }

    /// The one element in an explicit tag.
    pub(crate) fn single(&self) -> Result<Reader<'a>, Unreadable> {
        Reader::only(self.content)
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), Unreadable> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(MALFORMED)
        }
    }
}

impl<'a> Reader<'a> {
    /// Reads `der`, which must not be empty.
    pub(crate) fn only(der: &'a [u8]) -> Result<Self, Unreadable> {
        if der.is_empty() {
            Err(MALFORMED)
        } else {
            Ok(Self { rest: der })
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn peek(&self) -> Result<(Any<'a>, Element<'a>), Unreadable> {
        let (rest, any) = Any::from_der(self.rest).map_err(|_| MALFORMED)?;
        let length = self.rest.len().saturating_sub(rest.len());
        let raw = self.rest.get(..length).ok_or(MALFORMED)?;
        let element = Element {
            raw,
            content: any.data,
            rest,
        };
        Ok((any, element))
    }

    fn universal(&mut self, tag: Tag) -> Result<Element<'a>, Unreadable> {
        let (any, element) = self.peek()?;
        if any.class() != Class::Universal || any.tag() != tag {
            return Err(Unreadable("an element of another type was expected"));
        }
        self.rest = element.rest;
        Ok(element)
    }

    pub(crate) fn sequence(&mut self) -> Result<Element<'a>, Unreadable> {
        self.universal(Tag::Sequence)
    }

    /// A sequence's content.
    pub(crate) fn expect_sequence(mut self) -> Result<Reader<'a>, Unreadable> {
        self.sequence().map(|element| element.content())
    }

    pub(crate) fn octet_string(&mut self) -> Result<&'a [u8], Unreadable> {
        self.universal(Tag::OctetString)
            .map(|element| element.content)
    }

    pub(crate) fn integer(&mut self) -> Result<&'a [u8], Unreadable> {
        self.universal(Tag::Integer).map(|element| element.content)
    }

    pub(crate) fn enumerated(&mut self) -> Result<&'a [u8], Unreadable> {
        self.universal(Tag::Enumerated)
            .map(|element| element.content)
    }

    pub(crate) fn object_identifier(&mut self) -> Result<&'a [u8], Unreadable> {
        self.universal(Tag::Oid).map(|element| element.content)
    }

    /// A bit string of whole bytes.
    pub(crate) fn bit_string(&mut self) -> Result<&'a [u8], Unreadable> {
        match self.universal(Tag::BitString)?.content {
            [0, bytes @ ..] => Ok(bytes),
            _ => Err(MALFORMED),
        }
    }

    /// A GeneralizedTime in Unix seconds.
    pub(crate) fn time(&mut self) -> Result<i64, Unreadable> {
        let element = self.universal(Tag::GeneralizedTime)?;
        let time = GeneralizedTime::from_bytes(element.content).map_err(|_| MALFORMED)?;
        let time = time.utc_datetime().map_err(|_| MALFORMED)?;
        Ok(time.unix_timestamp())
    }

    /// The context-specific element `number`, if it comes next.
    pub(crate) fn optional_context(
        &mut self,
        number: u32,
    ) -> Result<Option<Element<'a>>, Unreadable> {
        if self.is_empty() {
            return Ok(None);
        }
        let (any, element) = self.peek()?;
        if any.class() != Class::ContextSpecific || any.tag() != Tag(number) {
            return Ok(None);
        }
        self.rest = element.rest;
        Ok(Some(element))
    }

    /// The context-specific element `number`, which must come next.
    pub(crate) fn context(&mut self, number: u32) -> Result<Element<'a>, Unreadable> {
        self.optional_context(number)?.ok_or(MALFORMED)
    }
}
