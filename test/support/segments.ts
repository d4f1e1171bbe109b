/** A duplex between a TLS engine and a socket that decides how bytes are cut and when they leave. */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

/** Returns how many of the next bytes go into one write. */
export type SegmentSize = () => number;

/** One byte per write. */
export const BYTE_BY_BYTE: SegmentSize = () => 1;

/**
 * Wraps a connected socket: what is written to the wrapper reaches the socket in segments of the given sizes, each its own
 * write followed by a turn of the event loop. `hold` delays the first byte until it resolves.
 */
export function segmented(
  socket: Socket,
  options: { size?: SegmentSize; hold?: Promise<void> } = {},
): Duplex {
  const { size = () => Number.MAX_SAFE_INTEGER, hold = Promise.resolve() } = options;
  socket.setNoDelay(true);
  const wrapper = new Duplex({
    allowHalfOpen: true,
    read: () => {
      socket.resume();
    },
    write: (chunk: Buffer, _encoding, done) => {
      hold.then(() => writeSegments(socket, chunk, size)).then(() => done(), done);
    },
    final: (done) => {
      socket.end(done);
    },
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  socket.on('data', (chunk: Buffer) => {
    if (!wrapper.push(chunk)) {
      socket.pause();
    }
  });
  socket.on('end', () => wrapper.push(null));
  socket.on('error', (error) => wrapper.destroy(error));
  socket.on('close', () => wrapper.destroy());
  return wrapper;
}

async function writeSegments(socket: Socket, chunk: Buffer, size: SegmentSize): Promise<void> {
  for (let at = 0; at < chunk.length; ) {
    const end = Math.min(chunk.length, at + Math.max(1, size()));
    const segment = chunk.subarray(at, end);
    await new Promise<void>((resolve, reject) => {
      socket.write(segment, (error) => (error ? reject(error) : setImmediate(resolve)));
    });
    at = end;
  }
}
