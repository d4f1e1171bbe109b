/**
 * The only importer of the native addon: loads it when first needed, converts its errors, and names
 * its types for the rest of pgtls.
 *
 * The native class never leaves this file; `DataPlane` is the interface everybody else uses.
 */
import type * as Native from '../../crates/pgtls-napi/binding/index.js';
import type { Config } from '../config/schema.ts';
import { PgtlsError } from '../errors.ts';
import { type LoadedBinding, loadBindingFor, thisHost } from './binding.ts';
import { converting, settling, toPgtlsError } from './errors.ts';
import { libcOfThisHost } from './libc.ts';
import { toDataPlaneOptions } from './options.ts';

/** Options of the native side; made by {@link toDataPlaneOptions}. */
export type DataPlaneOptions = Native.DataPlaneOptions;
/** One route of {@link DataPlaneOptions}. */
export type RouteOptions = Native.RouteOptions;
/** The listener half of a route. */
export type ListenerOptions = Native.ListenerOptions;
/** The TLS of a route's listener. */
export type ListenerTlsOptions = Native.ListenerTlsOptions;
/** The backend half of a route. */
export type BackendOptions = Native.BackendOptions;
/** Keepalive of both legs of a route. */
export type KeepaliveOptions = Native.KeepaliveOptions;
/** What the native side tells unasked. */
export type DataPlaneEvent = Native.DataPlaneEvent;
/** Which questions connections ask. */
export type HookSet = Native.HookSet;
/** What a question is answered with. */
export type Answer = Native.Answer;
/** A peer's certificate in a question. */
export type NativePeerCertificate = Native.PeerCertificate;
/** The end of one connection. */
export type ConnectionReport = Native.ConnectionReport;
/** What was negotiated with one peer. */
export type TlsReport = Native.TlsReport;
/** Counters, as of now. */
export type DataPlaneSnapshot = Native.DataPlaneSnapshot;
/** How a drain ended. */
export type DrainReport = Native.DrainReport;
/** Every problem of the files that options name, and the identities found. */
export type Inspection = Native.Inspection;
/** Versions and target of the addon. */
export type BuildInfo = Native.BuildInfo;
/** A connection that is handed over. */
export type Handoff = Native.Handoff;

/**
 * The running native side; every method throws PgtlsError, or rejects with it, after `close` with
 * PGTLS_CLOSED.
 */
export interface DataPlane {
  /**
   * All or nothing, for new connections only; reads the certificate files again, on a thread of its
   * own. One at a time, in the order of the calls.
   */
  reload(routes: RouteOptions[]): Promise<void>;
  /** As {@link inspectOptions}, after what is being read already. */
  inspect(options: DataPlaneOptions): Promise<Inspection>;
  /** Reads what the socket behind `fd` has received by now: how many bytes, 0 for none yet, -1 when it has failed. */
  receiveAtOnce(fd: number, into: Buffer): number;
  /** Duplicates `fd` before it returns; the caller keeps and closes its own. */
  adopt(fd: number, handoff: Handoff): void;
  /** False when the connection that asked does not wait any more. */
  answer(questionId: number, answer: Answer): boolean;
  snapshot(): DataPlaneSnapshot;
  /** Resolves when no session lives, after the grace because the rest was cut. */
  drain(graceMillis: number): Promise<DrainReport>;
  /** Ends what is being read, too; idempotent. */
  close(): void;
}

/** Takes the events of a data plane; must not throw. */
export type OnDataPlaneEvent = (event: DataPlaneEvent) => void;

let loaded: LoadedBinding<typeof Native> | null = null;

/**
 * Starts the native side. Rejects with PGTLS_BINDING_MISSING, or with PGTLS_TLS_CONFIG_INVALID
 * listing every problem at once.
 */
export async function startDataPlane(
  options: DataPlaneOptions,
  onEvent: OnDataPlaneEvent,
): Promise<DataPlane> {
  const binding = loadBinding();
  try {
    return new ConvertingDataPlane(binding, await binding.DataPlane.start(options, onEvent));
  } catch (cause) {
    const error = toPgtlsError(cause);
    throw error.code === 'PGTLS_TLS_CONFIG_INVALID' ? await withAllProblems(error, options) : error;
  }
}

