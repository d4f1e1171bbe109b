/**
 * Good and bad certificates shown by PostgreSQL, by a listener and by clients: each accepted or refused as libpq and OpenSSL
 * would, the refusal with its reason in the log, its alert on the wire, and words for whoever can read them.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { CertificateZoo, SPECIES, type Species } from '../support/certificate-zoo.ts';
import { writeIdentity } from '../support/certificates.ts';
import { ListenerTls, plainBackend, type RouteText } from '../support/config.ts';
import { material } from '../support/material.ts';
import { OwnCluster } from '../support/own-cluster.ts';
import { isInstalled, runClient } from '../support/programs.ts';
import {
  ask,
  openNegotiatedTls,
  openTcp,
  readError,
  startSession,
  startTls,
} from '../support/raw-client.ts';
import { type LogLine, RunningProxy } from '../support/running-proxy.ts';
import { until } from '../support/until.ts';
import { SSL_REQUEST, startupMessage } from '../support/wire.ts';

/** The alert of RFC 8446 that goes with a refusal, and what the log has to say. */
interface Refusal {
  readonly alert: string;
  readonly says: RegExp;
}

const UNKNOWN_CA: Refusal = { alert: 'unknown_ca', says: /UnknownIssuer/ };

/** What is wrong with a chain, whoever shows it; the rest of the zoo is fine. */
const BAD_CHAINS: Readonly<Partial<Record<Species, Refusal>>> = {
  'intermediate missing': UNKNOWN_CA,
  'self-signed': UNKNOWN_CA,
  'of another authority': UNKNOWN_CA,
  expired: { alert: 'certificate_expired', says: /expired/i },
  // RFC 8446, 6.2: "has expired or is not currently valid".
  'not yet valid': { alert: 'certificate_expired', says: /not valid yet/i },
  'for the other role': { alert: 'unsupported_certificate', says: /purpose|usage/i },
  'outside name constraints': { alert: 'certificate_unknown', says: /NameConstraintViolation/ },
};

let tls: ListenerTls;
let servers: CertificateZoo;
let clients: CertificateZoo;
let serverRoot: string;
let clientRoot: string;

beforeAll(async () => {
  tls = await ListenerTls.create();
  [servers, clients] = await Promise.all([
    CertificateZoo.create('server'),
    CertificateZoo.create('client'),
  ]);
  serverRoot = tls.write('servers.crt', servers.rootPem);
  clientRoot = tls.write('clients.crt', clients.rootPem);
}, 120_000);

afterAll(() => tls?.remove());

describe('shown by PostgreSQL', () => {
  /** The names that routes dial, and the modes they verify in. */
  const HOSTS = ['localhost', '127.0.0.1'] as const;
  const MODES = ['require', 'verify-ca', 'verify-full'] as const;
  const NAME_MISMATCH: Refusal = { alert: 'bad_certificate', says: /not valid for name/i };
  /** Certificates that name something else than the host dialled. */
  const WRONG_NAMES: Readonly<Record<(typeof HOSTS)[number], readonly Species[]>> = {
    localhost: ['wrong name', 'IP address', 'wildcard'],
    '127.0.0.1': SPECIES.filter((species) => species !== 'IP address'),
  };

  let cluster: OwnCluster;
  let proxy: RunningProxy;

  beforeAll(async () => {
    cluster = await OwnCluster.start({ identity: servers.specimen('ECDSA P-256') });
    proxy = await RunningProxy.start(tls.config(routes()));
  }, 120_000);

  afterAll(async () => {
    await proxy?.stop();
    await cluster?.stop();
  });

  /** A route for each cell, so that no two failures are folded into one line. */
  function routes(): RouteText[] {
    return SPECIES.flatMap((species) =>
      HOSTS.flatMap((host) =>
        MODES.map((sslmode) => ({
          name: `${species} ${host} ${sslmode}`,
          backend: {
            address: `${host}:${cluster.port}`,
            sslmode,
            // With it, `require` would be `verify-ca`.
            ...(sslmode === 'require' ? {} : { sslrootcert: serverRoot }),
          },
        })),
      ),
    );
  }

  function refusalOf(
    species: Species,
    host: (typeof HOSTS)[number],
    sslmode: (typeof MODES)[number],
  ): Refusal | null {
    if (sslmode === 'require') {
      return null;
    }
    const isNamed = sslmode === 'verify-ca' || !WRONG_NAMES[host].includes(species);
    return BAD_CHAINS[species] ?? (isNamed ? null : NAME_MISMATCH);
  }

  describe.each(SPECIES)('%s', (species) => {
    beforeAll(() => cluster.show(servers.specimen(species), species));

    for (const host of HOSTS) {
      for (const sslmode of MODES) {
        const refusal = refusalOf(species, host, sslmode);
        const verdict = refusal === null ? 'accepted' : `refused with ${refusal.alert}`;
        test(`${sslmode} of ${host}: ${verdict}`, async () => {
          const route = `${species} ${host} ${sslmode}`;
          await (refusal === null ? expectTls(route) : expectRefusal(species, route, refusal));
        });
      }
    }
  });

  async function expectTls(route: string): Promise<void> {
    const channel: ByteChannel = await openNegotiatedTls(proxy.port(route), tls.clientOptions);
    await startSession(channel);
    const text = 'select version from pg_stat_ssl where pid = pg_backend_pid()';
    expect(await ask(channel, text)).toEqual([['TLSv1.3']]);
    channel.destroy();
  }

  async function expectRefusal(species: Species, route: string, { alert, says }: Refusal) {
    const channel: ByteChannel = await openNegotiatedTls(proxy.port(route), tls.clientOptions);
    await channel.write(startupMessage({ user: 'trusted', database: 'postgres' }));
    expect(await readError(channel)).toMatchObject({
      S: 'FATAL',
      C: '08001',
      M: expect.stringContaining('could not establish TLS'),
      H: expect.stringContaining('log'),
    });
    await channel.ended();
    channel.destroy();
    const line = await theOneLine(proxy, route);
    expect(line).toMatchObject({
      reason: 'backend_tls_handshake_failed',
      alert,
      alert_direction: 'sent',
      alert_side: 'backend',
      error: expect.stringMatching(says),
    });
    const received = new RegExp(`\\[${species}\\].*${opensslWords(alert)}`);
    await until(`PostgreSQL has received ${alert}`, () => received.test(cluster.log), {
      explain: () => cluster.log,
    });
  }
});

