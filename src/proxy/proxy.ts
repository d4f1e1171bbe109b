/**
 * Wires listeners, negotiation, data plane and log together, and owns every lifetime.
 *
 * Order of the start: admin server, access lists, data plane (which reads every certificate), then the listeners;
 * nothing is bound before everything is valid, and what was started is ended when a later step
 * fails. Order of the end: see shutdown.ts; the admin server is last.
 */
import type { BindAddress, Config, ProxyConfig } from '../config/schema.ts';
import {
  type Answer,
  type DataPlane,
  type DataPlaneOptions,
  type DataPlaneSnapshot,
  type Inspection,
  type OnDataPlaneEvent,
  startDataPlane,
} from '../data-plane/data-plane.ts';
import { toDataPlaneOptions } from '../data-plane/options.ts';
import { PgtlsError } from '../errors.ts';
import { type AccessList, createAccessList } from '../listener/access.ts';
import type { Adopt } from '../listener/handoff.ts';
import {
  bindListener,
  type Listener,
  type ListenerObserver,
  type ListenerOptions,
} from '../listener/listener.ts';
import type { Logger } from '../observability/logger.ts';
import type { Admin } from './admin/admin.ts';
import { CertificateRefresh, type WatchedFiles } from './certificates.ts';
import { ConnectionLog } from './connection-log.ts';
import { fingerprintNow } from './file-watch.ts';
import { answerOf, hookSetOf, isQuestion, type ProxyHooks } from './hooks.ts';
import { ReportCount } from './report-count.ts';
import { Shutdown } from './shutdown.ts';
import { ProxyStatus } from './status.ts';
import { adminFiles, watchedFiles } from './watched-files.ts';

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
  readonly addresses: readonly BoundAddress[];
  /**
   * Reads certificates again, for new connections, and resolves when that is done; a failure is
   * logged and changes nothing. Never rejects.
   */
  reloadCertificates(): Promise<void>;
  /** Stops accepting, waits for sessions at most shutdown_timeout, closes; idempotent. */
  drain(): Promise<void>;
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
  readonly hooks?: ProxyHooks;
}

/** How long the end of the program waits for reports that are under way. */
const REPORTS_MILLIS = 5_000;

type ListenerPlan = Omit<ListenerOptions, 'adopt' | 'observer' | 'nextConnectionId'>;

/** Starts all routes or none. Throws PgtlsError; nothing is left running then. */
export async function startProxy(config: Config, dependencies: ProxyDependencies): Promise<Proxy> {
  const status = new ProxyStatus();
  const admin = await adminOf(config, status, dependencies.logger);
  try {
    return await startRoutes(config, dependencies, { status, admin });
  } catch (error) {
    await admin?.close();
    throw error;
  }
}

/** Nothing of it is loaded unless it is wanted. */
async function adminOf(
  { admin: wanted, proxies }: Config,
  status: ProxyStatus,
  logger: Logger,
): Promise<Admin | null> {
  if (wanted === null) {
    return null;
  }
  const { startAdmin } = await import('./admin/admin.ts');
  const routeName = (routeId: number) => proxies[routeId]?.name ?? String(routeId);
  return startAdmin({ config: wanted, status, routeName, logger });
}

/** Who tells how the proxy is doing. */
interface Told {
  readonly status: ProxyStatus;
  readonly admin: Admin | null;
}