/** Reads every file a configuration names, without starting anything. */
export function inspectConfig(config: Config): Promise<Inspection> {
  return inspectOptions(toDataPlaneOptions(config, false));
}

/** Reads every file that options name, on a thread of its own, without starting anything. */
function inspectOptions(options: DataPlaneOptions): Promise<Inspection> {
  return settling(() => loadBinding().inspect(options));
}

/** Versions and target of the addon. */
export function buildInfo(): BuildInfo {
  return converting(() => loadBinding().buildInfo());
}

/** What a listening socket is bound to. */
export type BindOptions = Native.BindOptions;

/** Binds a socket and gives its descriptor, the caller's to close; it does not listen yet. Throws PGTLS_BIND_FAILED. */
export function bindListener(options: BindOptions): number {
  return converting(() => loadBinding().bindListener(options));
}

/** Where a listening socket is bound. */
export type BoundAddress = Native.BoundAddress;

/** Where the listening socket behind `fd` is bound; null when it is none. */
export function boundAddress(fd: number): BoundAddress | null {
  return converting(() => loadBinding().boundAddress(fd));
}

/** Tells the service manager, as sd_notify(3); false when there is none. Throws PGTLS_NOTIFY_FAILED. */
export function notify(message: string): boolean {
  return converting(() => loadBinding().notify(message));
}

/** Writes what the blocking descriptor takes of a line at once: how many bytes, 0 for none now, -1 when writing fails. */
export function sendAtOnce(fd: number, line: Buffer): number {
  return loadBinding().sendAtOnce(fd, line);
}

/** How many files the process may have open, raised as far as it may be; null = unknown. */
export function raiseOpenFilesLimit(): number | null {
  return converting(() => loadBinding().raiseOpenFilesLimit());
}

/** The version of Node.js that runs. */
export function nodeVersion(): string {
  return process.versions.node;
}

/** Loads the addon once; throws PGTLS_BINDING_MISSING. */
function loadBinding(): typeof Native {
  loaded ??= loadBindingFor<typeof Native>(thisHost());
  return loaded.binding;
}

/** The file of the addon; null before it is loaded. */
export function bindingFile(): string | null {
  return loaded?.file ?? null;
}

/** The C library and its version, as far as it can be known. */
export function libcVersion(): string {
  return libcOfThisHost();
}

/** Delegates; turns what the native side throws into PgtlsError. */
class ConvertingDataPlane implements DataPlane {
  readonly #binding: typeof Native;
  readonly #native: Native.DataPlane;

  constructor(binding: typeof Native, native: Native.DataPlane) {
    this.#binding = binding;
    this.#native = native;
  }

  reload(routes: RouteOptions[]): Promise<void> {
    return settling(() => this.#native.reload(routes));
  }

  inspect(options: DataPlaneOptions): Promise<Inspection> {
    return settling(() => this.#native.inspect(options));
  }

  receiveAtOnce(fd: number, into: Buffer): number {
    return this.#binding.receiveAtOnce(fd, into);
  }

  adopt(fd: number, handoff: Handoff): void {
    converting(() => this.#native.adopt(fd, handoff));
  }

  answer(questionId: number, answer: Answer): boolean {
    return converting(() => this.#native.answer(questionId, answer));
  }

  snapshot(): DataPlaneSnapshot {
    return converting(() => this.#native.snapshot());
  }

  drain(graceMillis: number): Promise<DrainReport> {
    return settling(() => this.#native.drain(graceMillis));
  }

  close(): void {
    converting(() => this.#native.close());
  }
}

async function withAllProblems(error: PgtlsError, options: DataPlaneOptions): Promise<PgtlsError> {
  const { problems } = await inspectOptions(options);
  if (problems.length === 0) {
    return error;
  }
  const lines = problems.map(({ routeId, path, message }) => {
    const name = options.routes.find((route) => route.routeId === routeId)?.name ?? routeId;
    return `proxy "${name}", ${path}: ${message}`;
  });
  return new PgtlsError(error.code, lines.join('\n'), { cause: error });
}
