#!/usr/bin/env -S node --max-semi-space-size=1
/**
 * The command `pgtls`: runs what arguments.ts parsed, owns the signals and the exit code.
 *
 * Everything of the process comes in through {@link CliHost}; only the last lines of this file touch `process`. The
 * proxy, the addon, the demo and what only prints (reports.ts) are loaded by the commands that need them.
 */
import { readFileSync, realpathSync } from 'node:fs';
import { release } from 'node:os';
import { resolve } from 'node:path';
import { isatty } from 'node:tty';
import { fileURLToPath } from 'node:url';
import { loadInspectedConfig } from '../config/parse.ts';
import type { Config } from '../config/schema.ts';
import type { Logger } from '../observability/logger.ts';
import { fingerprintNow } from '../proxy/file-watch.ts';
import type { ConfigSource } from '../proxy/reload.ts';
import type { ServiceManager } from '../proxy/service-manager.ts';
import { ProxyState } from '../proxy/state.ts';
import { Takeover } from '../proxy/takeover.ts';
import { type Command, EXIT_CODES, exitCodeOf, parseCommand } from './arguments.ts';
import { startPlaced } from './bind-errors.ts';
import { errorText } from './error-text.ts';
import {
  type CliHost,
  type CliModules,
  type CommandOf,
  type RunningProxy,
  styleOf,
} from './host.ts';
import { load, packageVersion } from './loaded.ts';
import { activated, serviceManager } from './service.ts';
import { SignalRequest } from './signal-request.ts';
import { PLAIN } from './style.ts';
import { launchSuccessor, predecessorOf } from './successor.ts';
import { judgeDates } from './validate.ts';

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
    host.writeError(`${errorText(error, styleOf(host, 'stderr'))}\n`);
    return exitCodeOf(error);
  }
}

async function runCommand(command: Command, host: CliHost, modules: CliModules): Promise<number> {
  switch (command.kind) {
    case 'run':
      return run(command, host, modules);
    case 'demo':
      return demo(command, host, modules);
    default:
      return (await import('./reports.ts')).report(command, host, modules);
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
    predecessor?.failed(errorText(error, PLAIN));
    await modules.flushLog();
    throw error;
  }
}

function demo(command: CommandOf<'demo'>, host: CliHost, modules: CliModules): Promise<number> {
  const { logLevel, logFormat } = command;
  const { stop } = watchShutdown(host);
  const style = styleOf(host, 'stdout');
  return modules.runDemo({ write: host.write, style, stop, logLevel, logFormat });
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

/** Writes to standard output; what that failed with, null = it is written, or nobody reads it any more. */
function writeOut(text: string): Promise<NodeJS.ErrnoException | null> {
  return new Promise((resolve) => {
    // Told by the callback, too; without a listener it would end the process in between.
    process.stdout.once('error', () => {});
    process.stdout.write(text, (error: NodeJS.ErrnoException | null | undefined) => {
      resolve(error == null || error.code === 'EPIPE' ? null : error);
    });
  });
}

if (isProgram(process.argv[1])) {
  const outcomes: Promise<NodeJS.ErrnoException | null>[] = [];
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
    isTerminal: (stream) => isatty(stream === 'stdout' ? 1 : 2),
    write: (text) => void outcomes.push(writeOut(text)),
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
  const lost = (await Promise.all(outcomes)).find((error) => error !== null);
  if (lost !== undefined) {
    process.stderr.write(`pgtls: standard output cannot be written: ${lost?.message}\n`);
  }
  process.exit(lost === undefined ? code : code || 1);
}
