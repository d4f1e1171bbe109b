/** As much of PostgreSQL's protocol as the measuring clients need: packets out, message boundaries in. */
import { connect } from 'node:net';
import { createSecureContext, connect as secure } from 'node:tls';

/** @typedef {import('node:net').Socket} Socket */
/** @typedef {{ port: number, tls: boolean }} Target on 127.0.0.1 */
/** @typedef {{ session?: Buffer | undefined, onSession?: (session: Buffer) => void }} Resumption */

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const HEADER_BYTES = 5;
/** One for all connections: making it anew costs more than the handshake. */
const CONTEXT = createSecureContext();

/** A message of the frontend. @param {string} tag @param {...Buffer} parts */
export function message(tag, ...parts) {
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(tag, 'latin1');
  header.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

/** @param {string} value */
export const text = (value) => Buffer.from(`${value}\0`);

/** @param {number} value */
export function int16(value) {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

/** @param {number} value */
export function int32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

/** @param {string} sql */
export const query = (sql) => message('Q', text(sql));
const TERMINATE = message('X');
export const SYNC = message('S');

/** @param {string} user @param {string} database */
function startupMessage(user, database) {
  const body = Buffer.concat([
    int32(196_608),
    ...['user', user, 'database', database].map(text),
    Buffer.from([0]),
  ]);
  return Buffer.concat([int32(body.length + 4), body]);
}

/** Finds the messages in a stream without keeping their bodies. Only ErrorResponses are looked into. */
export class Messages {
  #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #left = 0;
  #tag = '';
  /** @type {Buffer[]} */
  #error = [];
  #onMessage;

  /** @param {(tag: string) => void} onMessage after its last byte */
  constructor(onMessage) {
    this.#onMessage = onMessage;
  }

  /** @param {Buffer} chunk */
  push(chunk) {
    let at = 0;
    while (at < chunk.length) {
      if (this.#headerBytes < HEADER_BYTES) {
        at = this.#readHeader(chunk, at);
      } else {
        const end = Math.min(at + this.#left, chunk.length);
        if (this.#tag === 'E') {
          this.#error.push(Buffer.from(chunk.subarray(at, end)));
        }
        this.#left -= end - at;
        at = end;
      }
      if (this.#headerBytes === HEADER_BYTES && this.#left === 0) {
        this.#complete();
      }
    }
  }

  /** @param {Buffer} chunk @param {number} at */
  #readHeader(chunk, at) {
    const end = Math.min(at + HEADER_BYTES - this.#headerBytes, chunk.length);
    for (let index = at; index < end; index += 1) {
      this.#header[this.#headerBytes] = chunk[index] ?? 0;
      this.#headerBytes += 1;
    }
    if (this.#headerBytes === HEADER_BYTES) {
      this.#tag = String.fromCharCode(this.#header[0] ?? 0);
      this.#left = this.#header.readInt32BE(1) - 4;
    }
    return end;
  }

  #complete() {
    this.#headerBytes = 0;
    if (this.#tag === 'E') {
      throw new Error(`PostgreSQL: ${Buffer.concat(this.#error).toString().replaceAll('\0', ' ')}`);
    }
    this.#onMessage(this.#tag);
  }
}

/** A session that is logged in. */
export class Session {
  /** @type {(tag: string) => void} */
  onMessage = () => undefined;

  /** @param {Socket} socket */
  constructor(socket) {
    this.socket = socket;
    const messages = new Messages((tag) => this.onMessage(tag));
    socket.on('data', (chunk) => {
      try {
        messages.push(chunk);
      } catch (error) {
        socket.destroy(error instanceof Error ? error : new Error(String(error)));
      }
    });
  }

  /** Connects and logs in. @param {Target} target @param {{ user: string, database: string }} login @param {Resumption} [resumption] @returns {Promise<Session>} */
  static async open(target, login, resumption = {}) {
    const socket = await reach(target, resumption);
    const session = new Session(socket);
    const isReady = session.until('Z');
    socket.write(startupMessage(login.user, login.database));
    await isReady;
    return session;
  }

  /** The next message of this type; rejected when the connection ends before. @param {string} tag @returns {Promise<void>} */
  until(tag) {
    return new Promise((resolve, reject) => {
      const onClose = () => reject(new Error('the connection ended'));
      this.socket.once('error', reject);
      this.socket.once('close', onClose);
      this.onMessage = (found) => {
        if (found === tag) {
          this.socket.off('error', reject);
          this.socket.off('close', onClose);
          this.onMessage = () => undefined;
          resolve();
        }
      };
    });
  }

  /** @param {string} sql */
  async query(sql) {
    const isReady = this.until('Z');
    this.socket.write(query(sql));
    await isReady;
  }

  /** Says goodbye and waits until the other side has closed. @returns {Promise<void>} */
  close() {
    return new Promise((resolve) => {
      this.socket.once('close', () => resolve());
      this.socket.on('error', () => undefined);
      this.socket.end(TERMINATE);
    });
  }
}

/** Connects and sends an SSLRequest; the socket once `S` has come. @param {number} port @returns {Promise<Socket>} */
export function askForTls(port) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the connection ended before TLS')));
    socket.once('connect', () => socket.write(SSL_REQUEST));
    socket.once('data', (answer) => {
      if (answer.toString('latin1') === 'S') {
        resolve(socket);
      } else {
        reject(new Error(`no TLS: ${answer.toString('latin1')}`));
      }
    });
  });
}

/** Connects, with TLS where the target wants it. @param {Target} target @param {Resumption} resumption @returns {Promise<Socket>} */
function reach({ port, tls }, { session, onSession }) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the connection ended before TLS')));
    socket.once('connect', () => {
      if (!tls) {
        resolve(socket);
        return;
      }
      socket.write(SSL_REQUEST);
      socket.once('data', (answer) => {
        if (answer.toString('latin1') !== 'S') {
          reject(new Error(`no TLS: ${answer.toString('latin1')}`));
          return;
        }
        const secured = secure({
          socket,
          secureContext: CONTEXT,
          rejectUnauthorized: false,
          ...(session === undefined ? {} : { session }),
        });
        secured.once('error', reject);
        if (onSession !== undefined) {
          secured.on('session', onSession);
        }
        secured.once('secureConnect', () => resolve(secured));
      });
    });
  });
}
