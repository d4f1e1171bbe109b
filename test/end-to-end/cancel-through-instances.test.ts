/**
 * CancelRequests through several instances behind one load balancer, and after a takeover: the instance that gets the request never
 * knows its key, several servers may serve the session, and exactly that session is hit.
 */
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, type RouteText } from '../support/config.ts';
import { type ClusterFacts, material } from '../support/material.ts';
import { OwnCluster } from '../support/own-cluster.ts';
import { connectPg } from '../support/pg-client.ts';
import {
  ask,
  openDirectTls,
  openNegotiatedTls,
  openTcp,
  startSession,
} from '../support/raw-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';
import { Generations } from '../support/successors.ts';
import { TcpBalancer } from '../support/tcp-balancer.ts';
import { until } from '../support/until.ts';
import { cancelRequest, errorFields, PROTOCOL_3_0, PROTOCOL_3_2, query } from '../support/wire.ts';

type RouteName = 'spread' | 'choosing' | 'unix';

let tls: ListenerTls;
let third: OwnCluster;
let instances: RunningProxy[] = [];
const balancers = new Map<RouteName, TcpBalancer>();

beforeAll(async () => {
  tls = await ListenerTls.create();
  const identity = await tls.authority.issue({ commonName: 'localhost', names: ['localhost'] });
  third = await OwnCluster.start({ identity });
  const config = await configuration();
  instances = [await RunningProxy.start(config), await RunningProxy.start(config)];
  for (const route of ['spread', 'choosing', 'unix'] as const) {
    balancers.set(route, await TcpBalancer.listen(instances.map((one) => one.port(route))));
  }
});

afterAll(async () => {
  await Promise.all([...balancers.values()].map((balancer) => balancer.close()));
  await Promise.all(instances.map((one) => one.stop()));
  await third.stop();
  tls.remove();
});

/** The servers by port: one without TLS, two with. */
function ports(): number[] {
  return [material().plain.port, material().tls.port, third.port];
}

async function configuration(shutdownTimeout = '5s'): Promise<string> {
  const { plain, tls: encrypted } = material();
  const spread: RouteText = {
    name: 'spread',
    backend: {
      address: ports().map((port) => `127.0.0.1:${port}`),
      sslmode: 'prefer',
      load_balance_hosts: 'random',
    },
  };
  const unix: RouteText = {
    name: 'unix',
    backend: {
      address: [plain, encrypted].map(({ socketPath }) => `unix:${socketPath}`),
      sslmode: 'disable',
      load_balance_hosts: 'random',
    },
  };
  const choosing: RouteText = {
    name: 'choosing',
    backend: { address: `localhost:${plain.port}`, sslmode: 'disable' },
  };
  const host = await tls.issue('host', { commonName: 'a.test', names: ['a.test'] });
  // Of the route that comes last in the file.
  return `${tls.config([spread, unix, choosing], { shutdown_timeout: shutdownTimeout })}
[proxy.backends.by-host]
address = "127.0.0.1:${encrypted.port}"
sslmode = "require"

[proxy.backends.by-database]
address = "127.0.0.1:${third.port}"
sslmode = "require"

[[proxy.route]]
database = "template*"
backend = "by-database"

[[proxy.listener.host]]
hostname = "a.test"
ssl_cert_file = ${JSON.stringify(host.certFile)}
ssl_key_file = ${JSON.stringify(host.keyFile)}
backend = "by-host"
`;
}

/** A session inside pg_sleep. */
interface Sleeper {
  readonly channel: ByteChannel;
  readonly processId: number;
  readonly secretKey: Buffer;
  /** Of the server. */
  readonly port: number;
  readonly serverName: string;
}

interface SleeperOptions {
  readonly serverName?: string;
  readonly database?: string;
  readonly version?: number;
}

/** Logs in and falls asleep. */
async function fallAsleep(
  at: number,
  { serverName = 'localhost', database = 'postgres', version }: SleeperOptions = {},
): Promise<Sleeper> {
  const channel = await openNegotiatedTls(at, { ...tls.clientOptions, servername: serverName });
  onTestFinished(() => channel.destroy());
  const { processId, secretKey } = await startSession(channel, { database }, version);
  const [[port] = []] = await ask(channel, 'show port');
  await channel.write(query('select pg_sleep(600)'));
  return { channel, processId, secretKey, port: Number(port), serverName };
}

/** Tells which sessions sleep, seen by the servers themselves. */
class Observer {
  readonly #clients: ReadonlyMap<number, pg.Client>;

