#!/usr/bin/env -S node --max-semi-space-size=1
/**
 * The command `pgtls`: runs what arguments.ts parsed, owns the signals and the exit code.
 *
 * Everything of the process comes in through {@link CliHost}; only the last lines of this file touch `process`. The
 * proxy, the addon and the demo are loaded by the commands that need them.
 */
import { readFileSync, realpathSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import {
  type ConfigDiagnostic,
  type Finding,
  formatDiagnostic,
  type KeyPath,
} from '../config/diagnostics.ts';
import type { Environment } from '../config/environment.ts';
import { loadInspectedConfig, placeInFile } from '../config/parse.ts';
import type { BindAddress, Config } from '../config/schema.ts';
import { PgtlsError, type PgtlsErrorCode } from '../errors.ts';
import type { Logger, LoggerOptions } from '../observability/logger.ts';
import type { Proxy as PgtlsProxy } from '../proxy/proxy.ts';
import { type Command, EXIT_CODES, exitCodeOf, HELP, parseCommand } from './arguments.ts';
import type { DemoOptions } from './demo.ts';
import {
  type CertificateInspection,
  type DateSeverity,
  formatRoutes,
  type JudgedInspection,
  judgeDates,
} from './validate.ts';

/** Signals the command reacts to. */
export type CliSignal = 'SIGTERM' | 'SIGINT' | 'SIGHUP';

/** The process as the command sees it. */
export interface CliHost {
  readonly environment: Environment;
  readonly nodeVersion: string;
  readonly write: (text: string) => void;
  readonly writeError: (text: string) => void;
  readonly onSignal: (signal: CliSignal, handler: () => void) => void;
  /** Ends the process at once. */
  readonly exit: (code: number) => void;
  readonly nowMillis: () => number;
}

/** What the command needs to know about the native binding. */
interface NativeModule {
  inspectConfig(config: Config): Promise<CertificateInspection>;
  buildInfo(): { version: string; rustls: string; provider: string; target: string };
}

/** What the command needs of a running proxy. */
type RunningProxy = Pick<PgtlsProxy, 'drain' | 'close' | 'reloadCertificates'>;

/** The parts that a command loads when it needs them; tests put fakes here. */
export interface CliModules {
  loadNative(): Promise<NativeModule>;
  createLogger(options: LoggerOptions): Promise<Logger>;
  startProxy(config: Config, logger: Logger): Promise<RunningProxy>;
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
  createLogger: async (options) =>
    (await import('../observability/logger.ts')).createLogger(options),
  startProxy: async (config, logger) =>
    (await import('../proxy/proxy.ts')).startProxy(config, { logger }),
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
    case 'demo':
      return demo(command, host, modules);
    case 'version':
      return printVersion(host, modules);
    case 'help':
      host.write(HELP);
      return Promise.resolve(EXIT_CODES.fine);
  }
}

