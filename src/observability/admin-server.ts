/**
 * The admin server: a small HTTP or HTTPS server that answers GET and HEAD at a fixed set of paths.
 *
 * Whoever talks to it costs little: few connections, short headers, no bodies, and deadlines for everything. What the answers are
 * is injected; nothing here knows the proxy.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo, Server as NetServer, Socket } from 'node:net';

/** What an endpoint says. */
export interface AdminAnswer {
  readonly status: 200 | 503;
  readonly contentType: string;
  readonly body: string;
}

/** What is behind a path. */
export interface AdminEndpoint {
  /** Whether the bearer token is asked for, where there is one. */
  readonly isProtected: boolean;
  readonly answer: () => AdminAnswer | Promise<AdminAnswer>;
}

/** What the server proves itself and its clients by. */
export interface AdminSecrets {
  /** PEM; null = HTTP without TLS, for as long as the server lives. */
  readonly identity: { readonly cert: Buffer; readonly key: Buffer } | null;
  readonly token: string | null;
}

/** What the server is made of. */
export interface AdminServerOptions {
  readonly host: string;
  readonly port: number;
  /** Listens already, and is to be used instead of binding; null = bind. */
  readonly inheritedFd?: number | null;
  /** By path. */
  readonly endpoints: Readonly<Record<string, AdminEndpoint>>;
  readonly secrets: AdminSecrets;
  /** Hears of an endpoint that failed; must not throw. */
  readonly failed: (path: string, error: unknown) => void;
}

const MAX_CONNECTIONS = 64;
const MAX_HEADER_BYTES = 8 * 1024;
/** From the first byte of a request to its last. */
const REQUEST_MILLIS = 5_000;
/** How long a connection may say nothing, or take nothing, before it is closed. */
const SILENCE_MILLIS = 10_000;

const PLAIN_TEXT = 'text/plain; charset=utf-8';

/** Owns the listening socket and its connections, from `listen` to `close`. */
export class AdminServer {
  readonly #options: AdminServerOptions;
  readonly #server: Server | HttpsServer;
  readonly #sockets = new Set<Socket>();
  #tokenDigest: Buffer | null = null;

  constructor(options: AdminServerOptions) {
    this.#options = options;
    const { identity } = options.secrets;
    const limits = {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: REQUEST_MILLIS,
      requestTimeout: REQUEST_MILLIS,
      connectionsCheckingInterval: 1_000,
    };
    const listener = (request: IncomingMessage, response: ServerResponse) =>
      void this.#respond(request, response);
    this.#server =
      identity === null
        ? createHttpServer(limits, listener)
        : createHttpsServer({ ...limits, ...identity, handshakeTimeout: REQUEST_MILLIS }, listener);
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.setTimeout(SILENCE_MILLIS);
    this.#useToken(options.secrets.token);
  }

  /** As bound, with the real port. */
  get address(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
  }

  /** The server that listens. */
  get listening(): NetServer {
    return this.#server;
  }

  /** Binds; rejects with Node's error. */
  listen(): Promise<void> {
    const { host, port, inheritedFd = null } = this.#options;
    const where = inheritedFd === null ? { host, port } : { fd: inheritedFd };
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(where, () => {
        this.#server.removeListener('error', reject);
        // Such as no descriptor being left for another connection: those there are go on.
        this.#server.on('error', (error) => this.#options.failed('accept', error));
        resolve();
      });
    });
  }

  /** Other secrets for requests and connections to come; throws, and keeps what there is, when TLS cannot use them. */
  renew({ identity, token }: AdminSecrets): void {
    if (identity !== null && 'setSecureContext' in this.#server) {
      this.#server.setSecureContext(identity);
    }
    this.#useToken(token);
  }

  /** Stops listening and ends every connection; idempotent. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      // Also those that are still in their TLS handshake, which the server itself does not know.
      for (const socket of this.#sockets) {
        socket.destroy();
      }
    });
  }

  #useToken(token: string | null): void {
    this.#tokenDigest = token === null ? null : digest(token);
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    const [path = ''] = url.split('?', 1);
    const { endpoints, failed } = this.#options;
    const endpoint = Object.hasOwn(endpoints, path) ? endpoints[path] : undefined;
    if (endpoint === undefined) {
      const known = Object.keys(endpoints).join(' ');
      send(response, 404, PLAIN_TEXT, `no such path; there are ${known}\n`);
      return;
    }
    if (method !== 'GET' && method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      send(response, 405, PLAIN_TEXT, 'only GET and HEAD are answered\n');
      return;
    }
    if (endpoint.isProtected && !this.#isAuthorized(request)) {
      response.setHeader('www-authenticate', 'Bearer realm="pgtls"');
      send(response, 401, PLAIN_TEXT, 'a valid bearer token is required\n');
      return;
    }
    try {
      const { status, contentType, body } = await endpoint.answer();
      send(response, status, contentType, body);
    } catch (error) {
      failed(path, error);
      send(response, 500, PLAIN_TEXT, 'this failed; the log says why\n');
    }
  }

  /** Compares digests, which are of one length, in a time that tells nothing of the token. */
  #isAuthorized(request: IncomingMessage): boolean {
    if (this.#tokenDigest === null) {
      return true;
    }
    const [, token] = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '') ?? [];
    return token !== undefined && timingSafeEqual(digest(token), this.#tokenDigest);
  }
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** Node leaves the body out where the request is a HEAD. */
function send(response: ServerResponse, status: number, contentType: string, body: string): void {
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(body);
}
