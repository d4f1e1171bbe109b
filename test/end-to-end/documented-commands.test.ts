/** docs/getting-started.md as a stranger follows it, and what the documents let psql and openssl do, against a running pgtls. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { blocksOf, DOCUMENTS } from '../docs/books.ts';
import { simpleCommands, wholeLines } from '../docs/shell.ts';
import { material } from '../support/material.ts';
import { isInstalled, runClient } from '../support/programs.ts';
import { proxyForTest, type RunningProxy, runProgram } from '../support/running-proxy.ts';

const LINES = blocksOf(DOCUMENTS, 'sh').flatMap(({ document, text }) =>
  wholeLines(text).map((line) => ({ document, line })),
);
const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

/** A directory with what `pgtls init` writes and the certificate that getting-started makes, and pgtls run with it. */
async function getStarted(): Promise<{ directory: string; file: string; proxy: RunningProxy }> {
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-stranger-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'pgtls.toml');
  const { code, stdout } = await runProgram(['init', file]);
  expect({ code, stdout }).toEqual({
    code: 0,
    stdout: expect.stringContaining(`pgtls validate ${file}`),
  });
  const makeCertificate = LINES.filter(
    ({ document, line }) =>
      document === 'docs/getting-started.md' && /openssl req -x509|^cp tls.crt/.test(line),
  );
  expect(makeCertificate).toHaveLength(2);
  for (const { line } of makeCertificate) {
    execFileSync('sh', ['-e', '-c', line], { cwd: directory, stdio: 'pipe' });
  }
  const source = readFileSync(file, 'utf8')
    .replace(/^address = .*$/m, `address = "unix:${material().plain.socketPath}"`)
    .replace(/^bind_address = .*$/m, 'bind_address = "127.0.0.1:0"');
  writeFileSync(file, source);
  const absolute = source.replaceAll(/"(tls\.(?:crt|key))"/g, `"${directory}/$1"`);
  return { directory, file, proxy: await proxyForTest(absolute) };
}

describe.runIf(hasOpenssl)('who follows getting-started', () => {
  test('has a valid file, and connects with the psql line of the page', async () => {
    const { directory, file, proxy } = await getStarted();
    const validated = await runProgram(['validate', file]);
    expect(validated).toMatchObject({ code: 0, stderr: '' });
    expect(validated.stdout).toContain(`${file} is valid`);

    const [page] = LINES.filter(
      ({ document, line }) => document === 'docs/getting-started.md' && line.startsWith('psql '),
    );
    const [[, conninfo = ''] = []] = simpleCommands(page?.line ?? '');
    expect(conninfo).toContain('sslmode=verify-full');
    const filled = conninfo
      .replace('…', 'postgres')
      .replace('=ca.crt', `=${directory}/ca.crt`)
      .concat(` hostaddr=127.0.0.1 port=${proxy.port()}`);
    if (isInstalled('psql')) {
      const { stdout } = await runClient('psql', [filled, '-XAtc', 'select 1 + 1'], {
        PGPASSWORD: material().plain.password,
      });
      expect(stdout.trim()).toBe('2');
    }
  });

  test('sees with openssl what the documents say that it shows', async () => {
    const { directory, proxy } = await getStarted();
    const lines = LINES.filter(
      ({ line }) => line.includes('s_client') && line.includes('localhost'),
    );
    expect(lines.length).toBeGreaterThan(2);
    const outputs = lines.map(({ line }) => {
      const here = line.replaceAll('localhost:6432', `127.0.0.1:${proxy.port()}`);
      const { stdout, stderr } = spawnSync('sh', ['-c', here], { cwd: directory });
      return { line, text: `${stdout}${stderr}` };
    });
    const file = execFileSync('openssl', ['x509', '-in', 'tls.crt', '-noout', '-enddate'], {
      cwd: directory,
      encoding: 'utf8',
    });
    for (const { line, text } of outputs) {
      expect(text).toContain(line.includes('x509') ? file.trim() : 'CONNECTION ESTABLISHED');
    }
  });
});
