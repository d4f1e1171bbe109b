/** `target_session_attrs` before a real primary and its standby, and through a failover. */
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ListenerTls } from '../support/config.ts';
import { connectPg } from '../support/pg-client.ts';
import { PROBE, query, startReplicatedClusters } from '../support/replicated-clusters.ts';
import { proxyForTest } from '../support/running-proxy.ts';
import { until } from '../support/until.ts';

let tls: ListenerTls;

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

test('sessions go to the server of their role, and to the new primary after a failover', async () => {
  const { primary, standby } = await startReplicatedClusters();
  const backend = {
    // Against the order that read-write would like.
    address: [`127.0.0.1:${standby.port}`, `127.0.0.1:${primary.port}`],
    sslmode: 'require',
    probe_user: PROBE.user,
    probe_password_file: tls.write('probe.password', `${PROBE.password}\n`, 0o600),
    warm_connections: 2,
  };
  const attributes = ['read-write', 'primary', 'read-only', 'standby', 'prefer-standby'];
  const proxy = await proxyForTest(
    tls.config(
      attributes.map((name) => ({ name, backend: { ...backend, target_session_attrs: name } })),
    ),
  );
  const open = (route: string) => connectPg({ port: proxy.port(route), ssl: tls.clientOptions });
  const isInRecovery = async (client: pg.Client) =>
    (await client.query('select pg_is_in_recovery() as answer')).rows[0].answer;

  const sessions = await Promise.all(attributes.map(open));
  expect(await Promise.all(sessions.map(isInRecovery))).toEqual([false, false, true, true, true]);

  await primary.stop();
  await query(standby, primary.password, ['select pg_promote()']);

  await until('read-write sessions go to the new primary', async () => {
    try {
      const client = await open('read-write');
      await client.query('create table if not exists written (n int)');
      return true;
    } catch (error) {
      // Until a probe has seen the promotion: no server fits, or the session is still read-only.
      expect(['08001', '08006', '25006', '57P03']).toContain((error as pg.DatabaseError).code);
      return null;
    }
  });
  // There is no standby any more: the preference is given up, the demand is not.
  await until('sessions that prefer a standby are let onto the primary', async () => {
    const client = await open('prefer-standby').catch(() => null);
    return client !== null && (await isInRecovery(client)) === false ? true : null;
  });
  await expect(open('standby')).rejects.toMatchObject({
    code: '08001',
    message: 'no PostgreSQL server behind the proxy is a standby',
  });
  const line = await proxy.logged({ event: 'conn.close', route: 'standby', sqlstate: '08001' });
  expect(JSON.stringify(line)).toContain('server is not in hot standby mode');
});
