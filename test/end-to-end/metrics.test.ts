/** What /metrics counts, compared with what clients did to the running program. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { METRICS } from '../../src/observability/metric-table.ts';
import { adminPort, askAdmin, Scrape } from '../support/admin-client.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { isInstalled } from '../support/programs.ts';
import { quietPort } from '../support/quiet-port.ts';
import {
  ask,
  openDirectTls,
  openNegotiatedTls,
  openTcp,
  readError,
  startSession,
} from '../support/raw-client.ts';
import { proxyForTest, RunningProxy } from '../support/running-proxy.ts';
import { until } from '../support/until.ts';
import { cancelRequest, message, SSL_REQUEST, startupMessage } from '../support/wire.ts';

const ADMIN = '[admin]\nbind_address = "127.0.0.1:0"\n';

let tls: ListenerTls;
let proxy: RunningProxy;
let port: number;

beforeAll(async () => {
  const { plain, tls: tlsCluster, caFile } = material();
  tls = await ListenerTls.create();
  const stranger = await CertificateAuthority.create('a stranger');
  const strangerFile = tls.write('stranger.crt', stranger.certPem);
  const overTls = { address: `localhost:${tlsCluster.port}`, sslmode: 'verify-full' };
  const routes = [
    { name: 'plain', backend: plainBackend(plain.port) },
    { name: 'tls', backend: { ...overTls, sslrootcert: caFile } },
    { name: 'distrusting', backend: { ...overTls, sslrootcert: strangerFile } },
    { name: 'down', backend: plainBackend(await quietPort()) },
    { name: 'guarded', listener: { deny: ['127.0.0.0/8'] }, backend: plainBackend(plain.port) },
    { name: 'full', listener: { max_client_conn: 1 }, backend: plainBackend(plain.port) },
  ];
  proxy = await RunningProxy.start(`${tls.config(routes)}\n${ADMIN}`);
  port = await adminPort(proxy);
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
});

/** Waits until the scrape says so: a connection is counted as closed a moment after its client knows. */
function scraped(what: string, condition: (scrape: Scrape) => boolean): Promise<Scrape> {
  let last: Scrape | null = null;
  return until(
    what,
    async () => {
      last = await Scrape.of(port);
      return condition(last) ? last : null;
    },
    { explain: () => JSON.stringify(last?.samples.filter(({ value }) => value > 0)) },
  );
}

function closed(route: string, count: number): Promise<Scrape> {
  return scraped(
    `${count} connections of ${route} are closed`,
    (scrape) => scrape.sum('pgtls_client_connections_closed_total', { route }) === count,
  );
}

test('sessions, their handshakes, bytes and durations are counted while they last and when they end', async () => {
  const route = 'tls';
  const channel = await openNegotiatedTls(proxy.port(route), tls.clientOptions);
  onTestFinished(() => channel.destroy());
  await startSession(channel);
  expect(await ask(channel, 'select 42')).toEqual([['42']]);

  const open = await Scrape.of(port);
  expect(open.sum('pgtls_client_connections', { route, state: 'session' })).toBe(1);
  expect(open.sum('pgtls_client_connections', { route })).toBe(1);
  expect(open.sum('pgtls_client_connections_accepted_total', { route })).toBe(1);
  expect(open.sum('pgtls_negotiations_total', { route, type: 'negotiated' })).toBe(1);
  expect(open.sum('pgtls_sni_total', { route, match: 'default' })).toBe(1);
  expect(open.sum('pgtls_sni_total', { route })).toBe(1);
  for (const side of ['client', 'backend']) {
    const finished = { route, side, version: 'TLSv1.3', resumed: 'false' };
    expect(open.sum('pgtls_tls_handshakes_total', finished)).toBe(1);
    expect(open.sum('pgtls_tls_handshakes_total', { route, side })).toBe(1);
    expect(open.sum('pgtls_tls_handshake_duration_seconds_count', { route, side })).toBe(1);
    const seconds = open.sum('pgtls_tls_handshake_duration_seconds_sum', { route, side });
    expect(seconds).toBeGreaterThan(0);
    expect(open.sum('pgtls_tls_connections', { side })).toBe(1);
  }
  const groups = open.samples.filter(({ name }) => name === 'pgtls_tls_connections');
  expect(groups.map(({ labels }) => labels['cipher'])).not.toContain('other');
  expect(groups.map(({ labels }) => labels['group'])).not.toContain('other');
  expect(groups.map(({ labels }) => labels['side'])).toContain('backend');
  expect(open.sum('pgtls_backend_connect_duration_seconds_count', { route })).toBe(1);
  expect(open.sum('pgtls_bytes_total', { route, direction: 'in' })).toBeGreaterThan(20);
  expect(open.sum('pgtls_bytes_total', { route, direction: 'out' })).toBeGreaterThan(100);
  expect(open.sum('pgtls_session_duration_seconds_count', { route })).toBe(0);

  channel.stream.end(message('X'));
  await channel.ended();
  const after = await closed(route, 1);
  expect(
    after.sum('pgtls_client_connections_closed_total', { route, reason: 'client_closed' }),
  ).toBe(1);
  expect(after.sum('pgtls_session_duration_seconds_count', { route })).toBe(1);
  expect(after.sum('pgtls_client_connections', { route })).toBe(0);
  expect(after.sum('pgtls_tls_connections')).toBe(0);
});

