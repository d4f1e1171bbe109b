/**
 * A Node.js service with pgtls inside. PostgreSQL clients connect to it over TLS, an orchestrator asks /healthz and /readyz, and SIGTERM
 * lets sessions finish before the process ends.
 *
 *   TLS_CERT=tls.crt TLS_KEY=tls.key BACKEND=unix:/var/run/postgresql node service.mjs
 */
import { createServer } from 'node:http';
import process from 'node:process';
import { createProxy } from 'pgtls';

const {
  BACKEND = 'unix:/var/run/postgresql',
  HTTP_PORT = '8080',
  PGTLS_BIND = '0.0.0.0:6432',
  TLS_CERT = 'tls.crt',
  TLS_KEY = 'tls.key',
} = process.env;

const proxy = createProxy(
  {
    shutdown_timeout: '20s',
    proxy: [
      {
        name: 'main',
        listener: {
          bind_address: PGTLS_BIND,
          sslmode: 'require',
          ssl_cert_file: TLS_CERT,
          ssl_key_file: TLS_KEY,
        },
        backend: { address: BACKEND, sslmode: 'disable' },
      },
    ],
  },
  { logger: console }, // or pino(), or any logger with these methods
);

proxy.on('session', ({ user, database, durationMillis, reason }) => {
  console.info(
    `${user} was connected to ${database} for ${Math.round(durationMillis)} ms: ${reason}`,
  );
});

// Renewed certificates are used as soon as their files change; this is for those that nobody renews.
proxy.on('certificates', (certificates) => {
  const soon = Date.now() + 14 * 86_400_000;
  for (const { file, notAfter } of certificates) {
    if (notAfter !== null && notAfter.getTime() < soon) {
      console.warn(`${file} expires on ${notAfter.toISOString()}`);
    }
  }
});

const health = createServer((request, response) => {
  const { phase, sessions } = proxy.stats();
  switch (request.url) {
    case '/healthz':
      response.end('alive\n');
      break;
    case '/readyz':
      // 503 from the first moment of the end on: no new connections are sent here.
      response.writeHead(phase === 'ready' ? 200 : 503).end(`${phase}\n`);
      break;
    case '/sessions':
      response.setHeader('content-type', 'application/json').end(JSON.stringify(sessions));
      break;
    default:
      response.writeHead(404).end();
  }
});

/** The first signal lets sessions finish, a second one cuts them. pgtls itself listens to none. */
async function end() {
  if (proxy.stats().phase === 'draining') {
    await proxy.close();
    return;
  }
  const { drained, cut } = await proxy.drain();
  console.info(`${drained} sessions finished, ${cut} were cut`);
  health.close();
  health.closeAllConnections();
}

process.on('SIGTERM', end);
process.on('SIGINT', end);

health.listen(Number(HTTP_PORT));
try {
  const addresses = await proxy.listen();
  console.info('listening', addresses.map(({ address }) => address).join(', '));
} catch (error) {
  // Everything that is wrong, at once; PGTLS_CLOSED when a signal came first.
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
  health.close();
}
