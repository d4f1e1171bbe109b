/** `warm_connections` before a real PostgreSQL with TLS, behind node-postgres' pool: what a session gets was made before it came. */
import { readdirSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../../src/config/parse.ts';
import { createLogger } from '../../src/proxy/process-log.ts';
import { type Proxy as RunningProxy, startProxy } from '../../src/proxy/proxy.ts';
import { ListenerTls, type Table } from '../support/config.ts';
import { material } from '../support/material.ts';
import { until } from '../support/until.ts';

let tls: ListenerTls;

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

async function proxyTo(backend: Table): Promise<RunningProxy> {
  const text = tls.config([
    {
      name: 'orders',
      backend: {
        address: `localhost:${material().tls.port}`,
        sslmode: 'verify-full',
        sslrootcert: material().caFile,
        ...backend,
      },
    },
  ]);
  const { config } = loadConfig(tls.write('pgtls.toml', text), {});
  const logger = createLogger({ level: 'error', format: 'json' });
  const proxy = await startProxy(config, { logger });
  onTestFinished(() => proxy.close());
  return proxy;
}

function countersOf(proxy: RunningProxy) {
  const [route] = proxy.snapshot().routes;
  if (route === undefined) {
    throw new Error('there is no route');
  }
  return route;
}

function poolTo(proxy: RunningProxy, max: number): pg.Pool {
  const address = proxy.addresses[0]?.address ?? '';
  const pool = new pg.Pool({
    host: '127.0.0.1',
    port: Number(address.slice(address.lastIndexOf(':') + 1)),
    user: 'postgres',
    password: material().tls.password,
    database: 'postgres',
    ssl: tls.clientOptions,
    max,
  });
  pool.on('error', () => undefined);
  return pool;
}

async function filled(proxy: RunningProxy, connections: number): Promise<void> {
  await until(`${connections} connections are warm`, () =>
    countersOf(proxy).warmConnections === connections ? true : null,
  );
}

test('every login of a pool gets a process that PostgreSQL had forked before, over TLS, once', async () => {
  // One more than is wanted at once: the keeper may be looking at one just then.
  const proxy = await proxyTo({ warm_connections: 6 });
  const pids = new Set<number>();
  for (let round = 1; round <= 4; round += 1) {
    await filled(proxy, 6);
    const began = new Date();
    const pool = poolTo(proxy, 5);
    const clients = await Promise.all(Array.from({ length: 5 }, () => pool.connect()));
    for (const client of clients) {
      const { rows } = await client.query(
        'select a.pid, s.ssl, a.backend_start > $1 as is_younger from pg_stat_activity a ' +
          'join pg_stat_ssl s using (pid) where a.pid = pg_backend_pid()',
        [began],
      );
      expect(rows).toMatchObject([{ ssl: true, is_younger: false }]);
      pids.add(rows[0].pid);
      client.release();
    }
    await pool.end();
    expect(countersOf(proxy)).toMatchObject({ warmHits: 5 * round, warmMisses: 0 });
  }
  expect(pids.size).toBe(20);
});

test('a burst beyond what is warm makes its own connections, and all get in', async () => {
  const proxy = await proxyTo({ warm_connections: 2 });
  await filled(proxy, 2);
  const pool = poolTo(proxy, 20);
  await Promise.all(Array.from({ length: 20 }, () => pool.query('select pg_sleep(0.2)')));
  await pool.end();
  const { warmHits, warmMisses } = countersOf(proxy);
  expect(warmHits + warmMisses).toBe(20);
  expect(warmHits).toBeGreaterThanOrEqual(2);
  await filled(proxy, 2);
});

test('nothing is left open after the end, and a reload keeps the number', async () => {
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const before = descriptors();
  const proxy = await proxyTo({ warm_connections: 8 });
  await filled(proxy, 8);
  const pool = poolTo(proxy, 4);
  await Promise.all(Array.from({ length: 4 }, () => pool.query('select 1')));
  await pool.end();
  await proxy.reloadCertificates();
  await filled(proxy, 8);
  await proxy.close();
  await until('as few descriptors are open as before', () =>
    descriptors() <= before ? true : null,
  );
});
