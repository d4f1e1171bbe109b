#!/usr/bin/env -S node --max-semi-space-size=1
/**
 * The command `pgtls`: runs what arguments.ts parsed, owns the signals and the exit code.
 *
 * Everything of the process comes in through {@link CliHost}; only the last lines of this file touch `process`. The
 * proxy, the addon and the demo are loaded by the commands that need them.
 */
import { readFileSync, realpathSync } from 'node:fs';
import { release } from 'node:os';
import { resolve } from 'node:path';
import { isatty } from 'node:tty';
import { fileURLToPath } from 'node:url';
import { type ConfigDiagnostic, formatDiagnostic } from '../config/diagnostics.ts';
import type { Environment } from '../config/environment.ts';
import { loadConfig, loadInspectedConfig } from '../config/parse.ts';
import type { Config } from '../config/schema.ts';
import { PgtlsError, type PgtlsErrorCode } from '../errors.ts';
import type { Logger, LoggerOptions } from '../observability/logger.ts';
import { fingerprintNow } from '../proxy/file-watch.ts';
import type { PassedSocket } from '../proxy/listeners.ts';
import type { Proxy as PgtlsProxy, ProxyDependencies } from '../proxy/proxy.ts';
import type { ConfigSource } from '../proxy/reload.ts';
import type { ServiceManager } from '../proxy/service-manager.ts';
import { ProxyState } from '../proxy/state.ts';
import { type Successor, Takeover } from '../proxy/takeover.ts';
import { type Command, EXIT_CODES, exitCodeOf, HELP, parseCommand } from './arguments.ts';
import { startPlaced } from './bind-errors.ts';
import { completionScript } from './completion.ts';
import type { DemoOptions } from './demo.ts';
import { canRun, diagnose, formatExamination, type Machine, type NativeProbe } from './doctor.ts';
import { activated, type NativeService, serviceManager } from './service.ts';
import { SignalRequest } from './signal-request.ts';
import { nextSteps, writeStarter } from './starter.ts';
import { launchSuccessor, predecessorOf } from './successor.ts';
import {
  type CertificateInspection,
  type DateSeverity,
  formatRoutes,
  type JudgedInspection,
  judgeDates,
} from './validate.ts';

/** Signals the command reacts to. */
export type CliSignal = 'SIGTERM' | 'SIGINT' | 'SIGHUP' | 'SIGUSR2';

/** The process as the command sees it. */
export interface CliHost {
  readonly environment: Environment;
  readonly machine: Machine;
  readonly pid: number;
  /** Whether stdout is a terminal, whose user wants colours. */
  readonly hasColours: boolean;
  readonly write: (text: string) => void;
  readonly writeError: (text: string) => void;
  readonly onSignal: (signal: CliSignal, handler: () => void) => void;
  /** Ends the process at once. */
  readonly exit: (code: number) => void;
  readonly nowMillis: () => number;
  /** CLOCK_MONOTONIC. */
  readonly monotonicMicros: () => bigint;
  /** Starts this program anew with these sockets; throws when that cannot be. */
  readonly launchSuccessor: (sockets: readonly PassedSocket[]) => Successor;
}

/** What the command needs to know about the native binding. */
interface NativeModule extends NativeService, NativeProbe {
  inspectConfig(config: Config): Promise<CertificateInspection>;
  buildInfo(): {
    version: string;
    rustls: string;
    provider: string;
    target: string;
    cpuFeatures: readonly string[];
  };
}

/** What the command needs of a running proxy. */
type RunningProxy = Pick<
  PgtlsProxy,
  'drain' | 'close' | 'reload' | 'whileUnchanged' | 'passedSockets' | 'retire'
>;

/** The parts that a command loads when it needs them; tests put fakes here. */
export interface CliModules {
  loadNative(): Promise<NativeModule>;
  createLogger(options: LoggerOptions): Promise<Logger>;
  /** Resolves when what was logged is written, or cannot be. */
  flushLog(): Promise<void>;
  startProxy(config: Config, dependencies: ProxyDependencies): Promise<RunningProxy>;
  runDemo(options: DemoOptions): Promise<number>;
}

type CommandOf<Kind extends Command['kind']> = Extract<Command, { kind: Kind }>;

interface Loaded {
  readonly config: Config;
  readonly warnings: readonly ConfigDiagnostic[];
  readonly inspection: JudgedInspection;
}

const MODULES: CliModules = {
  loadNative: () => import('../data-plane/data-plane.ts'),
  createLogger: async (options) => (await import('../proxy/process-log.ts')).createLogger(options),
  flushLog: async () => (await import('../proxy/process-log.ts')).flushLog(),
  startProxy: async (config, dependencies) =>
    (await import('../proxy/proxy.ts')).startProxy(config, dependencies),
  runDemo: async (options) => (await import('./demo.ts')).runDemo(options),
};

/** Runs the command line and returns the exit code; an error has been written to stderr by then. */
export async function main(
  argv: readonly string[],
  host: CliHost,
  modules: CliModules = MODULES,
): Promise<number> {
  try {
    return await runCommand(parseCommand(argv), host, modules);
  } catch (error) {
    host.writeError(`${errorText(error)}\n`);
    return exitCodeOf(error);
  }
}

