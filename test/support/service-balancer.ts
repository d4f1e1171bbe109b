/** A Service of a platform in small: a TCP load balancer that sends connections to those instances of pgtls that say they are ready. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { adminPort, askAdmin } from './admin-client.ts';
import type { RunningProxy } from './running-proxy.ts';
import { until } from './until.ts';

/** How often an instance is asked: a kubelet's `periodSeconds`, but quicker. */
const PROBE_MILLIS = 50;

interface Instance {
  readonly port: number;
  readonly admin: number;
  isReady: boolean;
  isWatched: boolean;
}

/** Owns its socket and the connections through it, until {@link ServiceBalancer.close}. */
export class ServiceBalancer {
  /** Connections to an instance that failed before it had said anything: what a client would see as refused. */
  readonly refused: string[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #instances = new Map<RunningProxy, Instance>();
  readonly #probes: Promise<void>[] = [];
  #turn = 0;

  private constructor() {
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#forward(client));
  }

  /** Listens on a port of its own. */
  static async start(): Promise<ServiceBalancer> {
    const balancer = new ServiceBalancer();
    balancer.#server.listen({ port: 0, host: '127.0.0.1' });
    await once(balancer.#server, 'listening');
    return balancer;
  }

  /** Where clients connect. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Begins to probe an instance, and resolves when it gets connections. */
  async add(proxy: RunningProxy): Promise<void> {
    const instance = {
      port: proxy.port(),
      admin: await adminPort(proxy),
      isReady: false,
      isWatched: true,
    };
    this.#instances.set(proxy, instance);
    this.#probes.push(this.#probe(instance));
    await until('the instance is ready', () => instance.isReady, { explain: () => proxy.output });
  }

  /** Whether an instance gets connections. */
  sendsTo(proxy: RunningProxy): boolean {
    return this.#instances.get(proxy)?.isReady === true;
  }

  /** Forgets an instance. */
  remove(proxy: RunningProxy): void {
    const instance = this.#instances.get(proxy);
    if (instance !== undefined) {
      instance.isWatched = false;
      instance.isReady = false;
      this.#instances.delete(proxy);
    }
  }

  /** Ends everything. */
  async close(): Promise<void> {
    for (const proxy of [...this.#instances.keys()]) {
      this.remove(proxy);
    }
    this.#server.close();
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await Promise.all(this.#probes);
  }

  async #probe(instance: Instance): Promise<void> {
    while (instance.isWatched) {
      const status = await askAdmin(instance.admin, '/readyz').then(
        (answer) => answer.status,
        () => 0,
      );
      instance.isReady = instance.isWatched && status === 200;
      await delay(PROBE_MILLIS);
    }
  }

  #forward(client: Socket): void {
    const ready = [...this.#instances.values()].filter(({ isReady }) => isReady);
    const instance = ready[this.#turn % Math.max(ready.length, 1)];
    this.#turn += 1;
    this.#keep(client);
    if (instance === undefined) {
      this.refused.push('no instance is ready');
      client.resetAndDestroy();
      return;
    }
    const server = connect({ port: instance.port, host: '127.0.0.1', allowHalfOpen: true });
    this.#keep(server);
    server.once('error', (error) => {
      if (server.bytesRead === 0) {
        this.refused.push(error.message);
      }
      client.resetAndDestroy();
    });
    client.once('error', () => server.resetAndDestroy());
    client.pipe(server).pipe(client);
  }

  #keep(socket: Socket): void {
    socket.setNoDelay(true);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
