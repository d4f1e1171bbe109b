/**
 * Gives an accepted socket to the data plane: the only place that touches a socket's descriptor, or a server's.
 *
 * Within one tick Node's read-ahead is drained, the data plane duplicates the descriptor, and
 * Node's own is closed (libuv closes without a shutdown, so the connection lives on in the
 * duplicate). Nothing can be read in between, hence no byte is lost. See the ADR on the hand-off.
 */
import type { Server, Socket } from 'node:net';
import { PgtlsError } from '../errors.ts';
import type { Encryption } from '../negotiation/state.ts';

/** What the data plane is told about a connection. */
export interface Handoff {
  connectionId: number;
  routeId: number;
  /** negotiated: 'S' is owed, and TLS follows; direct: the first byte was TLS; none: plaintext. */
  encryption: Encryption;
  /** Bytes read from the socket that nobody has consumed. */
  prefix: Buffer | null;
  peer: string;
  localAddress: string;
  /** What is left of client_login_timeout; 0 = there is none. */
  remainingMillis: number;
}

/** Duplicates `fd` before it returns, or throws a PgtlsError; the caller closes `fd` either way. */
export type Adopt = (fd: number, handoff: Handoff) => void;

/** Reads what the socket behind `fd` has received by now: how many bytes, 0 for none yet, -1 when it has failed. */
export type Receive = (fd: number, into: Buffer) => number;

/** The longest first packet a client may send, and then some. */
const firstLook = Buffer.allocUnsafeSlow(16 * 1024);

/**
 * What a client has sent already, without waiting for Node to read it: null when there is nothing yet, 'failed' when the socket is
 * gone. Mostly the whole first packet is there, and Node never has to watch the socket.
 */
export function receivedAtOnce(socket: Socket, receive: Receive): Buffer | 'failed' | null {
  const count = receive(fileDescriptorOf(socket), firstLook);
  if (count <= 0) {
    return count === 0 ? null : 'failed';
  }
  return Buffer.from(firstLook.subarray(0, count));
}

/**
 * Hands the socket over and destroys it. When this throws, nobody has taken the connection, and the
 * socket is still the caller's to destroy. `handoff.prefix` is what was read before this call.
 */
export function handOff(socket: Socket, handoff: Handoff, adopt: Adopt): void {
  const fd = fileDescriptorOf(socket);
  const prefix = joined(handoff.prefix, socket.read() as Buffer | null);
  adopt(fd, { ...handoff, prefix });
  socket.destroy();
}

function joined(earlier: Buffer | null, later: Buffer | null): Buffer | null {
  return earlier === null || later === null ? (earlier ?? later) : Buffer.concat([earlier, later]);
}

/** The descriptor of a listening socket, which stays the server's. */
export function serverDescriptor(server: Server): number {
  return fileDescriptorOf(server);
}

/** Node has no public way to ask for the descriptor; `_handle.fd` is it on every POSIX system. */
function fileDescriptorOf(socket: Socket | Server): number {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown =
    typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined;
  if (typeof fd !== 'number' || fd < 0) {
    throw new PgtlsError(
      'PGTLS_FD_UNAVAILABLE',
      `Node.js gave no file descriptor for the socket (got ${String(fd)})`,
    );
  }
  return fd;
}
