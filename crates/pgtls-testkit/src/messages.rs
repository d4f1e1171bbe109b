//! Encoders of the protocol messages tests send from either side.

use pgtls_wire::tag;

/// A regular message.
#[must_use]
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a body below 4 GiB");
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// A `StartupMessage` of protocol 3.`minor`.
#[must_use]
pub fn startup_message(minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = vec![0, 3];
    body.extend(minor.to_be_bytes());
    for (name, value) in parameters {
        body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).expect("a body below 4 GiB");
    [&length.to_be_bytes()[..], &body].concat()
}

/// `Query`.
#[must_use]
pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

/// `Terminate`.
#[must_use]
pub fn terminate() -> Vec<u8> {
    message(tag::TERMINATE, b"")
}

/// `AuthenticationOk`.
#[must_use]
pub fn authentication_ok() -> Vec<u8> {
    message(tag::AUTHENTICATION, &[0; 4])
}

/// `AuthenticationSASL`.
#[must_use]
pub fn authentication_sasl(mechanisms: &[&str]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 10];
    for mechanism in mechanisms {
        body.extend([mechanism.as_bytes(), b"\0"].concat());
    }
    body.push(0);
    message(tag::AUTHENTICATION, &body)
}

/// `SASLInitialResponse`.
#[must_use]
pub fn sasl_initial_response(mechanism: &str, response: &[u8]) -> Vec<u8> {
    let length = u32::try_from(response.len()).expect("a response below 4 GiB");
    let body = [mechanism.as_bytes(), b"\0", &length.to_be_bytes(), response].concat();
    message(tag::PASSWORD, &body)
}

/// `ParameterStatus`.
#[must_use]
pub fn parameter_status(name: &str, value: &str) -> Vec<u8> {
    let body = [name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat();
    message(tag::PARAMETER_STATUS, &body)
}

/// `BackendKeyData`.
#[must_use]
pub fn backend_key_data(process_id: u32, secret_key: &[u8]) -> Vec<u8> {
    let body = [&process_id.to_be_bytes()[..], secret_key].concat();
    message(tag::BACKEND_KEY_DATA, &body)
}

/// `ReadyForQuery`, idle.
#[must_use]
pub fn ready_for_query() -> Vec<u8> {
    message(tag::READY_FOR_QUERY, b"I")
}

/// `CopyData`.
#[must_use]
pub fn copy_data(payload: &[u8]) -> Vec<u8> {
    message(b'd', payload)
}

/// An `ErrorResponse` as PostgreSQL sends it.
#[must_use]
pub fn error_response(severity: &str, sqlstate: &str, text: &str) -> Vec<u8> {
    let body = format!("S{severity}\0V{severity}\0C{sqlstate}\0M{text}\0\0");
    message(tag::ERROR_RESPONSE, body.as_bytes())
}
