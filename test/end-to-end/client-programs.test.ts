/** psql, pgbench, pg_basebackup and pg_recvlogical through pgtls; only programs that aren't installed are skipped. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { connectDirectly } from '../support/pg-client.ts';
import { isInstalled, majorVersion, runClient } from '../support/programs.ts';
import { RunningProxy } from '../support/running-proxy.ts';
import { until, within } from '../support/until.ts';

let tls: ListenerTls;
let proxy: RunningProxy;

beforeAll(async () => {
  const { plain, tls: tlsCluster, caFile, serverCertFile } = material();
  tls = await ListenerTls.create();
  const verified = {
    address: `localhost:${tlsCluster.port}`,
    sslmode: 'verify-full',
    sslrootcert: caFile,
  };
  proxy = await RunningProxy.start(
    tls.config([
      { name: 'plain', backend: plainBackend(plain.port) },
      { name: 'tls', backend: verified },
      { name: 'same-leaf', backend: verified, listener: sameLeaf(serverCertFile) },
      { name: 'without-tls', backend: verified, listener: { sslmode: 'prefer' } },
      { name: 'unix', backend: { address: `unix:${plain.socketPath}`, sslmode: 'disable' } },
    ]),
  );
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
});

/** The listener shows the very certificate of the backend: channel binding works then. */
function sameLeaf(certFile: string): Record<string, string> {
  const copy = tls.write('same-leaf.key', readFileSync(material().serverKeyFile, 'utf8'), 0o600);
  return { ssl_cert_file: certFile, ssl_key_file: copy };
}

/** The environment of libpq: verify-full against the listener's authority, logging in with SCRAM. */
function libpq(route: string, overrides: Record<string, string> = {}): Record<string, string> {
  const { plain, tls: tlsCluster, caFile } = material();
  return {
    PGHOST: 'localhost',
    PGHOSTADDR: '127.0.0.1',
    PGPORT: String(proxy.port(route)),
    PGUSER: 'postgres',
    PGPASSWORD: (route === 'plain' ? plain : tlsCluster).password,
    PGDATABASE: 'postgres',
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: route === 'same-leaf' ? caFile : tls.caFile,
    ...overrides,
  };
}

describe.skipIf(!isInstalled('psql'))('psql', () => {
  test('logs in with sslmode=verify-full and sees TLS', async () => {
    const { stdout } = await runClient(
      'psql',
      ['-XAt', '-c', '\\conninfo', '-c', 'select 6 * 7'],
      libpq('plain'),
    );
    expect(stdout).toMatch(/TLSv1\.3/);
    expect(stdout).toMatch(/^42$/m);
  });

  test('logs in with SCRAM without TLS where the backend has it', async () => {
    const { stdout } = await runClient(
      'psql',
      ['-XAt', '-c', 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'],
      libpq('without-tls', { PGSSLMODE: 'disable' }),
    );
    expect(stdout.trim()).toBe('t');
  });

  test('copies a table out and in with \\copy', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'pgtls-e2e-copy-'));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    const file = join(directory, 'rows');
    const commands = [
      `\\copy (select n, md5(n::text) from generate_series(1, 20000) n) to '${file}'`,
      'create temporary table copied (n int, hash text)',
      `\\copy copied from '${file}'`,
      'select count(*), bool_and(hash = md5(n::text)) from copied',
    ];
    const { stdout } = await runClient(
      'psql',
      ['-XAt', ...commands.flatMap((text) => ['-c', text])],
      libpq('plain'),
    );
    expect(stdout).toContain('20000|t');
  });

  test('cancels a query when it gets SIGINT', async () => {
    const child = spawn('psql', ['-XAt', '-c', 'select pg_sleep(299)'], {
      env: { ...process.env, ...libpq('plain') },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const observer = await connectDirectly(material().plain);
    await until('pg_sleep runs', async () => {
      const text =
        "select 1 from pg_stat_activity where query = 'select pg_sleep(299)' and wait_event = 'PgSleep'";
      return (await observer.query(text)).rowCount === 1;
    });
    child.kill('SIGINT');

    await within(60_000, 'psql ends', once(child, 'close'));
    expect(stderr).toContain('canceling statement due to user request');
  });

  test('that does not trust the certificate ends the handshake, and the log names peer, route and alert', async () => {
    const distrustful = libpq('plain', { PGSSLROOTCERT: material().caFile });
    await expect(runClient('psql', ['-XAt', '-c', 'select 1'], distrustful)).rejects.toThrow(
      /certificate verify failed/,
    );
    const line = await proxy.logged({ event: 'conn.close', reason: 'client_tls_handshake_failed' });
    expect(line).toMatchObject({
      route: 'plain',
      client_addr: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      alert: 'unknown_ca',
      alert_direction: 'received',
      alert_side: 'client',
    });
  });

  test('shows the hint when it connects without TLS', async () => {
    const plaintext = libpq('plain', { PGSSLMODE: 'disable' });
    await expect(runClient('psql', ['-XAt', '-c', 'select 1'], plaintext)).rejects.toThrow(
      /requires TLS[\s\S]*sslmode=require/,
    );
  });

  test.each(['plain', 'unix', 'tls', 'without-tls'])(
    'that has no password leaves by itself, and the log blames nobody (route %s)',
    async (route) => {
      const user = `nobody-${route}`;
      const environment = libpq(route, {
        PGUSER: user,
        PGPASSWORD: '',
        PGPASSFILE: '/dev/null',
        ...(route === 'without-tls' && { PGSSLMODE: 'disable' }),
      });
      await expect(runClient('psql', ['-XAtw', '-c', 'select 1'], environment)).rejects.toThrow(
        /no password supplied/,
      );
      const line = await proxy.logged({ event: 'conn.close', route, user });
      expect(line).toMatchObject({ level: 'info', phase: 'authenticate', reason: 'client_closed' });
      for (const field of ['fault_side', 'sqlstate', 'error']) {
        expect(line).not.toHaveProperty(field);
      }
    },
  );

  test('is told of the channel-binding conflict when the certificates differ', async () => {
    await expect(runClient('psql', ['-XAt', '-c', 'select 1'], libpq('tls'))).rejects.toThrow(
      /channel_binding/,
    );
  });

  test('logs in with channel_binding=disable when the certificates differ', async () => {
    const unbound = libpq('tls', { PGCHANNELBINDING: 'disable' });
    const { stdout } = await runClient('psql', ['-XAt', '-c', 'select 1'], unbound);
    expect(stdout).toBe('1\n');
  });

  test('logs in with channel_binding=require when both legs show the same certificate', async () => {
    const bound = libpq('same-leaf', { PGCHANNELBINDING: 'require' });
    const { stdout } = await runClient('psql', ['-XAt', '-c', 'select 1'], bound);
    expect(stdout).toBe('1\n');
  });
});

