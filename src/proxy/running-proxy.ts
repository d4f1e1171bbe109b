/**
 * A proxy that listens: what can be asked of it and done with it, until its end.
 *
 * Order of the end: see shutdown.ts; the admin server is last.
 */
import type { Config } from '../config/schema.ts';
import type { DataPlane, DataPlaneSnapshot, DrainReport } from '../data-plane/data-plane.ts';
import type { Logger } from '../observability/logger.ts';
import type { Admin } from './admin/admin.ts';
import type { RunningView } from './admin/running.ts';
import type { ConnectionLog } from './connection-log.ts';
import type { Listeners, PassedSocket } from './listeners.ts';
import { type ConfigReload, type ConfigSource, limited, tellListeners } from './reload.ts';
import type { ReportCount } from './report-count.ts';
import type { RouteIds } from './route-ids.ts';
import { Shutdown } from './shutdown.ts';
import type { ProxyState } from './state.ts';

/** An address a proxy listens on. */
export interface BoundAddress {
  /** Name of the `[[proxy]]`. */
  readonly route: string;
  /** As bound, with the real port. */
  readonly address: string;
}

/** Counters of the running proxy. */
export interface ProxySnapshot extends DataPlaneSnapshot {
  /** Connections that still negotiate and are not in `liveSessions`. */
  readonly negotiating: number;
}

/** What a running proxy consists of. */
export interface RunningParts {
  /** As far as the process can hold it. */
  readonly within: (config: Config) => Config;
  readonly state: ProxyState;
  readonly ids: RouteIds;
  readonly admin: Admin | null;
  readonly listeners: Listeners;
  readonly dataPlane: DataPlane;
  readonly reload: ConfigReload;
  readonly reports: ReportCount;
  readonly log: ConnectionLog;
  readonly logger: Logger;
  /** Called when no session lives any more, for a last look. */
  readonly closing: () => void;
}

/** How long the end of the program waits for reports that are under way. */
const REPORTS_MILLIS = 5_000;

/** Says that it listens, and is ready from then on. The contract of each member is that of `Proxy` in proxy.ts. */
export class RunningProxy {
  readonly #parts: RunningParts;
  readonly #shutdown: Shutdown;
  #isRetiring = false;
  readonly view: RunningView;

  constructor(parts: RunningParts) {
    this.#parts = parts;
    const { listeners, logger, dataPlane, reports, log, state } = parts;
    tellListeners(logger, 'listener.bind', 'listening', listeners.active);
    const config = () => parts.reload.config;
    const isRetiring = () => this.#isRetiring;
    this.#shutdown = new Shutdown({
      stopAccepting: () => this.#stopAccepting(),
      dataPlane,
      reportsSettled: () => reports.settled(REPORTS_MILLIS),
      closing: parts.closing,
      ended: () => log.flush(),
      get delayMillis() {
        return isRetiring() ? 0 : config().shutdownDelayMillis;
      },
      get graceMillis() {
        return config().shutdownTimeoutMillis;
      },
      logger,
    });
    this.view = {
      config,
      routeName: (routeId) => parts.ids.names[routeId] ?? String(routeId),
      snapshot: () => dataPlane.snapshot(),
      listeners: () =>
        listeners.active.map(({ plan: { routeId }, listener }) => ({
          routeId,
          address: listener.address,
          negotiatingCount: listener.negotiatingCount,
        })),
    };
    parts.admin?.show(this.view);
    state.enter('ready');
  }

  get addresses(): readonly BoundAddress[] {
    return this.#parts.listeners.active.map(({ plan, listener: { address } }) => ({
      route: plan.routeName,
      address,
    }));
  }

  get state(): ProxyState {
    return this.#parts.state;
  }

  reload(config?: Config): Promise<void> {
    return this.#parts.reload.reload(config ?? null);
  }

  reloadFrom(source: ConfigSource): Promise<void> {
    return this.#parts.reload.reloadFrom(limited(source, this.#parts.within));
  }

  reloadCertificates(): Promise<void> {
    return this.#parts.reload.reloadCertificates();
  }

  get drainReport(): DrainReport {
    return this.#shutdown.report;
  }

  drain(graceMillis?: number): Promise<void> {
    return this.#end(() => this.#shutdown.drain(graceMillis));
  }

  whileUnchanged(work: () => Promise<void>): Promise<void> {
    return this.#parts.reload.whileUnchanged(work);
  }

  passedSockets(): PassedSocket[] {
    const { listeners, admin } = this.#parts;
    return [...listeners.passed(), ...(admin === null ? [] : [admin.passed()])];
  }

  async retire(): Promise<void> {
    const { listeners, reload, admin } = this.#parts;
    this.#isRetiring = true;
    this.state.enter('draining');
    reload.stop();
    listeners.leavePaths();
    const stopped = listeners.stopAccepting();
    await admin?.close();
    await atMost(reload.config.clientLoginTimeoutMillis, stopped);
    await this.#shutdown.drain();
  }

  close(): Promise<void> {
    return this.#end(() => this.#shutdown.close());
  }

  snapshot(): ProxySnapshot {
    const { dataPlane, listeners } = this.#parts;
    return { ...dataPlane.snapshot(), negotiating: listeners.negotiatingCount };
  }

  async #end(shutdown: () => Promise<void>): Promise<void> {
    this.state.enter('draining');
    try {
      await shutdown();
    } finally {
      await this.#parts.admin?.close();
    }
  }

  async #stopAccepting(): Promise<void> {
    this.#parts.reload.stop();
    await this.#parts.listeners.close();
  }
}

async function atMost(millis: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, millis);
  });
  await Promise.race([work, passed]);
  clearTimeout(timer);
}
