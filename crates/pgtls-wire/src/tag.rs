//! The type bytes of the regular messages pgtls names, as in PostgreSQL's documentation, chapter
//! "Message Formats". A byte means different things in the two directions.

/// Backend: any of the `Authentication…` requests.
pub const AUTHENTICATION: u8 = b'R';
/// Backend: `BackendKeyData`, what a `CancelRequest` must repeat.
pub const BACKEND_KEY_DATA: u8 = b'K';
/// Backend: `ErrorResponse`.
pub const ERROR_RESPONSE: u8 = b'E';
/// Backend: `NegotiateProtocolVersion`.
pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
/// Backend: `NoticeResponse`.
pub const NOTICE_RESPONSE: u8 = b'N';
/// Backend: `ParameterStatus`.
pub const PARAMETER_STATUS: u8 = b'S';
/// Backend: `ReadyForQuery`.
pub const READY_FOR_QUERY: u8 = b'Z';
/// Frontend: `PasswordMessage`, `SASLInitialResponse`, `SASLResponse` and `GSSResponse` share it.
pub const PASSWORD: u8 = b'p';
/// Frontend: `Terminate`.
pub const TERMINATE: u8 = b'X';