async function run(command: CommandOf<'run'>, host: CliHost, modules: CliModules): Promise<number> {
  const { configPath } = command;
  const signals = watchShutdown(host);
  // Before anything takes time: the default action of SIGHUP is to end the process.
  let onHangup = () => {};
  host.onSignal('SIGHUP', () => onHangup());
  const loaded = await load(configPath, 'warning', host, modules);
  const config = withLogOptions(loaded.config, command);
  const logger = await modules.createLogger({ level: config.logLevel, format: config.logFormat });
  for (const warning of loaded.warnings) {
    const { keyPath: key, line, column, message } = warning;
    logger.warn({ event: 'config.warning', file: configPath, key, line, column }, message);
  }
  const proxy = await startPlaced(configPath, config, () => modules.startProxy(config, logger));
  onHangup = () => void reloadCertificates(proxy, logger);
  await signals.requested;
  try {
    await proxy.drain();
  } finally {
    await proxy.close();
  }
  return EXIT_CODES.fine;
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
      `${version} (rustls ${rustls}, ${provider}, ${target}, Node.js ${host.nodeVersion})\n`,
    );
    return EXIT_CODES.fine;
  } catch (error) {
    host.write(`${version} (no native binding, Node.js ${host.nodeVersion})\n`);
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

/** The first SIGTERM or SIGINT asks for an orderly end, the second one ends at once. */
function watchShutdown(host: CliHost): { requested: Promise<void>; stop: AbortSignal } {
  const controller = new AbortController();
  const requested = new Promise<void>((resolve) => {
    controller.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const onSignal = () => {
    if (controller.signal.aborted) {
      host.exit(EXIT_CODES.runtime);
    }
    controller.abort();
  };
  host.onSignal('SIGTERM', onSignal);
  host.onSignal('SIGINT', onSignal);
  return { requested, stop: controller.signal };
}

async function reloadCertificates(proxy: RunningProxy, logger: Logger): Promise<void> {
  try {
    await proxy.reloadCertificates();
  } catch (error) {
    const result = { event: 'cert.reload', result: 'failure', err: error };
    logger.error(result, `certificates not reloaded, the old ones stay: ${errorText(error)}`);
  }
}

function withLogOptions(config: Config, { logLevel, logFormat }: CommandOf<'run'>): Config {
  return {
    ...config,
    logLevel: logLevel ?? config.logLevel,
    logFormat: logFormat ?? config.logFormat,
  };
}

/** Addresses that cannot be bound are errors of the file, placed at their keys. */
async function startPlaced(
  configPath: string,
  config: Config,
  start: () => Promise<RunningProxy>,
): Promise<RunningProxy> {
  try {
    return await start();
  } catch (error) {
    if (!(error instanceof PgtlsError && error.code === 'PGTLS_BIND_FAILED')) {
      throw error;
    }
    const failures = error.cause instanceof AggregateError ? error.cause.errors : [error];
    const findings = failures.map((failure) => bindFinding(failure, config));
    const lines = placeInFile(configPath, findings).map((diagnostic) =>
      formatDiagnostic(configPath, diagnostic),
    );
    throw new PgtlsError(error.code, lines.join('\n'), { cause: error });
  }
}

function bindFinding(failure: unknown, config: Config): Finding {
  const { message, cause } = failure instanceof Error ? failure : new Error(String(failure));
  return { path: bindPath(cause, config), message, suggestion: null };
}

/** The key of the address that Node's error names; the file as a whole when it names none. */
function bindPath(cause: unknown, config: Config): KeyPath {
  const { address, hostname, port } = (cause ?? {}) as NodeListenError;
  const isAt = (bind: BindAddress) =>
    bind.kind === 'unix'
      ? bind.path === address
      : bind.host === hostname || (bind.host === address && bind.port === port);
  if (config.admin !== null && isAt(config.admin.bindAddress)) {
    return ['admin', 'bind_address'];
  }
  for (const [index, { listener }] of config.proxies.entries()) {
    const bind = listener.bindAddresses.findIndex(isAt);
    if (bind >= 0) {
      return ['proxy', index, 'listener', 'bind_address', bind];
    }
  }
  return [];
}

/** What `listen` fails with: the address as resolved, or the name that was not. */
interface NodeListenError {
  readonly address?: string;
  readonly hostname?: string;
  readonly port?: number;
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

/** Whether this file is the program, started directly or through npm's link. */
function isProgram(script: string | undefined): boolean {
  return script !== undefined && realpathSync(script) === fileURLToPath(import.meta.url);
}

if (isProgram(process.argv[1])) {
  const code = await main(process.argv.slice(2), {
    // biome-ignore lint/style/noProcessEnv: the one place where the environment comes in
    environment: process.env,
    nodeVersion: process.versions.node,
    write: (text) => process.stdout.write(text),
    writeError: (text) => process.stderr.write(text),
    onSignal: (signal, handler) => process.on(signal, handler),
    exit: (exitCode) => process.exit(exitCode),
    nowMillis: Date.now,
  });
  process.exit(code);
}
