import { createServer } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { PgtlsError } from '../../src/errors.ts';
import { LISTENER, route, writeConfig } from '../config/fixture.ts';
import { FakeProcess, type FakeSettings, IDENTITY, NOW_MILLIS } from './fake-host.ts';

const TLS = 'sslmode = "require"\nssl_cert_file = "tls.crt"\nssl_key_file = "tls.key"';
const GOOD = route(`${LISTENER}\n${TLS}`);
const EXPIRED = { ...IDENTITY, notAfterSeconds: NOW_MILLIS / 1000 - 1 };

function start(argv: readonly string[], settings: FakeSettings = {}) {
  const fake = new FakeProcess(settings);
  return { fake, exitCode: main(argv, fake.host, fake.modules) };
}

describe('pgtls --help and --version', () => {
  it('print to stdout and end with 0', async () => {
    const help = start(['--help']);
    expect(await help.exitCode).toBe(0);
    expect(help.fake.stdout).toContain('pgtls -c FILE');
    const version = start(['-v']);
    expect(await version.exitCode).toBe(0);
    expect(version.fake.stdout).toMatch(
      /^pgtls \d+\.\d+\.\d+ \(rustls 0\.23, aws-lc-rs, t, Node\.js 20\.0\.0\)\n$/,
    );
  });

  it('print the version even without the binding, and end with 3', async () => {
    const nativeError = new PgtlsError('PGTLS_BINDING_MISSING', 'no binding for this platform');
    const { fake, exitCode } = start(['-v'], { nativeError });
    expect(await exitCode).toBe(3);
    expect(fake.stdout).toMatch(/^pgtls \d/);
    expect(fake.stderr).toBe('pgtls: no binding for this platform\n');
  });
});

describe('pgtls with wrong arguments', () => {
  it('says what is wrong on stderr and ends with 2', async () => {
    const { fake, exitCode } = start(['--colour']);
    expect(await exitCode).toBe(2);
    expect(fake.stderr).toMatch(/^pgtls: .*--colour/);
    expect(fake.stdout).toBe('');
  });
});

