/** A load balancer that knows nothing of PostgreSQL: each new TCP connection goes to the next of several instances. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Owns its connections until {@link TcpBalancer.close}. */
export class TcpBalancer {
  /** Where the next connection goes to: an index of the instances. Moves on with every connection. */
  next = 0;
  readonly #ports: readonly number[];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(ports: readonly number[]) {
    this.#ports = ports;
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#pass(client));
  }

  /** In front of the instances with these ports on 127.0.0.1. */
  static async listen(ports: readonly number[]): Promise<TcpBalancer> {
    const balancer = new TcpBalancer(ports);
    balancer.#server.listen(0, '127.0.0.1');
    await once(balancer.#server, 'listening');
    return balancer;
  }

  /** On 127.0.0.1. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await once(this.#server, 'close');
  }

  #pass(client: Socket): void {
    const port = this.#ports[this.next % this.#ports.length] ?? 0;
    this.next = (this.next + 1) % this.#ports.length;
    const instance = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    for (const [one, other] of [
      [client, instance],
      [instance, client],
    ] as const) {
      this.#sockets.add(one);
      one.setNoDelay(true);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => this.#sockets.delete(one));
    }
  }
}
