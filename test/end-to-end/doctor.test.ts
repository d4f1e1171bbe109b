/** `pgtls doctor` of the built program, with its binding and without. */
import { describe, expect, test } from 'vitest';
import { runProgram } from '../support/running-proxy.ts';

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
    const environment = { ...process.env, NAPI_RS_NATIVE_LIBRARY_PATH: '/nowhere/pgtls.node' };
    const { code, stdout } = await runProgram(['doctor'], environment);
    expect(code).toBe(3);
    expect(stdout).toMatch(/^FAIL +binding +the native binding does not load: .*nowhere/m);
    expect(stdout).toContain('npm run build:addon');
    expect(stdout).toMatch(/^ok +libc /m);
    expect(stdout).toMatch(/somaxconn/);
  });
});
