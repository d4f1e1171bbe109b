/**
 * The ErrorResponse that pgtls itself sends in plaintext, and its encoding.
 *
 * Source: PostgreSQL documentation, "Error and Notice Message Fields".
 */

/** A FATAL error for the client; it ends the connection. Nothing internal may stand in it. */
export interface ErrorResponse {
  /** Five characters of PostgreSQL's appendix "Error Codes". */
  readonly sqlstate: string;
  readonly message: string;
  /** What the reader can do about it, or null. */
  readonly hint: string | null;
}

const SEVERITY = 'FATAL';

/** Encodes the message: 'E', Int32 length, then S, V, C, M and H fields, each NUL-terminated. */
export function encodeErrorResponse(error: ErrorResponse): Buffer {
  const fields = [
    `S${SEVERITY}`,
    `V${SEVERITY}`,
    `C${error.sqlstate}`,
    `M${error.message}`,
    ...(error.hint === null ? [] : [`H${error.hint}`]),
  ];
  const body = Buffer.from(`${fields.map((field) => field.replaceAll('\0', '')).join('\0')}\0\0`);
  const message = Buffer.alloc(5 + body.length);
  message.write('E', 0, 'latin1');
  message.writeUInt32BE(4 + body.length, 1);
  body.copy(message, 5);
  return message;
}
