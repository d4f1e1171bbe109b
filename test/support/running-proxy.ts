/**
 * A running pgtls: the built program in a child process, started from a configuration text, its log read line by line.
 *
 * Ownership: {@link RunningProxy.start} registers nothing by itself; {@link proxyForTest} ties the process to the test.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { until, WAIT_MILLIS, within } from './until.ts';

/** The built command. */
export const PROGRAM: string = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** One line of the log (pino, flat JSON). */
export type LogLine = Readonly<Record<string, unknown>>;

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What a program is started with. */
export interface StartOptions {
  /** How many listeners to wait for; default: one a route. */
  readonly listeners?: number;
  /** Beside this process's own. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Another one than the built command of this working copy. */
  readonly program?: string;
  /** The limit of open files, soft and hard. */
  readonly openFiles?: number;
  /** The process whose network the program is to have. */
  readonly networkOf?: number;
  /** Descriptors to be passed as 3, 4, … */
  readonly sockets?: readonly number[];
  /**
   * What stdout is: a socket, as a service manager gives, unless said otherwise; a pipe, as a shell gives; or a file, of which
   * nothing is read.
   */
  readonly stdout?: 'socket' | 'pipe' | { readonly file: string };
}

/** Starts the proxy and stops it when the running test ends, whatever its outcome. */
export async function proxyForTest(
  config: string,
  options: StartOptions = {},
): Promise<RunningProxy> {
  const running = await RunningProxy.start(config, options);
  onTestFinished(() => running.stop());
  return running;
}

/** The program with a configuration; the routes' ports are those of its `listener.bind` lines. */
export class RunningProxy {
  /** Every log line until now. */
  readonly logs: LogLine[] = [];
  readonly #child: ChildProcess;
  readonly #log: Readable | null;
  readonly #directory: string;
  readonly #exited: Promise<Exit>;
  #other = '';

