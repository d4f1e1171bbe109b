/**
 * The configuration while the proxy runs: read again on request and when its file changes, and put in place as a whole or not at all.
 *
 * New addresses are bound and every certificate is read before anything is swapped; sessions keep the route they began with. One
 * at a time; who asks meanwhile gets another one after that. Certificates alone are certificates.ts's, which is made anew with every
 * configuration.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ConfigDiagnostic } from '../config/diagnostics.ts';
import type { Config } from '../config/schema.ts';
import type { DataPlane, DataPlaneOptions, Inspection } from '../data-plane/data-plane.ts';
import { toDataPlaneOptions } from '../data-plane/options.ts';
import { PgtlsError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import { CertificateRefresh, type WatchedFiles } from './certificates.ts';
import { FileWatch, fingerprintNow, WATCH_INTERVAL_MILLIS } from './file-watch.ts';
import type { ListenerPlan } from './listener-plan.ts';
import type { CommittedChange, ListenerChange, PlannedListener } from './listeners.ts';
import { adminFiles, watchedFiles } from './watched-files.ts';

/** Where a configuration comes from, so that it can be read again. */
export interface ConfigSource {
  /** Absolute, watched with reload_on_change; null = there is none to watch. */
  readonly file: string | null;
  /** What {@link fingerprintNow} gave before it was read for the start, so that no change after it is missed. */
  readonly before?: string;
  /** Reads and checks it all; `inspect` reads the certificates of a configuration. Rejects with PgtlsError. */
  load(inspect: (config: Config) => Promise<Inspection>): Promise<SourceConfig>;
}

/** A configuration as loaded. */
export interface SourceConfig {
  readonly config: Config;
  readonly warnings: readonly ConfigDiagnostic[];
}

/** The same, as far as `within` lets it: what the process can hold. */
export function limited(source: ConfigSource, within: (config: Config) => Config): ConfigSource {
  return {
    file: source.file,
    load: async (inspect) => {
      const loaded = await source.load(inspect);
      return { ...loaded, config: within(loaded.config) };
    },
  };
}

/** What a reload acts on. */
export interface ConfigReloadOptions {
  readonly config: Config;
  readonly source: ConfigSource | null;
  readonly dataPlane: Pick<DataPlane, 'reload' | 'inspect'>;
  readonly optionsOf: (config: Config) => DataPlaneOptions;
  readonly plansOf: (config: Config) => ListenerPlan[];
  readonly prepareListeners: (plans: readonly ListenerPlan[]) => Promise<ListenerChange>;
  /** Called before and after each reload, whatever becomes of it. */
  readonly onReload: (state: 'begins' | 'ends') => void;
  /** Hears how every reload ended; must not throw. */
  readonly told: ReloadObserver;
  readonly logger: Logger;
}

/** Who is told of reloads. */
export interface ReloadObserver {
  /** `error` null = it succeeded. */
  reloaded(kind: 'config' | 'certificates', error: unknown): void;
  /** What is in the files of the routes, whenever they were looked into. */
  inspected(inspection: Inspection): void;
}

/** What made the configuration be read again. */
type Trigger = 'request' | 'change';

/** Files as they were before they were read. */
export interface FilesBefore {
  /** null = not watched. */
  readonly certificates: WatchedFiles | null;
  /** Of the configuration's own file. */
  readonly source: string | null;
}

/** Keys that only a start can change. */
const FIXED_KEYS = {
  workers: 'workers',
  max_client_conn: 'maxClientConn',
  max_concurrent_handshakes: 'maxConcurrentHandshakes',
  log_level: 'logLevel',
  log_format: 'logFormat',
  admin: 'admin',
} as const satisfies Record<string, keyof Config>;

/** What `config` names, as it is at this moment; to be asked before it is read. */
export function certificatesNow(config: Config, options: DataPlaneOptions): WatchedFiles | null {
  if (!config.reloadOnChange) {
    return null;
  }
  const files = [...watchedFiles(options), ...adminFiles(config.admin)];
  return { files, used: fingerprintNow(files) };
}

/** The source's file at this moment; null = there is none to watch. */
export function fingerprintOf(source: ConfigSource | null): string | null {
  const file = source?.file ?? null;
  return file === null ? null : fingerprintNow([file]);
}

/** Owns the watches from `start` to `stop`. */
export class ConfigReload {
  readonly #options: ConfigReloadOptions;
  #config: Config;
  #source: ConfigSource | null;
  #dataPlaneOptions: DataPlaneOptions;
  #certificates: CertificateRefresh;
  #watch: FileWatch | null;
  #isStopped = false;
  /** The reload under way; never rejects. */
  #running: Promise<void> = Promise.resolve();
  /** For all who asked for the source while that one ran. */
  #next: Promise<void> | null = null;
  /** The swap under way: certificates alone are not read meanwhile. Never rejects. */
  #swap: Promise<void> = Promise.resolve();
  #toldFailure: string | null = null;

