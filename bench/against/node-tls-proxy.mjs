/**
 * A PostgreSQL TLS proxy on node:tls, as good as one can write it in plain Node.js:
 *
 * - it answers the SSLRequest on the bare socket, then hands this to a tls.Server: TLS runs on the socket's handle in C++, with no
 *   JavaScript stream below it; session tickets are the server's, so clients can resume;
 * - TCP_NODELAY on both legs; a chunk that one side reads is written to the other as it is, without a copy and without pipe(); only
 *   when the other side is full the reading pauses until it has drained;
 * - it dials the backend as soon as the client's handshake has ended, and sends what the client says meanwhile when it stands.
 *
 * Where pgtls refuses (bytes behind the SSLRequest), counts, limits and logs, this does nothing: every doubt is in its favour.
 *
 * `node node-tls-proxy.mjs '{"port": …, "backend": …, "leg": "plain" | "tls", "certFile": …, "keyFile": …}'`
 */
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { createSecureContext, createServer as createTlsServer, connect as secure } from 'node:tls';

/** @type {{ port: number, backend: number, leg: 'plain' | 'tls', certFile: string, keyFile: string }} */
const { port, backend, leg, certFile, keyFile } = JSON.parse(process.argv[2] ?? '{}');

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const BACKLOG = 4096;
const backendContext = createSecureContext();
/** What the backend gave to resume with; PostgreSQL gives nothing. @type {Buffer | undefined} */
let backendSession;

const tlsServer = createTlsServer(
  { cert: readFileSync(certFile), key: readFileSync(keyFile), ALPNProtocols: ['postgresql'] },
  (client) => {
    client.on('error', () => undefined);
    dial((server) => join(client, server), client);
  },
);
tlsServer.on('tlsClientError', () => undefined);

createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.once('data', (first) => {
    if (!first.equals(SSL_REQUEST)) {
      socket.destroy();
      return;
    }
    socket.write('S');
    tlsServer.emit('connection', socket);
  });
}).listen(port, '127.0.0.1', BACKLOG);

/** @param {(server: import('node:net').Socket) => void} whenReady @param {import('node:net').Socket} client */
function dial(whenReady, client) {
  const socket = connect({ host: '127.0.0.1', port: backend, noDelay: true });
  socket.once('error', () => client.destroy());
  client.once('close', () => socket.destroy());
  socket.once('connect', () => {
    if (leg === 'plain') {
      whenReady(socket);
      return;
    }
    socket.write(SSL_REQUEST);
    socket.once('data', (answer) => {
      if (answer.toString('latin1') !== 'S') {
        client.destroy();
        return;
      }
      const server = secure({
        socket,
        secureContext: backendContext,
        rejectUnauthorized: false,
        ...(backendSession === undefined ? {} : { session: backendSession }),
      });
      server.on('session', (session) => {
        backendSession = session;
      });
      server.once('secureConnect', () => whenReady(server));
      server.once('error', () => client.destroy());
    });
  });
}

/** @param {import('node:net').Socket} client @param {import('node:net').Socket} server */
function join(client, server) {
  forward(client, server);
  forward(server, client);
}

/** @param {import('node:net').Socket} from @param {import('node:net').Socket} to */
function forward(from, to) {
  from.on('data', (chunk) => {
    if (!to.write(chunk)) {
      from.pause();
      to.once('drain', () => from.resume());
    }
  });
  from.once('end', () => to.end());
  from.once('error', () => to.destroy());
  from.once('close', () => to.destroySoon());
}
