/**
 * The few PostgreSQL messages that raw tests build and read (protocol chapter "Message Formats").
 *
 * Deliberately independent of src/: a mistake there must not be repeated here.
 */

/** A message of the backend or the frontend: its type byte as a character, and its body. */
export interface Message {
  readonly type: string;
  readonly body: Buffer;
}

/** SSLRequest. */
export const SSL_REQUEST: Buffer = requestPacket(80877103);
/** GSSENCRequest. */
export const GSSENC_REQUEST: Buffer = requestPacket(80877104);
/** Protocol 3.0 and 3.2 as the version field has them. */
export const PROTOCOL_3_0 = 0x0003_0000;
export const PROTOCOL_3_2 = 0x0003_0002;

/** A startup-type packet: length, code, payload. */
export function requestPacket(code: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + payload.length, 0);
  head.writeInt32BE(code, 4);
  return Buffer.concat([head, payload]);
}

/** A StartupMessage. */
export function startupMessage(
  parameters: Readonly<Record<string, string>>,
  version: number = PROTOCOL_3_0,
): Buffer {
  const pairs = Object.entries(parameters).map(([name, value]) => `${name}\0${value}\0`);
  return requestPacket(version, Buffer.from(`${pairs.join('')}\0`));
}

/** A CancelRequest; the secret key has 4 bytes in protocol 3.0 and up to 256 in 3.2. */
export function cancelRequest(processId: number, secretKey: Buffer): Buffer {
  const pid = Buffer.alloc(4);
  pid.writeInt32BE(processId);
  return requestPacket(80877102, Buffer.concat([pid, secretKey]));
}

/** A typed message. */
export function message(type: string, body: Buffer | string = Buffer.alloc(0)): Buffer {
  const bytes = typeof body === 'string' ? Buffer.from(`${body}\0`) : body;
  const head = Buffer.alloc(5);
  head.write(type, 0, 'latin1');
  head.writeInt32BE(4 + bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** A simple query. */
export function query(text: string): Buffer {
  return message('Q', text);
}

/** ErrorResponse's and NoticeResponse's fields by their letter (`C` SQLSTATE, `M` message, `H` hint, `S` severity). */
export function errorFields(body: Buffer): Readonly<Record<string, string>> {
  const parts = body.toString('utf8').split('\0');
  return Object.fromEntries(
    parts.filter((part) => part !== '').map((part) => [part.charAt(0), part.slice(1)]),
  );
}

/** The text columns of a DataRow; null = NULL. */
export function dataRow(body: Buffer): Array<string | null> {
  const columns: Array<string | null> = [];
  let at = 2;
  for (let column = 0; column < body.readInt16BE(0); column += 1) {
    const length = body.readInt32BE(at);
    at += 4;
    columns.push(length < 0 ? null : body.toString('utf8', at, at + length));
    at += Math.max(length, 0);
  }
  return columns;
}

/** Cuts a byte stream into typed messages. */
export class MessageReader {
  #pending: Buffer = Buffer.alloc(0);

  /** Adds bytes and returns the messages that are now complete. */
  push(chunk: Buffer): Message[] {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const messages: Message[] = [];
    while (this.#pending.length >= 5) {
      const end = 1 + this.#pending.readInt32BE(1);
      if (this.#pending.length < end) {
        break;
      }
      messages.push({
        type: this.#pending.toString('latin1', 0, 1),
        body: this.#pending.subarray(5, end),
      });
      this.#pending = this.#pending.subarray(end);
    }
    return messages;
  }
}
