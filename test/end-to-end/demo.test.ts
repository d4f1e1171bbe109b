/** `pgtls demo`, as `npm start` runs it: shows the way in, answers through TLS, and leaves nothing behind. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { connectPg } from '../support/pg-client.ts';
import { isInstalled } from '../support/programs.ts';
import { PROGRAM } from '../support/running-proxy.ts';
import { until, within } from '../support/until.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

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

test('everything that the demo says to try next is true', { timeout: 180_000 }, async () => {
  const { child, output } = startDemo();
  const { password, port } = await psqlLine(child, output);
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-demo-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));

  const uri = /^ {2}(postgresql:\S+)$/m.exec(output())?.[1] ?? '';
  const client = new pg.Client(uri);
  await client.connect();
  expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  await client.end();

  // Where the package pg is found, as it would be in a project of one's own.
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  const snippet = /^ {2}import pg [\s\S]*?^ {2}await client\.end\(\);$/m.exec(output())?.[0] ?? '';
  writeFileSync(join(directory, 'try.mjs'), snippet);
  const tried = await run(process.execPath, ['try.mjs'], { cwd: directory });
  expect(tried.stdout.trim()).toBe('[ { two: 2 } ]');

  const urls = [...output().matchAll(/^ {2}curl (\S+)$/gm)].map(([, url = '']) => url);
  const [metrics = '', status = ''] = await Promise.all(
    urls.map(async (url) => (await fetch(url)).text()),
  );
  expect(metrics).toMatch(/^pgtls_client_connections_accepted_total\{route="demo"\} [1-9]/m);
  expect(JSON.parse(status)).toHaveProperty('routes');

  const lines = [...output().matchAll(/^ {2}(PGPASSWORD=\S+ psql ".*")$/gm)];
  const [way, refused] = lines.map(([, line = '']) => `${line} -XAtc "select 1 + 1"`);
  if (isInstalled('psql')) {
    expect((await run('sh', ['-c', way ?? ''])).stdout.trim()).toBe('2');
    await expect(run('sh', ['-c', refused ?? ''])).rejects.toThrow(/requires TLS/);
  } else {
    expect(lines).toHaveLength(2);
    const plain = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', password });
    await expect(plain.connect()).rejects.toThrow(/requires TLS/);
  }

  child.kill('SIGINT');
  const [code] = await within(60_000, 'the demo ends', once(child, 'close'));
  expect(code).toBe(0);
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
