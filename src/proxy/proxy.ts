/**
 * Wires listeners, negotiation, data plane and log together, and owns every lifetime.
 *
 * Order of the start: admin server, access lists, data plane (which reads every certificate), then the listeners;
 * nothing is bound before everything is valid, and what was started is ended when a later step
 * fails. Order of the end: see shutdown.ts; the admin server is last.
 */
import type { Config } from '../config/schema.ts';
import {
  type Answer,
  bindListener,
  type DataPlane,
  type DataPlaneOptions,
  type DataPlaneSnapshot,
  type OnDataPlaneEvent,
  raiseOpenFilesLimit,
  startDataPlane,
} from '../data-plane/data-plane.ts';
import { toDataPlaneOptions } from '../data-plane/options.ts';
import { PgtlsError } from '../errors.ts';
import type { Adopt, Receive } from '../listener/handoff.ts';
import type { ListenerObserver } from '../listener/listener.ts';
import type { Logger } from '../observability/logger.ts';
import type { Admin } from './admin/admin.ts';
import { ConnectionLog } from './connection-log.ts';
import { fingerprintNow } from './file-watch.ts';
import { answerOf, hookSetOf, isQuestion, type ProxyHooks } from './hooks.ts';
import { listenerPlans } from './listener-plan.ts';
import {
  type InheritedSockets,
  Listeners,
  NOTHING_INHERITED,
  type PassedSocket,
  type SharedByListeners,
} from './listeners.ts';
import { withinOpenFiles } from './open-files.ts';
import {
  ConfigReload,
  type ConfigSource,
  certificatesNow,
  limited,
  type ReloadObserver,
  tellListeners,
} from './reload.ts';
import { ReportCount } from './report-count.ts';
import { RouteIds } from './route-ids.ts';
import { Shutdown } from './shutdown.ts';
import { ProxyState } from './state.ts';
import { ProxyStatus } from './status.ts';

/** An address a proxy listens on. */
export interface BoundAddress {
  /** Name of the `[[proxy]]`. */
  readonly proxy: string;
  /** As bound, with the real port. */
  readonly address: string;
}

/** Counters of the running proxy. */
export interface ProxySnapshot extends DataPlaneSnapshot {
  /** Connections that still negotiate and are not in `liveSessions`. */
  readonly negotiating: number;
}

/** A running proxy. */
export interface Proxy {
  /** As they are now: a reload may change them. */
  readonly addresses: readonly BoundAddress[];
  /** Whether it starts, is ready or drains. */
  readonly state: ProxyState;
  /**
   * Puts `config`, or what the source of the configuration says now, in force for connections to come: listeners are added,
   * removed and changed, certificates read again, and no session is touched. All or nothing: rejects with PgtlsError when it cannot be,
   * and everything stays as it was. Keys that only a start can change stay, with a warning in the log.
   */
  reload(config?: Config): Promise<void>;
  /**
   * Reads certificates again, for new connections, and resolves when that is done; a failure is
   * logged and changes nothing. Never rejects.
   */
  reloadCertificates(): Promise<void>;
  /** Stops accepting, waits for sessions at most shutdown_timeout, closes; idempotent. */
  drain(): Promise<void>;
  /** Runs `work` while nothing is reloaded; who asks for a reload meanwhile waits. Rejects as `work` does. */
  whileUnchanged(work: () => Promise<void>): Promise<void>;
  /** The listening sockets, for a successor; they stay this proxy's. */
  passedSockets(): PassedSocket[];
  /**
   * As {@link Proxy.drain} once a successor accepts on the same sockets: no delay, paths of unix sockets stay, and connections that
   * negotiate are served to their end.
   */
  retire(): Promise<void>;
  /** Ends everything at once, also in the middle of a drain; idempotent. */
  close(): Promise<void>;
  snapshot(): ProxySnapshot;
}

/** What a proxy is made with; the data plane can be replaced for tests. */
export interface ProxyDependencies {
  readonly logger: Logger;
  readonly createDataPlane?: (
    options: DataPlaneOptions,
    onEvent: OnDataPlaneEvent,
  ) => Promise<DataPlane>;
  /** How many files the process may have open; null = unknown. */
  readonly openFilesLimit?: () => number | null;
  readonly hooks?: ProxyHooks;
  /** Where the configuration came from; without it, `reload` needs one. */
  readonly source?: ConfigSource;
  /** What is told of the phases; a new one unless given. */
  readonly state?: ProxyState;
  /** Sockets that listen already. */
  readonly inherited?: InheritedSockets;
  /** Called before and after each reload. */
  readonly onReload?: (state: 'begins' | 'ends') => void;
}

/** How long the end of the program waits for reports that are under way. */
const REPORTS_MILLIS = 5_000;

/** Starts all routes or none. Throws PgtlsError; nothing is left running then. */
export async function startProxy(
  configured: Config,
  dependencies: ProxyDependencies,
): Promise<Proxy> {
  const { logger, openFilesLimit = raiseOpenFilesLimit } = dependencies;
  const within = (wanted: Config) => withinOpenFiles(wanted, openFilesLimit(), logger);
  const config = within(configured);
  const state = dependencies.state ?? new ProxyState();
  const status = new ProxyStatus(state);
  const ids = new RouteIds();
  const admin = await adminOf(config, { status, ids }, dependencies);
  try {
    return await startRoutes(config, dependencies, { within, state, status, ids, admin });
  } catch (error) {
    await admin?.close();
    throw error;
  }
}

