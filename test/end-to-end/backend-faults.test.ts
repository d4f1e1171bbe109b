/** Backends that stop answering, go away and come back: what their clients see, while those of another route see nothing. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { Bystander } from '../support/bystander.ts';
import type { ByteChannel } from '../support/byte-channel.ts';
import { LOCAL_NAMES } from '../support/certificates.ts';
import { ListenerTls, plainBackend, type RouteText, type Table } from '../support/config.ts';
import { CAN_CUT_OFF, CutOffNetwork } from '../support/cut-off-network.ts';
import { type BackendScript, FakeBackend, readStartup, welcome } from '../support/fake-backend.ts';
import { material } from '../support/material.ts';
import { OwnCluster } from '../support/own-cluster.ts';
import { ask, openNegotiatedTls, openTcp, readError, startSession } from '../support/raw-client.ts';
import { proxyForTest, type RunningProxy } from '../support/running-proxy.ts';
import { until, WAIT_MILLIS, within } from '../support/until.ts';
import { message, query, startupMessage } from '../support/wire.ts';

const STARTUP = startupMessage({ user: 'trusted', database: 'postgres' });

let tls: ListenerTls;

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

interface Stage {
  readonly proxy: RunningProxy;
  readonly bystander: Bystander;
  /** A client of the route `faulty`, whose TLS stands. */
  readonly client: () => Promise<ByteChannel>;
}

/** Route `faulty` with this backend, and a session of another route. */
async function stageWith(backend: Table): Promise<Stage> {
  const quiet = plainBackend(material().plain.port);
  const routes = [
    { name: 'faulty', backend },
    { name: 'quiet', backend: quiet },
  ];
  const proxy = await proxyForTest(tls.config(routes));
  const bystander = await Bystander.watch(proxy.port('quiet'), tls.clientOptions);
  const client = async () => {
    const channel = await openNegotiatedTls(proxy.port('faulty'), tls.clientOptions);
    onTestFinished(() => channel.destroy());
    return channel;
  };
  return { proxy, bystander, client };
}

describe('a backend that is silent in the login is given up at connect_timeout, and the client told 08006', () => {
  const silence = () => new Promise<never>(() => undefined);
  const scripts: Array<[string, string, BackendScript]> = [
    ['before it answers the SSLRequest', 'require', silence],
    [
      'in the TLS handshake, behind its S',
      'require',
      async (backend) => {
        await backend.read(8);
        await backend.write(Buffer.from('S'));
        await silence();
      },
    ],
    [
      'in the TLS handshake, of which it sends one byte now and then',
      'require',
      async (backend) => {
        await backend.read(8);
        await backend.write(Buffer.from('S'));
        dribble(backend.stream, Buffer.from('160303007a0200007603', 'hex'));
        await silence();
      },
    ],
  ];

  test.each(scripts)('%s', async (_name, sslmode, script) => {
    const fake = await FakeBackend.listen(script);
    const address = `127.0.0.1:${fake.port}`;
    const { proxy, bystander, client } = await stageWith({
      address,
      sslmode,
      connect_timeout: '1s',
    });
    const channel = await client();
    await channel.write(STARTUP);
    expect(await readError(channel)).toMatchObject({ S: 'FATAL', C: '08006' });
    expect(await proxy.logged({ event: 'conn.close', route: 'faulty' })).toMatchObject({
      reason: 'backend_unreachable',
      phase: 'backend',
      fault_side: 'backend',
      sqlstate: '08006',
      backend_addr: address,
    });
    await bystander.wasUndisturbed();
  });

  test('whose kernel does not even answer the SYN', async () => {
    const port = await deafPort();
    const { proxy, bystander, client } = await stageWith({
      ...plainBackend(port),
      connect_timeout: '1s',
    });
    const channel = await client();
    await channel.write(STARTUP);
    expect(await readError(channel)).toMatchObject({ S: 'FATAL', C: '08006' });
    expect(await proxy.logged({ event: 'conn.close', route: 'faulty' })).toMatchObject({
      reason: 'backend_unreachable',
      phase: 'backend',
      fault_side: 'backend',
    });
    await bystander.wasUndisturbed();
  });
});

/** Sends the bytes one at a time. */
function dribble(socket: Socket, bytes: Buffer): void {
  let sent = 0;
  const timer = setInterval(() => {
    socket.write(bytes.subarray(sent, sent + 1));
    sent += 1;
  }, 200);
  onTestFinished(() => clearInterval(timer));
}