  private constructor(clients: ReadonlyMap<number, pg.Client>) {
    this.#clients = clients;
  }

  static async connect(): Promise<Observer> {
    const clients = ports().map(async (port) => [port, await connectPg({ port })] as const);
    return new Observer(new Map(await Promise.all(clients)));
  }

  async isSleeping({ port, processId }: Sleeper): Promise<boolean> {
    const text = "select 1 from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";
    const found = await this.#clients.get(port)?.query(text, [processId]);
    return found?.rowCount === 1;
  }

  async allSleep(sleepers: readonly Sleeper[]): Promise<boolean> {
    for (const sleeper of sleepers) {
      if (!(await this.isSleeping(sleeper))) {
        return false;
      }
    }
    return true;
  }
}

/** The ways that a CancelRequest can come; one in plaintext has no server name. */
const WAYS = {
  'in plaintext': (port: number) => openTcp(port),
  'inside TLS': (port: number, servername: string) =>
    openNegotiatedTls(port, { ...tls.clientOptions, servername }),
  'inside direct TLS': (port: number, servername: string) =>
    openDirectTls(port, { ...tls.clientOptions, servername }),
} as const satisfies Record<string, (port: number, servername: string) => Promise<ByteChannel>>;

type Way = keyof typeof WAYS;
const ALL_WAYS = Object.keys(WAYS) as Way[];

/** Sends the request, and waits for the close that answers it. */
async function cancel(sleeper: Sleeper, way: Way, port: number): Promise<void> {
  const channel = await WAYS[way](port, sleeper.serverName);
  await channel.write(cancelRequest(sleeper.processId, sleeper.secretKey));
  expect((await channel.ended()).kind).toBe('end');
  channel.destroy();
}

/** Its statement was cancelled, once, and the session lives. */
async function expectHit({ channel }: Sleeper): Promise<void> {
  const messages = await channel.messagesUntil('Z');
  const errors = messages.filter(({ type }) => type === 'E').map(({ body }) => errorFields(body));
  expect(errors).toMatchObject([{ C: '57014' }]);
  expect(await ask(channel, 'select pg_sleep(0.01), 42')).toEqual([['', '42']]);
}

/** Behind the load balancer of a route: a session by one instance, its CancelRequest by the other. */
class Balanced {
  readonly #balancer: TcpBalancer;

  constructor(route: RouteName) {
    const balancer = balancers.get(route);
    if (balancer === undefined) {
      throw new Error(`no load balancer for ${route}`);
    }
    this.#balancer = balancer;
  }