function runCommand(command: Command, host: CliHost, modules: CliModules): Promise<number> {
  switch (command.kind) {
    case 'run':
      return run(command, host, modules);
    case 'validate':
      return validate(command, host, modules);
    case 'doctor':
      return doctor(command, host, modules);
    case 'demo':
      return demo(command, host, modules);
    case 'init':
      writeStarter(command.configPath, command.isForced);
      host.write(nextSteps(command.configPath));
      return Promise.resolve(EXIT_CODES.fine);
    case 'completion':
      host.write(completionScript(command.shell));
      return Promise.resolve(EXIT_CODES.fine);
    case 'version':
      return printVersion(host, modules);
    case 'help':
      host.write(HELP);
      return Promise.resolve(EXIT_CODES.fine);
  }
}

async function run(command: CommandOf<'run'>, host: CliHost, modules: CliModules): Promise<number> {
  let log: Logger | null = null;
  const signals = watchShutdown(host, () =>
    log?.warn({ event: 'shutdown' }, 'told to end a second time: ending at once'),
  );
  // Before anything takes time: the default action of these signals is to end the process.
  const hangup = new SignalRequest();
  const succession = new SignalRequest();
  host.onSignal('SIGHUP', () => hangup.ask());
  host.onSignal('SIGUSR2', () => succession.ask());
  const { proxy, logger, manager } = await startRun(command, host, modules, (made) => {
    log = made;
  });
  // A failure is in the log by then.
  hangup.serve(() => void proxy.reload().catch(() => {}));
  let onTaken: (successorPid: number) => void = () => {};
  const taken = new Promise<'taken'>((resolve) => {
    onTaken = (successorPid) => {
      manager.handOver(successorPid);
      resolve('taken');
    };
  });
  const sockets = () => proxy.passedSockets();
  const whileUnchanged = (work: () => Promise<void>) => proxy.whileUnchanged(work);
  const launch = host.launchSuccessor;
  const takeover = new Takeover({ launch, sockets, whileUnchanged, onTaken, logger });
  succession.serve(() => void takeover.begin());
  const why = await Promise.race([signals.requested, taken]);
  takeover.abort();
  try {
    await (why === 'taken' ? proxy.retire() : proxy.drain());
  } finally {
    await proxy.close();
    await modules.flushLog();
  }
  return EXIT_CODES.fine;
}

/** Starts the proxy, on the sockets of a predecessor if there is one, and tells that how it went. */
async function startRun(
  command: CommandOf<'run'>,
  host: CliHost,
  modules: CliModules,
  onLogger: (logger: Logger) => void,
): Promise<{ proxy: RunningProxy; logger: Logger; manager: ServiceManager }> {
  const { configPath } = command;
  const predecessor = predecessorOf(host.environment);
  try {
    const source = sourceOf(command, host);
    const loaded = await load(configPath, 'warning', host, modules);
    const config = withLogOptions(loaded.config, command);
    const logger = await modules.createLogger({ level: config.logLevel, format: config.logFormat });
    onLogger(logger);
    const started = { version: packageVersion(), pid: host.pid, config: resolve(configPath) };
    logger.info({ event: 'start', ...started }, 'pgtls starts');
    for (const warning of loaded.warnings) {
      const { keyPath: key, line, column, message } = warning;
      logger.warn({ event: 'config.warning', file: configPath, key, line, column }, message);
    }
    const native = await modules.loadNative();
    const state = new ProxyState();
    const manager = serviceManager(native, state, host, logger);
    const sockets = predecessor?.sockets ?? activated(native, host, logger);
    const dependencies = {
      logger,
      source,
      state,
      onReload: (phase: 'begins' | 'ends') => manager.reload(phase),
      ...(sockets === null ? {} : { inherited: sockets }),
    };
    const start = () => modules.startProxy(config, dependencies);
    const proxy = await startPlaced(configPath, config, start);
    predecessor?.ready();
    return { proxy, logger, manager };
  } catch (error) {
    predecessor?.failed(errorText(error));
    await modules.flushLog();
    throw error;
  }
}

async function validate(
  { configPath }: CommandOf<'validate'>,
  host: CliHost,
  modules: CliModules,
): Promise<number> {
  const { config, warnings, inspection } = await load(configPath, 'error', host, modules);
  for (const warning of warnings) {
    host.writeError(`${formatDiagnostic(configPath, warning, 'warning')}\n`);
  }
  host.write(formatRoutes(config, inspection.identities, host.nowMillis()));
  host.write(`${configPath} is valid\n`);
  return EXIT_CODES.fine;
}

async function doctor(
  { configPath }: CommandOf<'doctor'>,
  host: CliHost,
  modules: CliModules,
): Promise<number> {
  const config = configPath === null ? null : loadConfig(configPath, host.environment).config;
  const native = await modules.loadNative();
  const examination = diagnose(packageVersion(), host.machine, native, config);
  host.write(formatExamination(examination, host.hasColours));
  return canRun(examination) ? EXIT_CODES.fine : EXIT_CODES.binding;
}

