/** COPY in bulk over a raw session, hashed as it flows: memory stays flat whatever the size. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { within } from './until.ts';
import { errorFields, type Message, MessageReader, message, query } from './wire.ts';

const COPY_MILLIS = 600_000;

/** What a COPY carried: the number of bytes of its rows and their SHA-256. */
export interface CopiedBytes {
  readonly bytes: number;
  readonly sha256: string;
}

/** Runs `copy … to stdout` on a started session and hashes the rows. */
export async function copyOut(stream: Duplex, text: string): Promise<CopiedBytes> {
  const hash = createHash('sha256');
  let bytes = 0;
  stream.write(query(text));
  await until(stream, 'Z', ({ type, body }) => {
    if (type === 'd') {
      bytes += body.length;
      hash.update(body);
    }
  });
  return { bytes, sha256: hash.digest('hex') };
}

/** Runs `copy … from stdin` on a started session, sending `block` so many times, and hashes what it sent. */
export async function copyIn(
  stream: Duplex,
  text: string,
  block: Buffer,
  times: number,
): Promise<CopiedBytes> {
  const hash = createHash('sha256');
  stream.write(query(text));
  await until(stream, 'G', () => undefined);
  const data = message('d', block);
  for (let sent = 0; sent < times; sent += 1) {
    hash.update(block);
    if (!stream.write(data)) {
      await within(COPY_MILLIS, 'the socket takes more', once(stream, 'drain'));
    }
  }
  stream.write(message('c'));
  await until(stream, 'Z', () => undefined);
  return { bytes: block.length * times, sha256: hash.digest('hex') };
}

/** Gives each message to `onMessage` until one of `type` came; throws on an ErrorResponse and when the stream ends. */
async function until(
  stream: Duplex,
  type: string,
  onMessage: (next: Message) => void,
): Promise<void> {
  const reader = new MessageReader();
  const done = new Promise<void>((resolve, reject) => {
    const onData = (chunk: Buffer): void => {
      for (const next of reader.push(chunk)) {
        onMessage(next);
        if (next.type === 'E') {
          reject(new Error(JSON.stringify(errorFields(next.body))));
        }
        if (next.type === type) {
          stream.off('data', onData);
          stream.pause();
          resolve();
        }
      }
    };
    stream.on('data', onData);
    stream.once('close', () => reject(new Error(`the stream closed before message ${type}`)));
    stream.resume();
  });
  await within(COPY_MILLIS, `message ${type}`, done);
}
