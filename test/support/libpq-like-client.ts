/**
 * A client that connects as libpq 18 does, attempt after attempt (fe-connect.c, `select_next_encryption_method`), made of
 * raw sockets and node:tls: fast enough for thousands of logins. psql checks samples of what it does.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import {
  type ConnectionOptions,
  connect as connectTls,
  createSecureContext,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { ByteChannel } from './byte-channel.ts';
import type { Identity } from './certificates.ts';
import { ask, openTcp } from './raw-client.ts';
import type { ClientMode, ClientSslmode, Failure, Leg, Outcome } from './tls-oracle.ts';
import { within } from './until.ts';
import { errorFields, SSL_REQUEST, startupMessage } from './wire.ts';

const HANDSHAKE_MILLIS = 30_000;
/** What node:tls says of a socket that ends without an alert. */
const CLOSED_EARLY = /ECONNRESET|before secure TLS connection was established/;
const IS_ENCRYPTED = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';

/** What a client trusts and shows. */
export interface ClientFiles {
  readonly authorityPem: string;
  readonly identity: Identity;
}

/** Thrown by an attempt; `isFinal` ends the search for another way. */
class AttemptFailed extends Error {
  readonly failure: Failure;
  readonly isFinal: boolean;

  constructor(failure: Failure, isFinal = false) {
    super(failure);
    this.failure = failure;
    this.isFinal = isFinal;
  }
}

/** Logs in like libpq and tells what became of it. */
export class LibpqLikeClient {
  readonly #bare: SecureContext;
  readonly #certified: SecureContext;

  constructor({ authorityPem, identity }: ClientFiles) {
    this.#bare = createSecureContext({ ca: authorityPem });
    this.#certified = createSecureContext({
      ca: authorityPem,
      cert: identity.certPem,
      key: identity.keyPem,
    });
  }

  /** Connects to a port of 127.0.0.1 as `user`. */
  async connect(port: number, user: string, mode: ClientMode): Promise<Outcome> {
    const failures: Failure[] = [];
    for (const attempt of this.#attempts(port, mode)) {
      let channel: ByteChannel | null = null;
      try {
        channel = await attempt();
        return await login(channel, user);
      } catch (error) {
        if (!(error instanceof AttemptFailed)) {
          throw error;
        }
        failures.push(error.failure);
        // Behind an N the plaintext connection was the same one: nothing is left to try.
        const wasDeclined = mode.sslmode === 'prefer' && channel !== null && !isTls(channel);
        if (error.isFinal || wasDeclined) {
          break;
        }
      } finally {
        channel?.destroy();
      }
    }
    return { failures };
  }

  #attempts(port: number, mode: ClientMode): Array<() => Promise<ByteChannel>> {
    const plaintext = () => openTcp(port);
    const negotiated = () => this.#negotiate(port, mode);
    switch (mode.sslmode) {
      case 'disable':
        return [plaintext];
      case 'allow':
        return [plaintext, negotiated];
      case 'prefer':
        return [negotiated, plaintext];
      default:
        return [mode.sslnegotiation === 'direct' ? () => this.#direct(port, mode) : negotiated];
    }
  }

  async #negotiate(port: number, mode: ClientMode): Promise<ByteChannel> {
    const channel = await openTcp(port);
    await channel.write(SSL_REQUEST);
    const answer = (await channel.read(1)).toString('latin1');
    switch (answer) {
      case 'S':
        return this.#handshake(channel, mode);
      case 'N':
        if (mode.sslmode === 'prefer') {
          return channel;
        }
        channel.destroy();
        throw new AttemptFailed('SSLRequest declined');
      case 'E':
        channel.destroy();
        throw new AttemptFailed('SSLRequest refused', true);
      default:
        throw new Error(`SSLRequest was answered with ${answer}`);
    }
  }

  async #direct(port: number, mode: ClientMode): Promise<ByteChannel> {
    const channel = await openTcp(port);
    try {
      return await this.#handshake(channel, mode);
    } catch (error) {
      const isClosed = error instanceof Error && CLOSED_EARLY.test(error.message);
      throw isClosed ? new AttemptFailed('direct TLS refused') : error;
    }
  }

  async #handshake(channel: ByteChannel<Socket>, mode: ClientMode): Promise<ByteChannel> {
    const socket = connectTls({
      socket: channel.release(),
      secureContext: mode.hasCertificate ? this.#certified : this.#bare,
      ALPNProtocols: ['postgresql'],
      ...verification(mode.sslmode),
    });
    await within(HANDSHAKE_MILLIS, 'TLS handshake', secured(socket));
    return new ByteChannel(socket);
  }
}

/** Rejects with the socket's error, or ECONNRESET when it just ends. */
async function secured(socket: TLSSocket): Promise<void> {
  const ended = once(socket, 'close').then(() => {
    throw new Error('ECONNRESET during the handshake');
  });
  ended.catch(() => undefined);
  await Promise.race([once(socket, 'secureConnect'), ended]);
}

function verification(sslmode: ClientSslmode): ConnectionOptions {
  switch (sslmode) {
    case 'verify-full':
      return { servername: 'localhost', rejectUnauthorized: true };
    case 'verify-ca':
      return {
        servername: 'localhost',
        rejectUnauthorized: true,
        checkServerIdentity: () => undefined,
      };
    default:
      return { servername: 'localhost', rejectUnauthorized: false };
  }
}

function isTls(channel: ByteChannel): boolean {
  return 'encrypted' in channel.stream;
}

async function login(channel: ByteChannel, user: string): Promise<Outcome> {
  await channel.write(startupMessage({ user, database: 'postgres' })).catch(() => undefined);
  const first = await firstMessage(channel);
  if (first.type === 'E') {
    throw new AttemptFailed(failureOf(errorFields(first.body)));
  }
  await channel.messagesUntil('Z');
  const [row] = await ask(channel, IS_ENCRYPTED);
  const client: Leg = isTls(channel) ? 'TLS' : 'plaintext';
  return { client, backend: row?.[0] === 't' ? 'TLS' : 'plaintext' };
}

/** In TLS 1.3 the server's verdict on the client's certificate comes when the client believes that TLS stands. */
async function firstMessage(channel: ByteChannel) {
  try {
    return await channel.message();
  } catch (error) {
    const { end } = await channel.rest();
    const code = end.kind === 'error' ? (end.error as NodeJS.ErrnoException).code : undefined;
    if (code === 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED') {
      throw new AttemptFailed('certificate required', true);
    }
    throw error;
  }
}

function failureOf(fields: Readonly<Record<string, string>>): Failure {
  const { C: sqlstate, M: text = '' } = fields;
  if (sqlstate === '28000' && text.startsWith('no pg_hba.conf entry')) {
    return 'no pg_hba.conf entry';
  }
  if (sqlstate === '28000' && text.startsWith('this server requires TLS')) {
    return 'plaintext refused';
  }
  if (sqlstate === '08001') {
    return 'server without TLS';
  }
  throw new Error(`unexpected: ${JSON.stringify(fields)}`);
}