function demo(command: CommandOf<'demo'>, host: CliHost, modules: CliModules): Promise<number> {
  const { logLevel, logFormat } = command;
  const { stop } = watchShutdown(host);
  return modules.runDemo({ write: host.write, stop, logLevel, logFormat });
}

async function printVersion(host: CliHost, modules: CliModules): Promise<number> {
  const version = `pgtls ${packageVersion()}`;
  try {
    const { rustls, provider, target } = (await modules.loadNative()).buildInfo();
    host.write(
      `${version} (rustls ${rustls}, ${provider}, ${target}, Node.js ${host.machine.nodeVersion})\n`,
    );
    return EXIT_CODES.fine;
  } catch (error) {
    host.write(`${version} (no native binding, Node.js ${host.machine.nodeVersion})\n`);
    throw error;
  }
}

async function load(
  configPath: string,
  severity: DateSeverity,
  host: CliHost,
  modules: CliModules,
): Promise<Loaded> {
  const native = await modules.loadNative();
  return loadInspectedConfig(configPath, host.environment, async (config) =>
    judgeDates(await native.inspectConfig(config), severity, host.nowMillis()),
  );
}

/** The first SIGTERM or SIGINT asks for an orderly end, the second one, of which `onSecond` is told, ends at once. */
function watchShutdown(
  host: CliHost,
  onSecond: () => void = () => {},
): { requested: Promise<'requested'>; stop: AbortSignal } {
  const controller = new AbortController();
  const requested = new Promise<'requested'>((resolve) => {
    controller.signal.addEventListener('abort', () => resolve('requested'), { once: true });
  });
  const onSignal = () => {
    if (controller.signal.aborted) {
      onSecond();
      host.exit(EXIT_CODES.runtime);
    }
    controller.abort();
  };
  host.onSignal('SIGTERM', onSignal);
  host.onSignal('SIGINT', onSignal);
  return { requested, stop: controller.signal };
}

/** The file, to be read again while the proxy runs. */
function sourceOf(command: CommandOf<'run'>, host: CliHost): ConfigSource {
  const { configPath } = command;
  const file = resolve(configPath);
  return {
    file,
    before: fingerprintNow([file]),
    load: async (inspect) => {
      const { config, warnings } = await loadInspectedConfig(
        configPath,
        host.environment,
        async (read) => judgeDates(await inspect(read), 'warning', host.nowMillis()),
      );
      return { config: withLogOptions(config, command), warnings };
    },
  };
}

function withLogOptions(config: Config, { logLevel, logFormat }: CommandOf<'run'>): Config {
  return {
    ...config,
    logLevel: logLevel ?? config.logLevel,
    logFormat: logFormat ?? config.logFormat,
  };
}

/** Errors whose message begins with file, line and column. */
const PLACED_CODES: readonly PgtlsErrorCode[] = ['PGTLS_CONFIG_INVALID', 'PGTLS_BIND_FAILED'];

function errorText(error: unknown): string {
  if (error instanceof PgtlsError && PLACED_CODES.includes(error.code)) {
    return error.message;
  }
  if (error instanceof PgtlsError) {
    return `pgtls: ${error.message}`;
  }
  return `pgtls: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}

function packageVersion(): string {
  const file = new URL('../../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  return version;
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

/** Whether this file is the program, started directly or through npm's link. */
function isProgram(script: string | undefined): boolean {
  return script !== undefined && realpathSync(script) === fileURLToPath(import.meta.url);
}

if (isProgram(process.argv[1])) {
  const code = await main(process.argv.slice(2), {
    // biome-ignore lint/style/noProcessEnv: the one place where the environment comes in
    environment: process.env,
    machine: {
      platform: process.platform,
      architecture: process.arch,
      kernel: release(),
      nodeVersion: process.versions.node,
      read: readText,
    },
    pid: process.pid,
    // Not by process.stdout, which makes a pipe non-blocking for all who share it as soon as it is looked at.
    // biome-ignore lint/style/noProcessEnv: as above
    hasColours: isatty(1) && !process.env['NO_COLOR'],
    write: (text) => process.stdout.write(text),
    writeError: (text) => process.stderr.write(text),
    onSignal: (signal, handler) => process.on(signal, handler),
    exit: (exitCode) => process.exit(exitCode),
    nowMillis: Date.now,
    monotonicMicros: () => process.hrtime.bigint() / 1_000n,
    launchSuccessor: (sockets) => {
      if (process.pid === 1) {
        throw new Error('a container ends with its first process, so that cannot have a successor');
      }
      const { execPath: program, execArgv, argv } = process;
      const start = { program, arguments: [...execArgv, ...argv.slice(1)] };
      // biome-ignore lint/style/noProcessEnv: what the successor gets, too
      return launchSuccessor({ ...start, environment: process.env }, sockets);
    },
  });
  process.exit(code);
}