/** OpenSSL's spelling of an alert in its error queue: `tlsv1 alert unknown ca`. */
function opensslWords(alert: string): string {
  return `alert ${alert.replaceAll('_', ' ')}`;
}

/** The only conn.close line of a route. */
async function theOneLine(proxy: RunningProxy, route: string): Promise<LogLine> {
  const line = await proxy.logged({ event: 'conn.close', route });
  const all = proxy.logs.filter(
    (other) => other['event'] === 'conn.close' && other['route'] === route,
  );
  expect(all).toHaveLength(1);
  return line;
}

describe('shown by a listener', () => {
  /** The alert OpenSSL's client sends, and libpq's own words. */
  const VERDICTS: Readonly<Partial<Record<Species, { alert: string | null; says: RegExp }>>> = {
    'intermediate missing': { alert: 'unknown_ca', says: /certificate verify failed/ },
    'self-signed': { alert: 'unknown_ca', says: /certificate verify failed/ },
    'of another authority': { alert: 'unknown_ca', says: /certificate verify failed/ },
    expired: { alert: 'certificate_expired', says: /certificate verify failed/ },
    'not yet valid': { alert: 'bad_certificate', says: /certificate verify failed/ },
    'for the other role': { alert: 'unsupported_certificate', says: /certificate verify failed/ },
    'outside name constraints': { alert: 'certificate_unknown', says: /certificate verify failed/ },
    'wrong name': { alert: null, says: /does not match host name "localhost"/ },
    'IP address': { alert: null, says: /does not match host name "localhost"/ },
    wildcard: { alert: null, says: /does not match host name "localhost"/ },
  };

  let proxy: RunningProxy;

  beforeAll(async () => {
    const routes = SPECIES.flatMap((species, index) => {
      const files = writeIdentity(tls.directory, `listener-${index}`, servers.specimen(species));
      const listener = { ssl_cert_file: files.certFile, ssl_key_file: files.keyFile };
      const backend = plainBackend(material().plain.port);
      return ['psql', 'node:tls'].map((client) => ({
        name: `${species} ${client}`,
        listener,
        backend,
      }));
    });
    proxy = await RunningProxy.start(tls.config(routes));
  }, 120_000);

  afterAll(() => proxy?.stop());

  async function psql(port: number, host: string): Promise<string> {
    const settings = `host=${host} hostaddr=127.0.0.1 port=${port} user=trusted dbname=postgres`;
    const verified = `${settings} sslmode=verify-full sslrootcert=${serverRoot}`;
    const { stdout } = await runClient('psql', ['-XAt', verified, '-c', 'select 6 * 7']);
    return stdout.trim();
  }

  describe.skipIf(!isInstalled('psql'))('to psql with verify-full', () => {
    test.each(SPECIES.filter((species) => VERDICTS[species] === undefined))(
      '%s: accepted',
      async (species) => {
        expect(await psql(proxy.port(`${species} psql`), 'localhost')).toBe('42');
      },
    );

    test.each(SPECIES.filter((species) => VERDICTS[species] !== undefined))(
      '%s: refused, and the log has the alert',
      async (species) => {
        const route = `${species} psql`;
        const verdict = VERDICTS[species];
        await expect(psql(proxy.port(route), 'localhost')).rejects.toThrow(verdict?.says);
        const line = await theOneLine(proxy, route);
        const closed = { reason: 'closed_before_startup' };
        expect(line).toMatchObject(
          typeof verdict?.alert === 'string'
            ? { alert: verdict.alert, alert_direction: 'received', alert_side: 'client' }
            : closed,
        );
      },
    );

    test.each([
      ['IP address', '127.0.0.1', true],
      ['wildcard', 'db.zoo.example', true],
      ['wildcard', 'a.db.zoo.example', false],
      ['wildcard', 'zoo.example', false],
      ['wildcard', 'db.localhost', true],
      ['ECDSA P-256', '127.0.0.1', false],
    ] as const)('%s asked for as %s: accepted is %s', async (species, host, isAccepted) => {
      const answer = psql(proxy.port(`${species} psql`), host);
      await (isAccepted
        ? expect(answer).resolves.toBe('42')
        : expect(answer).rejects.toThrow(/does not match host name/));
    });
  });

  describe.each(['TLSv1.2', 'TLSv1.3'] as const)('to node:tls over %s', (version) => {
    test.each(SPECIES.filter((species) => VERDICTS[species]?.alert === undefined))(
      '%s: accepted by its chain',
      async (species) => {
        const channel: ByteChannel = await openNegotiatedTls(proxy.port(`${species} node:tls`), {
          ca: servers.rootPem,
          minVersion: version,
          maxVersion: version,
          checkServerIdentity: () => undefined,
        });
        await startSession(channel);
        expect(await ask(channel, 'select 1')).toEqual([['1']]);
        channel.destroy();
      },
    );
  });
});

