/**
 * The listening socket of one listener: bound by Node, by the addon, or inherited from a predecessor or the service manager.
 *
 * A unix socket is always bound by the addon and opened by its descriptor: Node would unlink the path of one that it had bound
 * itself whenever it closes it, also when a successor has it by then. Whoever owns the path removes it here.
 */

import { type BigIntStats, closeSync, lstatSync, unlinkSync } from 'node:fs';
import type { Server } from 'node:net';
import type { BindAddress } from '../config/schema.ts';
import { serverDescriptor } from './handoff.ts';
import { applyPermissions, removeStaleSocket } from './unix-socket.ts';

/** A listening socket that another process has bound. */
export interface InheritedSocket {
  /** Ours to close. */
  readonly fd: number;
  /** Whether we remove a unix socket's path at the end; false when the service manager does. */
  readonly ownsPath: boolean;
}

/** How a socket comes to be. */
export interface ServerSocketOptions {
  readonly address: BindAddress;
  /** Leaves the IPv4 port of an IPv6 wildcard to another listener. */
  readonly ipv6Only: boolean;
  readonly backlog: number;
  readonly inherited: InheritedSocket | null;
  /** Shares a TCP port with others that ask for it, too. */
  readonly reusePort: boolean;
  /** Binds what Node cannot, and gives the descriptor. */
  readonly bindSocket: (request: BindRequest) => number;
}

/** A socket to be bound outside of Node. */
export interface BindRequest {
  kind: 'tcp' | 'unix';
  /** An IP address, or a path. */
  host: string;
  port: number;
  ipv6Only: boolean;
  reusePort: boolean;
}

/** Owns the path of a unix socket as long as that is the same file, unless told otherwise. */
export class ServerSocket {
  readonly #server: Server;
  readonly #options: ServerSocketOptions;
  /** The file that is ours to remove. */
  #file: BigIntStats | null = null;

  constructor(server: Server, options: ServerSocketOptions) {
    this.#server = server;
    this.#options = options;
  }

  /** Begins to listen; rejects with what the system says. */
  async listen(): Promise<void> {
    const { address, inherited, backlog, ipv6Only } = this.#options;
    if (inherited !== null) {
      this.applyPermissions(address);
      await this.#listenOn(inherited.fd);
    } else if (address.kind === 'unix') {
      await this.#listenOnPath(address.path);
    } else {
      const { host, port } = address;
      if (this.#options.reusePort) {
        await this.#listenOn(await this.#bindShared(host, port));
        return;
      }
      await this.#listening(() => this.#server.listen({ host, port, backlog, ipv6Only }));
    }
  }

  /** Of the listening socket, which stays the server's. */
  get descriptor(): number {
    return serverDescriptor(this.#server);
  }

  /** Whether the path is removed at the end: it is ours, and leads to the file still that was bound. */
  get ownsPath(): boolean {
    const { address } = this.#options;
    if (address.kind !== 'unix' || this.#file === null) {
      return false;
    }
    const found = fileAt(address.path);
    return found?.dev === this.#file.dev && found.ino === this.#file.ino;
  }

  /** An inherited path is ours from now on, if it was the predecessor's. */
  claimPath(): void {
    const { address, inherited } = this.#options;
    if (address.kind === 'unix' && inherited?.ownsPath === true) {
      this.#file = fileAt(address.path);
    }
  }

  /** The path is a successor's from now on. */
  leavePath(): void {
    this.#file = null;
  }

  /**
   * Removes the path, if it is ours still; before the server closes, so that nobody connects to what is going away. One that
   * cannot be removed (its directory is not writable any more) is left: the next start replaces a stale socket.
   */
  removePath(): void {
    const { address } = this.#options;
    if (address.kind === 'unix' && this.ownsPath) {
      removeQuietly(address.path);
    }
    this.#file = null;
  }

  async #listenOnPath(path: string): Promise<void> {
    const fd = await this.#bindUnix(path);
    this.#file = fileAt(path);
    try {
      this.applyPermissions(this.#options.address);
    } catch (error) {
      closeSync(fd);
      this.removePath();
      throw error;
    }
    await this.#listenOn(fd);
  }

  /**
   * Sets mode and group of a unix socket; before it listens, so that nobody gets in by the wrong ones. Those of a service
   * manager's socket are its own.
   */
  applyPermissions(address: BindAddress): void {
    const { inherited } = this.#options;
    if (address.kind === 'unix' && inherited?.ownsPath !== false) {
      applyPermissions(address.path, address.mode, address.group);
    }
  }

  async #bindUnix(path: string): Promise<number> {
    const { bindSocket } = this.#options;
    const request = { host: path, port: 0, ipv6Only: false, reusePort: false };
    try {
      return bindSocket({ kind: 'unix', ...request });
    } catch (error) {
      if (!(await removeStaleSocket(path))) {
        throw Object.assign(error as Error, { address: path });
      }
      return bindSocket({ kind: 'unix', ...request });
    }
  }

  /** Node 20 has no SO_REUSEPORT. The error names the address as Node's own do. */
  async #bindShared(hostname: string, port: number): Promise<number> {
    const { bindSocket, ipv6Only } = this.#options;
    try {
      // Loaded for names only: it makes a resolver, which takes some milliseconds of the start.
      const { lookup } = await import('node:dns/promises');
      const { address: host } = await lookup(hostname);
      return bindSocket({ kind: 'tcp', host, port, ipv6Only, reusePort: true });
    } catch (error) {
      throw Object.assign(error as Error, { hostname, address: hostname, port });
    }
  }

  #listenOn(fd: number): Promise<void> {
    return this.#listening(() => this.#server.listen({ fd }, this.#options.backlog));
  }

  #listening(listen: () => void): Promise<void> {
    const server = this.#server;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.once('listening', () => {
        server.removeListener('error', reject);
        resolve();
      });
      listen();
    });
  }
}

/** Removes the path of a socket that nobody listens on, if that can be: the end of a listener is not to fail for its path. */
export function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Gone already, or to be replaced by whoever binds it next.
  }
}

/** null = none, or none that can be seen: nothing of ours. */
function fileAt(path: string): BigIntStats | null {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false }) ?? null;
  } catch {
    return null;
  }
}
