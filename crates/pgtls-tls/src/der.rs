//! [`Reader`]: the few pieces of DER (X.690) that x509-parser doesn't read for us, without copies.
//!
//! Some of it comes from the network. Total: any input gives an element or `None`; nothing is allocated. Pure.

/// A universal or context-specific tag, as its first byte.
pub(crate) mod tag {
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    /// `[0]`, constructed; `[1]` and `[2]` follow.
    pub(crate) const CONTEXT_0: u8 = 0xa0;
    pub(crate) const CONTEXT_1: u8 = 0xa1;
    pub(crate) const CONTEXT_2: u8 = 0xa2;
}

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Its tag.
    pub(crate) tag: u8,
    /// Its content.
    pub(crate) body: &'a [u8],
    /// Tag, length and content.
    pub(crate) whole: &'a [u8],
}

/// Takes elements from the front of a constructed element's content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The content of the only element of `bytes`, which has this tag.
    pub(crate) fn only(bytes: &'a [u8], tag: u8) -> Option<Self> {
        let mut reader = Self::new(bytes);
        let body = reader.take(tag)?;
        reader.rest.is_empty().then_some(Self::new(body))
    }

    /// Whether nothing is left.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is; `None` at the end, and at what isn't DER.
    pub(crate) fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, behind) = self.rest.split_first()?;
        // Tags above 30 take further bytes; nothing that is read here has one.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, behind) = read_length(behind)?;
        let (body, rest) = behind.split_at_checked(length)?;
        let whole = self.rest.get(..self.rest.len().checked_sub(rest.len())?)?;
        self.rest = rest;
        Some(Element { tag, body, whole })
    }

    /// The next element if it has this tag; otherwise nothing is taken.
    pub(crate) fn element(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.next().filter(|element| element.tag == tag)?;
        *self = ahead;
        Some(element)
    }

    /// The content of the next element if it has this tag; otherwise nothing is taken.
    pub(crate) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element(tag).map(|element| element.body)
    }

    /// The content of the next element, a sequence.
    pub(crate) fn sequence(&mut self) -> Option<Self> {
        self.take(tag::SEQUENCE).map(Self::new)
    }

    /// A BIT STRING of whole bytes.
    pub(crate) fn whole_bytes(&mut self) -> Option<&'a [u8]> {
        match self.take(tag::BIT_STRING)? {
            [0, bytes @ ..] => Some(bytes),
            _ => None,
        }
    }

    /// An INTEGER that is not negative and fits.
    pub(crate) fn unsigned(&mut self) -> Option<u32> {
        let body = self.take(tag::INTEGER)?;
        if body.first().is_none_or(|first| first & 0x80 != 0) {
            return None;
        }
        without_leading_zeros(body)
            .iter()
            .try_fold(0_u32, |value, &byte| {
                value.checked_mul(256)?.checked_add(u32::from(byte))
            })
    }
}

/// The bytes of a number without the zeros in front, to compare numbers of different spelling.
pub(crate) fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// The definite length in front of `bytes`, at most 2^24, and what stands behind it.
fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, behind) = bytes.split_first()?;
    if first < 0x80 {
        return Some((usize::from(first), behind));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=3).contains(&count) {
        return None;
    }
    let (digits, behind) = behind.split_at_checked(count)?;
    let length = digits
        .iter()
        .fold(0_usize, |length, &digit| length << 8 | usize::from(digit));
    Some((length, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_taken_from_the_front() {
        let bytes = [0x30, 0x06, 0x02, 0x01, 0x07, 0x04, 0x01, 0xff];
        let mut outer = Reader::only(&bytes, tag::SEQUENCE).unwrap();
        assert_eq!(outer.take(tag::OCTET_STRING), None);
        assert_eq!(outer.unsigned(), Some(7));
        let last = outer.next().unwrap();
        assert_eq!((last.tag, last.body), (tag::OCTET_STRING, &[0xff][..]));
        assert_eq!(last.whole, &bytes[5..]);
        assert_eq!(outer.next(), None);
    }

    #[test]
    fn long_lengths_are_read_and_endless_ones_refused() {
        let mut long = vec![0x04, 0x81, 0x80];
        long.extend([1; 128]);
        assert_eq!(
            Reader::new(&long).take(tag::OCTET_STRING),
            Some(&[1; 128][..])
        );
        for broken in [
            &[0x04][..],
            &[0x04, 0x02, 0x00],
            &[0x04, 0x80, 0x00, 0x00],
            &[0x04, 0x84, 0, 0, 0, 1, 1],
            &[0x1f, 0x01, 0x00],
            &[],
        ] {
            assert_eq!(Reader::new(broken).next(), None, "{broken:02x?}");
        }
    }

    #[test]
    fn bit_strings_that_end_within_a_byte_are_refused() {
        let whole_bytes = |bytes: &[u8]| Reader::new(bytes).whole_bytes().map(<[u8]>::to_vec);
        assert_eq!(whole_bytes(&[0x03, 0x02, 0x00, 0xfe]), Some(vec![0xfe]));
        assert_eq!(whole_bytes(&[0x03, 0x01, 0x00]), Some(Vec::new()));
        assert_eq!(whole_bytes(&[0x03, 0x02, 0x01, 0xfe]), None);
        assert_eq!(whole_bytes(&[0x03, 0x00]), None);
        assert_eq!(whole_bytes(&[0x04, 0x01, 0x00]), None);
    }

    #[test]
    fn a_reader_is_empty_once_all_is_taken() {
        let mut reader = Reader::new(&[0x02, 0x01, 0x07]);
        assert!(!reader.is_empty());
        assert_eq!(reader.element(tag::OCTET_STRING), None);
        assert!(!reader.is_empty(), "what has another tag is left");
        let element = reader.element(tag::INTEGER).unwrap();
        assert_eq!(element.whole, [0x02, 0x01, 0x07]);
        assert!(reader.is_empty());
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        let unsigned = |body: &[u8]| {
            let length = u8::try_from(body.len()).unwrap();
            Reader::new(&[&[tag::INTEGER, length], body].concat()).unsigned()
        };
        assert_eq!(unsigned(&[0x08, 0x00]), Some(2048));
        assert_eq!(unsigned(&[0, 0xff, 0xff, 0xff, 0xff]), Some(u32::MAX));
        assert_eq!(unsigned(&[1, 0, 0, 0, 0]), None);
        assert_eq!(unsigned(&[0xff]), None);
        assert_eq!(unsigned(&[]), None);
    }

    #[test]
    fn no_prefix_of_a_valid_element_is_one() {
        let bytes = [0x30, 0x03, 0x02, 0x01, 0x07];
        for length in 0..bytes.len() {
            assert!(Reader::only(&bytes[..length], tag::SEQUENCE).is_none());
        }
        assert!(Reader::only(&[&bytes[..], &[0]].concat(), tag::SEQUENCE).is_none());
    }
}
