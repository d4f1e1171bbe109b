import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { PgtlsError } from '../../src/errors.ts';
import { route, writeConfig } from '../config/fixture.ts';
import { FakeProcess, type FakeSettings } from './fake-host.ts';

const limits = (soft: string, hard: string) =>
  `Limit                     Soft Limit           Hard Limit           Units\nMax open files            ${soft}                 ${hard}               files\n`;

const ROOMY = {
  '/proc/self/limits': limits('1024', '524288'),
  '/proc/sys/net/core/somaxconn': '4096\n',
  '/proc/sys/net/ipv4/tcp_available_ulp': 'espintcp mptcp\n',
};

async function doctor(settings: FakeSettings, ...argv: string[]) {
  const fake = new FakeProcess({ files: ROOMY, ...settings });
  const code = await main(['doctor', ...argv], fake.host, fake.modules);
  return { code, stdout: fake.stdout, stderr: fake.stderr, calls: fake.calls };
}

/** The text behind a subject, up to the next line that begins with a mark. */
function finding(stdout: string, subject: string): string {
  const [, text = ''] =
    new RegExp(`^(\\S+ +${subject} [\\s\\S]*?)\\n(?=\\S|\\n)`, 'm').exec(stdout) ?? [];
  return text;
}

describe('pgtls doctor', () => {
  it('names everything pgtls runs on, and ends with 0', async () => {
    const { code, stdout, stderr, calls } = await doctor({});
    expect(code).toBe(0);
    expect(stderr).toBe('');
    expect(calls).toEqual([]);
    expect(stdout).toMatch(/^pgtls \d+\.\d+\.\d+\n\nok {4}platform +linux-x64, kernel 6\.1\.0\n/);
    expect(finding(stdout, 'libc')).toMatch(/glibc 2\.36$/);
    expect(finding(stdout, 'Node.js')).toMatch(/20\.0\.0$/);
    expect(finding(stdout, 'binding')).toContain('/pgtls.linux-x64-gnu.node, version 1');
    expect(finding(stdout, 'crypto provider')).toMatch(/aws-lc-rs, rustls 0\.23$/);
    expect(finding(stdout, 'CPU')).toMatch(/^ok .*aes$/);
    expect(finding(stdout, 'open files')).toMatch(/^ok .*soft limit 1024, hard limit 524288/);
    expect(finding(stdout, 'somaxconn')).toMatch(/^ok .*4096$/);
    expect(finding(stdout, 'driver')).toMatch(/^ok .*tokio$/);
  });

  it('warns of a binding of another version', async () => {
    const { stdout } = await doctor({});
    expect(finding(stdout, 'binding')).toMatch(/^warn .*version 1\n +→ reinstall pgtls/);
  });

  it('prints all the rest without the binding, its error and the remedy, and ends with 3', async () => {
    const message = 'the native binding does not load: no such file\nReinstall pgtls';
    const buildInfoError = new PgtlsError('PGTLS_BINDING_MISSING', message);
    const { code, stdout } = await doctor({ buildInfoError });
    expect(code).toBe(3);
    expect(finding(stdout, 'binding')).toMatch(/^FAIL .*no such file\n +Reinstall pgtls$/);
    expect(finding(stdout, 'crypto provider')).toMatch(/^- .*unknown without the binding$/);
    expect(finding(stdout, 'libc')).toContain('glibc');
    expect(finding(stdout, 'somaxconn')).toContain('4096');
    expect(stdout).toMatch(/\n\npgtls cannot run here\.\n$/);
  });

  it('wants two descriptors for each client and 64, by the hard limit, to which Node.js raises', async () => {
    const withHard = (hard: string) =>
      doctor({ files: { ...ROOMY, '/proc/self/limits': limits('1024', hard) } });
    expect(finding((await withHard('20064')).stdout, 'open files')).toMatch(/^ok /);
    expect(finding((await withHard('unlimited')).stdout, 'open files')).toMatch(/^ok /);
    const { code, stdout } = await withHard('20063');
    expect(code).toBe(0);
    expect(finding(stdout, 'open files')).toMatch(
      /^warn .*\n +max_client_conn = 10000 wants 20064.*\n +→ LimitNOFILE=20064 /,
    );
    expect(stdout).toMatch(/pgtls can run here, with 2 warnings\.\n$/);
  });

  it('warns when the kernel queues fewer connections than listen_backlog', async () => {
    const files = { ...ROOMY, '/proc/sys/net/core/somaxconn': '128\n' };
    expect(finding((await doctor({ files })).stdout, 'somaxconn')).toMatch(
      /^warn .*128: .*listen_backlog = 4096.*\n +→ sysctl -w net\.core\.somaxconn=4096$/,
    );
  });

  it("fits the limits to a file's", async () => {
    const listener = 'bind_address = "127.0.0.1:0"\nsslmode = "disable"\nlisten_backlog = 8192';
    const file = writeConfig(`max_client_conn = 400000\n${route(listener)}`);
    const { code, stdout } = await doctor({}, '-c', file);
    expect(code).toBe(0);
    expect(finding(stdout, 'open files')).toContain('max_client_conn = 400000 wants 800064');
    expect(finding(stdout, 'somaxconn')).toContain('listen_backlog = 8192');
  });

  it('ends with 2 when that file has errors', async () => {
    const { code, stderr } = await doctor({}, '-c', writeConfig('workers = "x"'));
    expect(code).toBe(2);
    expect(stderr).toContain('workers');
  });

  it('says of kernel TLS whether it is there, and that it is not used', async () => {
    expect(finding((await doctor({})).stdout, 'kernel TLS')).toMatch(/not in this .*not use it$/);
    for (const there of [
      { '/proc/sys/net/ipv4/tcp_available_ulp': 'espintcp tls mptcp\n' },
      { '/proc/net/tls_stat': 'TlsCurrTxSw 0\n' },
    ]) {
      const { stdout } = await doctor({ files: { ...ROOMY, ...there } });
      expect(finding(stdout, 'kernel TLS')).toMatch(/^- .*in this kernel; .*does not use it/);
    }
  });

  it('says what it cannot know on a system without /proc', async () => {
    const { code, stdout } = await doctor({ files: {} });
    expect(code).toBe(0);
    expect(finding(stdout, 'open files')).toContain('unknown');
    expect(finding(stdout, 'somaxconn')).toContain('unknown');
  });

  it('has colours and symbols at a terminal only', async () => {
    expect((await doctor({})).stdout).not.toContain('\x1b');
    const { stdout } = await doctor({ isTerminal: true });
    expect(stdout).toContain('\x1b[32m✓\x1b[39m  \x1b[2mplatform');
    expect(stdout).toContain('\x1b[33m!\x1b[39m  \x1b[2mbinding');
    expect(stripVTControlCharacters(stdout)).toMatch(/^ {20}→ reinstall pgtls/m);
    const refused = await doctor({ isTerminal: true, environment: { NO_COLOR: '1' } });
    expect(refused.stdout).not.toContain('\x1b');
  });
});
