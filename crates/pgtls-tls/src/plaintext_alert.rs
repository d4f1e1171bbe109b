//! Corrects an alert of rustls' that is not encrypted yet, where the RFCs have a better word.

use rustls::AlertDescription;

/// A fatal alert in a record of its own, before any encryption: type, version, length, level, description.
const ALERT_RECORD_BYTES: usize = 7;
const ALERT_RECORD: u8 = 21;
const FATAL: u8 = 2;

/// Gives the alert at the end of `records` the description `to`, if it is a fatal one with the description `from`.
pub(crate) fn correct_alert(records: &mut [u8], from: AlertDescription, to: AlertDescription) {
    let Some(alert) = records.last_chunk_mut::<ALERT_RECORD_BYTES>() else {
        return;
    };
    if let [ALERT_RECORD, _, _, 0, 2, FATAL, description] = alert
        && *description == u8::from(from)
    {
        *description = u8::from(to);
    }
}
