/** `pgtls doctor` of the built program, with its binding and without. */
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { runProgram } from '../support/running-proxy.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The program of an installation with `--omit=optional`. */
function withoutBinding(): string {
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-no-binding-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  for (const path of ['dist', 'package.json']) {
    cpSync(join(ROOT, path), join(directory, path), { recursive: true });
  }
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  return join(directory, 'dist/cli/main.js');
}

describe('pgtls doctor', () => {
  test('examines the real machine and ends with 0', async () => {
    const { code, stdout } = await runProgram(['doctor']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ok +binding +\/.*\.node, version \d/m);
    expect(stdout).toMatch(/^ok +crypto provider +aws-lc-rs, rustls \d/m);
    expect(stdout).toContain(`${process.platform}-${process.arch}`);
    expect(stdout).not.toContain('\x1b');
  });

  test('has symbols and colours where they are forced, and none where they are refused', async () => {
    const forced = await runProgram(['doctor'], { ...process.env, FORCE_COLOR: '1' });
    expect(forced.stdout).toContain('\x1b[32m✓\x1b[39m  \x1b[2mlibc');
    const refused = await runProgram(['doctor'], { ...process.env, FORCE_COLOR: '0' });
    expect(refused.stdout).not.toContain('\x1b');
  });

  test('says why the binding does not load, prints the rest, and ends with 3', async () => {
    const { code, stdout } = await runProgram(['doctor'], process.env, withoutBinding());
    expect(code).toBe(3);
    expect(stdout).toMatch(/^FAIL +binding +the native binding does not load: the package @pgtls/m);
    expect(stdout).toContain('npm install --include=optional');
    expect(stdout).toMatch(/^ok +libc /m);
    expect(stdout).toMatch(/somaxconn/);
  });

  test('says that Node.js was told to load no addons', async () => {
    const environment = { ...process.env, NODE_OPTIONS: '--no-addons' };
    const { code, stdout } = await runProgram(['doctor'], environment);
    expect(code).toBe(3);
    expect(stdout).toMatch(
      /^FAIL +binding +the native binding does not load: Cannot load native addon/m,
    );
    expect(stdout).toContain('without `--no-addons`');
  });

  test.each([
    ['--version', /^pgtls \d+\.\d+\.\d+ \(no native binding, Node\.js /],
    ['demo', /^/],
  ])('ends with 3, too, when it is pgtls %s that has no binding', async (command, printed) => {
    const { code, stdout, stderr } = await runProgram([command], process.env, withoutBinding());
    expect(code).toBe(3);
    expect(stdout).toMatch(printed);
    expect(stderr).toMatch(/^pgtls: the native binding does not load: the package @pgtls\//);
  });
});