test('versions and ways of TLS are counted apart', async () => {
  const route = 'plain';
  const before = await Scrape.of(port);
  const finished = before.sum('pgtls_client_connections_closed_total', { route });
  const old = { ...tls.clientOptions, maxVersion: 'TLSv1.2' } as const;
  const channels = [
    await openNegotiatedTls(proxy.port(route), old),
    await openDirectTls(proxy.port(route), tls.clientOptions),
  ];
  for (const channel of channels) {
    await startSession(channel);
    channel.stream.end(message('X'));
    await channel.ended();
  }
  const after = await closed(route, finished + 2);
  const grown = (name: string, labels: Record<string, string>) =>
    after.sum(name, { route, ...labels }) - before.sum(name, { route, ...labels });
  const client = { side: 'client', resumed: 'false' };
  expect(grown('pgtls_tls_handshakes_total', { ...client, version: 'TLSv1.2' })).toBe(1);
  expect(grown('pgtls_tls_handshakes_total', { ...client, version: 'TLSv1.3' })).toBe(1);
  expect(grown('pgtls_negotiations_total', { type: 'direct' })).toBe(1);
  expect(grown('pgtls_negotiations_total', { type: 'negotiated' })).toBe(1);
});

test('a client that speaks no TLS after it asked for it is a failed handshake with its reason', async () => {
  const route = 'plain';
  const before = await Scrape.of(port);
  const total = before.sum('pgtls_client_connections_closed_total', { route });
  const channel = await openTcp(proxy.port(route));
  await channel.write(SSL_REQUEST);
  await channel.read(1);
  await channel.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  await channel.rest();
  const after = await closed(route, total + 1);
  const failures = { route, side: 'client', reason: 'not_tls' };
  expect(after.sum('pgtls_tls_handshake_failures_total', failures)).toBe(1);
  expect(after.sum('pgtls_tls_handshake_failures_total', { route, side: 'client' })).toBe(1);
});

test('a plaintext startup where TLS is required is rejected and closed', async () => {
  const route = 'tls';
  const before = await Scrape.of(port);
  const total = before.sum('pgtls_client_connections_closed_total', { route });
  const channel = await openTcp(proxy.port(route));
  await channel.write(startupMessage({ user: 'trusted' }));
  await readError(channel);
  channel.destroy();
  const after = await closed(route, total + 1);
  const reason = 'tls_required';
  expect(after.sum('pgtls_client_connections_closed_total', { route, reason })).toBe(1);
  expect(after.sum('pgtls_client_connections_rejected_total', { route, reason })).toBe(1);
});

