/** `pgtls demo`, as `npm start` runs it: shows the way in, answers through TLS, and leaves nothing behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { connectPg } from '../support/pg-client.ts';
import { PROGRAM } from '../support/running-proxy.ts';
import { until, within } from '../support/until.ts';

function startDemo(): { child: ChildProcess; output: () => string } {
  const child = spawn(process.execPath, [PROGRAM, 'demo'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
  }
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  return { child, output: () => text };
}

async function psqlLine(child: ChildProcess, output: () => string) {
  const found = await until(
    'the demo runs',
    () => {
      if (child.exitCode !== null) {
        throw new Error(`the demo ended\n${output()}`);
      }
      const ready = output().includes('Ctrl-C stops') ? output() : '';
      return /PGPASSWORD=(\S+) psql ".* port=(\d+) .*sslmode=verify-full sslrootcert=([^ "]+)"/.exec(
        ready,
      );
    },
    { millis: 60_000, explain: output },
  );
  const [, password = '', port = '', caFile = ''] = found;
  return { password, port: Number(port), caFile };
}

/** Every small file below `path`; `isReachable` unless a directory above keeps other users out. */
function* filesBelow(
  path: string,
  isReachable = true,
): Generator<{ file: string; mode: number; isReachable: boolean }> {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats?.isDirectory()) {
    for (const name of readdirSync(path)) {
      yield* filesBelow(join(path, name), isReachable && (stats.mode & 0o011) !== 0);
    }
  } else if (stats?.isFile() && stats.size < 64 * 1024) {
    yield { file: path, mode: stats.mode, isReachable };
  }
}

test('the demo prints a psql line that works, answers a first query, and cleans up after SIGINT', {
  timeout: 180_000,
}, async () => {
  const { child, output } = startDemo();
  const { password, port, caFile } = await psqlLine(child, output);
  expect(output()).toMatch(/select version\(\)\s+PostgreSQL 18/);
  expect(output()).toMatch(/TLS version\s+TLSv1\.3/);
  expect(output()).toMatch(/cipher\s+TLS_/);
  expect(output()).toMatch(/key exchange\s+\S+/);

  const ssl = { ca: readFileSync(caFile, 'utf8'), servername: 'localhost' };
  const client = await connectPg({ port, user: 'postgres', password, ssl });
  const { rows } = await client.query<{ pid: number }>(
    "select pid from pg_stat_activity where backend_type = 'checkpointer'",
  );
  const secret = [...filesBelow(dirname(caFile))].filter(({ file }) => {
    const text = readFileSync(file, 'latin1');
    return text.includes('PRIVATE KEY') || text.includes(password);
  });
  expect(secret.filter(({ isReachable, mode }) => isReachable && (mode & 0o077) !== 0)).toEqual([]);
  expect(secret.length).toBeGreaterThan(0);
  expect(lstatSync(join(dirname(caFile), 'server.key')).mode & 0o077).toBe(0);

  child.kill('SIGINT');
  const [code] = await within(60_000, 'the demo ends', once(child, 'close'));
  expect(code).toBe(0);
  expect(existsSync(dirname(caFile))).toBe(false);
  expect(existsSync(`/proc/${rows[0]?.pid}`)).toBe(false);
});

test('a demo that is told to stop while it starts cleans up, too', {
  timeout: 180_000,
}, async () => {
  const { child, output } = startDemo();
  await until('PostgreSQL is being started', () => output().includes('Starting PostgreSQL'), {
    explain: output,
  });
  child.kill('SIGTERM');
  const [code] = await within(60_000, 'the demo ends', once(child, 'close'));
  expect(code).toBe(0);
});
