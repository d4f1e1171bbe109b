/** A backend in the test's own process: accepts any start-up, then does what the test says; no PostgreSQL behind it. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { ByteChannel } from './byte-channel.ts';
import { message } from './wire.ts';

/** What to do with a connection; its rejection is kept in {@link FakeBackend.failures}. */
export type BackendScript = (channel: ByteChannel<Socket>) => Promise<void>;

/** A listening fake backend that ends with the running test. */
export class FakeBackend {
  /** Every connection until now. */
  readonly connections: Array<ByteChannel<Socket>> = [];
  /** What scripts threw. */
  readonly failures: unknown[] = [];
  readonly #server: Server;

  private constructor(script: BackendScript, allowHalfOpen: boolean) {
    this.#server = createServer({ allowHalfOpen, noDelay: true }, (socket) => {
      const channel = new ByteChannel(socket);
      this.connections.push(channel);
      script(channel).catch((error: unknown) => this.failures.push(error));
    });
  }

  /**
   * Listens on an ephemeral port of 127.0.0.1. Like PostgreSQL it closes a connection whose client has ended its sending
   * direction, unless `allowHalfOpen` is set: then closing is the script's business.
   */
  static async listen(
    script: BackendScript,
    options: { allowHalfOpen?: boolean } = {},
  ): Promise<FakeBackend> {
    const backend = new FakeBackend(script, options.allowHalfOpen ?? false);
    backend.#server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
    await once(backend.#server, 'listening');
    onTestFinished(() => backend.close());
    return backend;
  }

  /** The port. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Stops listening and destroys all connections. */
  async close(): Promise<void> {
    for (const connection of this.connections) {
      connection.destroy();
    }
    if (this.#server.listening) {
      await new Promise((resolve) => this.#server.close(resolve));
    }
  }
}

/** Reads a startup-type packet, its length included. */
export async function readStartup(channel: ByteChannel): Promise<Buffer> {
  const length = await channel.read(4);
  return Buffer.concat([length, await channel.read(length.readInt32BE(0) - 4)]);
}

/** What a server says when authentication isn't needed: AuthenticationOk … ReadyForQuery. */
export function welcome(processId = 1, secretKey: Buffer = Buffer.from('abcd')): Buffer {
  const pid = Buffer.alloc(4);
  pid.writeInt32BE(processId);
  return Buffer.concat([
    message('R', Buffer.alloc(4)),
    message('S', Buffer.from('server_version\x0018.0\0')),
    message('K', Buffer.concat([pid, secretKey])),
    message('Z', Buffer.from('I')),
  ]);
}

/** The script of a server that lets everybody in and then says nothing. */
export async function acceptAndIdle(channel: ByteChannel): Promise<void> {
  await readStartup(channel);
  await channel.write(welcome());
}
