/** What a service manager is told, and the sockets it passes: the protocols of systemd, without systemd. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { serverDescriptor } from '../../src/listener/handoff.ts';
import { ListenerTls, plainBackend, type Table } from '../support/config.ts';
import { material } from '../support/material.ts';
import { NotifySocket } from '../support/notify-socket.ts';
import { isInstalled, runClient } from '../support/programs.ts';
import { openNegotiatedTls, startSession } from '../support/raw-client.ts';
import { proxyForTest } from '../support/running-proxy.ts';
import { Generations } from '../support/successors.ts';
import { until } from '../support/until.ts';

let tls: ListenerTls;
let backend: Table;

beforeAll(async () => {
  tls = await ListenerTls.create();
  backend = plainBackend(material().plain.port);
});

afterAll(() => tls.remove());

async function login(to: number | { path: string }): Promise<void> {
  const channel = await openNegotiatedTls(to, tls.clientOptions);
  await startSession(channel);
  channel.destroy();
}

describe.skipIf(!isInstalled('python3'))('the service manager', () => {
  test.each(['path', 'abstract'] as const)(
    'behind a socket with a name that is %s is told of start, reload and end, in order',
    async (kind) => {
      const manager = await NotifySocket.open(kind);
      const environment = { NOTIFY_SOCKET: manager.name };
      const proxy = await proxyForTest(tls.config([{ backend }]), { environment });
      await until('it is told', () => manager.firsts.length === 1);
      proxy.signal('SIGHUP');
      await until('the reload is told', () => manager.firsts.length === 3);
      proxy.rewrite('nonsense');
      await proxy.logged({ event: 'config.reload', result: 'failure' });
      await until('the failed reload is told, too', () => manager.firsts.length === 5);
      await proxy.stop();
      await until('the end is told', () => manager.firsts.length === 6);
      expect(manager.firsts).toEqual([
        'READY=1',
        'RELOADING=1',
        'READY=1',
        'RELOADING=1',
        'READY=1',
        'STOPPING=1',
      ]);
      const [, reloading = []] = manager.messages;
      const [, micros = ''] = /^MONOTONIC_USEC=(\d+)$/.exec(reloading[1] ?? '') ?? [];
      const now = process.hrtime.bigint() / 1_000n;
      expect(now - BigInt(micros)).toBeGreaterThan(0n);
      expect(now - BigInt(micros)).toBeLessThan(600_000_000n);
    },
  );

  test('gets a sign of life at half of what its watchdog allows', async () => {
    const manager = await NotifySocket.open('path');
    const environment = { NOTIFY_SOCKET: manager.name, WATCHDOG_USEC: '200000' };
    await proxyForTest(tls.config([{ backend }]), { environment });
    await until(
      'there are several',
      () => manager.messages.filter(([first]) => first === 'WATCHDOG=1').length >= 5,
    );
  });

  test('gets none that is meant for another process', async () => {
    const manager = await NotifySocket.open('path');
    const watchdog = { WATCHDOG_USEC: '2000', WATCHDOG_PID: '1' };
    const environment = { NOTIFY_SOCKET: manager.name, ...watchdog };
    const proxy = await proxyForTest(tls.config([{ backend }]), { environment });
    proxy.signal('SIGHUP');
    await until('the reload is told', () => manager.firsts.length === 3);
    expect(manager.messages).toHaveLength(3);
  });

  test('is told which process is the main one after a takeover, and no end by the old one', async () => {
    const manager = await NotifySocket.open('path');
    const environment = { NOTIFY_SOCKET: manager.name, WATCHDOG_USEC: '200000' };
    const generations = await Generations.start(tls.config([{ backend }]), { environment });
    const pid = await generations.next();
    await until('the predecessor has ended', () => generations.endedCount === 1);
    expect(manager.firsts).toContain(`MAINPID=${pid}`);
    expect(manager.firsts).not.toContain('STOPPING=1');
    manager.messages.length = 0;
    await until('the successor gives signs of life', () => manager.messages.length > 2);
    process.kill(pid, 'SIGTERM');
    await until('it ends', () => manager.firsts.includes('STOPPING=1'));
  });
});

/** A socket that listens, and is left alone by this process. */
async function listening(where: { port: number } | { path: string }): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  onTestFinished(() => {
    server.close();
  });
  await new Promise<void>((resolve) => {
    server.listen({ host: '127.0.0.1', ...where }, resolve);
  });
  return server;
}