  constructor(options: ConfigReloadOptions, before: FilesBefore) {
    this.#options = options;
    this.#config = options.config;
    this.#source = options.source;
    this.#dataPlaneOptions = options.optionsOf(options.config);
    this.#certificates = this.#refresh(before.certificates);
    this.#watch = this.#watchOf(before.source);
  }

  /** As it is in force. */
  get config(): Config {
    return this.#config;
  }

  /** Begins to watch, and tells what is doubtful about the certificates. */
  async start(): Promise<void> {
    await this.#certificates.start();
    if (!this.#isStopped) {
      this.#watch?.start();
    }
  }

  /** Ends watches and timers; a reload under way changes nothing any more. Idempotent. */
  stop(): void {
    this.#isStopped = true;
    this.#watch?.stop();
    this.#certificates.stop();
  }

  /** Reads certificates alone; never rejects. */
  reloadCertificates(): Promise<void> {
    return this.#certificates.reload();
  }

  /** Puts `config`, or what the source says now, in force; rejects with what kept it from being, which the log says, too. */
  reload(config: Config | null): Promise<void> {
    if (config !== null) {
      this.#next = null;
      return this.#queue(() => this.#try('request', async () => ({ config, warnings: [] })));
    }
    this.#next ??= this.#readAgain();
    return this.#next;
  }