describe('pgtls -c', () => {
  it('runs until SIGTERM, drains, closes and ends with 0', async () => {
    const { fake, exitCode } = start(['-c', writeConfig(GOOD)]);
    await fake.started;
    await vi.waitFor(() => expect(fake.calls).toEqual(['createLogger info json', 'start']));
    fake.signal('SIGTERM');
    await vi.waitFor(() => expect(fake.calls).toContain('drain'));
    fake.finishDrain();
    expect(await exitCode).toBe(0);
    expect(fake.calls.slice(2)).toEqual(['drain', 'close', 'flushLog']);
    expect(fake.exits).toEqual([]);
  });

  it('ends at once when a second signal comes', async () => {
    const { fake } = start(['-c', writeConfig(GOOD)]);
    await fake.started;
    fake.signal('SIGTERM');
    expect(fake.logLines).not.toContainEqual(expect.objectContaining({ event: 'shutdown' }));
    fake.signal('SIGINT');
    expect(fake.exits).toEqual([1]);
    expect(fake.logLines.at(-1)).toMatchObject({
      level: 40,
      event: 'shutdown',
      msg: 'told to end a second time: ending at once',
    });
  });

  it('drains when it was told to end while it started', async () => {
    const { fake, exitCode } = start(['-c', writeConfig(GOOD)]);
    fake.signal('SIGINT');
    await vi.waitFor(() => expect(fake.calls).toContain('drain'));
    fake.finishDrain();
    expect(await exitCode).toBe(0);
  });

  it('reloads on SIGHUP, and goes on when that fails', async () => {
    const { fake } = start(['-c', writeConfig(GOOD)], { reloadError: new Error('no such file') });
    await fake.started;
    await vi.waitFor(() => {
      fake.signal('SIGHUP');
      expect(fake.calls).toContain('reload');
    });
    fake.signal('SIGTERM');
    await vi.waitFor(() => expect(fake.calls).toContain('drain'));
    fake.finishDrain();
  });

  it('retires once a successor has taken over on SIGUSR2', async () => {
    const { fake, exitCode } = start(['-c', writeConfig(GOOD)]);
    await fake.started;
    await vi.waitFor(() => {
      fake.signal('SIGUSR2');
      expect(fake.calls).toContain('launch');
    });
    expect(await exitCode).toBe(0);
    expect(fake.calls.slice(-4)).toEqual(['launch', 'retire', 'close', 'flushLog']);
  });

  it('goes on when the successor fails, and says why', async () => {
    const settings = { successorError: new Error('no such key') };
    const { fake, exitCode } = start(['-c', writeConfig(GOOD)], settings);
    await fake.started;
    await vi.waitFor(() => {
      fake.signal('SIGUSR2');
      expect(fake.calls).toContain('kill');
    });
    const line = { event: 'takeover', result: 'failure' };
    expect(fake.logLines).toContainEqual(expect.objectContaining(line));
    fake.signal('SIGTERM');
    await vi.waitFor(() => expect(fake.calls).toContain('drain'));
    fake.finishDrain();
    expect(await exitCode).toBe(0);
    expect(fake.calls).not.toContain('retire');
  });

  it('begins its log with version, process id and file', async () => {
    const file = writeConfig(GOOD);
    const { fake } = start(['-c', file]);
    await fake.started;
    expect(fake.logLines[0]).toMatchObject({
      level: 30,
      event: 'start',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      pid: 4711,
      config: file,
    });
  });

  it('lets the command line override level and format of the log', async () => {
    const argv = ['-c', writeConfig(GOOD), '--log-level', 'debug', '--log-format', 'pretty'];
    const { fake } = start(argv);
    await fake.started;
    expect(fake.calls[0]).toBe('createLogger debug pretty');
  });

  it('starts nothing when the file has errors, and ends with 2', async () => {
    const file = writeConfig(`workers = "x"\n${GOOD}`);
    const { fake, exitCode } = start(['-c', file]);
    expect(await exitCode).toBe(2);
    expect(fake.stderr).toBe(`${file}:1:1: workers: expected an integer from 0 to 1024, got "x"\n`);
    expect(fake.calls).toEqual(['flushLog']);
  });

  it('starts nothing when a certificate file has a problem, and places it', async () => {
    const file = writeConfig(GOOD);
    const problem = { routeId: 0, path: 'listener.ssl_key_file[0]', message: 'does not match' };
    const { fake, exitCode } = start(['-c', file], {
      inspection: { problems: [problem], warnings: [], identities: [], dated: [] },
    });
    expect(await exitCode).toBe(2);
    expect(fake.stderr).toBe(`${file}:7:1: proxy[0].listener.ssl_key_file: does not match\n`);
    expect(fake.calls).toEqual(['flushLog']);
  });

  it('starts with an expired certificate and warns', async () => {
    const { fake } = start(['-c', writeConfig(GOOD)], {
      inspection: { problems: [], warnings: [], identities: [EXPIRED], dated: [] },
    });
    await fake.started;
    expect(fake.logLines.filter(({ event }) => event !== 'start')).toEqual([
      expect.objectContaining({
        level: 40,
        event: 'config.warning',
        key: 'proxy[0].listener.ssl_cert_file',
        line: 6,
        msg: 'certificate "/tls.crt" expired on 2025-12-31T23:59:59Z',
      }),
    ]);
  });

  it('ends with 3 when the binding is missing', async () => {
    const nativeError = new PgtlsError('PGTLS_BINDING_MISSING', 'x');
    expect(await start(['-c', writeConfig(GOOD)], { nativeError }).exitCode).toBe(3);
  });

  it('ends with 1 when something else fails, and shows where', async () => {
    const { fake, exitCode } = start(['-c', writeConfig(GOOD)], {
      startError: new TypeError('boom'),
    });
    expect(await exitCode).toBe(1);
    expect(fake.stderr).toMatch(/^pgtls: TypeError: boom\n {4}at /);
  });
});