  private constructor(directory: string, options: StartOptions) {
    const { environment = {}, sockets = [] } = options;
    this.#directory = directory;
    const { networkOf } = options;
    const enter = networkOf === undefined ? [] : ['nsenter', '-t', String(networkOf), '-n', '--'];
    const built = options.program ?? PROGRAM;
    const node = [...enter, process.execPath, '--max-semi-space-size=1', built];
    // The shell becomes the program, so that the sockets are its own: as a service manager starts it.
    const limit = options.openFiles === undefined ? '' : `ulimit -n ${options.openFiles} && `;
    const start = `${limit}LISTEN_PID=$$ exec "$@"`;
    const shell = sockets.length === 0 && limit === '' ? [] : ['sh', '-c', start, 'sh'];
    const [program = '', ...rest] = [...shell, ...node, '-c', join(directory, 'pgtls.toml')];
    const output = openOutput(directory, options.stdout ?? 'socket');
    this.#child = spawn(program, rest, {
      stdio: ['ignore', output.child, 'pipe', ...sockets],
      env: { ...process.env, ...environment },
    });
    if (typeof output.child === 'number') {
      closeSync(output.child);
    }
    this.#log = output.reader ?? this.#child.stdout;
    this.#exited = once(this.#child, 'close').then(([code, signal]) => ({ code, signal }));
    this.#read();
  }

  /** Writes the configuration, starts the program, and waits until `listeners` listeners are bound (default: one a route). */
  static async start(config: string, options: StartOptions = {}): Promise<RunningProxy> {
    const directory = mkdtempSync(join(tmpdir(), 'pgtls-e2e-'));
    writeFileSync(join(directory, 'pgtls.toml'), config);
    const proxy = new RunningProxy(directory, options);
    const listeners = options.listeners ?? config.match(/^\[\[proxy\]\]/gm)?.length ?? 1;
    try {
      await until(
        'the listeners are bound',
        () => proxy.hasExited || proxy.#bindLines().length >= listeners,
        { millis: WAIT_MILLIS, explain: () => proxy.output },
      );
      if (proxy.hasExited) {
        throw new Error(`pgtls ended instead of starting\n${proxy.output}`);
      }
    } catch (error) {
      await proxy.kill();
      throw error;
    }
    return proxy;
  }

  /** The process id. */
  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Whether the process has ended. */
  get hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** All that was logged and printed, for messages. */
  get output(): string {
    return [...this.logs.map((line) => JSON.stringify(line)), this.#other].join('\n');
  }

  /** The port of a route's first TCP listener; without a name, of the first route. */
  port(route?: string): number {
    const bound = this.#bindLines().filter(
      (line) => route === undefined || line['route'] === route,
    );
    const ports = bound.map((line) => /:(\d+)$/.exec(String(line['listener_addr']))?.[1]);
    const port = ports.find((text) => text !== undefined);
    if (port === undefined) {
      throw new Error(`no TCP listener of ${route ?? 'any route'} is bound\n${this.output}`);
    }
    return Number(port);
  }

  /** The first log line (of the past or yet to come) that has all these fields. */
  async logged(fields: LogLine, millis: number = WAIT_MILLIS): Promise<LogLine> {
    return until(`the log has a line with ${JSON.stringify(fields)}`, () => this.find(fields), {
      millis,
      explain: () => this.output,
    });
  }

  /** The first line with these fields until now; null when there is none. */
  find(fields: LogLine): LogLine | null {
    const wanted = Object.entries(fields);
    return this.logs.find((line) => wanted.every(([key, value]) => line[key] === value)) ?? null;
  }

  /** The configuration file. */
  get configFile(): string {
    return join(this.#directory, 'pgtls.toml');
  }

  /** Puts another configuration in place of the file, by rename as editors do. */
  rewrite(config: string): void {
    writeFileSync(`${this.configFile}.new`, config);
    renameSync(`${this.configFile}.new`, this.configFile);
  }

  /** Leaves what is logged from now on unread. */
  stopReadingLog(): void {
    this.#log?.pause();
  }

  /** Reads what was left, and goes on. */
  readLogAgain(): void {
    this.#log?.resume();
  }

  /** Sends a signal. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves when the process has ended. */
  exited(millis: number = WAIT_MILLIS): Promise<Exit> {
    return within(millis, `pgtls ends\n${this.output}`, this.#exited);
  }

  /** SIGTERM; throws unless the program then ends with exit code 0. */
  async stop(): Promise<void> {
    try {
      const wasRunning = !this.hasExited;
      this.signal('SIGTERM');
      const exit = await this.exited();
      if (wasRunning && exit.code !== 0) {
        throw new Error(`pgtls ended with ${JSON.stringify(exit)}\n${this.output}`);
      }
    } finally {
      await this.kill();
    }
  }

  /** Ends the process at once and removes its files. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.#exited;
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** The number of file descriptors that the process has open, but for the watch of files, which comes a moment after the start. */
  openDescriptors(): number {
    const directory = `/proc/${this.pid}/fd`;
    const targets = readdirSync(directory).map((fd) => targetOf(join(directory, fd)));
    return targets.filter((target) => target !== 'anon_inode:inotify').length;
  }

  /** Resident anonymous memory in bytes. */
  residentBytes(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? Number.NaN) * 1024;
  }

  /** Waits until no more descriptors are open than `before`. */
  async descriptorsReturnTo(before: number, millis: number = WAIT_MILLIS): Promise<void> {
    await until(`open descriptors return to ${before}`, () => this.openDescriptors() <= before, {
      millis,
      explain: () => `${this.openDescriptors()} are open\n${this.output}`,
    });
  }

  #bindLines(): LogLine[] {
    return this.logs.filter((line) => line['event'] === 'listener.bind');
  }

  #read(): void {
    const { stderr } = this.#child;
    if (this.#log !== null) {
      createInterface({ input: this.#log }).on('line', (line) => this.#keep(line));
    }
    stderr?.on('data', (chunk: Buffer) => {
      this.#other += chunk.toString();
    });
  }

  #keep(line: string): void {
    try {
      this.logs.push(JSON.parse(line) as LogLine);
    } catch {
      this.#other += `${line}\n`;
    }
  }
}

/** What the program writes to, and where that is read unless the child process has it. */
function openOutput(
  directory: string,
  stdout: NonNullable<StartOptions['stdout']>,
): { child: number | 'pipe'; reader: Readable | null } {
  if (stdout === 'socket') {
    // Node's word for what is a pair of sockets.
    return { child: 'pipe', reader: null };
  }
  if (stdout !== 'pipe') {
    return { child: openSync(stdout.file, 'a'), reader: null };
  }
  const path = join(directory, 'stdout');
  execFileSync('mkfifo', [path]);
  const { O_RDONLY, O_NONBLOCK } = constants;
  const reader = new Socket({ fd: openSync(path, O_RDONLY | O_NONBLOCK), writable: false });
  return { child: openSync(path, 'w'), reader };
}

/** Runs the program to its end with these arguments. */
export async function runProgram(
  programArguments: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
  program: string = PROGRAM,
): Promise<Exit & { stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [program, ...programArguments], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    output.stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    output.stderr += chunk.toString();
  });
  const [code, signal] = await within(WAIT_MILLIS, 'the program ends', once(child, 'close'));
  return { code, signal, ...output };
}

/** What a link says; empty when it is gone. */
function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return '';
  }
}
