/**
 * What the service manager gives in the environment: listening sockets (sd_listen_fds(3)), and how often it wants a sign of life
 * (sd_watchdog_enabled(3)).
 */
import { isIPv6 } from 'node:net';
import type { Environment } from '../config/environment.ts';
import type { BindAddress } from '../config/schema.ts';
import type { InheritedSocket } from '../listener/server-socket.ts';
import type { Logger } from '../observability/logger.ts';
import type { ListenerPlan } from '../proxy/listener-plan.ts';
import type { InheritedSockets } from '../proxy/listeners.ts';
import { ServiceManager } from '../proxy/service-manager.ts';
import type { ProxyState } from '../proxy/state.ts';

/** Where a socket is bound, as the addon tells. */
export interface BoundSocket {
  readonly kind: 'tcp' | 'unix';
  readonly host: string;
  readonly port: number;
}

/** The first descriptor that is passed. */
const FIRST_FD = 3;

/** What is needed of the native binding. */
export interface NativeService {
  notify(message: string): boolean;
  boundAddress(fd: number): BoundSocket | null;
}

/** What is needed of the process. */
export interface ServedProcess {
  readonly environment: Environment;
  readonly pid: number;
  /** CLOCK_MONOTONIC. */
  readonly monotonicMicros: () => bigint;
}

interface ActivatedSocket {
  readonly fd: number;
  readonly name: string;
  readonly bound: BoundSocket | null;
}

/** Microseconds within which a sign of life is expected of process `pid`; 0 = none is. */
function watchdogMicros(environment: Environment, pid: number): number {
  const { WATCHDOG_USEC: micros, WATCHDOG_PID: wanted } = environment;
  const isOurs = wanted === undefined || wanted === String(pid);
  return isOurs && micros !== undefined && /^\d+$/.test(micros) ? Number(micros) : 0;
}

/**
 * The sockets passed to process `pid`; null when there are none. A listener gets one that is named as its route (`FileDescriptorName=`),
 * of several the one with its address, or else one that is bound to its address. `onUnused` hears of those that no listener
 * took; those that listen are closed.
 */
function activatedSockets(
  environment: Environment,
  pid: number,
  boundAddress: (fd: number) => BoundSocket | null,
  onUnused: (description: string) => void,
): InheritedSockets | null {
  const { LISTEN_PID, LISTEN_FDS = '0', LISTEN_FDNAMES = '' } = environment;
  const count = Number(LISTEN_FDS);
  if (LISTEN_PID !== String(pid) || !Number.isSafeInteger(count) || count <= 0) {
    return null;
  }
  const names = LISTEN_FDNAMES.split(':');
  const sockets = Array.from({ length: count }, (_, index) => {
    const fd = FIRST_FD + index;
    return { fd, name: names[index] ?? '', bound: boundAddress(fd) };
  });
  return new ActivatedSockets(sockets, onUnused);
}

/** Their paths are the service manager's. */
class ActivatedSockets implements InheritedSockets {
  readonly #left: Set<ActivatedSocket>;
  readonly #onUnused: (description: string) => void;

  constructor(sockets: readonly ActivatedSocket[], onUnused: (description: string) => void) {
    this.#left = new Set(sockets);
    this.#onUnused = onUnused;
  }

  /** The service manager's are listeners' alone. */
  takeByKey(): null {
    return null;
  }

  take({ routeName, address }: ListenerPlan): InheritedSocket | null {
    const listening = [...this.#left].filter(({ bound }) => bound !== null);
    const named = listening.filter(
      ({ name, bound }) => name === routeName && bound?.kind === address.kind,
    );
    const isThere = ({ bound }: ActivatedSocket) => bound !== null && isBoundTo(bound, address);
    const found = named.find(isThere) ?? named[0] ?? listening.find(isThere);
    if (found === undefined) {
      return null;
    }
    this.#left.delete(found);
    return { fd: found.fd, ownsPath: false };
  }

  rest(): { fd: number; ownedPath: null }[] {
    const left = [...this.#left];
    this.#left.clear();
    for (const { fd, name, bound } of left) {
      const where = bound === null ? 'not listening' : `${bound.host} ${bound.port}`;
      this.#onUnused(`descriptor ${fd}, named "${name}", ${where}`);
    }
    // What is no listening socket is left alone: whoever it belongs to.
    const listening = left.filter(({ bound }) => bound !== null);
    return listening.map(({ fd }) => ({ fd, ownedPath: null }));
  }
}

function isBoundTo(bound: BoundSocket, address: BindAddress): boolean {
  if (address.kind === 'unix') {
    return bound.kind === 'unix' && bound.host === address.path;
  }
  return (
    bound.kind === 'tcp' &&
    bound.port === address.port &&
    canonical(bound.host) === canonical(address.host)
  );
}

/** IPv6 addresses have many spellings. */
function canonical(host: string): string {
  return isIPv6(host) ? new URL(`tcp://[${host}]`).hostname : host;
}

/** Tells the service manager of `state` and of what is yet to be told, if there is one. */
export function serviceManager(
  native: NativeService,
  state: ProxyState,
  { environment, pid, monotonicMicros }: ServedProcess,
  logger: Logger,
): ServiceManager {
  const notify = (message: string) => void native.notify(message);
  const watchdog = watchdogMicros(environment, pid);
  return new ServiceManager({ notify, state, watchdogMicros: watchdog, monotonicMicros, logger });
}

/** What the service manager listens on for us; null = nothing. */
export function activated(
  native: NativeService,
  { environment, pid }: ServedProcess,
  logger: Logger,
): InheritedSockets | null {
  return activatedSockets(environment, pid, native.boundAddress, (description) => {
    const text = `a socket of the service manager is for no proxy and is not used: ${description}`;
    logger.warn({ event: 'listener.unused' }, text);
  });
}
