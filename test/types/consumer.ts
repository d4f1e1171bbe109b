/**
 * A program that uses the public types as its author would, compiled by test/end-to-end/public-api.test.ts against dist/ under the
 * strictest options. It is never run.
 */
import { X509Certificate } from 'node:crypto';
import {
  type BackendInput,
  type CertificateStatus,
  ConfigError,
  createProxy,
  type DrainReport,
  ERROR_CODES,
  type PgtlsConfig,
  type PgtlsConfigInput,
  PgtlsError,
  type PgtlsLogger,
  type PgtlsProxy,
  type ProxyHooks,
  type ProxyStats,
  refuse,
  type SessionReport,
} from 'pgtls';
import { pino } from 'pino';

declare const isProduction: boolean;
declare const workers: number | undefined;

const backend: BackendInput = {
  address: ['db-1.example', 'db-2.example:5433'],
  sslmode: 'verify-full',
  // What may be undefined may be so in words, too.
  sslrootcert: isProduction ? '/etc/pgtls/ca.crt' : undefined,
  connect_timeout: 3,
};

const config = {
  workers,
  shutdown_timeout: '30s',
  proxy: [
    {
      name: 'orders',
      listener: { bind_address: '127.0.0.1:0', sslmode: 'disable', alpn: ['postgresql'] },
      backend,
      backends: { archive: { ...backend, address: 'archive.example' } },
      route: [{ database: 'old_*', backend: 'archive' }],
    },
  ],
} as const satisfies PgtlsConfigInput;

const hooks: ProxyHooks = {
  async onClientCertificate({ certificate }) {
    const subject = certificate === null ? null : new X509Certificate(certificate.raw).subject;
    return subject === null ? refuse('no certificate') : undefined;
  },
  onClientHello: ({ serverName }) => (serverName === null ? null : { serverName }),
  route: isProduction ? ({ user }) => (user === 'reporting' ? 'archive' : null) : undefined,
};

const own: PgtlsLogger = {
  debug: () => {},
  info: (fields, message) => void [fields, message],
  warn: () => {},
  error: () => {},
};

const proxies: readonly PgtlsProxy[] = [
  createProxy(config),
  createProxy({ file: 'pgtls.toml' }, { logger: pino(), hooks }),
  createProxy(config, { logger: console, environment: process.env, directory: '/etc/pgtls' }),
  createProxy(config, { logger: isProduction && own, hooks: isProduction ? hooks : undefined }),
];

/** Uses everything that a proxy has. */
export async function use(next: PgtlsConfig): Promise<DrainReport> {
  await using proxy = createProxy(config);
  const onSession = ({ route, clientTls, bytesOut }: SessionReport): string =>
    `${route} ${clientTls?.version ?? 'plaintext'} ${bytesOut.toFixed()}`;
  const soon = (certificates: readonly CertificateStatus[]): Date[] =>
    certificates.flatMap(({ notAfter }) => notAfter ?? []);
  proxy
    .on('session', onSession)
    .off('session', onSession)
    .on('certificates', soon)
    .on('reload', ({ kind, error }) => `${kind} ${error?.message ?? 'well'}`)
    .on('error', async (error) => ERROR_CODES[error.code].remedy)
    .once('close', ({ drained, cut }) => drained + cut);
  const [first] = await proxy.listen();
  const port: string | undefined = first?.address.split(':').at(-1);
  try {
    await proxy.reload(next);
  } catch (error) {
    if (error instanceof ConfigError) {
      const lines: (number | null)[] = error.diagnostics.map(({ line }) => line);
      return { drained: lines.length, cut: 0 };
    }
    if (error instanceof PgtlsError && error.code === 'PGTLS_CLOSED') {
      throw error;
    }
  }
  const stats: ProxyStats = proxy.stats();
  const refused: number | undefined = stats.routes[0]?.rejected['denied'];
  return proxy.drain({ timeout: port === undefined || refused === 1 ? 5 : '45s' });
}

// @ts-expect-error: a key that is misspelt
createProxy({ proxy: [], worker: 1 });
// @ts-expect-error: a word that sslmode does not have
createProxy({ proxy: [{ listener: { bind_address: 'a:1', sslmode: 'allow' }, backend }] });
// @ts-expect-error: a backend without address
createProxy({ proxy: [{ listener: { bind_address: 'a:1' }, backend: {} }] });
// @ts-expect-error: an event that there is not
proxies[0]?.on('closed', () => {});
// @ts-expect-error: what the event does not tell
proxies[0]?.on('close', ({ sessions }) => sessions);
// @ts-expect-error: stats are to be read
proxies[0]?.stats().routes.push();
