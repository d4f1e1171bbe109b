/** Many instances behind a load balancer that follows /readyz: each is replaced in turn, and no client is refused. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { ask, openNegotiatedTls, readError, startSession } from '../support/raw-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';
import { ServiceBalancer } from '../support/service-balancer.ts';
import { until } from '../support/until.ts';
import { message } from '../support/wire.ts';

/** In which the balancer must have noticed; it asks twenty times a second. */
const SHUTDOWN_DELAY = '3s';
const CLIENTS = 4;
const TERMINATE = message('X', Buffer.alloc(0));

let tls: ListenerTls;
let config: string;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const keys = tls.write('ticket.keys', `${randomBytes(64).toString('base64')}\n`, 0o600);
  const listener = { session_tickets: 1, ticket_key_file: keys };
  const top = { shutdown_delay: SHUTDOWN_DELAY, shutdown_timeout: '3s' };
  const routes = [{ name: 'orders', listener, backend: plainBackend(material().plain.port) }];
  config = `${tls.config(routes, top)}\n[admin]\nbind_address = "127.0.0.1:0"\n`;
});

afterAll(() => tls.remove());

/** An instance of the Deployment, known to the Service. */
async function startInstance(balancer: ServiceBalancer): Promise<RunningProxy> {
  const proxy = await RunningProxy.start(config);
  onTestFinished(() => proxy.kill());
  await balancer.add(proxy);
  return proxy;
}

/** A client that connects, asks and leaves, again and again, and resumes its TLS session where it can. */
class Customer {
  readonly failures: string[] = [];
  connections = 0;
  resumed = 0;
  readonly #port: number;
  readonly #done: Promise<void>;
  #session: Buffer | null = null;
  #isRunning = true;

  constructor(port: number) {
    this.#port = port;
    this.#done = this.#run();
  }

  /** Resolves after the connection that it is at. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#done;
  }

  async #run(): Promise<void> {
    while (this.#isRunning && this.failures.length === 0) {
      await this.#visit().catch((error: unknown) => this.failures.push(String(error)));
      this.connections += 1;
    }
  }

  async #visit(): Promise<void> {
    const session = this.#session === null ? {} : { session: this.#session };
    const channel = await openNegotiatedTls(this.#port, { ...tls.clientOptions, ...session });
    try {
      channel.stream.on('session', (ticket: Buffer) => {
        this.#session = ticket;
      });
      await startSession(channel);
      expect(await ask(channel, 'select 6 * 7')).toEqual([['42']]);
      this.resumed += channel.stream.isSessionReused() ? 1 : 0;
      await channel.write(TERMINATE);
      expect(await channel.ended()).toEqual({ kind: 'end' });
    } finally {
      channel.destroy();
    }
  }
}

async function sessionAt(port: number): Promise<ByteChannel> {
  const channel = await openNegotiatedTls(port, tls.clientOptions);
  onTestFinished(() => channel.destroy());
  await startSession(channel);
  return channel;
}

test('two instances are replaced one after the other: no connection is refused, sessions end as drain says, TLS sessions are resumed by all', async () => {
  const balancer = await ServiceBalancer.start();
  onTestFinished(() => balancer.close());
  const instances = [await startInstance(balancer), await startInstance(balancer)];
  const customers = Array.from({ length: CLIENTS }, () => new Customer(balancer.port));
  onTestFinished(async () => {
    await Promise.all(customers.map((customer) => customer.stop()));
  });
  const visits = () => customers.reduce((sum, { connections }) => sum + connections, 0);
  const failures = () => customers.flatMap((customer) => customer.failures);
  const more = async (count: number) => {
    const wanted = visits() + count;
    await until('more connections are served', () => visits() >= wanted || failures().length > 0);
    expect(failures()).toEqual([]);
  };
  await more(2 * CLIENTS);

  for (const old of instances) {
    const leaving = await sessionAt(old.port());
    const staying = await sessionAt(old.port());
    const successor = await startInstance(balancer);
    old.signal('SIGTERM');
    await until('the Service has taken it out', () => !balancer.sendsTo(old));
    expect(await ask(leaving, 'select 1')).toEqual([['1']]);
    await leaving.write(TERMINATE);
    expect(await leaving.ended()).toEqual({ kind: 'end' });
    expect(await readError(staying)).toMatchObject({ S: 'FATAL', C: '57P01' });
    expect(await old.exited()).toEqual({ code: 0, signal: null });
    balancer.remove(old);
    // The one that was cut is the session that stayed on purpose.
    expect(old.logs.filter(({ sqlstate }) => sqlstate === '57P01')).toHaveLength(1);
    await more(2 * CLIENTS);
    expect(balancer.sendsTo(successor)).toBe(true);
  }

  await Promise.all(customers.map((customer) => customer.stop()));
  expect(failures()).toEqual([]);
  expect(balancer.refused).toEqual([]);
  // Each client's first handshake is a full one; all others are resumed, whichever instance made the ticket.
  expect(customers.map(({ resumed }) => resumed)).toEqual(
    customers.map(({ connections }) => connections - 1),
  );
});
