/**
 * createProxy: pgtls inside another program (ADR 0026).
 *
 * Touches no signal, ends no process and writes to no stream; several of them live side by side. The phases only go forward, but for
 * a `listen()` that failed: idle → starting → ready → draining → closed.
 */
import { inspectConfig } from '../../data-plane/data-plane.ts';
import { PgtlsError } from '../../errors.ts';
import type { ProxyHooks } from '../hooks.ts';
import { type ProxyObserver, type Proxy as Running, startProxy, type ToldEvent } from '../proxy.ts';
import { type ConfigSource, type SourceConfig, tellWarnings } from '../reload.ts';
import type { BoundAddress } from '../running-proxy.ts';
import { ProxyState } from '../state.ts';
import { ProxyStatus } from '../status.ts';
import {
  type DrainReport,
  EventHub,
  type PgtlsProxyEvent,
  type PgtlsProxyEvents,
} from './events.ts';
import type { LibraryLogger } from './logger.ts';
import {
  type CreateProxyOptions,
  checkedOptions,
  type DrainOptions,
  drainGraceMillis,
} from './options.ts';
import { sessionReport } from './session-report.ts';
import { noted, type PgtlsConfig, sourceOf } from './source.ts';
import {
  certificateStatuses,
  type PgtlsProxyPhase,
  type ProxyStats,
  StatsSource,
} from './stats.ts';

/** A proxy of an embedding program. */
export interface PgtlsProxy {
  /**
   * Checks the configuration and every file it names, and binds every address, or nothing at all. May be called again when it rejected.
   * Rejects with PgtlsError: with all that is wrong (PGTLS_CONFIG_INVALID), the addresses that cannot be bound (PGTLS_BIND_FAILED),
   * PGTLS_ALREADY_LISTENING, PGTLS_CLOSED.
   */
  listen(): Promise<readonly BoundAddress[]>;
  /**
   * Puts `config` in force for connections to come; without it, what was given last is read again, files included. All or nothing: when it
   * rejects, everything is as it was. Rejects with PgtlsError as `listen` does, or PGTLS_NOT_LISTENING.
   */
  reload(config?: PgtlsConfig): Promise<void>;
  /**
   * Stops accepting (after `shutdown_delay`), lets sessions finish within the timeout, cuts the rest, and closes. Called again it is the same
   * drain. Rejects with PGTLS_CLOSED after `close()`, PGTLS_ARGUMENTS_INVALID.
   */
  drain(options?: DrainOptions): Promise<DrainReport>;
  /** Ends everything at once, also in the middle of a start or a drain; idempotent. */
  close(): Promise<void>;
  /** The proxy at this moment; may be asked at any time. */
  stats(): ProxyStats;
  /** Calls `listener` at every such event. Throws PGTLS_ARGUMENTS_INVALID. */
  on<Event extends PgtlsProxyEvent>(event: Event, listener: PgtlsProxyEvents[Event]): this;
  /** Calls it at the next one only. Throws PGTLS_ARGUMENTS_INVALID. */
  once<Event extends PgtlsProxyEvent>(event: Event, listener: PgtlsProxyEvents[Event]): this;
  /** Ends what `on` or `once` began. Throws PGTLS_ARGUMENTS_INVALID. */
  off<Event extends PgtlsProxyEvent>(event: Event, listener: PgtlsProxyEvents[Event]): this;
  /** `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Makes a proxy, which does nothing before `listen()`. The object is copied: changing it later changes nothing. Throws
 * PGTLS_ARGUMENTS_INVALID for options that cannot be used, and PGTLS_CONFIG_INVALID for `file` beside other keys or an object that refers to
 * itself; everything else about the configuration is told by `listen()`.
 */
export function createProxy(config: PgtlsConfig, options?: CreateProxyOptions): PgtlsProxy {
  return new LibraryProxy(config, options);
}

class LibraryProxy implements PgtlsProxy {
  readonly #hooks: ProxyHooks;
  readonly #logger: LibraryLogger;
  readonly #sourceOf: (config: PgtlsConfig) => ConfigSource;
  readonly #source: ConfigSource;
  readonly #events = new EventHub();
  readonly #status: ProxyStatus;
  readonly #stats: StatsSource;
  #phase: PgtlsProxyPhase = 'idle';
  /** From `listen` on; rejects as that does. */
  #starting: Promise<Running> | null = null;
  #running: Running | null = null;
  /** Nothing is bound, and nothing is to be ended: the configuration is being read. */
  #isReading = false;
  #draining: Promise<DrainReport> | null = null;
  #closing: Promise<void> | null = null;

  constructor(config: PgtlsConfig, options: CreateProxyOptions | undefined) {
    const { hooks, logger, source } = checkedOptions(options);
    this.#hooks = hooks;
    this.#logger = logger;
    this.#sourceOf = (wanted) => sourceOf(wanted, source);
    this.#source = this.#sourceOf(config);
    this.#status = new ProxyStatus(new ProxyState());
    this.#stats = new StatsSource(this.#status);
  }

