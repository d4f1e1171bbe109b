/** What the commands of `pgtls` need of the process, and of the parts that they load: all of it can be a fake. */
import type { Environment } from '../config/environment.ts';
import type { Config } from '../config/schema.ts';
import type { Logger, LoggerOptions } from '../observability/logger.ts';
import type { PassedSocket } from '../proxy/listeners.ts';
import type { Proxy as PgtlsProxy, ProxyDependencies } from '../proxy/proxy.ts';
import type { Successor } from '../proxy/takeover.ts';
import type { Command } from './arguments.ts';
import type { DemoOptions } from './demo.ts';
import type { Machine, NativeProbe } from './doctor.ts';
import type { NativeService } from './service.ts';
import { type Style, styleFor } from './style.ts';
import type { CertificateInspection } from './validate.ts';

/** Signals the command reacts to. */
export type CliSignal = 'SIGTERM' | 'SIGINT' | 'SIGHUP' | 'SIGUSR2';

/** The process as the command sees it. */
export interface CliHost {
  readonly environment: Environment;
  readonly machine: Machine;
  readonly pid: number;
  /** Whether a standard stream is a terminal. */
  readonly isTerminal: (stream: 'stdout' | 'stderr') => boolean;
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
export interface NativeModule extends NativeService, NativeProbe {
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
export type RunningProxy = Pick<
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

/** The command of that kind. */
export type CommandOf<Kind extends Command['kind']> = Extract<Command, { kind: Kind }>;

/** How to write to that stream. */
export function styleOf(host: CliHost, stream: 'stdout' | 'stderr'): Style {
  return styleFor(host.isTerminal(stream), host.environment);
}
