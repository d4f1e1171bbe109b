/**
 * PostgreSQL that demands a client certificate (`cert`, `clientcert`), and pgtls that shows one for its clients, over TLS 1.2
 * (the refusal comes within the handshake) and TLS 1.3 (it comes behind it). The client is told why it was refused.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { CertificateZoo } from '../support/certificate-zoo.ts';
import {
  CertificateAuthority,
  EXPIRED,
  type IdentityFiles,
  writeIdentity,
} from '../support/certificates.ts';
import { ListenerTls, type RouteText, type Table } from '../support/config.ts';
import { OwnCluster } from '../support/own-cluster.ts';
import { ask, openNegotiatedTls, readError, startSession } from '../support/raw-client.ts';
import { type LogLine, RunningProxy } from '../support/running-proxy.ts';
import { startupMessage } from '../support/wire.ts';

/** A user for each rule; what the rule asks for is in the comment's terms of "Certificate Authentication". */
const RULES = `
hostssl all by-certificate 127.0.0.1/32 cert
hostssl all full           127.0.0.1/32 trust clientcert=verify-full
hostssl all ca             127.0.0.1/32 trust clientcert=verify-ca
hostssl all any            127.0.0.1/32 trust
host    all by-certificate,full,ca,any 127.0.0.1/32 reject
`;

const USERS = ['by-certificate', 'full', 'ca', 'any'] as const;
type User = (typeof USERS)[number];

const CERTIFICATES = [
  'its own',
  "somebody's",
  'none',
  'expired',
  'foreign',
  'for servers',
] as const;
type Certificate = (typeof CERTIFICATES)[number];

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
type Version = (typeof VERSIONS)[number];

/** Who refuses a certificate: PostgreSQL's TLS with an alert, its pg_hba.conf with an ErrorResponse, or nobody. */
type Verdict = { readonly alert: string } | { readonly says: RegExp } | 'accepted';

function verdict(user: User, certificate: Certificate): Verdict {
  switch (certificate) {
    // A chain that doesn't hold is refused by TLS, whatever the user's rule says.
    case 'expired':
      return { alert: 'certificate_expired' };
    case 'foreign':
      return { alert: 'unknown_ca' };
    case 'for servers':
      return { alert: 'unsupported_certificate' };
    case 'none':
      return user === 'any'
        ? 'accepted'
        : { says: /connection requires a valid client certificate/ };
    case "somebody's":
      return user === 'by-certificate' || user === 'full'
        ? { says: /authentication failed for user/ }
        : 'accepted';
    case 'its own':
      return 'accepted';
    default:
      return certificate satisfies never;
  }
}

let tls: ListenerTls;
let cluster: OwnCluster;
let proxy: RunningProxy;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const [clients, strangers, zoo] = await Promise.all([
    CertificateAuthority.create('clients'),
    CertificateAuthority.create('strangers'),
    CertificateZoo.create('client'),
  ]);
  cluster = await OwnCluster.start({
    identity: await tls.authority.issue({ commonName: 'localhost', names: ['localhost'] }),
    clientAuthorities: `${clients.certPem}${zoo.rootPem}`,
    rules: RULES,
    roles: USERS,
  });
  const write = async (
    name: string,
    issued: Promise<IdentityFiles | Parameters<typeof writeIdentity>[2]>,
  ) => writeIdentity(tls.directory, name, await issued);
  const shared = {
    "somebody's": await write('somebody', clients.issue({ commonName: 'somebody', names: [] })),
    expired: await write('expired', clients.issue({ commonName: 'full', names: [], ...EXPIRED })),
    foreign: await write('foreign', strangers.issue({ commonName: 'full', names: [] })),
    'for servers': writeIdentity(tls.directory, 'server-role', zoo.specimen('for the other role')),
    none: null,
  };
  const routes: RouteText[] = [];
  for (const user of USERS) {
    const own = await write(`user-${user}`, clients.issue({ commonName: user, names: [] }));
    const files: Record<Certificate, IdentityFiles | null> = { ...shared, 'its own': own };
    for (const certificate of CERTIFICATES) {
      for (const version of VERSIONS) {
        routes.push({
          name: routeName(user, certificate, version),
          backend: backendTable(files[certificate], version),
        });
      }
    }
  }
  proxy = await RunningProxy.start(tls.config(routes));
}, 120_000);

afterAll(async () => {
  await proxy?.stop();
  await cluster?.stop();
  tls?.remove();
});

function routeName(user: User, certificate: Certificate, version: Version): string {
  return `${user} with ${certificate} over ${version}`;
}

function backendTable(files: IdentityFiles | null, version: Version): Table {
  return {
    address: `localhost:${cluster.port}`,
    sslmode: 'verify-full',
    sslrootcert: tls.caFile,
    ssl_min_protocol_version: version,
    ssl_max_protocol_version: version,
    ...(files === null ? {} : { sslcert: files.certFile, sslkey: files.keyFile }),
  };
}

const CASES = VERSIONS.flatMap((version) =>
  USERS.flatMap((user) =>
    CERTIFICATES.map((certificate) => ({
      user,
      certificate,
      version,
      expected: verdict(user, certificate),
    })),
  ),
);

function describeVerdict(expected: Verdict): string {
  if (expected === 'accepted') {
    return expected;
  }
  return 'alert' in expected
    ? `refused by TLS with ${expected.alert}`
    : `refused: ${expected.says.source}`;
}

async function loginRefused(user: User, route: string) {
  const channel: ByteChannel = await openNegotiatedTls(proxy.port(route), tls.clientOptions);
  await channel.write(startupMessage({ user, database: 'postgres' }));
  const error = await readError(channel);
  await channel.ended();
  channel.destroy();
  return error;
}

async function theLine(route: string): Promise<LogLine> {
  return proxy.logged({ event: 'conn.close', route });
}

describe.each(VERSIONS)('over %s', (version) => {
  test.for(
    CASES.filter((one) => one.version === version).map(
      (one) => [one.user, one.certificate, describeVerdict(one.expected), one] as const,
    ),
  )('the user %s with the certificate %s is %s', async ([user, certificate, , { expected }]) => {
    const route = routeName(user, certificate, version);
    if (expected === 'accepted') {
      const channel: ByteChannel = await openNegotiatedTls(proxy.port(route), tls.clientOptions);
      await startSession(channel, { user });
      const text = 'select version, client_dn from pg_stat_ssl where pid = pg_backend_pid()';
      const [row] = await ask(channel, text);
      expect(row?.[0]).toBe(version);
      expect(row?.[1] ?? null).toBe(dnOf(user, certificate));
      channel.destroy();
      return;
    }
    const error = await loginRefused(user, route);
    expect(error['S']).toBe('FATAL');
    if ('says' in expected) {
      expect(error).toMatchObject({ C: '28000', M: expect.stringMatching(expected.says) });
      return;
    }
    expect(error['C']).toMatch(/^0800[16]$/);
    expect(await theLine(route)).toMatchObject({
      fault_side: 'backend',
      alert: expected.alert,
      alert_direction: 'received',
      alert_side: 'backend',
      error: expect.stringContaining('alert'),
    });
  });
});

function dnOf(user: User, certificate: Certificate): string | null {
  switch (certificate) {
    case 'none':
      return null;
    case "somebody's":
      return '/CN=somebody';
    default:
      return `/CN=${user}`;
  }
}