describe('socket activation', () => {
  test('gives listeners the sockets named as their routes, or else those with their address', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'pgtls-e2e-activation-'));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    const path = join(directory, '.s.PGSQL.6432');
    const servers = [
      await listening({ port: 0 }),
      await listening({ path }),
      await listening({ port: 0 }),
    ];
    const [first] = servers;
    const { port } = (first?.address() ?? { port: 0 }) as { port: number };
    const routes = [
      { name: 'by address', backend, listener: { bind_address: `unix:${path}` } },
      { name: 'by-name', backend, listener: { bind_address: '127.0.0.1:1' } },
    ];
    const proxy = await proxyForTest(tls.config(routes), {
      sockets: servers.map((server) => serverDescriptor(server)),
      environment: { LISTEN_FDS: '3', LISTEN_FDNAMES: 'by-name:whatever:unknown' },
    });
    expect(proxy.port('by-name')).toBe(port);
    // From here on only pgtls accepts.
    first?.close();
    await login(port);
    await proxy.logged({ event: 'listener.unused' });
    expect(proxy.find({ event: 'listener.bind', listener_addr: `unix:${path}` })).not.toBeNull();
    await proxy.stop();
    expect(existsSync(path)).toBe(true);
  });

  test('is not for a process that the sockets are not meant for', async () => {
    const environment = { LISTEN_PID: '1', LISTEN_FDS: '1', LISTEN_FDNAMES: 'route-1' };
    const proxy = await proxyForTest(tls.config([{ backend }]), { environment });
    await login(proxy.port());
  });
});

const UNITS = fileURLToPath(new URL('../../examples/systemd', import.meta.url));

describe('the unit in examples', () => {
  test('is started again for as long as it takes, and not without a pause', () => {
    const unit = readFileSync(join(UNITS, 'pgtls.service'), 'utf8');
    const [, head = '', service = ''] = unit.split(/^\[(?:Unit|Service)\]$/m);
    expect(head).toMatch(/^StartLimitIntervalSec=0$/m);
    expect(service).toMatch(/^Restart=on-failure$/m);
    expect(service).toMatch(/^RestartSec=[1-9]\d*s$/m);
  });
});

describe.skipIf(!isInstalled('systemd-analyze'))(
  'the units in examples, by systemd-analyze,',
  () => {
    test('expose what the documentation says, and no more', async () => {
      const unit = join(UNITS, 'pgtls.service');
      const { stdout } = await runClient('systemd-analyze', ['security', '--offline=yes', unit]);
      const [, exposure] = /exposure level for pgtls.service: ([\d.]+)/.exec(stdout) ?? [];
      expect(Number(exposure)).toBeLessThanOrEqual(1.5);
    });

    test('are right, and so they are with a second socket', async () => {
      const directory = mkdtempSync(join(tmpdir(), 'pgtls-e2e-units-'));
      onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
      const files = ['pgtls.service', 'pgtls.socket', 'pgtls-billing.socket'];
      const paths = files.map((name) => join(directory, name));
      const [service = '', socket = '', billing = ''] = paths;
      const unit = readFileSync(join(UNITS, 'pgtls.service'), 'utf8');
      const withSockets = unit.replace(/^# (?=Sockets=)/m, '');
      expect(withSockets).toMatch(/^Sockets=pgtls.socket pgtls-billing.socket$/m);
      writeFileSync(service, withSockets);
      const orders = readFileSync(join(UNITS, 'pgtls.socket'), 'utf8');
      writeFileSync(socket, orders);
      writeFileSync(billing, orders.replace('=orders', '=billing').replace(':6432', ':6433'));
      const { stdout, stderr } = await runClient('systemd-analyze', ['verify', ...paths]);
      expect(stdout + stderr).toBe('');
    });
  },
);