/** A port whose process stands still, with connections in its queue that leave no room for another. */
async function deafPort(): Promise<number> {
  const program =
    "const s = require('net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(s.address().port))";
  const child: ChildProcess = spawn(process.execPath, ['-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const [line] = child.stdout === null ? [''] : await once(child.stdout, 'data');
  child.kill('SIGSTOP');
  const port = Number(String(line));
  // Two are taken, and the SYNs of all others dropped.
  const opened = await Promise.all([openTcp(port), openTcp(port)]);
  onTestFinished(() => {
    for (const channel of opened) {
      channel.destroy();
    }
  });
  return port;
}

describe('in a session', () => {
  test('a backend that hears a query and says no more keeps nobody but its client waiting', async () => {
    const fake = await FakeBackend.listen(async (backend) => {
      await readStartup(backend);
      await backend.write(welcome());
      await backend.message();
      // Nor does it read any more.
      backend.stream.pause();
    });
    const { proxy, bystander, client } = await stageWith(plainBackend(fake.port));
    const channel = await client();
    await startSession(channel);
    await channel.write(query('select 1'));
    await until('the backend has heard it', () => fake.connections[0]?.stream.isPaused());
    await bystander.goesOn();
    expect(proxy.find({ event: 'conn.close', route: 'faulty' })).toBe(null);
    channel.destroy();
    expect(await proxy.logged({ event: 'conn.close', route: 'faulty' })).toMatchObject({
      reason: expect.stringMatching(/^client_/),
      phase: 'relay',
    });
    await bystander.wasUndisturbed();
  });

  test('a backend that ends in the middle of a message ends its session, and the client gets what came', async () => {
    const whole = message('D', Buffer.alloc(1_000, 'x'));
    const fake = await FakeBackend.listen(async (backend) => {
      await readStartup(backend);
      await backend.write(welcome());
      await backend.message();
      await backend.write(whole.subarray(0, 500));
      backend.stream.end();
    });
    const { proxy, bystander, client } = await stageWith(plainBackend(fake.port));
    const channel = await client();
    await startSession(channel);
    await channel.write(query('select 1'));
    const { bytes } = await channel.rest();
    channel.destroy();
    expect(bytes.equals(whole.subarray(0, 500))).toBe(true);
    expect(await proxy.logged({ event: 'conn.close', route: 'faulty' })).toMatchObject({
      reason: 'backend_closed',
      phase: 'relay',
    });
    await bystander.wasUndisturbed();
  });
});

test('a backend that restarts tells its sessions 57P01, new clients are told 08006 meanwhile, and served when it is back', async () => {
  const identity = await tls.authority.issue({ commonName: 'localhost', names: LOCAL_NAMES });
  const cluster = await OwnCluster.start({ identity });
  onTestFinished(() => cluster.stop());
  const { proxy, bystander, client } = await stageWith(plainBackend(cluster.port));
  const session = await client();
  await startSession(session);
  await cluster.restart(async () => {
    expect(await readError(session)).toMatchObject({ S: 'FATAL', C: '57P01' });
    expect(await session.ended()).toEqual({ kind: 'end' });
    session.destroy();
    const refused = await client();
    await refused.write(STARTUP);
    expect(await readError(refused)).toMatchObject({ S: 'FATAL', C: '08006' });
    await proxy.logged({ event: 'conn.close', route: 'faulty', reason: 'backend_closed' });
    await proxy.logged({ event: 'conn.close', route: 'faulty', reason: 'backend_unreachable' });
  });
  const again = await client();
  await within(WAIT_MILLIS, 'a login', startSession(again));
  expect(await ask(again, 'select 1')).toEqual([['1']]);
  await bystander.wasUndisturbed();
});

test.skipIf(!CAN_CUT_OFF)(
  'a backend that is gone without a word is noticed after tcp_user_timeout, and logins are told 08006 after connect_timeout',
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'pgtls-e2e-cut-'));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    const network = await CutOffNetwork.create();
    const path = (name: string) => join(directory, name);
    const route = (name: string, backend: Table): RouteText => ({
      name,
      listener: {
        bind_address: `unix:${path(name)}`,
        sslmode: 'prefer',
        tcp_user_timeout: '3s',
      },
      backend: { ...backend, sslmode: 'disable' },
    });
    const faulty = { address: network.address, connect_timeout: '2s' };
    const config = tls.config([
      route('faulty', faulty),
      route('quiet', { address: `unix:${material().plain.socketPath}` }),
    ]);
    const proxy = await proxyForTest(config, { networkOf: network.near });
    const open = async (name: string) => {
      const channel = await openTcp({ path: path(name) });
      onTestFinished(() => channel.destroy());
      return channel;
    };
    const [session, other] = [await open('faulty'), await open('quiet')];
    await Promise.all([startSession(session), startSession(other)]);
    network.pullCable();
    const begun = performance.now();
    await session.write(query('select 1'));
    const late = await open('faulty');
    await late.write(STARTUP);
    expect(await readError(late)).toMatchObject({ S: 'FATAL', C: '08006' });
    expect(await ask(other, 'select 1')).toEqual([['1']]);
    await session.rest();
    expect(performance.now() - begun).toBeLessThan(30_000);
    expect(await proxy.logged({ event: 'conn.close', phase: 'relay' })).toMatchObject({
      route: 'faulty',
      reason: 'backend_reset',
      fault_side: 'backend',
    });
    expect(await ask(other, 'select 1')).toEqual([['1']]);
  },
);