  async listen(): Promise<readonly BoundAddress[]> {
    this.#checkOpen();
    if (this.#starting !== null) {
      throw new PgtlsError('PGTLS_ALREADY_LISTENING', 'listen() was called already');
    }
    this.#phase = 'starting';
    this.#starting = this.#start();
    try {
      this.#running = await this.#starting;
    } catch (error) {
      this.#starting = null;
      this.#enter('idle');
      throw error;
    }
    this.#checkOpen();
    this.#phase = 'ready';
    const { addresses } = this.#running;
    this.#events.emit('listening', addresses);
    return addresses;
  }

  async reload(config?: PgtlsConfig): Promise<void> {
    this.#checkOpen();
    if (this.#running === null) {
      throw new PgtlsError(
        'PGTLS_NOT_LISTENING',
        'reload() has to wait until listen() has resolved',
      );
    }
    await (config === undefined
      ? this.#running.reload()
      : this.#running.reloadFrom(this.#sourceOf(config)));
  }

  async drain(options?: DrainOptions): Promise<DrainReport> {
    const graceMillis = drainGraceMillis(options);
    if (this.#draining === null) {
      this.#checkOpen();
      this.#draining = this.#end((running) => running.drain(graceMillis));
    }
    return this.#draining;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  stats(): ProxyStats {
    return this.#stats.stats(this.#phase, this.#running?.view ?? null);
  }

  on<Event extends PgtlsProxyEvent>(event: Event, listener: PgtlsProxyEvents[Event]): this {
    this.#events.add(event, listener, false);
    return this;
  }

  once<Event extends PgtlsProxyEvent>(event: Event, listener: PgtlsProxyEvents[Event]): this {
    this.#events.add(event, listener, true);
    return this;
  }

  off<Event extends PgtlsProxyEvent>(event: Event, listener: PgtlsProxyEvents[Event]): this {
    this.#events.remove(event, listener);
    return this;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start(): Promise<Running> {
    const source = noted(this.#source);
    const { config, warnings } = await this.#read(source);
    // It may have been closed while it read.
    this.#checkOpen();
    this.#logger.level = config.logLevel;
    tellWarnings(this.#logger, source.file, warnings);
    return startProxy(config, {
      logger: this.#logger,
      hooks: this.#hooks,
      observer: this.#observer(),
      source,
    });
  }

  async #read(source: ConfigSource): Promise<SourceConfig> {
    this.#isReading = true;
    try {
      return await source.load(inspectConfig);
    } finally {
      this.#isReading = false;
    }
  }

  #observer(): ProxyObserver {
    return {
      before: (next, routeName) => {
        this.#stats.routeName = routeName;
        return this.#stats.counts.before(next);
      },
      closing: () => void this.stats(),
      dataPlaneEvent: (event, routeName) => this.#tell(event, routeName),
      reloaded: (kind, error) => {
        this.#status.reloaded(kind, error);
        this.#events.emit('reload', { kind, error: error === null ? null : asError(error) });
      },
      inspected: (inspection) => {
        this.#status.inspection = inspection;
        const certificates = certificateStatuses(inspection, this.#stats.routeName);
        this.#events.emit('certificates', certificates);
      },
    };
  }

  #tell(event: ToldEvent, routeName: (routeId: number) => string): void {
    switch (event.type) {
      case 'connections-closed':
        if (this.#events.isHeard('session')) {
          for (const report of event.reports) {
            this.#events.emit('session', sessionReport(report, routeName(report.routeId)));
          }
        }
        break;
      case 'worker-restarted':
        this.#fault(`worker ${event.worker} was restarted: ${event.reason}`);
        break;
      case 'thread-restarted':
        this.#fault(`thread ${event.thread} was restarted: ${event.reason}`);
        break;
      case 'tls-established':
      case 'common-name-used':
        break;
      default:
        event satisfies never;
    }
  }

  #fault(message: string): void {
    this.#events.emit('error', new PgtlsError('PGTLS_WORKER_RESTARTED', message));
  }

  async #close(): Promise<void> {
    await this.#end((running) => running.close());
    // A drain that was under way ends with it.
    await this.#draining;
  }

  /** Ends what has been started, or is about to be; a start that fails, or reads yet, ends by itself. */
  async #end(end: (running: Running) => Promise<void>): Promise<DrainReport> {
    const hasBegun = this.#phase === 'draining';
    this.#enter('draining');
    // Who listens may ask for the same end again, which has to be known by then.
    await null;
    if (!hasBegun) {
      this.#events.emit('drain');
    }
    const running = this.#isReading ? null : await this.#starting?.catch(() => null);
    if (running !== undefined && running !== null) {
      await end(running);
    }
    const report = running?.drainReport ?? { drained: 0, cut: 0 };
    if (this.#phase !== 'closed') {
      this.#phase = 'closed';
      this.#events.emit('close', report);
    }
    return report;
  }

  /** A failed start goes back to idle, unless the end has begun. */
  #enter(phase: 'idle' | 'draining'): void {
    const isEnding = this.#phase === 'draining' || this.#phase === 'closed';
    this.#phase = isEnding ? this.#phase : phase;
  }

  #checkOpen(): void {
    if (this.#phase === 'draining' || this.#phase === 'closed') {
      throw new PgtlsError('PGTLS_CLOSED', 'the proxy has been ended; make a new one');
    }
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
