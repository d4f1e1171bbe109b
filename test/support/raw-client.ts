/** Raw PostgreSQL clients: plain TCP, TLS after SSLRequest, direct TLS; start-up as the user `trusted`. */
import { once } from 'node:events';
import { connect as connectTcp, type NetConnectOpts, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { ByteChannel } from './byte-channel.ts';
import { WAIT_MILLIS, within } from './until.ts';
import { dataRow, errorFields, type Message, query, SSL_REQUEST, startupMessage } from './wire.ts';

/** What a session learned during its start-up. */
export interface StartedSession {
  readonly processId: number;
  readonly secretKey: Buffer;
  readonly messages: readonly Message[];
}

/** A TCP (or unix-socket) connection; a port means 127.0.0.1. */
export async function openTcp(to: number | NetConnectOpts): Promise<ByteChannel<Socket>> {
  const options = typeof to === 'number' ? { host: '127.0.0.1', port: to } : to;
  const socket = connectTcp({ ...options, allowHalfOpen: true } as NetConnectOpts);
  const channel = new ByteChannel(socket);
  await within(WAIT_MILLIS, 'a connection opens', once(socket, 'connect'));
  if (typeof to === 'number') {
    socket.setNoDelay(true);
  }
  return channel;
}

/** TLS over a stream whose negotiation is done. */
export async function startTls(
  stream: Duplex,
  options: ConnectionOptions,
): Promise<ByteChannel<TLSSocket>> {
  const socket = connectTls({
    servername: 'localhost',
    ...options,
    socket: stream,
    allowHalfOpen: true,
  } as ConnectionOptions);
  const failed = once(socket, 'close').then(() => {
    throw new Error('the connection closed during the TLS handshake');
  });
  failed.catch(() => undefined);
  await within(WAIT_MILLIS, 'TLS handshake', Promise.race([once(socket, 'secureConnect'), failed]));
  return new ByteChannel(socket);
}

/** The error of a TLS handshake that must fail; throws when it succeeds. */
export async function failedTls(stream: Duplex, options: ConnectionOptions): Promise<Error> {
  const outcome = await startTls(stream, options).catch((error: unknown) => error);
  if (outcome instanceof Error) {
    return outcome;
  }
  throw new Error('the TLS handshake succeeded');
}

/** SSLRequest, `S`, TLS handshake. */
export async function openNegotiatedTls(
  to: number | NetConnectOpts,
  options: ConnectionOptions,
): Promise<ByteChannel<TLSSocket>> {
  const channel = await openTcp(to);
  await channel.write(SSL_REQUEST);
  const answer = await channel.read(1);
  if (answer.toString() !== 'S') {
    throw new Error(`SSLRequest was answered with ${answer.toString('hex')}`);
  }
  return startTls(channel.release(), options);
}

/** TLS from the first byte with ALPN `postgresql` (PostgreSQL 17's sslnegotiation=direct). */
export async function openDirectTls(
  port: number,
  options: ConnectionOptions,
): Promise<ByteChannel<TLSSocket>> {
  const channel = await openTcp(port);
  return startTls(channel.release(), { ALPNProtocols: ['postgresql'], ...options });
}

/** Sends a StartupMessage and reads up to ReadyForQuery; throws with the server's words when it refuses. */
export async function startSession(
  channel: ByteChannel,
  parameters: Readonly<Record<string, string>> = {},
  version?: number,
): Promise<StartedSession> {
  const all = { user: 'trusted', database: 'postgres', ...parameters };
  await channel.write(startupMessage(all, version));
  return sessionStarted(channel);
}

/** Reads up to ReadyForQuery. */
export async function sessionStarted(channel: ByteChannel): Promise<StartedSession> {
  const messages: Message[] = [];
  for (;;) {
    const next = await channel.message();
    messages.push(next);
    if (next.type === 'E') {
      throw new Error(`refused: ${JSON.stringify(errorFields(next.body))}`);
    }
    if (next.type === 'Z') {
      break;
    }
  }
  const key = messages.find(({ type }) => type === 'K')?.body ?? Buffer.alloc(8);
  return { processId: key.readInt32BE(0), secretKey: key.subarray(4), messages };
}

/** Runs a simple query and returns its rows; throws with the server's words on an error. */
export async function ask(
  channel: ByteChannel,
  text: string,
): Promise<Array<Array<string | null>>> {
  await channel.write(query(text));
  const messages = await channel.messagesUntil('Z');
  const failure = messages.find(({ type }) => type === 'E');
  if (failure !== undefined) {
    throw new Error(JSON.stringify(errorFields(failure.body)));
  }
  return messages.filter(({ type }) => type === 'D').map(({ body }) => dataRow(body));
}

/** The fields of the next message, which must be an ErrorResponse. */
export async function readError(channel: ByteChannel): Promise<Readonly<Record<string, string>>> {
  const { type, body } = await channel.message();
  if (type !== 'E') {
    throw new Error(`expected an ErrorResponse, got ${type} ${body.toString('latin1')}`);
  }
  return errorFields(body);
}