/** Nothing of it is loaded unless it is wanted. */
async function adminOf(
  { admin: wanted }: Config,
  { status, ids }: { status: ProxyStatus; ids: RouteIds },
  { logger, inherited = NOTHING_INHERITED }: ProxyDependencies,
): Promise<Admin | null> {
  if (wanted === null) {
    return null;
  }
  const { adminKey, startAdmin } = await import('./admin/admin.ts');
  return startAdmin({
    config: wanted,
    inheritedFd: inherited.takeByKey(adminKey(wanted))?.fd ?? null,
    status,
    routeName: (routeId) => ids.names[routeId] ?? String(routeId),
    logger,
  });
}

/** What is there before the routes are. */
interface Ground {
  readonly within: (config: Config) => Config;
  readonly state: ProxyState;
  readonly status: ProxyStatus;
  readonly ids: RouteIds;
  readonly admin: Admin | null;
}

async function startRoutes(
  config: Config,
  dependencies: ProxyDependencies,
  ground: Ground,
): Promise<Proxy> {
  const { logger, createDataPlane = startDataPlane, hooks = {} } = dependencies;
  const { source = null, inherited = NOTHING_INHERITED } = dependencies;
  const { ids, admin } = ground;
  const idOf = (name: string) => ids.idOf(name);
  const log = new ConnectionLog(logger, ids.names);
  const optionsOf = (wanted: Config) =>
    toDataPlaneOptions(wanted, log.isDebugEnabled, hookSetOf(hooks), idOf);
  const plansOf = (wanted: Config) => listenerPlans(wanted, idOf);
  const plans = plansOf(config);
  const options = optionsOf(config);
  const before = {
    certificates: certificatesNow(config, options),
    source: source === null ? null : (source.before ?? fingerprintNow([source.file])),
  };
  const reports = new ReportCount();
  const dataPlane = await createDataPlane(options, (event) => {
    if (isQuestion(event)) {
      void answerOf(hooks, event, ids.names).then((answer) => {
        giveAnswer(dataPlane, event.questionId, answer, logger);
      });
      return;
    }
    if (event.type === 'connections-closed') {
      reports.reported(event.reports.length);
    }
    log.dataPlaneEvent(event);
  });
  try {
    const observer = admin?.observerBefore(log) ?? log;
    const listeners = await Listeners.bind(
      plans,
      sharedBy(dataPlane, reports, observer),
      inherited,
    );
    const reload = new ConfigReload(
      {
        config,
        source: source === null ? null : limited(source, ground.within),
        dataPlane,
        optionsOf,
        plansOf,
        prepareListeners: (wanted) => listeners.prepare(wanted),
        onReload: dependencies.onReload ?? (() => {}),
        told: reloadObserver(ground),
        logger,
      },
      before,
    );
    await reload.start();
    listeners.claim(inherited);
    return new RunningProxy({ ...ground, listeners, dataPlane, reload, reports, log, logger });
  } catch (error) {
    dataPlane.close();
    throw error;
  }
}

function sharedBy(
  dataPlane: DataPlane,
  reports: ReportCount,
  observer: ListenerObserver,
): SharedByListeners {
  const adopt: Adopt = (fd, handoff) => {
    dataPlane.adopt(fd, handoff);
    reports.adopted();
  };
  const receive: Receive = (fd, into) => dataPlane.receiveAtOnce(fd, into);
  return { adopt, receive, observer, bindSocket: bindListener };
}

function reloadObserver({ status, admin }: Ground): ReloadObserver {
  return {
    reloaded: (kind, error) => {
      status.reloaded(kind, error);
      admin?.renew();
    },
    inspected: (inspection) => {
      status.inspection = inspection;
    },
  };
}

/** Nobody waits for an answer once the data plane is closed; an answer that cannot be given leaves its connection to its deadline. */
function giveAnswer(
  dataPlane: DataPlane,
  questionId: number,
  answer: Answer,
  logger: Logger,
): void {
  try {
    dataPlane.answer(questionId, answer);
  } catch (error) {
    if (!(error instanceof PgtlsError && error.code === 'PGTLS_CLOSED')) {
      logger.error({ event: 'hook.answer', err: error }, "a hook's answer was lost");
    }
  }
}

interface RunningParts extends Ground {
  readonly listeners: Listeners;
  readonly dataPlane: DataPlane;
  readonly reload: ConfigReload;
  readonly reports: ReportCount;
  readonly log: ConnectionLog;
  readonly logger: Logger;
}

class RunningProxy implements Proxy {
  readonly #parts: RunningParts;
  readonly #shutdown: Shutdown;
  #isRetiring = false;

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
      ended: () => log.flush(),
      get delayMillis() {
        return isRetiring() ? 0 : config().shutdownDelayMillis;
      },
      get graceMillis() {
        return config().shutdownTimeoutMillis;
      },
      logger,
    });
    parts.admin?.show({
      config,
      routeName: (routeId) => parts.ids.names[routeId] ?? String(routeId),
      snapshot: () => dataPlane.snapshot(),
      listeners: () =>
        listeners.active.map(({ plan: { routeId }, listener }) => ({
          routeId,
          address: listener.address,
          negotiatingCount: listener.negotiatingCount,
        })),
    });
    state.enter('ready');
  }

  get addresses(): readonly BoundAddress[] {
    return this.#parts.listeners.active.map(({ plan, listener: { address } }) => ({
      proxy: plan.routeName,
      address,
    }));
  }

  get state(): ProxyState {
    return this.#parts.state;
  }

  reload(config?: Config): Promise<void> {
    return this.#parts.reload.reload(config ?? null);
  }

  reloadCertificates(): Promise<void> {
    return this.#parts.reload.reloadCertificates();
  }

  drain(): Promise<void> {
    return this.#end(() => this.#shutdown.drain());
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