describe('shown by a client', () => {
  const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
  let proxy: RunningProxy;

  beforeAll(async () => {
    const listener = { sslmode: 'verify-ca', ssl_ca_file: clientRoot };
    const backend = plainBackend(material().plain.port);
    const routes = SPECIES.flatMap((species) =>
      VERSIONS.map((version) => ({ name: `${species} ${version}`, listener, backend })),
    );
    proxy = await RunningProxy.start(tls.config(routes));
  }, 120_000);

  afterAll(() => proxy?.stop());

  describe.each(VERSIONS)('over %s', (version) => {
    function optionsFor(species: Species) {
      const { certPem, keyPem } = clients.specimen(species);
      const versions = { minVersion: version, maxVersion: version };
      return { ...tls.clientOptions, ...versions, cert: certPem, key: keyPem };
    }

    test.each(SPECIES.filter((species) => BAD_CHAINS[species] === undefined))(
      '%s: accepted, the subject in the log',
      async (species) => {
        const route = `${species} ${version}`;
        const channel: ByteChannel = await openNegotiatedTls(
          proxy.port(route),
          optionsFor(species),
        );
        await startSession(channel);
        expect(await ask(channel, 'select 1')).toEqual([['1']]);
        channel.destroy();
        expect((await theOneLine(proxy, route))['client_cert_subject']).toMatch(
          /CN=(localhost|zoo)/,
        );
      },
    );

    test.each(SPECIES.filter((species) => BAD_CHAINS[species] !== undefined))(
      '%s: refused with its alert',
      async (species) => {
        const route = `${species} ${version}`;
        const refusal = BAD_CHAINS[species] ?? UNKNOWN_CA;
        const seen = await clientError(proxy.port(route), optionsFor(species));
        expect(seen).toMatch(new RegExp(opensslWords(refusal.alert)));
        expect(await theOneLine(proxy, route)).toMatchObject({
          reason: 'client_tls_handshake_failed',
          alert: refusal.alert,
          alert_direction: 'sent',
          alert_side: 'client',
          error: expect.stringMatching(refusal.says),
        });
      },
    );
  });

  /** The error that ends a connection whose certificate is refused: in the handshake, or, with TLS 1.3, behind it. */
  async function clientError(port: number, options: object): Promise<string> {
    const tcp = await openTcp(port);
    await tcp.write(SSL_REQUEST);
    await tcp.read(1);
    const socket = tcp.release();
    try {
      const channel: ByteChannel = await startTls(socket, options);
      const { end } = await channel.rest();
      return end.kind === 'error' ? String(end.error) : 'ended in order';
    } catch (error) {
      return String(error);
    } finally {
      socket.destroy();
    }
  }
});
