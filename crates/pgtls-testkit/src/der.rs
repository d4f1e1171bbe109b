//! Writes DER (X.690), for what no crate of the tests writes.

/// An element with this tag whose content is `parts` one after the other.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![tag];
    if let Ok(short @ 0..0x80) = u8::try_from(body.len()) {
        bytes.push(short);
    } else {
        let length = u16::try_from(body.len()).expect("less than 64 KiB");
        bytes.push(0x82);
        bytes.extend(length.to_be_bytes());
    }
    bytes.extend(body);
    bytes
}

/// A SEQUENCE.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(0x30, parts)
}

/// An OCTET STRING.
pub(crate) fn octets(bytes: &[u8]) -> Vec<u8> {
    element(0x04, &[bytes])
}

/// An OBJECT IDENTIFIER by its encoded arcs.
pub(crate) fn oid(arcs: &[u8]) -> Vec<u8> {
    element(0x06, &[arcs])
}

/// A GeneralizedTime.
pub(crate) fn generalized_time(unix_seconds: i64) -> Vec<u8> {
    let time = time::OffsetDateTime::from_unix_timestamp(unix_seconds).expect("a time in range");
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    element(0x18, &[text.as_bytes()])
}