describe.skipIf(!isInstalled('pgbench'))('pgbench', () => {
  test('-S -C runs a connection per transaction without an error', async () => {
    const environment = libpq('plain', { PGUSER: 'trusted' });
    await runClient('pgbench', ['-i', '-s', '1', '-q'], environment);
    const { stdout } = await runClient(
      'pgbench',
      ['-n', '-S', '-C', '-c', '4', '-t', '50'],
      environment,
    );
    expect(stdout).toMatch(/number of transactions actually processed: 200\/200/);
    expect(stdout).toMatch(/number of failed transactions: 0 /);
  });

  test('-S -M prepared runs many transactions on few connections without an error', async () => {
    const environment = libpq('plain', { PGUSER: 'trusted' });
    const { stdout } = await runClient(
      'pgbench',
      ['-n', '-S', '-M', 'prepared', '-c', '8', '-t', '500'],
      environment,
    );
    expect(stdout).toMatch(/number of transactions actually processed: 4000\/4000/);
  });
});

/** Unlike the others it refuses servers that are newer than itself. */
describe.skipIf(majorVersion('pg_basebackup') < 18)(
  'pg_basebackup of PostgreSQL 18 or newer',
  () => {
    test('takes a base backup', async () => {
      const directory = mkdtempSync(join(tmpdir(), 'pgtls-e2e-backup-'));
      onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
      const args = [
        '-D',
        join(directory, 'backup'),
        '-F',
        'tar',
        '-X',
        'fetch',
        '-c',
        'fast',
        '--no-manifest',
      ];
      await runClient('pg_basebackup', args, libpq('plain'));
      expect(readFileSync(join(directory, 'backup', 'base.tar')).length).toBeGreaterThan(
        10_000_000,
      );
    });
  },
);

describe.skipIf(!isInstalled('pg_recvlogical'))('pg_recvlogical', () => {
  test('creates a slot, streams changes up to an end position, and drops the slot', async () => {
    const environment = libpq('plain');
    const slot = ['-d', 'postgres', '--slot', 'recvlogical'];
    const direct = await connectDirectly(material().plain);
    await direct.query(
      'create table received (n int); create publication received for table received',
    );
    await runClient(
      'pg_recvlogical',
      [...slot, '--create-slot', '--plugin', 'pgoutput'],
      environment,
    );
    onTestFinished(async () => {
      await runClient('pg_recvlogical', [...slot, '--drop-slot'], environment);
    });
    await direct.query('insert into received select generate_series(1, 100)');
    const { rows } = await direct.query<{ lsn: string }>('select pg_current_wal_lsn() as lsn');
    const options = [
      '-o',
      'proto_version=1',
      '-o',
      'publication_names=received',
      '--endpos',
      rows[0]?.lsn ?? '',
    ];
    const { stdout } = await runClient(
      'pg_recvlogical',
      [...slot, '--start', '-f', '-', ...options],
      environment,
    );

    expect(stdout.length).toBeGreaterThan(1000);
  });
});