describe('an address that cannot be bound', () => {
  /** The error of a real second listener on one port. */
  async function addressInUse(): Promise<{ port: number; cause: Error }> {
    const [first, second] = [createServer(), createServer()];
    onTestFinished(() => {
      first.close();
    });
    await new Promise<void>((resolve) => first.listen(0, '127.0.0.1', resolve));
    const address = first.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const cause = await new Promise<Error>((resolve) => {
      second.on('error', resolve).listen(port, '127.0.0.1');
    });
    return { port, cause };
  }

  it('is an error at its line and column, and ends with 2', async () => {
    const { port, cause } = await addressInUse();
    const file = writeConfig(route(`bind_address = ["127.0.0.1:0", "127.0.0.1:${port}"]\n${TLS}`));
    const startError = new PgtlsError('PGTLS_BIND_FAILED', 'cannot listen', { cause });
    const { fake, exitCode } = start(['-c', file], { startError });
    expect(await exitCode).toBe(2);
    expect(fake.stderr).toBe(`${file}:4:32: proxy[0].listener.bind_address[1]: cannot listen\n`);
  });

  it('comes together with the others', async () => {
    const failure = (host: string) =>
      new PgtlsError('PGTLS_BIND_FAILED', `cannot listen on ${host}`, {
        cause: Object.assign(new Error('no'), { hostname: host }),
      });
    const cause = new AggregateError([
      failure('b.example'),
      failure('a.example'),
      new Error('odd'),
    ]);
    const startError = new PgtlsError('PGTLS_BIND_FAILED', 'both', { cause });
    const file = writeConfig(route(`bind_address = ["a.example:1", "b.example:2"]\n${TLS}`));
    const { fake, exitCode } = start(['-c', file], { startError });
    expect(await exitCode).toBe(2);
    expect(fake.stderr.split('\n')).toEqual([
      `${file}:1:1: odd`,
      `${file}:4:17: proxy[0].listener.bind_address[0]: cannot listen on a.example`,
      `${file}:4:32: proxy[0].listener.bind_address[1]: cannot listen on b.example`,
      '',
    ]);
  });
});

describe('pgtls validate', () => {
  it('prints every route with its certificates and ends with 0, and starts nothing', async () => {
    const file = writeConfig(GOOD);
    const { fake, exitCode } = start(['validate', '-c', file], {
      inspection: { problems: [], warnings: [], identities: [IDENTITY], dated: [] },
    });
    expect(await exitCode).toBe(0);
    expect(fake.stdout).toContain('route orders\n');
    expect(fake.stdout).toContain('SANs           DNS:db.example.com, IP:192.0.2.7\n');
    expect(fake.stdout).toContain(`${file} is valid\n`);
    expect(fake.stderr).toBe('');
    expect(fake.calls).toEqual([]);
  });

  it('refuses an expired certificate at its key and ends with 2', async () => {
    const file = writeConfig(GOOD);
    const { fake, exitCode } = start(['validate', '-c', file], {
      inspection: { problems: [], warnings: [], identities: [EXPIRED], dated: [] },
    });
    expect(await exitCode).toBe(2);
    expect(fake.stderr).toBe(
      `${file}:6:1: proxy[0].listener.ssl_cert_file: certificate "/tls.crt" expired on 2025-12-31T23:59:59Z\n`,
    );
    expect(fake.stdout).toBe('');
  });

  it('prints warnings to stderr and ends with 0', async () => {
    const file = writeConfig(route(`${LISTENER}\n${TLS}`, 'address = "db"'));
    const { fake, exitCode } = start(['validate', '-c', file]);
    expect(await exitCode).toBe(0);
    expect(fake.stderr).toMatch(
      /^.*pgtls.toml:8:1: warning: proxy\[0\]\.backend\.sslmode: missing/,
    );
  });

  it('ends with 2 when the file is missing', async () => {
    const { fake, exitCode } = start(['validate', '-c', '/nowhere/pgtls.toml']);
    expect(await exitCode).toBe(2);
    expect(fake.stderr).toMatch(/^pgtls: cannot read \/nowhere\/pgtls.toml: ENOENT/);
  });
});

describe('pgtls demo', () => {
  it('runs until SIGINT', async () => {
    const { fake, exitCode } = start(['demo', '--log-level', 'info']);
    await fake.started;
    fake.signal('SIGINT');
    expect(await exitCode).toBe(0);
    expect(fake.calls).toEqual(['demo info']);
  });
});