test('a denied address is accepted, rejected and closed', async () => {
  const route = 'guarded';
  const channel = await openTcp(proxy.port(route));
  await channel.ended();
  const after = await closed(route, 1);
  const reason = 'access_denied';
  expect(after.sum('pgtls_client_connections_accepted_total', { route })).toBe(1);
  expect(after.sum('pgtls_client_connections_rejected_total', { route, reason })).toBe(1);
});

test('a client too many is rejected, and the limit is there to compare with', async () => {
  const route = 'full';
  const first = await openNegotiatedTls(proxy.port(route), tls.clientOptions);
  onTestFinished(() => first.destroy());
  await startSession(first);
  const second = await openNegotiatedTls(proxy.port(route), tls.clientOptions);
  await second.write(startupMessage({ user: 'trusted' }));
  expect(await readError(second)).toMatchObject({ C: '53300' });
  second.destroy();
  const after = await closed(route, 1);
  const rejected = { route, reason: 'too_many_connections' };
  expect(after.sum('pgtls_client_connections_rejected_total', rejected)).toBe(1);
  // Less than max_client_conn where few files may be open.
  const limit = after.sum('pgtls_client_connections_limit');
  expect(limit).toBeGreaterThan(0);
  expect(limit).toBeLessThanOrEqual(10_000);
});

test('a backend that is down is a connect failure with its reason', async () => {
  const route = 'down';
  const channel = await openNegotiatedTls(proxy.port(route), tls.clientOptions);
  await channel.write(startupMessage({ user: 'trusted' }));
  await readError(channel);
  channel.destroy();
  const after = await closed(route, 1);
  expect(after.sum('pgtls_backend_connect_failures_total', { route, reason: 'refused' })).toBe(1);
  expect(after.sum('pgtls_backend_connect_failures_total', { route })).toBe(1);
  expect(after.sum('pgtls_backend_connect_duration_seconds_count', { route })).toBe(0);
  expect(
    after.sum('pgtls_client_connections_closed_total', { route, reason: 'backend_unreachable' }),
  ).toBe(1);
});

test('a backend that is not trusted is a failed handshake on its side', async () => {
  const route = 'distrusting';
  const channel = await openNegotiatedTls(proxy.port(route), tls.clientOptions);
  await channel.write(startupMessage({ user: 'trusted' }));
  await readError(channel);
  channel.destroy();
  const after = await closed(route, 1);
  const failure = { route, side: 'backend', reason: 'unknown_ca' };
  expect(after.sum('pgtls_tls_handshake_failures_total', failure)).toBe(
    after.sum('pgtls_backend_connect_failures_total', { route, reason: 'tls' }),
  );
  expect(after.sum('pgtls_tls_handshake_failures_total', failure)).toBeGreaterThan(0);
  expect(after.sum('pgtls_tls_handshakes_total', { route, side: 'client' })).toBe(1);
});

test('CancelRequests are counted by how they came and what became of them', async () => {
  const route = 'plain';
  const channel = await openNegotiatedTls(proxy.port(route), tls.clientOptions);
  onTestFinished(() => channel.destroy());
  const { processId, secretKey } = await startSession(channel);
  const cancels = [
    await openTcp(proxy.port(route)),
    await openNegotiatedTls(proxy.port(route), tls.clientOptions),
  ];
  for (const cancel of cancels) {
    await cancel.write(cancelRequest(processId, secretKey));
    await cancel.ended();
  }
  const down = await openTcp(proxy.port('down'));
  await down.write(cancelRequest(1, Buffer.alloc(4)));
  await down.ended();

  const after = await scraped(
    'the CancelRequests are counted',
    (scrape) => scrape.sum('pgtls_cancel_requests_total') === 3,
  );
  const counted = (labels: Record<string, string>) =>
    after.sum('pgtls_cancel_requests_total', labels);
  expect(counted({ route, transport: 'plaintext', result: 'forwarded' })).toBe(1);
  expect(counted({ route, transport: 'tls', result: 'forwarded' })).toBe(1);
  expect(counted({ route: 'down', transport: 'plaintext', result: 'failed' })).toBe(1);
  expect(after.sum('pgtls_negotiations_total', { route, type: 'cancel' })).toBe(1);
});