  #readAgain(): Promise<void> {
    const reading = this.#queue(() => {
      this.#next = this.#next === reading ? null : this.#next;
      const { source, config: running } = this;
      const load = async () => ({ config: running, warnings: [] });
      return this.#try('request', source === null ? load : () => this.#load(source), source);
    });
    return reading;
  }

  /** Puts what `source` says in force; it is the one to read again from then on, unless this rejects. */
  reloadFrom(source: ConfigSource): Promise<void> {
    // Who asks from now on wants it read after this.
    this.#next = null;
    return this.#queue(() => this.#try('request', () => this.#load(source), source));
  }

  /** What is read again. */
  get source(): ConfigSource | null {
    return this.#source;
  }

  /** Runs `work` behind the reload under way, if there is one, and before those that are asked for meanwhile. */
  whileUnchanged(work: () => Promise<void>): Promise<void> {
    return this.#queue(work);
  }

  #queue(work: () => Promise<void>): Promise<void> {
    const done = this.#running.then(work);
    this.#running = done.catch(() => {});
    return done;
  }

  #load(source: ConfigSource): Promise<SourceConfig> {
    const { dataPlane } = this.#options;
    return source.load((config) => dataPlane.inspect(toDataPlaneOptions(config, false)));
  }

  /** `source` is what the configuration comes from. */
  async #try(
    trigger: Trigger,
    load: () => Promise<SourceConfig>,
    source: ConfigSource | null = this.#source,
  ): Promise<void> {
    const { onReload, told } = this.#options;
    onReload('begins');
    try {
      await this.#apply(trigger, load, source);
      this.#toldFailure = null;
      told.reloaded('config', null);
      told.reloaded('certificates', null);
    } catch (error) {
      if (this.#isStopped) {
        throw new PgtlsError('PGTLS_CLOSED', 'the proxy is ending', { cause: error });
      }
      if (this.#isNews(trigger, error)) {
        told.reloaded('config', error);
        this.#tellFailure(trigger, error);
      }
      // The watch tries again by itself what it was that told.
      if (trigger === 'request' && source !== null && source === this.#source) {
        // What failed may lie in another file than the one that is watched, and be put right there.
        this.#watch?.tryAgain();
      }
      throw error;
    } finally {
      onReload('ends');
    }
  }

  async #apply(
    trigger: Trigger,
    load: () => Promise<SourceConfig>,
    source: ConfigSource | null,
  ): Promise<void> {
    const { optionsOf, plansOf, prepareListeners } = this.#options;
    const sourceBefore = fingerprintOf(source);
    this.#checkRunning();
    const { config: wanted, warnings } = await load();
    const { config, ignored } = withFixedKeys(wanted, this.#config);
    const options = optionsOf(config);
    const before = { certificates: certificatesNow(config, options), source: sourceBefore };
    this.#checkRunning();
    const change = await prepareListeners(plansOf(config));
    try {
      this.#checkRunning();
      await this.#swapRoutes(options);
      this.#checkRunning();
    } catch (error) {
      await change.abandon();
      throw error;
    }
    this.#config = config;
    this.#source = source;
    this.#dataPlaneOptions = options;
    this.#tell(trigger, change.commit(), ignored, warnings);
    await this.#watchAnew(before);
  }

  #swapRoutes({ routes }: DataPlaneOptions): Promise<void> {
    const swap = this.#options.dataPlane.reload(routes);
    this.#swap = swap.catch(() => {});
    return swap;
  }

  async #watchAnew(before: FilesBefore): Promise<void> {
    this.#certificates.stop();
    this.#watch?.stop();
    this.#certificates = this.#refresh(before.certificates);
    this.#watch = this.#watchOf(before.source);
    await this.start();
  }

  #refresh(watched: WatchedFiles | null): CertificateRefresh {
    const { dataPlane, logger, told } = this.#options;
    return new CertificateRefresh({
      dataPlane: {
        // Behind a change of the routes, it is the changed ones that are read again.
        reload: () => this.#swap.then(() => dataPlane.reload(this.#dataPlaneOptions.routes)),
        inspect: (options) => dataPlane.inspect(options),
      },
      options: this.#dataPlaneOptions,
      intervalsMillis: this.#config.proxies.map(
        ({ listener }) => listener.certRefreshIntervalMillis,
      ),
      watched,
      logger,
      reloaded: (error) => told.reloaded('certificates', error),
      inspected: (inspection) => told.inspected(inspection),
    });
  }

  #watchOf(used: string | null): FileWatch | null {
    const source = this.#source;
    const file = source?.file ?? null;
    if (source === null || file === null || used === null || !this.#config.reloadOnChange) {
      return null;
    }
    return new FileWatch({
      files: [file],
      used,
      intervalMillis: WATCH_INTERVAL_MILLIS,
      onChange: () =>
        this.#queue(() => this.#changed(source)).then(
          () => true,
          () => false,
        ),
    });
  }

  /** Another source may have come into force while this waited for its turn. */
  async #changed(source: ConfigSource): Promise<void> {
    if (this.#source === source) {
      await this.#try('change', () => this.#load(source));
    }
  }

  #checkRunning(): void {
    if (this.#isStopped) {
      throw new PgtlsError('PGTLS_CLOSED', 'the proxy is ending');
    }
  }

  #tell(
    trigger: Trigger,
    { added, removed, doubts }: CommittedChange,
    ignored: readonly string[],
    warnings: readonly ConfigDiagnostic[],
  ): void {
    const { logger } = this.#options;
    tellWarnings(logger, this.#source?.file ?? null, warnings);
    for (const key of ignored) {
      logger.warn({ event: 'config.reload', key }, `${key} stays as it was until the next start`);
    }
    for (const { plan, text } of doubts) {
      logger.warn({ event: 'config.reload', route: plan.routeName, listener: plan.key }, text);
    }
    tellListeners(logger, 'listener.close', 'not listening any more', removed);
    tellListeners(logger, 'listener.bind', 'listening', added);
    const fields = { result: 'success', trigger, routes: this.#config.proxies.length };
    logger.info({ event: 'config.reload', ...fields }, 'configuration reloaded');
    logger.info({ event: 'cert.reload', result: 'success', trigger }, 'certificates reloaded');
  }

  /** The watch tries an unusable file again and again; the same failure is told once. */
  #isNews(trigger: Trigger, error: unknown): boolean {
    return trigger === 'request' || String(error) !== this.#toldFailure;
  }

  #tellFailure(trigger: Trigger, error: unknown): void {
    this.#toldFailure = String(error);
    const fields = { event: 'config.reload', result: 'failure', trigger, err: error };
    this.#options.logger.error(fields, 'the configuration was not reloaded; the one in use stays');
  }
}

/** One line for each; without a file there is no place to name. */
export function tellWarnings(
  logger: Logger,
  file: string | null,
  warnings: readonly ConfigDiagnostic[],
): void {
  for (const { keyPath: key, line, column, message } of warnings) {
    const place = file === null ? {} : { file, line, column };
    logger.warn({ event: 'config.warning', ...place, key }, message);
  }
}

/** One line for each. */
export function tellListeners(
  logger: Logger,
  event: 'listener.bind' | 'listener.close',
  message: string,
  listeners: readonly PlannedListener[],
): void {
  for (const { plan, listener } of listeners) {
    logger.info({ event, route: plan.routeName, listener_addr: listener.address }, message);
  }
}

/** What is wanted, with the running values of what cannot be changed, and the keys concerned. */
function withFixedKeys(wanted: Config, running: Config): { config: Config; ignored: string[] } {
  const fixed = Object.entries(FIXED_KEYS);
  const ignored = fixed.filter(([, field]) => !isDeepStrictEqual(wanted[field], running[field]));
  const kept = Object.fromEntries(fixed.map(([, field]) => [field, running[field]]));
  return { config: { ...wanted, ...kept }, ignored: ignored.map(([key]) => key) };
}
