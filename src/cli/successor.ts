/**
 * Starts the successor of a takeover, and what predecessor and successor tell each other: the sockets by an environment variable, one
 * line when it is ready or has failed by a pipe.
 */
import type { ChildProcess } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Readable } from 'node:stream';
import type { Environment } from '../config/environment.ts';
import type { InheritedSocket } from '../listener/server-socket.ts';
import type { ListenerPlan } from '../proxy/listener-plan.ts';
import type { InheritedSockets, PassedSocket } from '../proxy/listeners.ts';
import type { Successor } from '../proxy/takeover.ts';

/** What the successor finds its sockets by: {@link Passing} as JSON. */
const VARIABLE = 'PGTLS_TAKEOVER';

/** Of this process alone, and wrong in a successor. */
const OWN_VARIABLES: readonly string[] = [
  VARIABLE,
  'LISTEN_PID',
  'LISTEN_FDS',
  'LISTEN_FDNAMES',
  'WATCHDOG_PID',
];

/** The first descriptor behind stdin, stdout and stderr: the pipe to the predecessor. */
const REPORT_FD = 3;

const READY = 'ready';

interface Passing {
  readonly sockets: readonly PassedSocket[];
}

/** How the program was started. */
export interface ProgramStart {
  readonly program: string;
  /** Node's options, the script, its arguments. */
  readonly arguments: readonly string[];
  readonly environment: Environment;
}

type ChildProcessModule = typeof import('node:child_process');

/** Starts the same program with `sockets`, whose descriptors stay the caller's. */
export function launchSuccessor(start: ProgramStart, sockets: readonly PassedSocket[]): Successor {
  const passing: Passing = {
    sockets: sockets.map((socket, index) => ({ ...socket, fd: REPORT_FD + 1 + index })),
  };
  const kept = Object.entries(start.environment).filter(([name]) => !OWN_VARIABLES.includes(name));
  // Loaded when it is needed: most processes never have a successor, and it takes long to load.
  const { spawn } = createRequire(import.meta.url)('node:child_process') as ChildProcessModule;
  const child = spawn(start.program, start.arguments, {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe', ...sockets.map(({ fd }) => fd)],
    env: { ...Object.fromEntries(kept), [VARIABLE]: JSON.stringify(passing) },
  });
  return {
    pid: child.pid ?? -1,
    ready: readiness(child).finally(() => child.unref()),
    kill: () => {
      child.kill('SIGKILL');
    },
  };
}

/** Its report, or that it ended without one. */
function readiness(child: ChildProcess): Promise<void> {
  const pipe = child.stdio[REPORT_FD] as Readable;
  let report = '';
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    // Behind the pipe's end: what it said comes first.
    child.once('close', (code, signal) => {
      reject(new Error(`the successor ended (${signal ?? `exit code ${code}`})`));
    });
    pipe.on('data', (chunk: Buffer) => {
      report += chunk.toString();
    });
    pipe.once('error', reject);
    pipe.once('close', () => {
      if (report === READY) {
        resolve();
      } else if (report !== '') {
        reject(new Error(`the successor could not start: ${report}`));
      }
    });
  });
}

/** Who started this process with sockets; both reports are made once, and to nobody when there is none. */
export interface Predecessor {
  readonly sockets: InheritedSockets;
  ready(): void;
  failed(why: string): void;
}

/** The predecessor that the environment speaks of; null when this is no successor. */
export function predecessorOf(environment: Environment): Predecessor | null {
  const text = environment[VARIABLE];
  if (text === undefined) {
    return null;
  }
  const { sockets } = JSON.parse(text) as Passing;
  return {
    sockets: new PassedSockets(sockets),
    ready: () => report(READY),
    failed: (why) => report(why),
  };
}

/** A predecessor that is gone by now needs no report. */
function report(text: string): void {
  try {
    writeSync(REPORT_FD, text);
    closeSync(REPORT_FD);
  } catch {
    // EPIPE: it died meanwhile. There is nobody to be told, and we go on.
  }
}

const UNIX_PREFIX = 'unix:';

/** Sockets of the predecessor, by key. */
class PassedSockets implements InheritedSockets {
  readonly #left: Map<string, PassedSocket>;

  constructor(sockets: readonly PassedSocket[]) {
    this.#left = new Map(sockets.map((socket) => [socket.key, socket]));
  }

  take({ key }: ListenerPlan): InheritedSocket | null {
    return this.takeByKey(key);
  }

  takeByKey(key: string): InheritedSocket | null {
    const socket = this.#left.get(key) ?? null;
    this.#left.delete(key);
    return socket;
  }

  rest(): { fd: number; ownedPath: string | null }[] {
    const left = [...this.#left.values()];
    this.#left.clear();
    return left.map(({ key, fd, ownsPath }) => ({
      fd,
      ownedPath: ownsPath && key.startsWith(UNIX_PREFIX) ? key.slice(UNIX_PREFIX.length) : null,
    }));
  }
}