  async sleeperAt(instance: number, options: SleeperOptions = {}): Promise<Sleeper> {
    this.#balancer.next = instance;
    return fallAsleep(this.#balancer.port, options);
  }

  /** By the instance that does not know the key of a session of `servedBy`. */
  async cancel(sleeper: Sleeper, servedBy: number, way: Way): Promise<void> {
    const other = (servedBy + 1) % instances.length;
    const before = forwardedBy(other);
    this.#balancer.next = other;
    await cancel(sleeper, way, this.#balancer.port);
    await until('the other instance tells of the request', () => forwardedBy(other) > before);
  }
}

/** Where chance led a session, and how it is to be cancelled: null = not at all. */
interface Drawn {
  readonly sleeper: Sleeper;
  readonly servedBy: number;
  readonly way: Way | null;
}

/** Sessions by one instance until each server has one for each way, and at least one that nobody cancels. */
async function drawnBy(route: Balanced, servedBy: number, version: number): Promise<Drawn[]> {
  const places = ports().flatMap((port) => [null, ...ALL_WAYS].map((way) => ({ port, way })));
  const drawn: Drawn[] = [];
  while (places.length > 0) {
    const sleeper = await route.sleeperAt(servedBy, { version });
    const index = places.findIndex(({ port }) => port === sleeper.port);
    const [place] = index < 0 ? [] : places.splice(index, 1);
    drawn.push({ sleeper, servedBy, way: place?.way ?? null });
  }
  return drawn;
}

/** How many CancelRequests an instance says it has forwarded. */
function forwardedBy(instance: number): number {
  const lines = instances[instance]?.logs ?? [];
  return lines.filter((line) => line['is_cancel'] === true && line['reason'] === 'cancel_forwarded')
    .length;
}

describe.each([
  ['3.0', PROTOCOL_3_0, 4],
  ['3.2', PROTOCOL_3_2, 32],
])('with keys of protocol %s', (_name, version, keyBytes) => {
  test('a session is hit whichever of three servers was drawn for it, and no other one is', async () => {
    const route = new Balanced('spread');
    const observer = await Observer.connect();
    const drawn = [...(await drawnBy(route, 0, version)), ...(await drawnBy(route, 1, version))];
    expect(drawn.every(({ sleeper }) => sleeper.secretKey.length === keyBytes)).toBe(true);
    await until('all sleep', () => observer.allSleep(drawn.map(({ sleeper }) => sleeper)));
    const doomed = drawn.flatMap(({ way, ...one }) => (way === null ? [] : [{ way, ...one }]));

    for (const { sleeper, servedBy, way } of doomed) {
      await route.cancel(sleeper, servedBy, way);
      await expectHit(sleeper);
    }

    expect(doomed).toHaveLength(18);
    const bystanders = drawn.filter(({ way }) => way === null).map(({ sleeper }) => sleeper);
    expect(await observer.allSleep(bystanders)).toBe(true);
  });

  test.each(ALL_WAYS)('a CancelRequest %s finds the backend of a server name', async (way) => {
    const choice = { serverName: 'a.test', version };
    await expectFound(choice, way, material().tls.port);
  });

  test.each(ALL_WAYS)('a CancelRequest %s finds the backend of a database', async (way) => {
    await expectFound({ database: 'template1', version }, way, third.port);
  });

  test.each(ALL_WAYS)('a CancelRequest %s finds the backend of all others', async (way) => {
    await expectFound({ version }, way, material().plain.port);
  });

  /** A session that is led to the server at `port` is hit by the instance that does not serve it. */
  async function expectFound(options: SleeperOptions, way: Way, port: number): Promise<void> {
    const route = new Balanced('choosing');
    const observer = await Observer.connect();
    const others = [
      await route.sleeperAt(0),
      await route.sleeperAt(1, { serverName: 'a.test' }),
      await route.sleeperAt(0, { database: 'template1' }),
    ];
    const sleeper = await route.sleeperAt(0, options);
    expect(sleeper.port).toBe(port);
    await until('all sleep', () => observer.allSleep([...others, sleeper]));

    await route.cancel(sleeper, 0, way);

    await expectHit(sleeper);
    expect(await observer.allSleep(others)).toBe(true);
  }
});

test('a session is hit behind whichever of two unix sockets it is served', async () => {
  const route = new Balanced('unix');
  const observer = await Observer.connect();
  const wanted = new Set([material().plain, material().tls].map(({ port }: ClusterFacts) => port));
  const all: Sleeper[] = [];
  while (wanted.size > 0) {
    const sleeper = await route.sleeperAt(0);
    all.push(sleeper);
    wanted.delete(sleeper.port);
  }
  await until('all sleep', () => observer.allSleep(all));

  for (const [index, sleeper] of all.entries()) {
    await route.cancel(sleeper, 0, ALL_WAYS[index % ALL_WAYS.length] ?? 'in plaintext');
    await expectHit(sleeper);
  }
});

test('40 sessions cancelled at the same time, more than there are places, are all hit', async () => {
  const route = new Balanced('choosing');
  const observer = await Observer.connect();
  const sleepers: Sleeper[] = [];
  while (sleepers.length < 40) {
    sleepers.push(await route.sleeperAt(0));
  }
  await until('all sleep', () => observer.allSleep(sleepers));

  const other = instances[1]?.port('choosing') ?? 0;
  await Promise.all(sleepers.map((sleeper) => cancel(sleeper, 'in plaintext', other)));

  await Promise.all(sleepers.map(expectHit));
});

test('after a takeover the successor hits the sessions that its predecessor still serves', async () => {
  const generations = await Generations.start(await configuration('5m'));
  const { proxy } = generations;
  const port = proxy.port('spread');
  const observer = await Observer.connect();
  const sleepers: Sleeper[] = [];
  for (const version of [PROTOCOL_3_0, PROTOCOL_3_2]) {
    for (const _way of ALL_WAYS) {
      sleepers.push(await fallAsleep(port, { version }));
    }
  }
  const bystander = await fallAsleep(port);
  await until('all sleep', () => observer.allSleep([...sleepers, bystander]));
  await generations.next();
  expect(generations.endedCount).toBe(0);

  for (const [index, sleeper] of sleepers.entries()) {
    await cancel(sleeper, ALL_WAYS[index % ALL_WAYS.length] ?? 'in plaintext', port);
    await expectHit(sleeper);
  }

  expect(await observer.isSleeping(bystander)).toBe(true);
});
