/**
 * Wires listeners, negotiation, data plane and log together, and owns every lifetime.
 *
 * Order of the start: admin server, access lists, data plane (which reads every certificate), then the listeners;
 * nothing is bound before everything is valid, and what was started is ended when a later step
 * fails. What comes after the start is running-proxy.ts.
 */
import type { Config } from '../config/schema.ts';
import {
  type Answer,
  bindListener,
  type DataPlane,
  type DataPlaneEvent,
  type DataPlaneOptions,
  type DrainReport,
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
import type { RunningView } from './admin/running.ts';
import { ConnectionLog } from './connection-log.ts';
import { answerOf, hookSetOf, isQuestion, type ProxyHooks, type QuestionEvent } from './hooks.ts';
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
  fingerprintOf,
  limited,
  type ReloadObserver,
} from './reload.ts';
import { ReportCount } from './report-count.ts';
import { RouteIds } from './route-ids.ts';
import { type BoundAddress, type ProxySnapshot, RunningProxy } from './running-proxy.ts';
import { ProxyState } from './state.ts';
import { ProxyStatus } from './status.ts';

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
  /** As {@link Proxy.reload}; what `source` says is read again from then on, unless this rejects. */
  reloadFrom(source: ConfigSource): Promise<void>;
  /** Stops accepting, waits for sessions at most shutdown_timeout or `graceMillis`, closes; idempotent. */
  drain(graceMillis?: number): Promise<void>;
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
  /** How sessions ended; final when `drain` or `close` has resolved. */
  readonly drainReport: DrainReport;
  snapshot(): ProxySnapshot;
  /** For who tells how the proxy is doing. */
  readonly view: RunningView;
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
  /** Of the program that embeds this. */
  readonly observer?: ProxyObserver;
}

/** Hears of what happens in a proxy; must not throw. */
export interface ProxyObserver extends ReloadObserver {
  /** Stands before `next`, which is to be told, too; `routeName` is of the routes by id. */
  before(next: ListenerObserver, routeName: (routeId: number) => string): ListenerObserver;
  /** No session lives any more, and the proxy is about to be gone. */
  closing(): void;
  /** What the data plane tells. */
  dataPlaneEvent(event: ToldEvent, routeName: (routeId: number) => string): void;
}

/** An event that waits for no answer. */
export type ToldEvent = Exclude<DataPlaneEvent, QuestionEvent>;

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
  const routeName = (routeId: number) => ids.names[routeId] ?? String(routeId);
  const log = new ConnectionLog(logger, ids.names);
  const optionsOf = (wanted: Config) =>
    toDataPlaneOptions(wanted, log.isDebugEnabled, hookSetOf(hooks), idOf);
  const plansOf = (wanted: Config) => listenerPlans(wanted, idOf);
  const plans = plansOf(config);
  const options = optionsOf(config);
  const before = {
    certificates: certificatesNow(config, options),
    source: source?.before ?? fingerprintOf(source),
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
    dependencies.observer?.dataPlaneEvent(event, routeName);
  });
  try {
    const counted = admin?.observerBefore(log) ?? log;
    const observer = dependencies.observer?.before(counted, routeName) ?? counted;
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
        told: reloadObserver(ground, dependencies.observer),
        logger,
      },
      before,
    );
    await reload.start();
    listeners.claim(inherited);
    const closing = () => dependencies.observer?.closing();
    const kept = { listeners, dataPlane, reload, reports, log, logger };
    return new RunningProxy({ ...ground, ...kept, closing });
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

function reloadObserver(
  { status, admin }: Ground,
  observer: ProxyObserver | undefined,
): ReloadObserver {
  return {
    reloaded: (kind, error) => {
      status.reloaded(kind, error);
      admin?.renew();
      observer?.reloaded(kind, error);
    },
    inspected: (inspection) => {
      status.inspection = inspection;
      observer?.inspected(inspection);
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