test('connections that wait for their turn to shake hands are counted, and how many may at a time', async () => {
  const routes = [{ name: 'plain', backend: plainBackend(material().plain.port) }];
  const narrow = await proxyForTest(
    `${tls.config(routes, { max_concurrent_handshakes: 1 })}\n${ADMIN}`,
  );
  const admin = await adminPort(narrow);
  const levels = async () => {
    const scrape = await Scrape.of(admin);
    return [
      scrape.sum('pgtls_tls_handshakes_limit'),
      scrape.sum('pgtls_tls_handshakes_waiting'),
    ] as const;
  };
  expect(await levels()).toEqual([1, 0]);
  const begin = async () => {
    const client = await openTcp(narrow.port('plain'));
    onTestFinished(() => client.destroy());
    await client.write(SSL_REQUEST);
    await client.read(1);
    await client.write(Buffer.from([0x16]));
    return client;
  };
  // Each has the one slot for a second, as it says no more.
  const clients = await Promise.all([begin(), begin(), begin(), begin()]);
  await until('three wait', async () => ((await levels())[1] === 3 ? true : null));
  for (const client of clients) {
    client.destroy();
  }
  await until('nobody waits', async () => ((await levels())[1] === 0 ? true : null));
});

test('every accepted connection is open or closed for one reason', async () => {
  await scraped('the sums agree', (scrape) => {
    const accepted = scrape.sum('pgtls_client_connections_accepted_total');
    const ended = scrape.sum('pgtls_client_connections_closed_total');
    return accepted > 10 && accepted === ended + scrape.sum('pgtls_client_connections');
  });
});

test('certificates tell when they end, and their reloads are counted on each route', async () => {
  const before = await Scrape.of(port);
  const end = before.samples.find(
    ({ name, labels }) =>
      name === 'pgtls_certificate_not_after_timestamp_seconds' &&
      labels['route'] === 'plain' &&
      labels['role'] === 'listener',
  );
  expect(end?.labels['name']).toBe(tls.server.certFile);
  expect(end?.value).toBeGreaterThan(Date.now() / 1_000);
  const began = before.sum('pgtls_certificate_not_before_timestamp_seconds', {
    route: 'plain',
    role: 'listener',
    name: tls.server.certFile,
  });
  expect(began).toBeGreaterThan(0);
  expect(began).toBeLessThan(Date.now() / 1_000);
  proxy.signal('SIGHUP');
  const after = await scraped(
    'the reload is counted',
    (scrape) => scrape.sum('pgtls_certificate_reloads_total', { result: 'success' }) > 0,
  );
  const one = { route: 'down', result: 'success' };
  expect(after.sum('pgtls_certificate_reloads_total', one)).toBe(1);
  const { body } = await askAdmin(port, '/status');
  const status = JSON.parse(body);
  expect(status.last_reload.certificates).toMatchObject({ result: 'success', error: null });
});

describe('the text of /metrics', () => {
  test('has every metric of the table, with its labels, and no other', async () => {
    const { body, headers } = await askAdmin(port, '/metrics');
    expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
    const types = [...body.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [
      name,
      type,
    ]);
    const table = Object.entries(METRICS).map(([name, { type }]) => [name, type]);
    expect(types.sort()).toEqual(table.sort());
    for (const { name, labels } of new Scrape(body).samples) {
      const base = name.replace(/_(bucket|sum|count)$/, '');
      const known = Object.entries(METRICS).find(([metric]) => metric === name || metric === base);
      const told = Object.keys(labels).filter((label) => label !== 'le');
      expect([name, told]).toEqual([name, [...(known?.[1].labels ?? [])]]);
    }
  });

  test.skipIf(!isInstalled('promtool'))(
    `satisfies promtool${isInstalled('promtool') ? '' : ' (skipped: promtool is not installed)'}`,
    async () => {
      const { body } = await askAdmin(port, '/metrics');
      const output = execFileSync('promtool', ['check', 'metrics'], { input: body });
      expect(String(output)).toBe('');
    },
  );
});