async function startRoutes(
  config: Config,
  dependencies: ProxyDependencies,
  told: Told,
): Promise<Proxy> {
  const { logger, createDataPlane = startDataPlane } = dependencies;
  const { hooks = {} } = dependencies;
  const plans = listenerPlans(config);
  const names = config.proxies.map(({ name }) => name);
  const log = new ConnectionLog(logger, names);
  const options = toDataPlaneOptions(config, log.isDebugEnabled, hookSetOf(hooks));
  const watched = config.reloadOnChange ? watchedNow(options, config) : null;
  const reports = new ReportCount();
  const dataPlane = await createDataPlane(options, (event) => {
    if (isQuestion(event)) {
      void answerOf(hooks, event, names).then((answer) => {
        giveAnswer(dataPlane, event.questionId, answer, logger);
      });
      return;
    }
    if (event.type === 'connection-closed') {
      reports.reported();
    }
    log.dataPlaneEvent(event);
  });
  const certificates = new CertificateRefresh({
    dataPlane,
    options,
    intervalsMillis: config.proxies.map(({ listener }) => listener.certRefreshIntervalMillis),
    watched,
    logger,
    ...toldOfCertificates(told),
  });
  try {
    const adopt: Adopt = (fd, handoff) => {
      dataPlane.adopt(fd, handoff);
      reports.adopted();
    };
    const listeners = await bindAll(plans, adopt, told.admin?.observerBefore(log) ?? log);
    await certificates.start();
    const parts = { listeners, dataPlane, certificates, reports, log, logger, plans, ...told };
    return new RunningProxy(config, parts);
  } catch (error) {
    dataPlane.close();
    throw error;
  }
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

function toldOfCertificates({ status, admin }: Told) {
  return {
    reloaded: (error: unknown) => {
      status.reloaded('certificates', error);
      admin?.renew();
    },
    inspected: (inspection: Inspection) => {
      status.inspection = inspection;
    },
  };
}

function watchedNow(options: DataPlaneOptions, { admin }: Config): WatchedFiles {
  const files = [...watchedFiles(options), ...adminFiles(admin)];
  return { files, used: fingerprintNow(files) };
}

interface RunningParts extends Told {
  readonly plans: readonly ListenerPlan[];
  /** In the order of the plans. */
  readonly listeners: readonly Listener[];
  readonly dataPlane: DataPlane;
  readonly certificates: CertificateRefresh;
  readonly reports: ReportCount;
  readonly log: ConnectionLog;
  readonly logger: Logger;
}

class RunningProxy implements Proxy {
  readonly addresses: readonly BoundAddress[];
  readonly #parts: RunningParts;
  readonly #shutdown: Shutdown;

  constructor(config: Config, parts: RunningParts) {
    this.#parts = parts;
    this.addresses = parts.listeners.map(({ address }, index) => ({
      proxy: parts.plans[index]?.routeName ?? '',
      address,
    }));
    for (const { proxy, address } of this.addresses) {
      parts.logger.info(
        { event: 'listener.bind', route: proxy, listener_addr: address },
        'listening',
      );
    }
    this.#shutdown = new Shutdown({
      stopAccepting: () => this.#stopAccepting(),
      dataPlane: parts.dataPlane,
      reportsSettled: () => parts.reports.settled(REPORTS_MILLIS),
      ended: () => parts.log.flush(),
      delayMillis: config.shutdownDelayMillis,
      graceMillis: config.shutdownTimeoutMillis,
      logger: parts.logger,
    });
    parts.admin?.show({
      config: () => config,
      snapshot: () => parts.dataPlane.snapshot(),
      listeners: () =>
        parts.listeners.map(({ address, negotiatingCount }, index) => ({
          routeId: parts.plans[index]?.routeId ?? -1,
          address,
          negotiatingCount,
        })),
    });
    parts.status.readiness = 'ready';
  }

  reloadCertificates(): Promise<void> {
    return this.#parts.certificates.reload();
  }

  drain(): Promise<void> {
    return this.#end(() => this.#shutdown.drain());
  }

  close(): Promise<void> {
    return this.#end(() => this.#shutdown.close());
  }

  snapshot(): ProxySnapshot {
    const { dataPlane, listeners } = this.#parts;
    const negotiating = listeners.reduce((sum, { negotiatingCount }) => sum + negotiatingCount, 0);
    return { ...dataPlane.snapshot(), negotiating };
  }

  async #end(shutdown: () => Promise<void>): Promise<void> {
    const { status, admin } = this.#parts;
    status.readiness = 'draining';
    try {
      await shutdown();
    } finally {
      await admin?.close();
    }
  }

  async #stopAccepting(): Promise<void> {
    this.#parts.certificates.stop();
    await Promise.all(this.#parts.listeners.map((listener) => listener.close()));
  }
}

async function bindAll(
  plans: readonly ListenerPlan[],
  adopt: Adopt,
  observer: ListenerObserver,
): Promise<Listener[]> {
  let lastConnectionId = 0;
  const shared = {
    nextConnectionId: () => ++lastConnectionId,
    adopt,
    observer,
  };
  const results = await Promise.allSettled(
    plans.map((plan) => bindListener({ ...plan, ...shared })),
  );
  const listeners = results.flatMap((result) =>
    result.status === 'fulfilled' ? [result.value] : [],
  );
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  if (errors.length > 0) {
    await Promise.all(listeners.map((listener) => listener.close()));
    throw errors.length === 1 ? errors[0] : joinedBindError(errors);
  }
  return listeners;
}

function joinedBindError(errors: readonly unknown[]): PgtlsError {
  const messages = errors.map((error) => (error instanceof Error ? error.message : String(error)));
  const cause = new AggregateError(errors);
  return new PgtlsError('PGTLS_BIND_FAILED', messages.join('\n'), { cause });
}

function listenerPlans(config: Config): ListenerPlan[] {
  const all = config.proxies.flatMap(({ listener }) => listener.bindAddresses);
  return config.proxies.flatMap((proxy, routeId) => {
    const access = accessListOf(proxy);
    return proxy.listener.bindAddresses.map((address) => ({
      routeId,
      routeName: proxy.name,
      address,
      ipv6Only: isIpv6WildcardBesideIpv4(address, all),
      backlog: proxy.listener.listenBacklog,
      maxNegotiating: config.maxClientConn,
      policy: { sslmode: proxy.listener.sslmode, sslnegotiation: proxy.listener.sslnegotiation },
      access,
      loginTimeoutMillis: config.clientLoginTimeoutMillis,
    }));
  });
}

function accessListOf({ name, listener }: ProxyConfig): AccessList {
  try {
    return createAccessList(listener.allow, listener.deny);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PgtlsError('PGTLS_CONFIG_INVALID', `proxy "${name}", allow/deny: ${reason}`, {
      cause,
    });
  }
}

/** `[::]` takes IPv4, too, unless the configuration binds `0.0.0.0` to the same port itself. */
function isIpv6WildcardBesideIpv4(address: BindAddress, all: readonly BindAddress[]): boolean {
  return (
    address.kind === 'tcp' &&
    address.host === '::' &&
    address.port !== 0 &&
    all.some(
      (other) => other.kind === 'tcp' && other.host === '0.0.0.0' && other.port === address.port,
    )
  );
}
